#include "backward.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>

#include "draw.hpp"

namespace gcop::guide_torch {

namespace {

constexpr size_t kSlice = 10 * kHeadChunk;         // of the vocabulary
constexpr size_t kLogitFloats = size_t{24} << 20;  // of one chunk of logits

size_t chunk_of(const Config &config, int64_t targets) {
  return std::min(static_cast<size_t>(targets), std::max<size_t>(1, kLogitFloats / static_cast<size_t>(config.vocab)));
}

size_t sequence_of(const gcop_train_request &r, uint64_t token) {
  return static_cast<size_t>(std::upper_bound(r.offsets, r.offsets + r.n + 1, token) - r.offsets) - 1;
}

// Index after the last target of the sequence that target `at` belongs to.
size_t sequence_end(const gcop_train_request &r, const PackedRows &rows, size_t at) {
  const uint64_t end = r.offsets[sequence_of(r, rows.targets[at]) + 1];
  return static_cast<size_t>(
      std::lower_bound(rows.targets.begin() + static_cast<std::ptrdiff_t>(at), rows.targets.end(), end) -
      rows.targets.begin());
}

size_t chunks_of(const Config &config) { return (static_cast<size_t>(config.vocab) + kHeadChunk - 1) / kHeadChunk; }

size_t line(size_t floats) { return (floats + 15) / 16 * 16; }

}  // namespace

size_t Backward::workspace_floats(const Config &config, const Lora *lora, const Plan &plan) {
  const size_t hidden = static_cast<size_t>(config.hidden);
  return Decoder::workspace_floats(config, lora, plan.decoder) + line(static_cast<size_t>(plan.decoder.rows) * hidden) +
         2 * line(static_cast<size_t>(plan.targets) * hidden) +
         line(chunk_of(config, plan.targets) * static_cast<size_t>(config.vocab)) +
         line(chunk_of(config, plan.targets) * chunks_of(config) * sizeof(LogitStats) / sizeof(float));
}

Backward::Backward(const TrainedModel &model, const Kernels &kernels, const Plan &plan, float *workspace, Crew &crew)
    : model_(model),
      kernels_(*kernels.rows),
      products_(kernels, crew),
      decoder_(model, kernels, products_, plan.decoder, workspace),
      chunk_(chunk_of(model.config, plan.targets)) {
  const size_t hidden = static_cast<size_t>(model.config.hidden);
  const Parameter &head =
      model.layout.parameters[model.layout.index(model.config.tied ? "model.embed_tokens.weight" : "lm_head.weight")];
  head_ = model.weights.data() + head.offset;
  d_head_ = model.lora ? nullptr : model.gradients.data() + head.offset;
  d_states_ = workspace + Decoder::workspace_floats(model.config, model.lora, plan.decoder);
  picked_ = d_states_ + line(static_cast<size_t>(plan.decoder.rows) * hidden);
  d_picked_ = picked_ + line(static_cast<size_t>(plan.targets) * hidden);
  logits_ = d_picked_ + line(static_cast<size_t>(plan.targets) * hidden);
  stats_ = reinterpret_cast<LogitStats *>(logits_ + line(chunk_ * static_cast<size_t>(model.config.vocab)));
}

// Work on the vocabulary in slices of kSlice: [slice][target][kSlice], so that a slice of logits is still in the cache
// when it is reduced, and its rows are not a large power of two apart.
template <class Work>
void Backward::each_slice(size_t count, Work work) const {
  const size_t vocab = static_cast<size_t>(model_.config.vocab), hidden = static_cast<size_t>(model_.config.hidden);
  for (size_t begin = 0; begin < vocab; begin += kSlice)
    work(logits_ + begin * count, begin, std::min(kSlice, vocab - begin), begin * hidden);
}

// Logits of targets [from, from + count), their log-sum-exp and the targets' log-probabilities, as the sampler's head
// and log_sum_exp() have them.
void Backward::head_forward(const PackedRows &rows, size_t from, size_t count, const gcop_train_request &r) {
  const int64_t hidden = model_.config.hidden, n = static_cast<int64_t>(count);
  const size_t chunks = chunks_of(model_.config);
  each_slice(count, [&](float *logits, size_t begin, size_t size, size_t at) {
    products_.nt(n, static_cast<int64_t>(size), hidden, {picked_ + from * static_cast<size_t>(hidden), hidden},
                 {head_ + at, hidden}, false, {logits, static_cast<int64_t>(size)});
    for (size_t i = 0; i < count; ++i) {
      const float *const row = logits + i * size;
      LogitStats *stats = stats_ + i * chunks + begin / kHeadChunk;
      for (size_t c = 0; c < size; c += kHeadChunk, ++stats)
        kernels_.chunk_sum(row + c, static_cast<int>(std::min<size_t>(kHeadChunk, size - c)), &stats->max, &stats->sum);
      const size_t target = static_cast<size_t>(r.tokens[rows.targets[from + i]]) - begin;
      if (target < size) logprobs_[from + i] = row[target];
    }
  });
  for (size_t i = 0; i < count; ++i) {
    const double lse = log_sum_exp({nullptr, stats_ + i * chunks, 1, static_cast<int>(model_.config.vocab)});
    lse_[from + i] = static_cast<float>(lse);
    logprobs_[from + i] = static_cast<float>(logprobs_[from + i] - lse);
  }
}

// Of the same targets, whose logits are still there and are overwritten with d loss / d logits.
void Backward::head_backward(const PackedRows &rows, size_t from, size_t count, const gcop_train_request &r) {
  const int64_t hidden = model_.config.hidden, n = static_cast<int64_t>(count);
  const size_t picked = from * static_cast<size_t>(hidden);
  each_slice(count, [&](float *logits, size_t begin, size_t size, size_t at) {
    const int64_t width = static_cast<int64_t>(size);
    for (size_t i = 0; i < count; ++i) {
      const float slope = slopes_[from + i];
      sums_.entropy -= kernels_.softmax_slopes(logits + i * size, size, lse_[from + i], slope);
      const size_t target = static_cast<size_t>(r.tokens[rows.targets[from + i]]) - begin;
      if (target < size) logits[i * size + target] += slope;
    }
    products_.nn(n, hidden, width, {logits, width}, {head_ + at, hidden}, begin > 0, {d_picked_ + picked, hidden});
    if (d_head_)
      products_.tn(width, hidden, n, {logits, width}, {picked_ + picked, hidden}, true, {d_head_ + at, hidden});
  });
}

// Of a sequence whose loss is no finite number: the token that the weights give none, or that has moved furthest.
std::string Backward::what_is_wrong(const PackedRows &rows, size_t sequence, size_t at, size_t stop,
                                    const gcop_train_request &r) const {
  size_t worst = at;
  for (size_t j = at; j < stop; ++j) {
    const auto moved = [&](size_t k) { return r.old_logprobs ? std::abs(logprobs_[k] - old_[k]) : 0; };
    if (!std::isfinite(logprobs_[j])) {
      worst = j;
      break;
    }
    if (moved(j) > moved(worst)) worst = j;
  }
  std::string text = "training sequence " + std::to_string(sequence + 1) + ", token " +
                     std::to_string(rows.targets[worst] - r.offsets[sequence] + 1) + ": its log-probability is " +
                     std::to_string(logprobs_[worst]);
  if (!std::isfinite(logprobs_[worst])) return text + "; the weights have diverged";
  if (r.old_logprobs) text += ", its old_logprob " + std::to_string(old_[worst]);
  if (r.ref_logprobs) text += ", its ref_logprob " + std::to_string(ref_[worst]);
  if (r.advantages) text += ", the advantage " + std::to_string(r.advantages[sequence]);
  return text;
}

// Of targets [from, end), whole sequences.
Result<> Backward::losses(const PackedRows &rows, size_t from, size_t end, const gcop_train_request &r,
                          const LossScale &scale) {
  for (size_t at = from; at < end;) {
    const size_t sequence = sequence_of(r, rows.targets[at]), stop = sequence_end(r, rows, at);
    const auto part = [&](const std::vector<float> &v, bool there) {
      return there ? std::span<const float>(v).subspan(at, stop - at) : std::span<const float>();
    };
    for (size_t j = at; j < stop; ++j) {
      if (r.old_logprobs) old_[j] = r.old_logprobs[rows.targets[j]];
      if (r.ref_logprobs) ref_[j] = r.ref_logprobs[rows.targets[j]];
    }
    add_loss({part(logprobs_, true), part(old_, r.old_logprobs), part(ref_, r.ref_logprobs),
              r.advantages ? r.advantages[sequence] : 0},
             *r.loss, scale, std::span<float>(slopes_).subspan(at, stop - at), sums_);
    if (!std::isfinite(sums_.loss))
      return Error{Code::invalid,
                   "the loss is " + std::to_string(sums_.loss) + " (" + what_is_wrong(rows, sequence, at, stop, r) +
                       "); the weights are unchanged",
                   {}};
    at = stop;
  }
  return Unit{};
}

Result<> Backward::run(const gcop_train_request &r, const PackedRows &rows, const LossScale &scale) {
  const size_t n = rows.targets.size(), hidden = static_cast<size_t>(model_.config.hidden);
  if (n == 0) return Unit{};
  for (std::vector<float> *v : {&lse_, &logprobs_, &old_, &ref_, &slopes_}) v->resize(n);
  const float *const states = decoder_.forward(rows);
  for (size_t i = 0; i < n; ++i)
    std::memcpy(picked_ + i * hidden, states + static_cast<size_t>(rows.predictors[i]) * hidden,
                hidden * sizeof(float));
  for (size_t from = 0, end; from < n; from = end) {
    // As many whole sequences as fit, since a sequence's terms may depend on all its tokens. One that is longer has its
    // log-probabilities computed first and the logits again for the slopes.
    end = sequence_end(r, rows, from);
    while (end < n && sequence_end(r, rows, end) - from <= chunk_) end = sequence_end(r, rows, end);
    const bool twice = end - from > chunk_;
    for (size_t at = from; at < end; at += chunk_) head_forward(rows, at, std::min(chunk_, end - at), r);
    if (Result<> finite = losses(rows, from, end, r, scale); !finite) return finite;
    for (size_t at = from; at < end; at += chunk_) {
      const size_t count = std::min(chunk_, end - at);
      if (twice) head_forward(rows, at, count, r);
      head_backward(rows, at, count, r);
    }
  }
  std::memset(d_states_, 0, rows.tokens.size() * hidden * sizeof(float));
  for (size_t i = 0; i < n; ++i) {  // several targets may come from one row, where a prompt is shared
    float *const to = d_states_ + static_cast<size_t>(rows.predictors[i]) * hidden;
    const float *const from = d_picked_ + i * hidden;
    for (size_t k = 0; k < hidden; ++k) to[k] += from[k];
  }
  decoder_.backward(rows, d_states_);
  return Unit{};
}

}  // namespace gcop::guide_torch
