// Logits of the engine's own forward pass beside transformers', for every architecture, rotary variant and way of
// storing weights (tests/reference/tiny_models.py).
#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>

#include "one_pass.hpp"
#include "plugged.hpp"
#include "probe.hpp"
#include "tiny_model.hpp"

using namespace gcop::guide_torch;
using tiny::Probe;

namespace {

// The mean negative log-likelihood of tokens [from, end), as a training step computes it; adds to the gradients.
double trained_loss(const Probe &probe, const std::vector<int32_t> &tokens, size_t from, size_t end, Arena &gradients,
                    bool recompute = false) {
  std::vector<uint8_t> mask(tokens.size());
  std::fill(mask.begin() + static_cast<std::ptrdiff_t>(from), mask.begin() + static_cast<std::ptrdiff_t>(end), 1);
  const uint64_t offsets[] = {0, tokens.size()};
  gcop_loss_options options{};
  options.struct_size = sizeof options;
  gcop_train_request request{};
  request.struct_size = sizeof request;
  request.n = 1;
  request.offsets = offsets;
  request.tokens = tokens.data();
  request.mask = mask.data();
  request.loss = &options;
  return tiny::one_pass(probe, request, LossScale{1, end - from}, gradients, recompute).loss;
}

}  // namespace

TEST_CASE("logits equal transformers' for every architecture, rotary variant and stored type") {
  std::ifstream file(GCOP_SOURCE_DIR "/tests/guide_torch/golden/tiny_models.json");
  const nlohmann::json golden = nlohmann::json::parse(file);
  REQUIRE(golden.size() == 7);
  double worst = 0;
  for (const auto &model : golden) {
    CAPTURE(model["name"].get<std::string>());
    std::vector<std::vector<float>> first;
    for (const auto &[dtype, shards] : {std::pair{"F32", 1}, std::pair{"BF16", 3}, std::pair{"F16", 1}}) {
      CAPTURE(dtype);
      const tiny::Directory directory(model["config"], dtype, static_cast<size_t>(shards));
      Probe probe(directory.path());
      const std::vector<std::vector<float>> got = probe.logits(model["tokens"]);
      if (first.empty())
        first = got;
      else
        CHECK(got == first);  // the values are such that all three types hold them exactly
    }
    for (size_t i = 0; i < model["positions"].size(); ++i) {
      const std::vector<double> want = model["logits"][i];
      REQUIRE(want.size() == 87);
      for (size_t j = 0; j < want.size(); ++j)
        worst = std::max(worst, std::abs(want[j] - static_cast<double>(first[model["positions"][i]][3 * j])));
    }
    CHECK(worst <= 1e-3);
  }
  MESSAGE("largest difference " << worst);
}

TEST_CASE("the loss and every parameter's gradient equal those of torch's autograd on transformers' models") {
  std::ifstream file(GCOP_SOURCE_DIR "/tests/guide_torch/golden/tiny_models.json");
  for (const auto &model : nlohmann::json::parse(file)) {
    CAPTURE(model["name"].get<std::string>());
    const tiny::Directory directory(model["config"], "F32", 1);
    const Probe probe(directory.path());
    const std::vector<int32_t> tokens = model["tokens"];
    Arena gradients(probe.layout.floats);
    const double loss = trained_loss(probe, tokens, model["prompt"], tokens.size(), gradients);
    CHECK(loss == doctest::Approx(model["loss"].get<double>()).epsilon(1e-6));
    Arena again(probe.layout.floats);  // layers computed a second time: the same bits
    CHECK(trained_loss(probe, tokens, model["prompt"], tokens.size(), again, true) == loss);
    CHECK(std::memcmp(again.data(), gradients.data(), gradients.size() * sizeof(float)) == 0);
    CHECK(model["gradients"].size() == probe.layout.parameters.size());
    for (const Parameter &p : probe.layout.parameters) {
      CAPTURE(p.name);
      double square = 0;
      const float *const g = gradients.data() + p.offset;
      for (size_t i = 0; i < p.count; ++i) square += static_cast<double>(g[i]) * static_cast<double>(g[i]);
      const std::vector<double> want = model["gradients"][p.name];
      CHECK(std::sqrt(square) == doctest::Approx(want[0]).epsilon(2e-5));
      CHECK(std::abs(static_cast<double>(g[0]) - want[1]) <= 1e-5 * (want[0] + std::abs(want[1])));
    }
  }
}

TEST_CASE("a trained model's saved directory holds the weights that the guide computes with") {
  // With GCOP_SAVE_FULL=DIR the directories stay there, for tests/reference/tiny_models.py --check DIR.
  const char *const keep = std::getenv("GCOP_SAVE_FULL");
  const plugged::TempDir temp;
  std::ifstream file(GCOP_SOURCE_DIR "/tests/guide_torch/golden/tiny_models.json");
  for (const auto &model : nlohmann::json::parse(file)) {
    CAPTURE(model["name"].get<std::string>());
    std::string name = model["name"];
    std::replace(name.begin(), name.end(), '/', '-');
    const std::string here = (keep ? std::string(keep) : temp.path) + "/" + name;
    const tiny::Directory directory(model["config"], "BF16", 1);
    const plugged::Model guide(nlohmann::json{{"model", directory.path()}, {"threads", 2}}.dump());
    const std::vector<int32_t> tokens = model["tokens"];
    std::vector<float> before, after;
    REQUIRE(guide.score({tokens}, &before).status == GCOP_OK);
    plugged::Batch b;
    b.add({tokens.begin(), tokens.begin() + 20}, {tokens.begin() + 20, tokens.end()});
    for (int i = 0; i < 2; ++i)
      REQUIRE(guide.train(b, plugged::Model::nll(), plugged::Model::adamw(1e-3f)).status == GCOP_OK);
    REQUIRE(guide.score({tokens}, &after).status == GCOP_OK);
    CHECK(before != after);
    const plugged::Plain saved = guide.save("current", here);
    REQUIRE_MESSAGE(saved.status == GCOP_OK, saved.error);
    Probe probe(here);
    const std::vector<std::vector<float>> logits = probe.logits(tokens);
    for (size_t i = 1; i < tokens.size(); ++i) {
      double sum = 0;
      for (float v : logits[i - 1]) sum += std::exp(static_cast<double>(v));
      CHECK(std::abs(static_cast<double>(logits[i - 1][static_cast<size_t>(tokens[i])]) - std::log(sum) -
                     static_cast<double>(after[i])) <= 1e-5);
    }
    const std::string text = "bytes: \xc3\xa9 <|im_end|> and more";
    if (keep)
      std::ofstream(here + "/guide.json")
          << nlohmann::json{{"tokens", tokens}, {"logits", logits}, {"text", text}, {"ids", guide.encode(text)}};
  }
}

TEST_CASE("the log-probability that comes with a sampled token is the one that training computes") {
  std::ifstream file(GCOP_SOURCE_DIR "/tests/guide_torch/golden/tiny_models.json");
  double worst = 0;
  for (const auto &model : nlohmann::json::parse(file)) {
    CAPTURE(model["name"].get<std::string>());
    const tiny::Directory directory(model["config"], "BF16", 1);
    const Probe probe(directory.path());
    const plugged::Model guide(nlohmann::json{{"model", directory.path()}}.dump());
    std::vector<int32_t> tokens = model["tokens"];
    plugged::Ask ask;
    ask.temperature = 1.3f;  // the stored one is at temperature 1 all the same
    ask.max_tokens = 24;
    const auto rollout = guide.sample(tokens, ask);
    REQUIRE(rollout->status == GCOP_OK);
    REQUIRE(!rollout->tokens.empty());
    const size_t prompt = tokens.size();
    tokens.insert(tokens.end(), rollout->tokens.begin(), rollout->tokens.end());
    Arena gradients(probe.layout.floats);
    for (size_t i = prompt; i < tokens.size(); ++i)
      worst = std::max(worst, std::abs(trained_loss(probe, tokens, i, i + 1, gradients) +
                                       static_cast<double>(rollout->logprobs[i - prompt])));
  }
  CHECK(worst <= 1e-5);
  MESSAGE("largest difference " << worst);
}
