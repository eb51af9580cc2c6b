// Losses, gradients and optimizer steps against plain PyTorch (tests/reference/policy_loss.py) on the tiny model.
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "plugged.hpp"

using namespace plugged;

TEST_CASE("losses, gradients and steps equal the reference") {
  const Model m(kTiny);
  if (const char *dir = std::getenv("GCOP_SAVE_TINY")) {  // how the reference gets its model
    REQUIRE(m.save("current", dir).status == GCOP_OK);
    return;
  }
  std::ifstream file(std::string(GCOP_SOURCE_DIR) + "/tests/guide_torch/golden/policy_loss.json");
  REQUIRE(file);
  const nlohmann::json golden = nlohmann::json::parse(file);
  Batch all;
  for (const auto &s : golden["sequences"]) {
    for (int32_t t : s["tokens"]) all.tokens.push_back(t);
    for (int k : s["mask"]) all.mask.push_back(static_cast<uint8_t>(k));
    for (float x : s["old"]) all.old_logprobs.push_back(x);
    for (float x : s["ref"]) all.ref_logprobs.push_back(x);
    all.advantages.push_back(s["advantage"]);
    all.offsets.push_back(all.tokens.size());
  }
  REQUIRE(golden["cases"].size() == 37);
  for (const auto &c : golden["cases"]) {
    CAPTURE(c.dump());
    Batch b = all;
    gcop_loss_options o = Model::policy();
    o.objective = c["policy"].get<bool>() ? GCOP_OBJECTIVE_POLICY : GCOP_OBJECTIVE_NLL;
    o.reduction = c["reduction"] == "dr_grpo" ? GCOP_REDUCE_DR_GRPO
                  : c["reduction"] == "dapo"  ? GCOP_REDUCE_DAPO
                                              : GCOP_REDUCE_GRPO;
    o.ratio_level = c["ratio"] == "sequence" ? GCOP_RATIO_SEQUENCE : GCOP_RATIO_TOKEN;
    o.clip_delta = c["delta"];
    o.kl_beta = c["kl_beta"];
    o.max_len = 24;
    if (!c["old"].get<bool>()) b.old_logprobs.clear();
    if (o.kl_beta == 0) b.ref_logprobs.clear();
    gcop_optimizer_options still = Model::adamw(0);  // measures and changes nothing
    const Trained t = m.train(b, o, still);
    REQUIRE_MESSAGE(t.status == GCOP_OK, t.error);
    const auto same = [&](double ours, const char *what) {
      const double theirs = c[what];
      CHECK_MESSAGE(std::abs(ours - theirs) <= 2e-6 + 2e-4 * std::abs(theirs),
                    what << ": " << ours << " and " << theirs);
    };
    same(t.result.loss, "loss");
    same(t.result.grad_norm, "grad_norm");
    same(t.result.kl, "kl");
    same(t.result.entropy, "entropy");
    same(t.result.clip_frac, "clip_frac");
    same(t.result.ratio_max, "ratio_max");
  }

  const Model fresh(kTiny);
  gcop_optimizer_options adamw = Model::adamw(1e-3f);
  adamw.weight_decay = 0.1f;
  adamw.max_grad_norm = 0.5f;
  Batch b = all;
  b.old_logprobs.clear();
  b.ref_logprobs.clear();
  for (int i = 0; i < 3; ++i) REQUIRE(fresh.train(b, Model::nll(), adamw).status == GCOP_OK);
  for (size_t i = 0; i < golden["sequences"].size(); ++i) {
    std::vector<float> ours;
    REQUIRE(fresh.score({golden["sequences"][i]["tokens"]}, &ours).status == GCOP_OK);
    const std::vector<float> theirs = golden["after_adamw"][i];
    REQUIRE(ours.size() == theirs.size() + 1);
    for (size_t t = 0; t < theirs.size(); ++t) CHECK(ours[t + 1] == doctest::Approx(theirs[t]).epsilon(1e-3));
  }
}
