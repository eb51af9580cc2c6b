// Logits and greedy output of real models equal transformers' (tests/reference/greedy_golden.py), the latter up to the
// first near-tie; and what makes training on samples exact holds for them too. A part by default, all of it with
// GCOP_FULL=1. Skips, and says so, where a model is absent.
#include <chrono>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "plugged.hpp"
#include "probe.hpp"

using namespace plugged;
using nlohmann::json;

namespace {

const bool full = std::getenv("GCOP_FULL") != nullptr;

struct Real {
  const char *golden, *name, *file, *short_name;
  std::string find() const {
    const std::string path = find_model(name, file, short_name);
    if (path.empty()) MESSAGE("skipped: " << name << " is not on this machine");
    return path;
  }
  json reference() const {
    std::ifstream in(std::string(GCOP_SOURCE_DIR) + "/tests/guide_torch/golden/" + golden);
    REQUIRE(in);
    return json::parse(in);
  }
};
const Real kSmol = {"greedy_smollm2.json", "smollm2-135m-instruct", "SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2.gguf"};
const Real kQwen = {"greedy_qwen05.json", "qwen2.5-coder-0.5b-instruct", "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
                    "qwen05.gguf"};

// Of the first n cases at most `tokens`, `together` at a time; how many tokens were compared.
size_t greedy(const json &reference, const Model &m, size_t n, uint32_t tokens, size_t together) {
  size_t compared = 0;
  Ask ask;
  ask.max_tokens = tokens;
  for (size_t first = 0; first < n; first += together) {
    std::vector<std::unique_ptr<Rollout>> all;
    for (size_t i = first; i < std::min(n, first + together); ++i)
      all.push_back(m.start(reference["cases"][i]["prompt"], ask));
    for (size_t i = 0; i < all.size(); ++i) {
      all[i]->wait();
      REQUIRE_MESSAGE(all[i]->status == GCOP_OK, all[i]->error);
      const json &c = reference["cases"][first + i];
      CAPTURE(first + i);
      std::vector<int32_t> want = c["tokens"], got = all[i]->tokens;
      const bool whole = want.size() <= tokens && c["end"] == "stop";
      CHECK((all[i]->finish == GCOP_FINISH_STOP) == (whole || (c["end"] == "tie" && got.size() < tokens)));
      if (!whole) {  // after a near-tie it may go on in another way
        REQUIRE(got.size() >= std::min<size_t>(want.size(), tokens));
        got.resize(std::min(want.size(), got.size()));
        want.resize(got.size());
      }
      const auto apart = std::mismatch(want.begin(), want.end(), got.begin(), got.end()).first - want.begin();
      CHECK_MESSAGE(got == want, "token " << apart << " of " << want.size());
      compared += got.size();
    }
  }
  return compared;
}

void compare(const Real &real) {
  const std::string path = real.find();
  if (path.empty()) return;
  const json reference = real.reference();
  REQUIRE(reference["cases"].size() == 50);
  const size_t n = full ? 50 : 16;
  const uint32_t tokens = full ? reference["most"].get<uint32_t>() : 24;
  size_t compared = 0;
  {
    const Model m(json{{"model", path}, {"max_batch", 32}, {"training", false}}.dump());
    for (const json &c : reference["cases"])
      CHECK(m.render(c["messages"].dump()) == c["prompt"].get<std::vector<int32_t>>());
    compared += greedy(reference, m, n, tokens, 50);
    compared += greedy(reference, m, n, full ? tokens : 3, 7);  // beginnings are remembered now
  }
  const Model m(json{{"model", path}, {"max_batch", 32}, {"prefix_reuse", false}, {"training", false}}.dump());
  compared += greedy(reference, m, full ? n : 6, tokens, 50);
  compared += greedy(reference, m, full ? n : 3, tokens, 1);
  CHECK(compared > (full ? 25 * tokens : 300));
  MESSAGE(std::string(real.name) << ": " << compared << " tokens equal");
}

void compare_logits(const Real &real) {
  const std::string path = real.find();
  if (path.empty()) return;
  const json reference = real.reference();
  tiny::Probe probe(path);
  double worst = 0;
  REQUIRE(reference["logits"].size() == 4);
  for (const json &l : reference["logits"]) {
    const json &c = reference["cases"][l["case"].get<size_t>()];
    std::vector<int32_t> tokens = c["prompt"];
    if (!full && tokens.size() > 100) continue;
    for (const json &t : c["tokens"]) tokens.push_back(t);
    const std::vector<int> positions = l["positions"];
    tokens.resize(static_cast<size_t>(positions.back()) + 1);
    const std::vector<std::vector<float>> got = probe.logits(tokens, positions);
    for (size_t i = 0; i < positions.size(); ++i) {
      double sum = 0;
      for (float v : got[i]) sum += std::exp(static_cast<double>(v));
      worst = std::max(worst, std::abs(std::log(sum) - l["logsumexp"][i].get<double>()));
      const std::vector<double> want = l["rows"][i];
      REQUIRE(want.size() == (got[i].size() + 996) / 997);
      for (size_t k = 0; k < want.size(); ++k)
        worst = std::max(worst, std::abs(want[k] - static_cast<double>(got[i][997 * k])));
    }
  }
  CHECK(worst <= 1e-3);
  MESSAGE(std::string(real.name) << ": largest difference " << worst);
}

}  // namespace

TEST_CASE("smollm2-135m-instruct: logits are transformers'") { compare_logits(kSmol); }
TEST_CASE("qwen2.5-coder-0.5b-instruct: logits are transformers'") { compare_logits(kQwen); }
TEST_CASE("smollm2-135m-instruct writes what transformers writes") { compare(kSmol); }
TEST_CASE("qwen2.5-coder-0.5b-instruct writes what transformers writes") { compare(kQwen); }

TEST_CASE("smollm2-135m-instruct: the same seeds, the same tokens, whatever the threads, the batch and the order") {
  const std::string path = kSmol.find();
  if (path.empty()) return;
  const json reference = kSmol.reference();
  const size_t n = full ? 50 : 5;
  std::vector<std::pair<std::vector<int32_t>, std::vector<float>>> first;
  for (const auto &[threads, batch, backwards] : {std::tuple{2, 64, false}, std::tuple{1, 3, true}}) {
    const Model m(json{{"model", path}, {"threads", threads}, {"max_batch", batch}}.dump());
    std::vector<std::unique_ptr<Rollout>> all(n);
    Ask ask;
    ask.temperature = 1;
    ask.max_tokens = full ? 64 : 12;
    for (size_t k = 0; k < n; ++k) {
      const size_t i = backwards ? n - 1 - k : k;
      ask.seed = i;
      all[i] = m.start(reference["cases"][i]["prompt"], ask);
    }
    for (size_t i = 0; i < n; ++i) {
      all[i]->wait();
      REQUIRE_MESSAGE(all[i]->status == GCOP_OK, all[i]->error);
      if (first.size() < n) first.emplace_back(all[i]->tokens, all[i]->logprobs);
      CHECK(all[i]->tokens == first[i].first);
      CHECK(all[i]->logprobs == first[i].second);
    }
  }
}

TEST_CASE("smollm2-135m-instruct: log-probabilities of samples are those that training computes, bit for bit") {
  const std::string path = kSmol.find();
  if (path.empty()) return;
  const json reference = kSmol.reference();
  const Model m(json{{"model", path}}.dump());
  Ask ask;
  ask.temperature = 1;
  ask.max_tokens = full ? 256 : 96;
  const std::vector<int32_t> prompt = reference["cases"][full ? 20 : 0]["prompt"];  // 20 is a long one
  std::vector<std::unique_ptr<Rollout>> group;
  for (uint64_t i = 0; i < (full ? 4 : 3); ++i) {
    ask.seed = i;
    group.push_back(m.start(prompt, ask));
  }
  Batch b;
  for (auto &r : group) {
    r->wait();
    REQUIRE_MESSAGE(r->status == GCOP_OK, r->error);
    b.add(prompt, r->tokens);
    b.old_logprobs.resize(b.old_logprobs.size() + prompt.size());
    b.old_logprobs.insert(b.old_logprobs.end(), r->logprobs.begin(), r->logprobs.end());
    b.advantages.push_back(1);
  }
  b.ref_logprobs = b.old_logprobs;
  gcop_loss_options o = Model::policy();
  o.kl_beta = 1;
  const Trained t = m.train(b, o, Model::adamw(0), group[0]->version);
  REQUIRE_MESSAGE(t.status == GCOP_OK, t.error);
  // With d = sampled - trained: ratio_max = exp(max -d), and kl is the mean of exp(d) - d - 1.
  CHECK(t.result.ratio_max == 1);
  CHECK(t.result.kl == 0);
  CHECK(t.result.n_tokens > 40);
}
