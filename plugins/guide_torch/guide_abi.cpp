// gcop.guide/1: C functions that check what comes in, hand it to the engine and answer. No exception leaves them.
#include <algorithm>
#include <cmath>
#include <new>

#include "instance.hpp"

namespace gcop::guide_torch {

namespace {

std::string or_current(gcop_str name) { return name.len ? text(name) : "current"; }

gcop_str identity(gcop_instance *raw) { return view(from(raw).identity()); }
gcop_str info(gcop_instance *raw) { return view(from(raw).info()); }

template <class Body>
gcop_status blocking(gcop_error *error, Body body) noexcept {
  Error failed;
  try {
    std::optional<Error> wrong = body();
    if (!wrong) return GCOP_OK;
    failed = std::move(*wrong);
  } catch (...) {
    failed = current_exception_error();
  }
  write_error(error, static_cast<gcop_status>(failed.code), failed.message);
  return static_cast<gcop_status>(failed.code);
}

gcop_status encode(gcop_instance *raw, gcop_str in, gcop_tokens_fn give, void *ctx, gcop_error *error) {
  return blocking(error, [&]() -> std::optional<Error> {
    const std::vector<int32_t> tokens = from(raw).tokenizer().encode(std::string_view(in.ptr ? in.ptr : "", in.len));
    give(ctx, tokens.data(), tokens.size());
    return std::nullopt;
  });
}

std::optional<Error> check_ids(Instance &instance, const int32_t *tokens, size_t n, const char *what) {
  for (size_t i = 0; i < n; ++i)
    if (tokens[i] < 0 || tokens[i] >= instance.vocab())
      return invalid(std::string(what) + ": token id " + std::to_string(tokens[i]) + " at position " +
                     std::to_string(i + 1) + " is outside the vocabulary of " + std::to_string(instance.vocab()));
  return std::nullopt;
}

gcop_status decode(gcop_instance *raw, const int32_t *tokens, size_t n, gcop_text_fn give, void *ctx,
                   gcop_error *error) {
  return blocking(error, [&]() -> std::optional<Error> {
    if (auto wrong = check_ids(from(raw), tokens, n, "decode")) return wrong;
    const std::string out = from(raw).tokenizer().decode({tokens, n});
    give(ctx, view(out));
    return std::nullopt;
  });
}

gcop_status render(gcop_instance *raw, gcop_str messages, gcop_tokens_fn give, void *ctx, gcop_error *error) {
  return blocking(error, [&]() -> std::optional<Error> {
    const Result<std::vector<int32_t>> tokens = from(raw).render(text(messages));
    if (!tokens) return tokens.error();
    give(ctx, tokens->data(), tokens->size());
    return std::nullopt;
  });
}

void answer_rollout(const gcop_op *op, gcop_rollout_done done, const SampleResult &r) {
  gcop_rollout out{};
  out.struct_size = sizeof out;
  out.status = r.status;
  out.error = view(r.error);
  out.text = view(r.text);
  out.n = r.tokens.size();
  out.tokens = r.tokens.data();
  out.logprobs = r.logprobs.data();
  out.weights_version = r.weights_version;
  out.finish = r.stopped ? GCOP_FINISH_STOP : GCOP_FINISH_LENGTH;
  out.reused = r.reused;
  done(op, &out);
}

void submit(gcop_instance *raw, const gcop_sample_request *in, const gcop_op *op, gcop_rollout_done done) {
  Error wrong;
  try {
    SampleRequest request;
    request.op = op;
    request.weights = or_current(in->weights);
    request.prompt.assign(in->prompt, in->prompt + in->prompt_len);
    request.max_tokens = in->max_tokens;
    request.sampling = {in->temperature, in->top_p, in->top_k, in->seed};
    for (uint32_t i = 0; i < in->n_stop; ++i)
      if (in->stop[i].len) request.stop.push_back(text(in->stop[i]));
    request.done = [op, done](SampleResult &&r) { answer_rollout(op, done, r); };
    std::optional<Error> bad = check_ids(from(raw), in->prompt, in->prompt_len, "prompt");
    if (in->prompt_len == 0)
      bad = invalid("the prompt is empty; a sample needs at least one token");
    else if (in->max_tokens == 0)
      bad = invalid("max_tokens is 0; it must be at least 1");
    else if (!std::isfinite(in->temperature) || in->temperature < 0)
      bad = invalid("temperature is " + std::to_string(in->temperature) + "; it must be 0 (greedy) or more");
    else if (!(in->top_p > 0 && in->top_p <= 1))
      bad = invalid("top_p is " + std::to_string(in->top_p) + "; it must lie in (0, 1]");
    if (!bad) return from(raw).engine().sample(std::move(request));
    wrong = std::move(*bad);
  } catch (...) {
    wrong = current_exception_error();
  }
  SampleResult r;
  r.status = static_cast<gcop_status>(wrong.code);
  r.error = wrong.message;
  answer_rollout(op, done, r);
}

// Runs `start`, which posts a job; what it throws is answered here.
template <class Start, class Refuse>
void starting(Start start, Refuse refuse) noexcept {
  Error failed;
  try {
    return start();
  } catch (...) {
    failed = current_exception_error();
  }
  refuse(failed);
}

void score(gcop_instance *raw, const gcop_score_request *in, const gcop_op *op, gcop_score_done done) {
  using Logprobs = std::vector<float>;
  const auto answer = [op, done](gcop_status status, const std::string &why, const Logprobs *out) {
    done(op, status, view(why), out ? out->data() : nullptr, out ? out->size() : 0);
  };
  Instance &instance = from(raw);
  const auto body = [&instance, in, op]() -> Result<Logprobs> {
    const std::string name = or_current(in->weights);
    const Version *version = instance.engine().weights().find(name);
    if (!version) return instance.engine().weights().unknown(name);
    std::vector<std::span<const int32_t>> sequences;
    for (size_t i = 0; i < in->n; ++i) {
      const uint64_t begin = in->offsets[i], end = in->offsets[i + 1];
      const std::string what = "sequence " + std::to_string(i + 1);
      if (end < begin || static_cast<int64_t>(end - begin) > instance.engine().context())
        return invalid(what + " has " + std::to_string(end - begin) + " tokens and the context holds " +
                       std::to_string(instance.engine().context()));
      if (auto wrong = check_ids(instance, in->tokens + begin, end - begin, what.c_str())) return *wrong;
      sequences.push_back({in->tokens + begin, end - begin});
    }
    Logprobs out(in->n ? in->offsets[in->n] - in->offsets[0] : 0);
    if (!instance.engine().score(*version, sequences, out.data(), [op] { return ended(op).first != GCOP_OK; })) {
      const auto [status, why] = ended(op);
      return Error{static_cast<Code>(status), why, {}};
    }
    if (!std::all_of(out.begin(), out.end(), [](float v) { return !std::isnan(v); }))
      return invalid("the weights \"" + name + "\" give a token no probability (NaN): they have diverged");
    return out;
  };
  starting([&] { post_job<Logprobs>(instance, op, "", body, answer); },
           [&](const Error &e) { answer(static_cast<gcop_status>(e.code), e.message, nullptr); });
}

void train(gcop_instance *raw, const gcop_train_request *in, const gcop_op *op, gcop_train_done done) {
  Instance &instance = from(raw);
  const auto answer = [op, done, &instance](gcop_status status, const std::string &why, const TrainStats *s) {
    gcop_train_result out{};
    out.struct_size = sizeof out;
    out.status = status;
    out.error = view(why);
    if (s) {
      out.loss = s->loss;
      out.kl = s->kl;
      out.entropy = s->entropy;
      out.clip_frac = s->clip_frac;
      out.ratio_max = s->ratio_max;
      out.grad_norm = s->grad_norm;
      out.n_tokens = s->n_tokens;
      out.weights_version = instance.engine().weights().find("current")->number;
    }
    done(op, &out);
  };
  const auto body = [&instance, in, op] { return instance.train(*in, [op] { return ended(op).first != GCOP_OK; }); };
  starting([&] { post_job<TrainStats>(instance, op, "current", body, answer); },
           [&](const Error &e) { answer(static_cast<gcop_status>(e.code), e.message, nullptr); });
}

// Calls without a result. `names` were copied, so that nothing of the host's is read late.
template <class Body>
void plain(gcop_instance *raw, const gcop_op *op, gcop_done done, const std::string &writes, Body body) {
  const auto answer = [op, done](gcop_status status, const std::string &why, const Unit *) {
    done(op, status, view(why));
  };
  starting([&] { post_job<Unit>(from(raw), op, writes, body, answer); },
           [&](const Error &e) { answer(static_cast<gcop_status>(e.code), e.message, nullptr); });
}

void copy(gcop_instance *raw, gcop_str source, gcop_str to, const gcop_op *op, gcop_done done) {
  plain(raw, op, done, text(to),
        [&i = from(raw), source = or_current(source), to = text(to)] { return i.copy(source, to); });
}

void drop(gcop_instance *raw, gcop_str name, const gcop_op *op, gcop_done done) {
  plain(raw, op, done, text(name), [&i = from(raw), name = text(name)] { return i.drop(name); });
}

void save(gcop_instance *raw, gcop_str name, gcop_str dir, uint32_t flags, const gcop_op *op, gcop_done done) {
  plain(raw, op, done, "", [&i = from(raw), name = or_current(name), dir = text(dir), flags] {
    return i.save(name, dir, (flags & GCOP_SAVE_OPTIMIZER) != 0);
  });
}

void load(gcop_instance *raw, gcop_str name, gcop_str dir, const gcop_op *op, gcop_done done) {
  plain(raw, op, done, or_current(name),
        [&i = from(raw), name = or_current(name), dir = text(dir)] { return i.load(name, dir); });
}

void cancel(gcop_instance *raw, const gcop_op *op) { from(raw).engine().cancel(op); }

}  // namespace

gcop_guide guide_table() {
  gcop_guide table{};
  table.struct_size = sizeof table;
  table.identity = identity;
  table.info = info;
  table.encode = encode;
  table.decode = decode;
  table.render = render;
  table.submit = submit;
  table.score = score;
  table.train = train;
  table.copy = copy;
  table.drop = drop;
  table.save = save;
  table.load = load;
  table.cancel = cancel;
  return table;
}

}  // namespace gcop::guide_torch
