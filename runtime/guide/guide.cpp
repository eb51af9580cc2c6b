#include "guide/guide.hpp"

#include <type_traits>
#include <utility>

#include "plugin/pending.hpp"

namespace gcop::guide {
namespace {

using plugin::Calls;

// Ragged sequences as the ABI wants them.
struct Ragged {
  std::vector<uint64_t> offsets{0};
  std::vector<int32_t> tokens;
  void add(const std::vector<int32_t> &sequence) {
    tokens.insert(tokens.end(), sequence.begin(), sequence.end());
    offsets.push_back(tokens.size());
  }
};

struct SampleWire {
  std::string weights;
  std::vector<int32_t> prompt;
  std::vector<std::string> stop;
  std::vector<gcop_str> stop_views;
  gcop_sample_request raw{};
};

struct ScoreWire {
  std::string weights;
  Ragged sequences;
  gcop_score_request raw{};
};

struct TrainWire {
  Ragged sequences;
  std::vector<uint8_t> mask;
  std::vector<float> old_logprobs, ref_logprobs, advantages;
  gcop_loss_options loss{};
  gcop_optimizer_options optimizer{};
  gcop_train_request raw{};
};

struct NamesWire {
  std::string a, b;
};

void on_rollout(const gcop_op *op, const gcop_rollout *r) {
  Calls::answer<Rollout>(op, [&]() -> Result<Rollout> {
    if (!r || !GCOP_HAS(r, error)) return Error{Code::internal, "answered without a rollout", {}};
    if (r->status != GCOP_OK) return plugin::plugin_error("", r->status, r->error);
    if (!GCOP_HAS(r, reused) || (r->n > 0 && (!r->tokens || !r->logprobs)))
      return Error{Code::internal, "answered OK without tokens and logprobs", {}};
    Rollout out;
    out.text = plugin::text(r->text);
    out.tokens.assign(r->tokens, r->tokens + r->n);
    out.logprobs.assign(r->logprobs, r->logprobs + r->n);
    out.weights_version = r->weights_version;
    out.truncated = r->finish == GCOP_FINISH_LENGTH;
    out.reused = r->reused;
    return out;
  });
}

void on_score(const gcop_op *op, gcop_status status, gcop_str error, const float *logprobs, size_t n) {
  Calls::answer<std::vector<float>>(op, [&]() -> Result<std::vector<float>> {
    if (status != GCOP_OK) return plugin::plugin_error("", status, error);
    if (n > 0 && !logprobs) return Error{Code::internal, "answered OK without logprobs", {}};
    return std::vector<float>(logprobs, logprobs + n);
  });
}

void on_train(const gcop_op *op, const gcop_train_result *r) {
  Calls::answer<TrainStats>(op, [&]() -> Result<TrainStats> {
    if (!r || !GCOP_HAS(r, error)) return Error{Code::internal, "answered without a result", {}};
    if (r->status != GCOP_OK) return plugin::plugin_error("", r->status, r->error);
    if (!GCOP_HAS(r, weights_version)) return Error{Code::internal, "answered OK with an incomplete result", {}};
    return TrainStats{r->loss,      r->kl,        r->entropy,  r->clip_frac,
                      r->ratio_max, r->grad_norm, r->n_tokens, r->weights_version};
  });
}

void on_done(const gcop_op *op, gcop_status status, gcop_str error) {
  Calls::answer<Unit>(op, [&]() -> Result<> {
    if (status != GCOP_OK) return plugin::plugin_error("", status, error);
    return Unit{};
  });
}

Result<uint32_t> reduction_of(const std::string &name) {
  if (name == "dr_grpo") return uint32_t{GCOP_REDUCE_DR_GRPO};
  if (name == "dapo") return uint32_t{GCOP_REDUCE_DAPO};
  if (name == "grpo") return uint32_t{GCOP_REDUCE_GRPO};
  return invalid("loss reduction '" + name + "' is unknown; use dr_grpo, dapo or grpo");
}

Result<uint32_t> ratio_of(const std::string &name) {
  if (name == "token") return uint32_t{GCOP_RATIO_TOKEN};
  if (name == "sequence") return uint32_t{GCOP_RATIO_SEQUENCE};
  return invalid("loss ratio '" + name + "' is unknown; use token or sequence");
}

// Per-token columns are there for every sequence or for none.
Result<> gather(const std::vector<Sequence> &sequences, std::vector<float> Sequence::*column, const char *title,
                std::vector<float> &out) {
  size_t with = 0;
  for (size_t i = 0; i < sequences.size(); ++i) {
    const auto &values = sequences[i].*column;
    if (values.empty()) continue;
    if (values.size() != sequences[i].tokens.size())
      return invalid("training sequence " + std::to_string(i + 1) + " has " + std::to_string(values.size()) + " " +
                     title + " for " + std::to_string(sequences[i].tokens.size()) +
                     " tokens; give one for each token, or none");
    ++with;
    out.insert(out.end(), values.begin(), values.end());
  }
  if (with != 0 && with != sequences.size())
    return invalid(std::string(title) + " are given for " + std::to_string(with) + " of " +
                   std::to_string(sequences.size()) + " training sequences; give them for all or for none");
  return Unit{};
}

Result<std::shared_ptr<TrainWire>> make_train(const std::vector<Sequence> &sequences, const Loss &loss,
                                              const Optimizer &optimizer, uint64_t expect_version) {
  if (sequences.empty()) return invalid("train: there are no sequences; give at least one");
  auto wire = std::make_shared<TrainWire>();
  for (size_t i = 0; i < sequences.size(); ++i) {
    const Sequence &s = sequences[i];
    if (s.mask.size() != s.tokens.size())
      return invalid("training sequence " + std::to_string(i + 1) + " has a mask of " + std::to_string(s.mask.size()) +
                     " for " + std::to_string(s.tokens.size()) + " tokens; give one entry for each token");
    wire->sequences.add(s.tokens);
    wire->mask.insert(wire->mask.end(), s.mask.begin(), s.mask.end());
    wire->advantages.push_back(s.advantage);
  }
  if (auto ok = gather(sequences, &Sequence::old_logprobs, "old_logprobs", wire->old_logprobs); !ok) return ok.error();
  if (auto ok = gather(sequences, &Sequence::ref_logprobs, "ref_logprobs", wire->ref_logprobs); !ok) return ok.error();
  const auto reduction = reduction_of(loss.reduction);
  if (!reduction) return reduction.error();
  const auto ratio = ratio_of(loss.ratio);
  if (!ratio) return ratio.error();
  wire->loss = {sizeof(gcop_loss_options),
                loss.policy ? uint32_t{GCOP_OBJECTIVE_POLICY} : uint32_t{GCOP_OBJECTIVE_NLL},
                *reduction,
                *ratio,
                loss.clip_low,
                loss.clip_high,
                loss.clip_delta,
                loss.kl_beta,
                loss.max_len,
                0};
  wire->optimizer = {sizeof(gcop_optimizer_options),
                     optimizer.lr,
                     optimizer.beta1,
                     optimizer.beta2,
                     optimizer.eps,
                     optimizer.weight_decay,
                     optimizer.max_grad_norm,
                     0};
  wire->raw = {sizeof(gcop_train_request),
               0,
               sequences.size(),
               wire->sequences.offsets.data(),
               wire->sequences.tokens.data(),
               wire->mask.data(),
               wire->old_logprobs.empty() ? nullptr : wire->old_logprobs.data(),
               wire->ref_logprobs.empty() ? nullptr : wire->ref_logprobs.data(),
               loss.policy ? wire->advantages.data() : nullptr,
               expect_version,
               &wire->loss,
               &wire->optimizer};
  return wire;
}

void keep_tokens(void *ctx, const int32_t *tokens, size_t n) {
  static_cast<std::vector<int32_t> *>(ctx)->assign(tokens, tokens + n);
}
void keep_text(void *ctx, gcop_str text) { *static_cast<std::string *>(ctx) = plugin::text(text); }

}  // namespace

struct Guide::Impl : std::enable_shared_from_this<Guide::Impl> {
  Loop &loop;
  std::string name, identity, info;
  std::shared_ptr<plugin::Instance> instance;
  const gcop_guide *table = nullptr;
  std::shared_ptr<Calls> calls;

  Impl(Loop &l, std::string n, std::shared_ptr<plugin::Instance> i)
      : loop(l), name(std::move(n)), instance(std::move(i)) {}

  std::string title() const { return "guide '" + name + "'"; }
  Error unsupported() const {
    return {Code::unsupported, title() + ": " + plugin::who(instance->plugin()) + " offers no " GCOP_GUIDE, {}};
  }

  template <class Value>
  void fail_later(std::function<void(Result<Value>)> done, Error error) {
    loop.post([done = std::move(done), error = std::move(error)] { done(error); });
  }

  // `begin(table, instance, op)` starts the call; errors are given the guide's name.
  template <class Value, class Begin>
  uint64_t start(const char *call, std::shared_ptr<void> inputs, const Begin &begin,
                 std::function<void(Result<Value>)> done) {
    if (!table) {
      fail_later<Value>(std::move(done), unsupported());
      return 0;
    }
    return calls->start<Value>(
        call, std::move(inputs), [&](gcop_instance *raw, const gcop_op *op) { begin(*table, raw, op); },
        [self = shared_from_this(), done = std::move(done)](Result<Value> result) {
          if (!result) result.error().message = self->title() + ": " + result.error().message;
          done(std::move(result));
        });
  }

  // The three synchronous calls.
  template <class Value, class Call>
  Result<Value> now(const char *what, const Call &call) const {
    if (!table) return unsupported();
    Value out;
    gcop_error error{};
    error.struct_size = sizeof error;
    try {
      const gcop_status status = call(&out, &error);
      if (status == GCOP_OK) return out;
      error.message[sizeof error.message - 1] = '\0';
      return plugin::plugin_error(title() + ": " + what, status,
                                  {error.message, std::char_traits<char>::length(error.message)});
    } catch (const std::exception &e) {
      return Error{
          Code::internal, title() + ": " + what + " threw '" + e.what() + "' at the ABI, where nothing may throw", {}};
    }
  }
};

Guide::Guide(Loop &loop, std::shared_ptr<plugin::Instance> instance, std::string name, uint32_t timeout_ms)
    : impl_(std::make_shared<Impl>(loop, std::move(name), instance)) {
  const auto *table = static_cast<const gcop_guide *>(instance->interface(GCOP_GUIDE));
  if (table && GCOP_HAS(table, cancel)) {
    impl_->table = table;
    impl_->identity = plugin::text(table->identity(instance->raw()));
    impl_->info = plugin::text(table->info(instance->raw()));
  }
  impl_->calls = std::make_shared<Calls>(loop, std::move(instance), impl_->table ? table->cancel : nullptr, timeout_ms);
}

Guide::~Guide() = default;

Result<std::vector<int32_t>> Guide::encode(const std::string &text) const {
  return impl_->now<std::vector<int32_t>>("encode", [&](std::vector<int32_t> *out, gcop_error *error) {
    return impl_->table->encode(impl_->instance->raw(), plugin::view(text), keep_tokens, out, error);
  });
}

Result<std::string> Guide::decode(const std::vector<int32_t> &tokens) const {
  return impl_->now<std::string>("decode", [&](std::string *out, gcop_error *error) {
    return impl_->table->decode(impl_->instance->raw(), tokens.data(), tokens.size(), keep_text, out, error);
  });
}

Result<std::vector<int32_t>> Guide::render(const std::string &messages_json) const {
  return impl_->now<std::vector<int32_t>>("render", [&](std::vector<int32_t> *out, gcop_error *error) {
    return impl_->table->render(impl_->instance->raw(), plugin::view(messages_json), keep_tokens, out, error);
  });
}

uint64_t Guide::sample(const std::string &weights, std::vector<int32_t> prompt, const Sampling &how,
                       std::function<void(Result<Rollout>)> done) {
  auto wire = std::make_shared<SampleWire>();
  wire->weights = weights;
  wire->prompt = std::move(prompt);
  wire->stop = how.stop;
  for (const std::string &s : wire->stop) wire->stop_views.push_back(plugin::view(s));
  wire->raw = {sizeof(gcop_sample_request),
               how.max_tokens,
               plugin::view(wire->weights),
               wire->prompt.data(),
               wire->prompt.size(),
               how.temperature,
               how.top_p,
               how.top_k,
               static_cast<uint32_t>(wire->stop_views.size()),
               how.seed,
               wire->stop_views.data()};
  auto with_prompt = [wire, done = std::move(done)](Result<Rollout> result) {
    if (result) result->prompt = wire->prompt;
    done(std::move(result));
  };
  return impl_->start<Rollout>(
      "submit", wire,
      [&](const gcop_guide &table, gcop_instance *raw, const gcop_op *op) {
        table.submit(raw, &wire->raw, op, on_rollout);
      },
      with_prompt);
}

void Guide::score(const std::string &weights, std::vector<std::vector<int32_t>> sequences,
                  std::function<void(Result<std::vector<std::vector<float>>>)> done) {
  auto wire = std::make_shared<ScoreWire>();
  wire->weights = weights;
  for (const auto &sequence : sequences) wire->sequences.add(sequence);
  wire->raw = {sizeof(gcop_score_request),     0,
               plugin::view(wire->weights),    sequences.size(),
               wire->sequences.offsets.data(), wire->sequences.tokens.data()};
  auto split = [wire, title = impl_->title(), done = std::move(done)](Result<std::vector<float>> result) {
    if (!result) return done(std::move(result.error()));
    const auto &offsets = wire->sequences.offsets;
    if (result->size() != offsets.back())
      return done(Error{Code::internal,
                        title + ": score answered " + std::to_string(result->size()) + " logprobs for " +
                            std::to_string(offsets.back()) + " tokens",
                        {}});
    std::vector<std::vector<float>> rows;
    for (size_t i = 0; i + 1 < offsets.size(); ++i)
      rows.emplace_back(result->begin() + static_cast<std::ptrdiff_t>(offsets[i]),
                        result->begin() + static_cast<std::ptrdiff_t>(offsets[i + 1]));
    done(std::move(rows));
  };
  impl_->start<std::vector<float>>(
      "score", wire,
      [&](const gcop_guide &table, gcop_instance *raw, const gcop_op *op) {
        table.score(raw, &wire->raw, op, on_score);
      },
      split);
}

void Guide::train(std::vector<Sequence> sequences, const Loss &loss, const Optimizer &optimizer,
                  uint64_t expect_version, std::function<void(Result<TrainStats>)> done) {
  const auto made = make_train(sequences, loss, optimizer, expect_version);
  if (!made) {
    Error error = made.error();
    error.message = impl_->title() + ": " + error.message;
    return impl_->fail_later<TrainStats>(std::move(done), std::move(error));
  }
  impl_->start<TrainStats>(
      "train", *made,
      [&](const gcop_guide &table, gcop_instance *raw, const gcop_op *op) {
        table.train(raw, &(*made)->raw, op, on_train);
      },
      std::move(done));
}

void Guide::copy(const std::string &from, const std::string &to, std::function<void(Result<>)> done) {
  auto wire = std::make_shared<NamesWire>(NamesWire{from, to});
  impl_->start<Unit>(
      "copy", wire,
      [&](const gcop_guide &table, gcop_instance *raw, const gcop_op *op) {
        table.copy(raw, plugin::view(wire->a), plugin::view(wire->b), op, on_done);
      },
      std::move(done));
}

void Guide::drop(const std::string &name, std::function<void(Result<>)> done) {
  auto wire = std::make_shared<NamesWire>(NamesWire{name, {}});
  impl_->start<Unit>(
      "drop", wire,
      [&](const gcop_guide &table, gcop_instance *raw, const gcop_op *op) {
        table.drop(raw, plugin::view(wire->a), op, on_done);
      },
      std::move(done));
}

void Guide::save(const std::string &weights, const std::string &dir, bool optimizer,
                 std::function<void(Result<>)> done) {
  auto wire = std::make_shared<NamesWire>(NamesWire{weights, dir});
  impl_->start<Unit>(
      "save", wire,
      [&](const gcop_guide &table, gcop_instance *raw, const gcop_op *op) {
        table.save(raw, plugin::view(wire->a), plugin::view(wire->b), optimizer ? uint32_t{GCOP_SAVE_OPTIMIZER} : 0, op,
                   on_done);
      },
      std::move(done));
}

void Guide::load(const std::string &weights, const std::string &dir, std::function<void(Result<>)> done) {
  auto wire = std::make_shared<NamesWire>(NamesWire{weights, dir});
  impl_->start<Unit>(
      "load", wire,
      [&](const gcop_guide &table, gcop_instance *raw, const gcop_op *op) {
        table.load(raw, plugin::view(wire->a), plugin::view(wire->b), op, on_done);
      },
      std::move(done));
}

void Guide::cancel(uint64_t call_id) { impl_->calls->cancel(call_id); }
const std::string &Guide::name() const { return impl_->name; }
const std::string &Guide::identity() const { return impl_->identity; }
const std::string &Guide::info() const { return impl_->info; }

}  // namespace gcop::guide
