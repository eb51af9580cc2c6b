// Greedy output of real models equals transformers' (tests/reference/greedy_golden.py), up to the first near-tie.
// Skips, and says so, where a model is absent.
#include <fstream>
#include <nlohmann/json.hpp>

#include "plugged.hpp"

using namespace plugged;

namespace {

constexpr double kNearTie = 1e-3;  // distance of the best two logits below which rounding may decide

void compare(const std::string &golden, const std::string &model) {
  if (model.empty()) {
    MESSAGE("skipped: the model of " << golden << " is not on this machine");
    return;
  }
  std::ifstream file(std::string(GCOP_SOURCE_DIR) + "/tests/guide_torch/golden/" + golden);
  REQUIRE(file);
  const nlohmann::json reference = nlohmann::json::parse(file);
  const Model m(nlohmann::json{{"model", model}}.dump());
  REQUIRE(reference["cases"].size() == 20);
  std::vector<std::unique_ptr<Rollout>> all;
  Ask ask;
  ask.max_tokens = 48;
  for (const auto &c : reference["cases"]) {
    const std::vector<int32_t> prompt = c["prompt"];
    CHECK(m.render(c["messages"].dump()) == prompt);
    all.push_back(m.start(prompt, ask));
  }
  size_t compared = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    all[i]->wait();
    REQUIRE_MESSAGE(all[i]->status == GCOP_OK, all[i]->error);
    const std::vector<int32_t> want = reference["cases"][i]["tokens"];
    const std::vector<double> gaps = reference["cases"][i]["gaps"];
    for (size_t t = 0; t < all[i]->tokens.size() && gaps[t] >= kNearTie; ++t, ++compared)
      REQUIRE_MESSAGE(all[i]->tokens[t] == want[t], "prompt " << i << ", token " << t << ", gap " << gaps[t]);
    if (all[i]->finish == GCOP_FINISH_LENGTH) CHECK(all[i]->tokens.size() == 48);
  }
  CHECK(compared > 300);
  MESSAGE(golden << ": " << compared << " tokens equal");
}

}  // namespace

TEST_CASE("smollm2-135m-instruct writes what transformers writes") {
  compare("greedy_smollm2.json",
          find_model("smollm2-135m-instruct", "SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2.gguf"));
}

TEST_CASE("qwen2.5-coder-0.5b-instruct writes what transformers writes") {
  compare("greedy_qwen05.json",
          find_model("qwen2.5-coder-0.5b-instruct", "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf", "qwen05.gguf"));
}
