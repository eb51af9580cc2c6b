// From rewards to gradients and steps against plain PyTorch (tests/reference/policy_loss.py) and against one step of
// TRL's trainers (tests/reference/trl_step.py).
#include <cmath>
#include <filesystem>
#include <fstream>

#include "one_pass.hpp"
#include "plugged.hpp"
#include "probe.hpp"
#include "tiny_model.hpp"
#include "trainer/advantages.hpp"

using namespace plugged;
using gcop::guide_torch::Arena;
using gcop::guide_torch::Backward;
using gcop::guide_torch::LossScale;
using gcop::guide_torch::Parameter;
using nlohmann::json;

namespace {

json golden(const char *name) {
  std::ifstream file(std::string(GCOP_SOURCE_DIR) + "/tests/guide_torch/golden/" + name);
  REQUIRE(file);
  return json::parse(file);
}

Batch batch_of(const json &sequences, const std::string &scaling) {
  Batch b;
  std::vector<std::optional<double>> rewards;
  std::vector<int64_t> groups;
  for (const json &s : sequences) {
    for (int32_t t : s["tokens"]) b.tokens.push_back(t);
    for (int k : s["mask"]) b.mask.push_back(static_cast<uint8_t>(k));
    for (float x : s["old"]) b.old_logprobs.push_back(x);
    for (float x : s["ref"]) b.ref_logprobs.push_back(x);
    b.offsets.push_back(b.tokens.size());
    rewards.push_back(s["reward"].is_null() ? std::optional<double>() : s["reward"].get<double>());
    groups.push_back(s["group"]);
  }
  const auto advantages = gcop::trainer::advantages(rewards, groups, *gcop::trainer::scaling_from(scaling));
  REQUIRE(advantages);
  b.advantages.assign(advantages->values.begin(), advantages->values.end());
  return b;
}

gcop_loss_options options_of(const json &c, uint32_t max_len, const json &clip) {
  gcop_loss_options o = Model::policy();
  o.objective = c["policy"].get<bool>() ? GCOP_OBJECTIVE_POLICY : GCOP_OBJECTIVE_NLL;
  o.reduction = c["reduction"] == "dr_grpo" ? GCOP_REDUCE_DR_GRPO
                : c["reduction"] == "dapo"  ? GCOP_REDUCE_DAPO
                                            : GCOP_REDUCE_GRPO;
  o.ratio_level = c["ratio"] == "sequence" ? GCOP_RATIO_SEQUENCE : GCOP_RATIO_TOKEN;
  o.clip_low = clip[0];
  o.clip_high = clip[1];
  o.clip_delta = clip[2];
  o.kl_beta = c["kl_beta"];
  o.max_len = max_len;
  return o;
}

// What a case trains on, of the reference's sequences; a case that does not say is off policy.
std::pair<Batch, gcop_loss_options> case_of(const json &reference, const json &c) {
  Batch b = batch_of(reference["sequences"], c["scaling"]);
  const gcop_loss_options o = options_of(c, reference["max_len"], reference["clips"][c["clip"].get<std::string>()]);
  if (!c.value("old", true)) b.old_logprobs.clear();
  if (o.kl_beta == 0) b.ref_logprobs.clear();
  return {std::move(b), o};
}

// The whole gradient, which the plugin keeps to itself.
void gradient_of(const tiny::Probe &probe, const Batch &b, const gcop_loss_options &o, Arena &gradients) {
  const gcop_train_request q = b.request(o);
  size_t masked = 0;
  for (uint8_t m : b.mask) masked += m;
  tiny::one_pass(probe, q, LossScale{q.n, masked}, gradients);
}

}  // namespace

TEST_CASE("losses, gradients and steps equal the reference's, from rewards on") {
  const json reference = golden("policy_loss.json");
  const tiny::Directory directory(reference["config"], "F32", 1);
  const tiny::Probe probe(directory.path());
  const std::string config = json{{"model", directory.path()}, {"threads", 2}}.dump();
  const Model m(config);
  std::vector<std::vector<double>> probes(2);
  for (size_t k = 0; k < 2; ++k) {
    double square = 0;
    probes[k].resize(probe.layout.floats);
    for (const Parameter &p : probe.layout.parameters) {
      const std::vector<float> v = tiny::weights({"probe" + std::to_string(k) + "." + p.name, p.shape});
      for (size_t i = 0; i < v.size(); ++i)
        probes[k][p.offset + i] = v[i], square += static_cast<double>(v[i]) * static_cast<double>(v[i]);
    }
    for (double &v : probes[k]) v /= std::sqrt(square);
  }
  double worst = 0;
  REQUIRE(reference["cases"].size() == 127);
  for (const json &c : reference["cases"]) {
    CAPTURE(c.dump());
    const auto [b, o] = case_of(reference, c);
    const Trained t = m.train(b, o, Model::adamw(0));  // measures and changes nothing
    REQUIRE_MESSAGE(t.status == GCOP_OK, t.error);
    const auto same = [&](double ours, const char *what) {
      const double theirs = c[what], off = std::abs(ours - theirs) / (1 + std::abs(theirs));
      CHECK_MESSAGE(off <= 1e-5, what << ": " << ours << " and " << theirs);
      worst = std::max(worst, off);
    };
    same(t.result.loss, "loss");
    same(t.result.kl, "kl");
    same(t.result.entropy, "entropy");
    same(t.result.clip_frac, "clip_frac");
    same(t.result.ratio_max, "ratio_max");
    const double norm = c["grad_norm"];
    CHECK(t.result.grad_norm == doctest::Approx(norm).epsilon(1e-5));
    Arena gradients(probe.layout.floats);
    gradient_of(probe, b, o, gradients);
    double square = 0, dots[2] = {};
    for (size_t i = 0; i < probe.layout.floats; ++i) {
      const double g = static_cast<double>(gradients.data()[i]);
      square += g * g;
      for (size_t k = 0; k < 2; ++k) dots[k] += g * probes[k][i];
    }
    CHECK(std::sqrt(square) == doctest::Approx(norm).epsilon(1e-5));
    for (size_t k = 0; k < 2; ++k) {
      const double off = std::abs(dots[k] - c["probes"][k].get<double>()) / norm;
      CHECK(off <= 1e-5);
      worst = std::max(worst, off);
    }
  }
  MESSAGE("largest difference " << worst);

  const Model fresh(config);
  gcop_optimizer_options adamw = Model::adamw(1e-3f);
  adamw.weight_decay = 0.1f;
  adamw.max_grad_norm = 0.5f;
  Batch b = batch_of(reference["sequences"], "none");
  b.old_logprobs.clear();
  b.ref_logprobs.clear();
  for (int i = 0; i < 3; ++i) REQUIRE(fresh.train(b, Model::nll(), adamw).status == GCOP_OK);
  for (size_t i = 0; i < reference["sequences"].size(); ++i) {
    std::vector<float> ours;
    REQUIRE(fresh.score({reference["sequences"][i]["tokens"]}, &ours).status == GCOP_OK);
    const std::vector<float> theirs = reference["after_adamw"][i];
    REQUIRE(ours.size() == theirs.size() + 1);
    for (size_t t = 0; t < theirs.size(); ++t) CHECK(std::abs(ours[t + 1] - theirs[t]) <= 2e-3f);
  }
}

TEST_CASE("losses and gradient norms on the device's path equal the reference's") {
  if (!std::filesystem::exists(GCOP_BIN_DIR "/plugins/libguide_torch_device.so")) {
    MESSAGE("skipped: this build is without LibTorch's half");
    return;
  }
  const json reference = golden("policy_loss.json");
  const tiny::Directory directory(reference["config"], "F32", 1);
  const Model m(on_device(json{{"model", directory.path()}, {"threads", 2}}.dump(), "fp32"));
  for (const json &c : reference["cases"]) {
    CAPTURE(c.dump());
    const auto [b, o] = case_of(reference, c);
    const Trained t = m.train(b, o, Model::adamw(0));
    REQUIRE_MESSAGE(t.status == GCOP_OK, t.error);
    CHECK(std::abs(t.result.loss - c["loss"].get<double>()) <= 1e-4);
    CHECK(t.result.grad_norm == doctest::Approx(c["grad_norm"].get<double>()).epsilon(1e-4));
  }
}

TEST_CASE("one step of TRL's GRPOTrainer and SFTTrainer on the same batch: the same loss and gradient norm") {
  const json reference = golden("policy_loss.json"), trl = golden("trl_step.json");
  const tiny::Directory directory(reference["config"], "F32", 1);
  const Model m(json{{"model", directory.path()}, {"threads", 2}}.dump());
  REQUIRE(trl["grpo"].size() == 24);
  for (const json &c : trl["grpo"]) {
    CAPTURE(c.dump());
    const auto [b, o] = case_of(reference, c);
    const Trained t = m.train(b, o, Model::adamw(0));
    REQUIRE_MESSAGE(t.status == GCOP_OK, t.error);
    CHECK(std::abs(t.result.loss - c["loss"].get<double>()) <= 1e-5);
    CHECK(t.result.grad_norm == doctest::Approx(c["grad_norm"].get<double>()).epsilon(1e-5));
  }
  Batch examples;
  for (const json &s : trl["sft"]["examples"]) examples.add(s["prompt"], s["completion"]);
  const Trained t = m.train(examples, Model::nll(), Model::adamw(0));
  REQUIRE_MESSAGE(t.status == GCOP_OK, t.error);
  CHECK(t.result.loss == doctest::Approx(trl["sft"]["loss"].get<double>()).epsilon(1e-5));
  CHECK(t.result.grad_norm == doctest::Approx(trl["sft"]["grad_norm"].get<double>()).epsilon(1e-5));
}

TEST_CASE("examples packed into one micro-batch and one at a time: the same loss and gradient") {
  const json reference = golden("policy_loss.json");
  const tiny::Directory directory(reference["config"], "F32", 1);
  const tiny::Probe probe(directory.path());
  const Batch packed = batch_of(reference["sequences"], "none");
  const gcop_loss_options o = Model::nll();
  Arena at_once(probe.layout.floats), one_by_one(probe.layout.floats);
  gradient_of(probe, packed, o, at_once);
  size_t masked = 0;
  for (uint8_t k : packed.mask) masked += k;
  double loss = 0;
  for (size_t i = 0; i + 1 < packed.offsets.size(); ++i) {
    const auto from = static_cast<std::ptrdiff_t>(packed.offsets[i]),
               to = static_cast<std::ptrdiff_t>(packed.offsets[i + 1]);
    Batch b;
    b.tokens.assign(packed.tokens.begin() + from, packed.tokens.begin() + to);
    b.mask.assign(packed.mask.begin() + from, packed.mask.begin() + to);
    b.offsets.push_back(b.tokens.size());
    const uint64_t offsets[] = {0, b.tokens.size()};
    gcop_train_request q{};
    q.struct_size = sizeof q;
    q.n = 1;
    q.offsets = offsets;
    q.tokens = b.tokens.data();
    q.mask = b.mask.data();
    q.loss = &o;
    loss += tiny::one_pass(probe, q, LossScale{1, masked}, one_by_one).loss;
  }
  double square = 0, apart = 0;
  for (size_t i = 0; i < probe.layout.floats; ++i) {
    const double a = static_cast<double>(at_once.data()[i]), b = static_cast<double>(one_by_one.data()[i]);
    square += a * a;
    apart += (a - b) * (a - b);
  }
  CHECK(std::sqrt(apart / square) <= 1e-6);
  const Model m(json{{"model", directory.path()}, {"threads", 1}}.dump());
  const Trained t = m.train(packed, o, Model::adamw(0));
  CHECK(t.result.loss == doctest::Approx(loss).epsilon(1e-6));
  CHECK(t.result.grad_norm == doctest::Approx(std::sqrt(square)).epsilon(1e-6));
}
