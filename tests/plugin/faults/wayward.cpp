// A core, validator and guide that answers as its config says: {"mode": "..."}. Written against the bare C ABI, so
// that it can break the rules which the C++ layer keeps.
//   echo         at once, from inside the starting call
//   twice        two answers
//   never        no answer, not even to cancel
//   late         after the host has given up
//   hold         on another thread, once cancelled: GCOP_CANCELLED
//   after_cancel on another thread, once cancelled: a full answer, and then another one
//   throws       lets an exception out of the starting call
//   nothing      answers with a null result
//   flaky        the first call GCOP_UNAVAILABLE, then like echo
//   denied       GCOP_DENIED with the environment variable WAYWARD_KEY in its message
//   nan          a score that is no number
//   posts        answers from a host worker
//   slow         on another thread, after 5 ms; counts how many run at once
#include <gcop/plugin.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;

struct Wayward {
  const gcop_host *host;
  std::string mode;
  std::atomic<uint32_t> calls{0}, now{0}, most{0};
  std::vector<std::thread> threads;  // starting calls come from one thread in these tests
};

Wayward &self(gcop_instance *raw) { return *reinterpret_cast<Wayward *>(raw); }
gcop_str str(const std::string &s) { return {s.data(), s.size()}; }
std::string text(gcop_str s) { return s.ptr ? std::string(s.ptr, s.len) : std::string(); }

// Calls answer(op, status, message) as the mode says.
template <class Answer>
void behave(Wayward &w, const gcop_op *op, Answer answer) {
  const uint32_t call = ++w.calls;
  if (w.mode == "echo" || w.mode == "nothing" || w.mode == "huge") return answer(GCOP_OK, "");
  if (w.mode == "twice") {
    answer(GCOP_OK, "");
    return answer(GCOP_OK, "");
  }
  if (w.mode == "never") return;
  if (w.mode == "throws") throw std::runtime_error("bad luck");
  if (w.mode == "flaky") return call == 1 ? answer(GCOP_UNAVAILABLE, "the box is busy") : answer(GCOP_OK, "");
  if (w.mode == "cut" || w.mode == "refused" || w.mode == "metered") return answer(GCOP_UNAVAILABLE, "no more came");
  if (w.mode == "denied") return answer(GCOP_DENIED, std::string("key ") + std::getenv("WAYWARD_KEY") + " is refused");
  if (w.mode == "posts") {
    struct Job {
      Answer answer;
    };
    w.host->post(
        w.host,
        [](void *arg) {
          Job *job = static_cast<Job *>(arg);
          job->answer(GCOP_OK, "");
          delete job;
        },
        new Job{answer});
    return;
  }
  const uint32_t now = ++w.now;
  if (now > w.most) w.most = now;
  w.threads.emplace_back([&w, op, answer] {
    while (w.mode != "slow" && !op->cancelled(op)) std::this_thread::sleep_for(1ms);
    if (w.mode == "slow") std::this_thread::sleep_for(5ms);
    --w.now;
    if (w.mode == "late") {
      std::this_thread::sleep_for(50ms);
      return answer(GCOP_OK, "");
    }
    if (w.mode == "hold") return answer(GCOP_CANCELLED, "cancelled");
    answer(GCOP_OK, "");
    if (w.mode == "after_cancel") answer(GCOP_OK, "");
  });
}

void no_cancel(gcop_instance *, const gcop_op *) {}
const std::string kIdentity = "wayward/1";
gcop_str identity(gcop_instance *) { return str(kIdentity); }

void complete(gcop_instance *raw, const gcop_core_request *request, const gcop_op *op, gcop_core_done done) {
  Wayward &w = self(raw);
  // The request is the host's and ends with the first answer; some modes answer after it.
  const std::string asked = " sample " + std::to_string(request->sample_index) + " " + text(request->messages_json);
  behave(w, op, [&w, asked, op, done](gcop_status status, const std::string &message) {
    if (w.mode == "nothing") return done(op, nullptr);
    const std::string answer = "call " + std::to_string(w.calls) + asked, finish = "stop",
                      model = "most " + std::to_string(w.most);
    const gcop_str texts[1] = {str(answer)}, finishes[1] = {str(finish)};
    gcop_core_result out{};
    out.struct_size = sizeof out;
    out.status = status;
    out.error = str(message);
    if (w.mode == "cut" || w.mode == "refused" || w.mode == "metered") {  // sent, and no answer came of it
      out.attempts = 1;
      out.http_status = w.mode == "refused" ? 429 : 200;
      out.input_tokens = 1000;
      out.usage_known = w.mode == "metered";
    }
    if (status == GCOP_OK) {
      out.n_texts = 1;
      out.texts = texts;
      out.finish = finishes;
      out.input_tokens = 1000;
      out.output_tokens = w.mode == "huge" ? uint64_t{1} << 60 : 400;
      out.reasoning_tokens = 100;
      out.usage_known = 1;
      out.attempts = 1;
      out.served_model = str(model);
    }
    done(op, &out);
  });
}

void check(gcop_instance *raw, const gcop_check *request, const gcop_op *op, gcop_check_done done) {
  Wayward &w = self(raw);
  behave(w, op, [&w, request, op, done](gcop_status status, const std::string &message) {
    if (w.mode == "nothing") return done(op, nullptr);
    const std::string feedback = "call " + std::to_string(w.calls) + " " + text(request->candidate);
    gcop_verdict out{};
    out.struct_size = sizeof out;
    out.status = status;
    out.error = str(message);
    out.score = text(request->candidate) == "nan" ? std::nan("") : 0.5;
    out.passed = 1;
    out.total = 2;
    out.feedback = str(feedback);
    done(op, &out);
  });
}

gcop_status encode(gcop_instance *, gcop_str s, gcop_tokens_fn keep, void *ctx, gcop_error *) {
  const std::vector<int32_t> tokens(s.ptr, s.ptr + s.len);
  keep(ctx, tokens.data(), tokens.size());
  return GCOP_OK;
}
gcop_status decode(gcop_instance *, const int32_t *tokens, size_t n, gcop_text_fn keep, void *ctx, gcop_error *error) {
  for (size_t i = 0; i < n; ++i)
    if (tokens[i] > 255) {
      error->code = GCOP_INVALID;
      const std::string message = "token " + std::to_string(tokens[i]) + " is not in the vocabulary";
      message.copy(error->message, sizeof error->message - 1);
      error->message[message.size()] = '\0';
      return GCOP_INVALID;
    }
  keep(ctx, str(std::string(tokens, tokens + n)));
  return GCOP_OK;
}
gcop_status render(gcop_instance *i, gcop_str s, gcop_tokens_fn keep, void *ctx, gcop_error *e) {
  return encode(i, s, keep, ctx, e);
}

void submit(gcop_instance *raw, const gcop_sample_request *r, const gcop_op *op, gcop_rollout_done done) {
  behave(self(raw), op, [r, op, done](gcop_status status, const std::string &message) {
    const std::vector<int32_t> tokens(r->prompt, r->prompt + r->prompt_len);  // says the prompt again
    const std::vector<float> logprobs(tokens.size(), -0.5f);
    const std::string said = text(r->weights) + "|" + (r->n_stop ? text(r->stop[0]) : "");
    gcop_rollout out{};
    out.struct_size = sizeof out;
    out.status = status;
    out.error = str(message);
    out.text = str(said);
    out.n = tokens.size();
    out.tokens = tokens.data();
    out.logprobs = logprobs.data();
    out.weights_version = r->seed;
    out.finish = GCOP_FINISH_LENGTH;
    out.reused = 3;
    done(op, &out);
  });
}
void score(gcop_instance *raw, const gcop_score_request *r, const gcop_op *op, gcop_score_done done) {
  behave(self(raw), op, [r, op, done](gcop_status status, const std::string &message) {
    std::vector<float> out(r->tokens, r->tokens + r->offsets[r->n]);
    done(op, status, str(message), out.data(), out.size());
  });
}
void train(gcop_instance *raw, const gcop_train_request *r, const gcop_op *op, gcop_train_done done) {
  behave(self(raw), op, [r, op, done](gcop_status status, const std::string &message) {
    gcop_train_result out{};
    out.struct_size = sizeof out;
    out.status = status;
    out.error = str(message);
    for (uint64_t i = 0; i < r->offsets[r->n]; ++i) out.n_tokens += r->mask[i];
    out.loss = r->advantages ? static_cast<double>(r->advantages[r->n - 1]) : -1;
    out.kl = r->ref_logprobs ? static_cast<double>(r->ref_logprobs[0]) : -1;
    out.entropy = r->loss->reduction;
    out.clip_frac = static_cast<double>(r->optimizer->lr);
    out.weights_version = r->expect_version + 1;
    done(op, &out);
  });
}
void names(gcop_instance *raw, gcop_str, const gcop_op *op, gcop_done done) {
  behave(self(raw), op, [op, done](gcop_status status, const std::string &message) { done(op, status, str(message)); });
}
void copy(gcop_instance *raw, gcop_str, gcop_str, const gcop_op *op, gcop_done done) { names(raw, {}, op, done); }
void save(gcop_instance *raw, gcop_str, gcop_str, uint32_t, const gcop_op *op, gcop_done done) {
  names(raw, {}, op, done);
}

const gcop_core core = {sizeof(gcop_core), GCOP_CORE_SEED, identity, complete, no_cancel};
const gcop_validator validator = {sizeof(gcop_validator), 0, identity, check, no_cancel};
const gcop_guide guide = {
    sizeof(gcop_guide), 0, identity, identity, encode, decode, render, submit, score, train, copy, names, save, copy,
    no_cancel};

gcop_instance *create(const gcop_host *host, gcop_str config, gcop_error *) {
  auto *w = new Wayward;
  w->host = host;
  const std::string json = text(config), mark = "\"mode\":\"";
  const size_t at = json.find(mark) + mark.size();
  w->mode = json.substr(at, json.find('"', at) - at);
  const std::string hello =
      "created with mode " + w->mode + ", sandbox " + (host->query(host, GCOP_HOST_SANDBOX) ? "there" : "absent");
  host->log(host, GCOP_LOG_INFO, str(hello));
  return reinterpret_cast<gcop_instance *>(w);
}
void destroy(gcop_instance *raw) {
  Wayward *w = &self(raw);
  for (std::thread &thread : w->threads) thread.join();
  w->host->log(w->host, GCOP_LOG_INFO, str("destroyed"));
  delete w;
}
const void *query(gcop_instance *, const char *id) {
  const std::string asked = id;
  if (asked == GCOP_CORE) return &core;
  if (asked == GCOP_VALIDATOR) return &validator;
  if (asked == GCOP_GUIDE) return &guide;
  return nullptr;
}

const gcop_plugin descriptor = {sizeof(gcop_plugin),     GCOP_ABI_MAJOR, GCOP_ABI_MINOR, "test.wayward", "1.0.0",
                                "answers as it is told", "{}",           create,         destroy,        query};

}  // namespace

GCOP_EXPORT const gcop_plugin *gcop_plugin_entry(uint32_t, uint32_t) { return &descriptor; }
