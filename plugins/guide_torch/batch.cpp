#include "batch.hpp"

#include <algorithm>
#include <cmath>
#include <map>

namespace gcop::guide_torch {

namespace {

int32_t common_prefix(const std::vector<int32_t> &a, const std::vector<int32_t> &b, int32_t limit) {
  const int32_t n = std::min({static_cast<int32_t>(a.size()), static_cast<int32_t>(b.size()), limit});
  return static_cast<int32_t>(std::mismatch(a.begin(), a.begin() + n, b.begin()).first - a.begin());
}

constexpr int32_t kWorthWaiting = kBlockTokens;  // a shorter common start is computed again rather than waited for

}  // namespace

Batch::Batch(const Weights &weights, const Tokenizer &tokenizer, Compute &compute, const BatchLimits &limits)
    : weights_(weights),
      tokenizer_(tokenizer),
      compute_(compute),
      limits_(limits),
      pool_(compute.make_blocks(static_cast<int32_t>(std::max<size_t>(1, limits.kv_bytes / compute.block_bytes())))) {}

void Batch::add(std::unique_ptr<Sequence> sequence) { waiting_.push_back(std::move(sequence)); }

bool Batch::uses(const std::string &weights, uint64_t below) const {
  const auto match = [&](const auto &s) { return s->request.weights == weights && s->ticket < below; };
  return std::any_of(waiting_.begin(), waiting_.end(), match) || std::any_of(active_.begin(), active_.end(), match);
}

void Batch::release(std::vector<int32_t> &blocks) {
  for (int32_t block : blocks) pool_->release(block);
  blocks.clear();
}

void Batch::forget(const std::string &weights) {
  remembered_.remove_if([&](Remembered &r) {
    if (r.weights != weights) return false;
    release(r.blocks);
    return true;
  });
}

bool Batch::make_room(int32_t blocks) {
  while (pool_->free() < blocks && !remembered_.empty()) {
    release(remembered_.front().blocks);
    remembered_.pop_front();
  }
  return pool_->free() >= blocks;
}

std::optional<Error> Batch::check(const Sequence &s) const {
  if (!weights_.find(s.request.weights)) return weights_.unknown(s.request.weights);
  const int64_t room = int64_t{pool_->blocks()} * kBlockTokens;
  if (s.prompt() >= limits_.context)
    return invalid("the prompt has " + std::to_string(s.prompt()) + " tokens and the context holds " +
                   std::to_string(limits_.context) +
                   "; shorten the prompt, or raise \"context\" where the model has more");
  if (std::min<int64_t>(limits_.context, int64_t{s.prompt()} + s.request.max_tokens) > room)
    return invalid("the prompt of " + std::to_string(s.prompt()) + " tokens and max_tokens " +
                   std::to_string(s.request.max_tokens) + " do not fit into the key/value memory of " +
                   std::to_string(room) + " tokens; raise \"kv_bytes\" or lower max_tokens");
  return std::nullopt;
}

// Looks for the sequence that shares the longest start. One that is still being computed is waited for, so that a
// group's prompt is computed once even when the whole group arrives together.
Batch::Admission Batch::try_admit(Sequence &s, const Version &version) {
  int32_t best = 0, best_ready = 0;
  const std::vector<int32_t> *donor = nullptr;
  const int32_t limit = s.prompt() - 1;  // the last prompt token is always computed: its logits are wanted
  if (limits_.reuse) {
    for (const auto &other : active_) {
      if (other->request.weights != s.request.weights || other->result.weights_version != version.number) continue;
      const int32_t common = common_prefix(s.tokens, other->tokens, limit);
      const int32_t ready = std::min(common, other->computed);
      if (common > best || (common == best && ready > best_ready))
        best = common, best_ready = ready, donor = &other->blocks;
    }
    for (const Remembered &other : remembered_) {
      if (other.weights != s.request.weights || other.version != version.number) continue;
      const int32_t common = common_prefix(s.tokens, other.tokens, limit);
      if (common > best || (common == best && common > best_ready)) best = best_ready = common, donor = &other.blocks;
    }
    if (best >= best_ready + kWorthWaiting) return Admission::wait_for_donor;
  }
  const int32_t total = blocks_for(std::min<int64_t>(limits_.context, int64_t{s.prompt()} + s.request.max_tokens));
  const int32_t shared = best_ready / kBlockTokens;
  // The donor's blocks get a reference before room is made, since making room may forget the donor.
  std::vector<int32_t> blocks;
  const bool split = donor && best_ready % kBlockTokens != 0;
  int32_t partial = -1;
  if (donor) {
    blocks.assign(donor->begin(), donor->begin() + shared);
    if (split) partial = (*donor)[shared];
    for (int32_t b : blocks) pool_->share(b);
    if (split) pool_->share(partial);
  }
  const bool room = make_room(total - shared);
  if (room) {
    while (static_cast<int32_t>(blocks.size()) < total) blocks.push_back(pool_->take());
    if (split) pool_->copy(partial, blocks[shared]);
  }
  if (split) pool_->release(partial);
  if (!room) {
    release(blocks);
    return Admission::no_room;
  }
  s.blocks = std::move(blocks);
  s.computed = best_ready;
  s.result.reused = static_cast<uint32_t>(best_ready);
  s.result.weights_version = version.number;
  return Admission::admitted;
}

void Batch::admit(const std::function<bool(const Sequence &)> &held) {
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    if (static_cast<int>(active_.size()) >= limits_.max_batch) return;
    Sequence &s = **it;
    if (held(s)) {
      ++it;
      continue;
    }
    if (std::optional<Error> wrong = check(s)) {
      finish(s, static_cast<gcop_status>(wrong->code), wrong->message);
      it = waiting_.erase(it);
      continue;
    }
    const Admission answer = try_admit(s, *weights_.find(s.request.weights));
    if (answer == Admission::no_room) return;  // later ones must not overtake it for ever
    if (answer == Admission::wait_for_donor) {
      ++it;
      continue;
    }
    active_.push_back(std::move(*it));
    it = waiting_.erase(it);
  }
}

void Batch::sweep(const std::function<std::pair<gcop_status, std::string>(const Sequence &)> &gone) {
  const auto check_one = [&](std::unique_ptr<Sequence> &s) {
    auto [status, message] = gone(*s);
    if (status == GCOP_OK) return false;
    finish(*s, status, std::move(message));
    return true;
  };
  std::erase_if(waiting_, check_one);
  std::erase_if(active_, check_one);
}

bool Batch::step(const std::function<bool(const Sequence &)> &held) {
  admit(held);
  if (active_.empty()) return false;

  // One step computes with one set of weights; sets take turns.
  std::map<std::string, int> names;
  for (const auto &s : active_) ++names[s->request.weights];
  auto turn = names.upper_bound(last_weights_);
  if (turn == names.end()) turn = names.begin();
  last_weights_ = turn->first;
  const Version version = *weights_.find(last_weights_);  // a copy: what it points at lasts for the step

  std::vector<Row> rows;
  std::vector<std::pair<Sequence *, int>> complete;  // sequences whose last token is in this step, and its row
  const auto take = [&](Sequence &s, int32_t n) {
    for (int32_t i = 0; i < n; ++i) {
      rows.push_back({s.tokens[s.computed], s.computed, s.blocks.data()});
      ++s.computed;
    }
    if (s.pending() == 0) complete.push_back({&s, static_cast<int>(rows.size()) - 1});
  };
  std::vector<Sequence *> prompts;
  for (const auto &s : active_) {
    if (s->request.weights != last_weights_) continue;
    if (s->pending() == 1)
      take(*s, 1);
    else
      prompts.push_back(s.get());
  }
  for (Sequence *s : prompts) take(*s, std::min(s->pending(), compute_.max_rows() - static_cast<int32_t>(rows.size())));
  compute_.run(version, *pool_, rows);

  std::vector<DrawRow> draws;
  for (const auto &[s, row] : complete) draws.push_back({row, s->request.sampling, s->result.tokens.size()});
  std::vector<Drawn> drawn(draws.size());
  compute_.draw(version, draws, drawn.data());
  for (size_t i = 0; i < drawn.size(); ++i) advance(*complete[i].first, drawn[i]);
  std::erase_if(active_, [](const auto &s) { return s->request.done == nullptr; });
  return true;
}

void Batch::advance(Sequence &s, const Drawn &drawn) {
  if (!std::isfinite(drawn.logprob))
    return finish(
        s, GCOP_INTERNAL,
        "the weights \"" + s.request.weights + "\" gave a log-probability that is no number; they have diverged");
  s.result.tokens.push_back(drawn.token);
  s.result.logprobs.push_back(drawn.logprob);
  s.tokens.push_back(drawn.token);
  s.result.stopped = tokenizer_.is_stop(drawn.token) || ended_by_text(s);
  const bool full =
      s.result.tokens.size() >= s.request.max_tokens || static_cast<int64_t>(s.tokens.size()) >= limits_.context;
  if (s.result.stopped || full) return finish(s, GCOP_OK, {});
  if (s.request.part) stream(s, false);
}

bool Batch::ended_by_text(Sequence &s) {
  if (s.request.stop.empty()) return false;
  size_t longest = 0;
  for (const std::string &stop : s.request.stop) longest = std::max(longest, stop.size());
  // Each token but special ones brings at least a byte, so a new match ends within the last `longest` + some tokens.
  const std::span<const int32_t> all = s.result.tokens;
  const std::string tail = tokenizer_.decode_so_far(all.last(std::min(all.size(), longest + 8)));
  const auto in = [](const std::string &text) {
    return [&text](const std::string &stop) { return text.find(stop) != std::string::npos; };
  };
  if (std::none_of(s.request.stop.begin(), s.request.stop.end(), in(tail))) return false;
  const std::string text = tokenizer_.decode_so_far(all);
  for (const std::string &stop : s.request.stop) s.result.stop_at = std::min(s.result.stop_at, text.find(stop));
  return s.result.stop_at != std::string::npos;
}

// Hands over new text, but for an end that could become a stop string or is half a character; the last call brings the
// rest, as decode() gives it.
void Batch::stream(Sequence &s, bool last) {
  const std::string text = (last ? tokenizer_.decode(s.result.tokens) : tokenizer_.decode_so_far(s.result.tokens))
                               .substr(0, s.result.stop_at);
  size_t safe = text.size();
  if (!last)
    for (const std::string &stop : s.request.stop)
      for (size_t n = std::min(stop.size(), text.size()); n > 0; --n)
        if (text.ends_with(std::string_view(stop).substr(0, n))) {
          safe = std::min(safe, text.size() - n);
          break;
        }
  if (safe <= s.streamed) return;
  s.request.part(text.substr(s.streamed, safe - s.streamed));
  s.streamed = safe;
}

void Batch::finish(Sequence &s, gcop_status status, std::string error) {
  s.result.status = status;
  s.result.error = std::move(error);
  if (status == GCOP_OK || s.request.partial) s.result.text = tokenizer_.decode(s.result.tokens);
  if (s.request.part && status == GCOP_OK) stream(s, true);
  if (!s.blocks.empty()) {
    // Keep what was computed, also of a cancelled sequence; the spare blocks go back.
    const Version *version = weights_.find(s.request.weights);
    if (limits_.reuse && version && version->number == s.result.weights_version && s.computed > 0) {
      const size_t used = static_cast<size_t>(blocks_for(s.computed));
      for (size_t i = used; i < s.blocks.size(); ++i) pool_->release(s.blocks[i]);
      s.blocks.resize(used);
      s.tokens.resize(s.computed);
      remembered_.push_back({s.request.weights, version->number, std::move(s.tokens), std::move(s.blocks)});
      constexpr size_t kMostRemembered = 256;  // searching them must stay cheap
      if (remembered_.size() > kMostRemembered) {
        release(remembered_.front().blocks);
        remembered_.pop_front();
      }
    } else {
      release(s.blocks);
    }
    s.blocks.clear();
  }
  const auto done = std::exchange(s.request.done, nullptr);
  if (done) done(std::move(s.result));
}

}  // namespace gcop::guide_torch
