// The guide engine's side of `./dev bench guide`: reads one piece of work a line as JSON, does it through the plugin's
// C interfaces, and prints what it took as one JSON line. Models stay loaded between lines.
#define DOCTEST_CONFIG_IMPLEMENT
#include <chrono>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "../guide_torch/plugged.hpp"

namespace {

using Json = nlohmann::json;
using plugged::Model;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Megabytes of this process: "VmRSS" now, "VmHWM" at most.
double memory(const std::string &key) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(key + ":")) return std::stod(line.substr(key.size() + 1)) / 1024;
  return 0;
}

const Model &model(const Json &config) {
  static std::map<std::string, std::unique_ptr<Model>> loaded;
  auto &slot = loaded[config.dump()];
  if (!slot) slot = std::make_unique<Model>(config.dump());
  return *slot;
}

using Prompts = std::vector<std::vector<int32_t>>;

// All prompts at once; tokens sampled and the seconds until the last answer.
std::pair<size_t, double> sample(const Model &m, const Prompts &prompts, uint32_t max_tokens, float temperature,
                                 uint64_t seed) {
  const double start = now();
  std::vector<std::unique_ptr<plugged::Rollout>> rollouts;
  for (const auto &prompt : prompts)
    rollouts.push_back(m.start(prompt, {.max_tokens = max_tokens, .temperature = temperature, .seed = seed++}));
  size_t tokens = 0;
  for (const auto &r : rollouts) {
    r->wait();
    if (r->status != GCOP_OK) throw std::runtime_error(r->error);
    tokens += r->tokens.size();
  }
  return {tokens, now() - start};
}

// {"prompts":[[ids]],"max_tokens":n}: the whole, and apart from it what the prompts and one token take.
Json run_sample(const Json &job) {
  const Model &m = model(job["model"]);
  static uint64_t seed = 1;  // a new one each time; prompts are dropped in between by the changed weights' version
  const Prompts prompts = job["prompts"];
  const auto fresh = [&] {
    if (m.copy("current", "current").status != GCOP_OK) throw std::runtime_error("copy failed");
  };
  fresh();
  const auto [first, prefill] = sample(m, prompts, 1, 1, seed);
  fresh();
  const auto [tokens, seconds] = sample(m, prompts, job["max_tokens"], job.value("temperature", 1.0f), seed);
  seed += prompts.size();
  return {{"tokens", tokens},
          {"seconds", seconds},
          {"prefill_seconds", prefill},
          {"decode_tokens", tokens - first},
          {"decode_seconds", seconds - prefill}};
}

struct Reply : plugged::Pending {
  gcop_status status = -1;
  std::string error;
  uint64_t input = 0, output = 0;
};

// Chats in flight together: tokens in, tokens out and the seconds until the last answer.
struct Answered {
  uint64_t input = 0, output = 0;
  double seconds = 0;
};
Answered answer(const Model &m, const std::vector<std::string> &messages, uint32_t max_tokens) {
  const double start = now();
  std::vector<std::unique_ptr<Reply>> replies;
  for (const std::string &chat : messages) {
    replies.push_back(std::make_unique<Reply>());
    gcop_core_request q{};
    q.struct_size = sizeof q;
    q.messages_json = plugged::view(chat);
    q.max_tokens = max_tokens;
    q.top_p = 1;
    q.n_choices = 1;
    m.core->complete(m.raw, &q, &replies.back()->op, [](const gcop_op *op, const gcop_core_result *out) {
      auto &me = static_cast<Reply &>(plugged::Pending::of(op));
      me.status = out->status;
      me.error = plugged::text(out->error);
      me.input = out->input_tokens;
      me.output = out->output_tokens;
      me.answered();
    });
  }
  Answered all;
  for (const auto &r : replies) {
    r->wait();
    if (r->status != GCOP_OK) throw std::runtime_error(r->error);
    all.input += r->input;
    all.output += r->output;
  }
  all.seconds = now() - start;
  return all;
}

// {"texts":[...],"max_tokens":n}: the whole, and apart from it what the prompts and one token take. Give the model
// "prefix_reuse":false, so that no prompt is remembered.
Json run_core(const Json &job) {
  const Model &m = model(job["model"]);
  std::vector<std::string> messages;
  for (const std::string text : job["texts"])
    messages.push_back(Json::array({{{"role", "user"}, {"content", text}}}).dump());
  const Answered first = answer(m, messages, 1), whole = answer(m, messages, job["max_tokens"]);
  return {{"tokens", whole.output},
          {"input_tokens", whole.input},
          {"seconds", whole.seconds},
          {"decode_tokens", whole.output - first.output},
          {"decode_seconds", whole.seconds - first.seconds},
          {"mb", memory("VmRSS")},
          {"peak_mb", memory("VmHWM")}};
}

// {"sequences":[[ids]],"prompt":n}: one step of training on all tokens after the first n; SFT.
Json run_train(const Json &job) {
  const Model &m = model(job["model"]);
  plugged::Batch batch;
  for (const std::vector<int32_t> sequence : job["sequences"]) {
    const auto border = sequence.begin() + std::max<int64_t>(1, job.value("prompt", int64_t{1}));
    batch.add({sequence.begin(), border}, {border, sequence.end()});
  }
  const double start = now();
  const plugged::Trained done = m.train(batch, Model::nll(), Model::adamw(1e-6f));
  if (done.status != GCOP_OK) throw std::runtime_error(done.error);
  return {{"tokens", batch.tokens.size()}, {"seconds", now() - start}, {"loss", done.result.loss}};
}

// {"prompts":[[ids]],"group":n,"max_tokens":n}: sample, score the reference, train with KL.
Json run_grpo(const Json &job) {
  const Model &m = model(job["model"]);
  if (m.copy("current", "reference").status != GCOP_OK) throw std::runtime_error("copy failed");
  static uint64_t seed = 1000;
  const double start = now();
  std::vector<std::unique_ptr<plugged::Rollout>> rollouts;
  const Prompts prompts = job["prompts"];
  for (const auto &prompt : prompts)
    for (int i = 0; i < job["group"]; ++i)
      rollouts.push_back(m.start(prompt, {.max_tokens = job["max_tokens"], .temperature = 1, .seed = seed++}));
  plugged::Batch batch;
  Prompts whole;
  size_t tokens = 0;
  for (const auto &r : rollouts) {
    r->wait();
    if (r->status != GCOP_OK) throw std::runtime_error(r->error);
    batch.add(r->prompt, r->tokens);
    batch.old_logprobs.insert(batch.old_logprobs.end(), r->prompt.size(), 0.0f);
    batch.old_logprobs.insert(batch.old_logprobs.end(), r->logprobs.begin(), r->logprobs.end());
    batch.advantages.push_back(batch.advantages.size() % 2 ? 1.0f : -1.0f);
    whole.push_back(r->prompt);
    whole.back().insert(whole.back().end(), r->tokens.begin(), r->tokens.end());
    tokens += r->tokens.size();
  }
  const double sampled = now();
  if (m.score(whole, &batch.ref_logprobs, "reference").status != GCOP_OK) throw std::runtime_error("score failed");
  const double scored = now();
  gcop_loss_options loss = Model::policy();
  loss.max_len = job["max_tokens"];
  loss.kl_beta = 0.04f;
  const plugged::Trained done = m.train(batch, loss, Model::adamw(1e-6f));
  if (done.status != GCOP_OK) throw std::runtime_error(done.error);
  return {{"tokens", tokens},
          {"seconds", now() - start},
          {"sample_seconds", sampled - start},
          {"reference_seconds", scored - sampled},
          {"train_seconds", now() - scored}};
}

// {"model":config}: in a process that has loaded nothing yet, until the first logits.
Json run_load(const Json &job) {
  const double start = now();
  const Model m(job["model"].dump());
  std::vector<float> logprobs;
  if (m.score({{1, 2, 3, 4}}, &logprobs).status != GCOP_OK) throw std::runtime_error("score failed");
  return {{"seconds", now() - start}, {"logprob", logprobs[3]}};
}

Json run(const Json &job) {
  const std::string work = job["work"];
  if (work == "sample") return run_sample(job);
  if (work == "core") return run_core(job);
  if (work == "train") return run_train(job);
  if (work == "grpo") return run_grpo(job);
  if (work == "load") return run_load(job);
  if (work == "save") {  // weights as a Hugging Face directory, for the peer
    if (model(job["model"]).save("current", job["dir"]).status != GCOP_OK) throw std::runtime_error("save failed");
    return Json::object();
  }
  throw std::runtime_error("no work named " + work);
}

}  // namespace

int main() {
  doctest::Context context;  // plugged.hpp asserts; outside of a test case that ends the process
  context.setAsDefaultForAssertsOutOfTestCases();
  for (std::string line; std::getline(std::cin, line);) {
    Json answer;
    try {
      answer = run(Json::parse(line));
    } catch (const std::exception &e) {
      answer = {{"error", e.what()}};
    }
    std::cout << answer.dump() << std::endl;
  }
}
