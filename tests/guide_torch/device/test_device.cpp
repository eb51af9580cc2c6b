// The device's path beside the CPU engine's: here over ATen's CPU tensors and plain kernels ("cpu_reference"), and on
// CUDA where a device is. fp32 must agree to 1e-4; bf16 within what the roundings of its activations amount to.
#include "beside_cpu.hpp"

using namespace beside;

namespace {

// Draws that arrive together: groups that share prompts, with different lengths, temperatures and truncations.
std::vector<std::unique_ptr<Rollout>> rollouts(const Model &m) {
  std::vector<std::unique_ptr<Rollout>> out;
  const std::string system = "a common start of some forty characters, ";
  for (uint64_t i = 0; i < 14; ++i) {
    Ask ask;
    ask.max_tokens = 20 + static_cast<uint32_t>(i);
    ask.seed = i;
    ask.temperature = i % 5 == 4 ? 0.0f : 0.6f + 0.1f * static_cast<float>(i % 4);
    ask.top_p = i % 3 == 0 ? 0.9f : 1.0f;
    ask.top_k = i % 4 == 1 ? 12 : 0;
    const std::string prompt = i < 6    ? system + "the first group's prompt: "
                               : i < 10 ? system + "another: "
                                        : "alone " + std::to_string(i);
    out.push_back(m.start(m.encode(prompt), ask));
  }
  for (auto &r : out) {
    r->wait();
    REQUIRE_MESSAGE(r->status == GCOP_OK, r->error);
  }
  return out;
}

void like_the_cpu(const std::string &config, const std::string &device, const std::string &compute) {
  const bool exact = compute == "fp32";
  const Model cpu(config), other(on_device(config, compute, device));
  // Scores, of sequences that share a start.
  std::vector<std::vector<int32_t>> sequences = {cpu.encode(std::string(150, 'a') + "bcd"),
                                                 cpu.encode(std::string(150, 'a') + "xyz"),
                                                 cpu.encode("The quick brown fox, 1234567."), cpu.encode("!")};
  const Difference scores = difference(scored(cpu, sequences), scored(other, sequences));
  CHECK(scores.worst <= (exact ? kExact : kRounded));
  CHECK(scores.mean <= (exact ? kExact : kRoundedMean));
  // A step, then scores again: the weights that are sampled from are those that were trained.
  const Batch b = training_batch(cpu);
  const Trained first = cpu.train(b, Model::policy(), Model::adamw(1e-3f)),
                second = other.train(b, Model::policy(), Model::adamw(1e-3f));
  REQUIRE_MESSAGE(second.status == GCOP_OK, second.error);
  CHECK(second.result.loss == doctest::Approx(first.result.loss).epsilon(exact ? 1e-4 : 2e-2));
  CHECK(second.result.grad_norm == doctest::Approx(first.result.grad_norm).epsilon(exact ? 1e-4 : 5e-2));
  CHECK(second.result.entropy == doctest::Approx(first.result.entropy).epsilon(exact ? 1e-4 : 2e-2));
  CHECK(second.result.n_tokens == first.result.n_tokens);
  const Difference after = difference(scored(cpu, sequences), scored(other, sequences));
  CHECK(after.worst <= (exact ? 10 * kExact : 2 * kRounded));
  MESSAGE(device << " " << compute << ": scores differ by " << scores.worst << " at most, " << scores.mean
                 << " on average; after a step by " << after.worst);
}

}  // namespace

TEST_CASE("every architecture scores and trains on the device's path as on the CPU") {
  for (const auto &model : architectures()) {
    CAPTURE(model["name"].get<std::string>());
    const tiny::Directory directory(model["config"], "F32", 1);
    like_the_cpu(config_of(directory), "cpu_reference", "fp32");
    like_the_cpu(config_of(directory), "cpu_reference", "bf16");
  }
}

TEST_CASE("every parameter's gradient on the device's path equals the CPU's") {
  for (const auto &model : architectures()) {
    CAPTURE(model["name"].get<std::string>());
    const tiny::Directory directory(model["config"], "F32", 1);
    const Model cpu(config_of(directory)), other(on_device(config_of(directory), "fp32"));
    const auto before = saved(cpu);
    // A first step of g / (|g| + 1), less than which no gradient hides in.
    gcop_optimizer_options o = Model::adamw(1);
    o.eps = 1;
    o.max_grad_norm = 0;
    const Batch b = training_batch(cpu);
    REQUIRE(cpu.train(b, Model::nll(), o).status == GCOP_OK);
    REQUIRE(other.train(b, Model::nll(), o).status == GCOP_OK);
    const auto a = saved(cpu), d = saved(other);
    REQUIRE(a.size() == d.size());
    for (const auto &[name, values] : a) {
      CAPTURE(name);
      double moved = 0;
      for (size_t i = 0; i < values.size(); ++i)
        moved = std::max(moved, std::abs(static_cast<double>(values[i]) - before.at(name)[i]));
      CHECK(moved > 1e-4);
      CHECK(difference(values, d.at(name)).worst <= 1e-5 + kExact * moved);
    }
  }
}

TEST_CASE("the device's path draws the CPU's tokens, shares prompts and repeats itself") {
  const Model cpu(kTiny);
  const auto want = rollouts(cpu);
  const Model fp32(on_device(kTiny, "fp32"));
  const auto got = rollouts(fp32);
  uint32_t reused = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    CHECK(got[i]->tokens == want[i]->tokens);
    CHECK(got[i]->finish == want[i]->finish);
    CHECK(difference(got[i]->logprobs, want[i]->logprobs).worst <= kExact);
    reused += got[i]->reused;
  }
  CHECK(reused > 8 * 40);
  const Model once(on_device(kTiny, "bf16")), again(on_device(kTiny, "bf16"));
  const auto a = rollouts(once), b = rollouts(again);
  for (size_t i = 0; i < a.size(); ++i) {
    CHECK(a[i]->tokens == b[i]->tokens);
    CHECK(a[i]->logprobs == b[i]->logprobs);
    // What was drawn is what is scored, within bf16: one numeric path but for how many rows a product has.
    std::vector<int32_t> whole = a[i]->prompt;
    whole.insert(whole.end(), a[i]->tokens.begin(), a[i]->tokens.end());
    std::vector<float> scores = scored(once, {whole});
    scores.erase(scores.begin(), scores.begin() + static_cast<std::ptrdiff_t>(a[i]->prompt.size()));
    CHECK(difference(scores, a[i]->logprobs).worst <= 0.05);
  }
}

TEST_CASE("embeddings, copies, versions and saved models work on the device's path") {
  const TempDir dir;
  const Model m(on_device(kTiny, "bf16"));
  const std::vector<std::vector<int32_t>> probe = {m.encode("probe me")};
  const std::vector<float> before = scored(m, probe);
  REQUIRE(m.copy("current", "reference").status == GCOP_OK);
  const Batch b = training_batch(m);
  for (int i = 0; i < 2; ++i) REQUIRE(m.train(b, Model::policy(), Model::adamw(1e-2f)).status == GCOP_OK);
  const std::vector<float> trained = scored(m, probe);
  CHECK(trained != before);
  std::vector<float> reference;
  REQUIRE(m.score(probe, &reference, "reference").status == GCOP_OK);
  CHECK(reference == before);
  // Saved in fp32 with the optimizer; k + k steps are 2k steps, byte for byte.
  REQUIRE(m.save("current", dir.path + "/half", GCOP_SAVE_OPTIMIZER).status == GCOP_OK);
  for (int i = 0; i < 2; ++i) REQUIRE(m.train(b, Model::policy(), Model::adamw(1e-2f)).status == GCOP_OK);
  REQUIRE(m.save("current", dir.path + "/whole", GCOP_SAVE_OPTIMIZER).status == GCOP_OK);
  const Model resumed(on_device(kTiny, "bf16"));
  REQUIRE(resumed.load("current", dir.path + "/half").status == GCOP_OK);
  CHECK(scored(resumed, probe) == trained);
  for (int i = 0; i < 2; ++i) REQUIRE(resumed.train(b, Model::policy(), Model::adamw(1e-2f)).status == GCOP_OK);
  REQUIRE(resumed.save("current", dir.path + "/resumed", GCOP_SAVE_OPTIMIZER).status == GCOP_OK);
  for (const char *file : {"/model.safetensors", "/optimizer.safetensors"})
    CHECK(bytes_of(dir.path + "/whole" + file) == bytes_of(dir.path + "/resumed" + file));
  // A copy made after training has what was trained, and the CPU reads it too.
  REQUIRE(m.copy("current", "kept").status == GCOP_OK);
  std::vector<float> kept;
  REQUIRE(m.score(probe, &kept, "kept").status == GCOP_OK);
  CHECK(kept == scored(m, probe));
  REQUIRE(m.drop("kept").status == GCOP_OK);
  const Model cpu(kTiny);
  REQUIRE(cpu.load("current", dir.path + "/whole").status == GCOP_OK);
  CHECK(difference(scored(cpu, probe), scored(m, probe)).worst <= kRounded);
}

TEST_CASE("a batch that cannot be trained on leaves the device's weights alone") {
  const Model m(on_device(kTiny, "bf16"));
  const std::vector<std::vector<int32_t>> probe = {m.encode("probe me")};
  const std::vector<float> before = scored(m, probe);
  Batch b = training_batch(m);
  b.advantages[2] = NAN;
  const Trained t = m.train(b, Model::policy(), Model::adamw(1e-2f));
  CHECK(t.status == GCOP_INVALID);
  CHECK_MESSAGE(t.error.find("a finite number is wanted") != std::string::npos, t.error);
  CHECK(scored(m, probe) == before);
}

TEST_CASE("what a device cannot do is said at once") {
  const auto refused = [](const std::string &config, const std::string &part) {
    try {
      const Model m(config);
      FAIL("made: " << config);
    } catch (const std::runtime_error &e) {
      CHECK_MESSAGE(std::string(e.what()).find(part) != std::string::npos, e.what());
    }
  };
  refused(on_device(kTiny, "fp32", "gpu"), "it is cpu or cuda");
  refused(on_device(kTiny, "bf16", "cpu"), "is for cores");
  refused(on_device(kTiny, "fp32", "cuda"), "computes in bf16");
  refused(on_device(kTiny, "int8"), "int8");
  refused(R"({"random":{},"device":"cpu_reference","role":"core","lora":{"rank":4}})", "lora is for guides");
}

TEST_CASE("CUDA equals the CPU within bf16, where a device is") {
  if (!cuda_opens(on_device(kTiny, "bf16", "cuda"))) return;
  for (const auto &model : architectures()) {
    CAPTURE(model["name"].get<std::string>());
    const tiny::Directory directory(model["config"], "F32", 1);
    like_the_cpu(config_of(directory), "cuda", "bf16");
  }
  // Captured steps: the same draws twice, and near to what is scored.
  const Model once(on_device(kTiny, "bf16", "cuda")), again(on_device(kTiny, "bf16", "cuda"));
  const auto a = rollouts(once), b = rollouts(again);
  for (size_t i = 0; i < a.size(); ++i) {
    CHECK(a[i]->tokens == b[i]->tokens);
    std::vector<int32_t> whole = a[i]->prompt;
    whole.insert(whole.end(), a[i]->tokens.begin(), a[i]->tokens.end());
    std::vector<float> scores = scored(once, {whole});
    scores.erase(scores.begin(), scores.begin() + static_cast<std::ptrdiff_t>(a[i]->prompt.size()));
    CHECK(difference(scores, a[i]->logprobs).worst <= 0.05);
  }
}
