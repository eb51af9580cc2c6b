// Low-rank adapters on the device's path beside the CPU's: steps, files, versions, and going on from what was saved.
#include "beside_cpu.hpp"

using namespace beside;
using nlohmann::json;

namespace {

const std::vector<std::vector<std::string>> kSubsets = {
    {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"},
    {"q_proj", "v_proj"},
    {"k_proj", "up_proj", "o_proj"},
    {"gate_proj", "down_proj"}};

std::string with_lora(const std::string &config, const std::vector<std::string> &targets = kSubsets[0]) {
  json out = json::parse(config);
  out["lora"] = {{"rank", 4}, {"alpha", 6}, {"targets", targets}};
  return out.dump();
}

// Steps of g / (|g| + 1), less than which no gradient hides in; clipped, with decay.
gcop_optimizer_options smooth() {
  gcop_optimizer_options o = Model::adamw(1);
  o.eps = 1;
  o.weight_decay = 0.01f;
  o.max_grad_norm = 0.25f;
  return o;
}

// The i-th step, on groups that share a prompt: likelihood and policy in turn.
Trained step(const Model &m, int i, const gcop_optimizer_options &o) {
  const Trained t = m.train(training_batch(m), i % 2 == 0 ? Model::nll() : Model::policy(), o);
  REQUIRE_MESSAGE(t.status == GCOP_OK, t.error);
  return t;
}

struct Saved {
  Tensors weights, adapter, optimizer;
};
Saved save_all(const Model &m, const std::string &dir, const std::string &name = "current") {
  const Plain p = m.save(name, dir, GCOP_SAVE_OPTIMIZER);
  REQUIRE_MESSAGE(p.status == GCOP_OK, p.error);
  return {tensors_of(dir + "/model.safetensors"), tensors_of(dir + "/adapter/adapter_model.safetensors"),
          tensors_of(dir + "/optimizer.safetensors")};
}

// Every tensor of `got` within `part` of how far it moved from `before` (without one: of its largest number), and
// `rounding` of the numbers; those that did not move, bit for bit. How many moved.
size_t close(const Tensors &want, const Tensors &got, const Tensors &before, double part = kExact,
             double rounding = 1e-7) {
  size_t moved = 0;
  REQUIRE(want.size() == got.size());
  for (const auto &[name, values] : want) {
    CAPTURE(name);
    REQUIRE(got.count(name) == 1);
    const auto at = before.find(name);
    const double change = difference(values, at == before.end() ? std::vector<float>(values.size()) : at->second).worst;
    moved += change > 0;
    const double apart = difference(values, got.at(name)).worst;
    CHECK(apart <= (change > 0 ? rounding + part * change : 0));
  }
  return moved;
}

const char *const kFiles[] = {"/model.safetensors", "/optimizer.safetensors", "/adapter/adapter_model.safetensors",
                              "/adapter/adapter_config.json"};

void like_the_cpu(const std::string &config, const std::string &device, const std::string &compute) {
  const bool exact = compute == "fp32";
  const Model cpu(config), other(on_device(config, compute, device));
  const std::vector<std::vector<int32_t>> sequences = {cpu.encode(std::string(150, 'a') + "bcd"), cpu.encode("!"),
                                                       cpu.encode("The quick brown fox, 1234567.")};
  const std::vector<float> start = scored(cpu, sequences);
  for (int i = 0; i < 3; ++i) {
    const gcop_train_result want = step(cpu, i, Model::adamw(1e-3f)).result,
                            got = step(other, i, Model::adamw(1e-3f)).result;
    CHECK(got.loss == doctest::Approx(want.loss).epsilon(exact ? 1e-4 : 2e-2));
    CHECK(got.grad_norm == doctest::Approx(want.grad_norm).epsilon(exact ? 1e-4 : 5e-2));
    CHECK(got.entropy == doctest::Approx(want.entropy).epsilon(exact ? 1e-4 : 2e-2));
    CHECK(got.n_tokens == want.n_tokens);
  }
  const std::vector<float> want = scored(cpu, sequences);
  const Difference after = difference(want, scored(other, sequences));
  CHECK(after.worst <= (exact ? 10 * kExact : 2 * kRounded));
  MESSAGE(device << " " << compute << ": three steps with an adapter move scores by " << difference(want, start).worst
                 << ", and to values that differ by " << after.worst);
}

}  // namespace

TEST_CASE("an adapter's steps on the device's path are the CPU's: loss, norm, moments, adapter and weights") {
  for (const auto &model : architectures()) {
    CAPTURE(model["name"].get<std::string>());
    const tiny::Directory directory(model["config"], "F32", 1);
    for (const std::vector<std::string> &targets : kSubsets) {
      CAPTURE(json(targets).dump());
      const std::string config = with_lora(config_of(directory), targets);
      const TempDir temp;
      const Model cpu(config), other(on_device(config, "fp32")), rounded(on_device(config, "bf16"));
      const Saved before = save_all(cpu, temp.path + "/before");
      for (int i = 0; i < 3; ++i) {
        const gcop_train_result want = step(cpu, i, smooth()).result, got = step(other, i, smooth()).result;
        CHECK(got.loss == doctest::Approx(want.loss).epsilon(1e-4));
        CHECK(got.grad_norm == doctest::Approx(want.grad_norm).epsilon(1e-4));
        CHECK(got.n_tokens == want.n_tokens);
        if (i == 0) CHECK(want.grad_norm > 0.25);  // so that clipping is seen
      }
      const Saved a = save_all(cpu, temp.path + "/cpu"), d = save_all(other, temp.path + "/device");
      for (int i = 0; i < 3; ++i) step(rounded, i, smooth());
      const Saved r = save_all(rounded, temp.path + "/rounded");
      const size_t layers = model["config"]["num_hidden_layers"].get<size_t>(), matrices = layers * targets.size();
      CHECK(close(a.weights, d.weights, before.weights) == matrices);
      CHECK(close(a.adapter, d.adapter, before.adapter) == 2 * matrices);
      CHECK(close(a.optimizer, d.optimizer, {}, kExact, 0) == 4 * matrices);
      CHECK(close(a.adapter, r.adapter, before.adapter, kRounded) == 2 * matrices);
      CHECK(close(a.optimizer, r.optimizer, {}, kRounded, 0) == 4 * matrices);
    }
  }
}

TEST_CASE("with an adapter every architecture trains on the device's path as on the CPU") {
  for (const auto &model : architectures()) {
    CAPTURE(model["name"].get<std::string>());
    const tiny::Directory directory(model["config"], "F32", 1);
    for (const char *compute : {"fp32", "bf16"})
      like_the_cpu(with_lora(config_of(directory)), "cpu_reference", compute);
  }
}

TEST_CASE("what the device's path saves with an adapter, the CPU reads and writes again byte for byte") {
  const std::string config = with_lora(kTiny);
  for (const char *compute : {"fp32", "bf16"}) {
    CAPTURE(std::string(compute));
    const TempDir temp;
    const Model other(on_device(config, compute)), cpu(config);
    for (int i = 0; i < 3; ++i) step(other, i, Model::adamw(1e-2f));
    save_all(other, temp.path + "/device");
    const Plain loaded = cpu.load("current", temp.path + "/device");  // it checks that base and adapter give the model
    REQUIRE_MESSAGE(loaded.status == GCOP_OK, loaded.error);
    save_all(cpu, temp.path + "/cpu");
    for (const char *file : kFiles)
      CHECK(bytes_of(temp.path + "/device" + file) == bytes_of(temp.path + "/cpu" + file));
    const std::vector<std::vector<int32_t>> probe = {cpu.encode("probe me")};
    CHECK(difference(scored(cpu, probe), scored(other, probe)).worst <=
          (std::string(compute) == "fp32" ? kExact : kRounded));
    // An adapter without weights beside it, as PEFT has it.
    const Model fresh(on_device(config, compute));
    REQUIRE(fresh.load("current", temp.path + "/device/adapter").status == GCOP_OK);
    CHECK(scored(fresh, probe) == scored(other, probe));
  }
}

TEST_CASE("training an adapter on the device's path goes on from a saved directory bit for bit") {
  for (const char *compute : {"fp32", "bf16"}) {
    CAPTURE(std::string(compute));
    const std::string config = on_device(with_lora(kTiny), compute);
    const TempDir temp;
    const Model whole(config), resumed(config);
    const std::vector<std::vector<int32_t>> probe = {whole.encode("probe me")};
    for (int i = 0; i < 2; ++i) step(whole, i, Model::adamw(1e-2f));
    const std::vector<float> half = scored(whole, probe);
    save_all(whole, temp.path + "/half");
    for (int i = 2; i < 4; ++i) step(whole, i, Model::adamw(1e-2f));
    save_all(whole, temp.path + "/whole");
    REQUIRE(resumed.load("current", temp.path + "/half").status == GCOP_OK);
    CHECK(scored(resumed, probe) == half);  // what was merged on the device and what the host merged
    for (int i = 2; i < 4; ++i) step(resumed, i, Model::adamw(1e-2f));
    CHECK(scored(resumed, probe) == scored(whole, probe));
    save_all(resumed, temp.path + "/resumed");
    for (const char *file : kFiles)
      CHECK(bytes_of(temp.path + "/whole" + file) == bytes_of(temp.path + "/resumed" + file));
    CHECK(bytes_of(temp.path + "/whole/model.safetensors") != bytes_of(temp.path + "/half/model.safetensors"));
  }
}

TEST_CASE("versions with an adapter keep their own on the device's path, over one base that stays") {
  const TempDir temp;
  const std::string config = with_lora(kTiny);
  const Model m(on_device(config, "fp32")), plain(on_device(kTiny, "fp32"));
  const std::vector<std::vector<int32_t>> probe = {m.encode("probe me")};
  const auto scored_as = [&](const std::string &name) {
    std::vector<float> out;
    const Plain p = m.score(probe, &out, name);
    REQUIRE_MESSAGE(p.status == GCOP_OK, p.error);
    return out;
  };
  const std::vector<float> base = scored(plain, probe);
  CHECK(scored_as("current") == base);  // a fresh adapter changes nothing
  REQUIRE(m.copy("current", "start").status == GCOP_OK);
  const Tensors start = save_all(m, temp.path + "/start").adapter;
  step(m, 0, Model::adamw(1e-2f));
  REQUIRE(m.copy("current", "one").status == GCOP_OK);
  const std::vector<float> one = scored_as("current");
  const Saved then = save_all(m, temp.path + "/then");
  CHECK(then.adapter != start);
  step(m, 1, Model::adamw(1e-2f));
  CHECK(scored_as("current") != one);
  CHECK(one != base);
  CHECK(scored_as("start") == base);
  CHECK(scored_as("one") == one);
  const Saved kept = save_all(m, temp.path + "/one", "one"), first = save_all(m, temp.path + "/first", "start");
  CHECK(kept.adapter == then.adapter);
  CHECK(kept.weights == then.weights);
  CHECK(first.adapter == start);
  CHECK(first.weights == saved(plain));  // the base, as it was before any training
  // Back to where it was: the optimizer begins anew, as a fresh guide's does.
  REQUIRE(m.copy("start", "current").status == GCOP_OK);
  CHECK(scored_as("current") == base);
  step(m, 0, Model::adamw(1e-2f));
  CHECK(scored_as("current") == one);
  CHECK(save_all(m, temp.path + "/again").optimizer == then.optimizer);
  REQUIRE(m.drop("one").status == GCOP_OK);
  std::vector<float> gone;
  CHECK(m.score(probe, &gone, "one").status == GCOP_INVALID);
  step(m, 1, Model::adamw(1e-2f));
}

TEST_CASE("weights that are loaded become the adapter's new base on the device's path") {
  const TempDir temp;
  json other = json::parse(kTiny);
  other["seed"] = 8;
  {
    const Model another(other.dump());
    REQUIRE(another.save("current", temp.path + "/another").status == GCOP_OK);
  }
  const Model cpu(with_lora(kTiny)), device(on_device(with_lora(kTiny), "fp32"));
  for (const Model *m : {&cpu, &device}) {
    step(*m, 0, smooth());  // on the first base
    REQUIRE(m->load("current", temp.path + "/another").status == GCOP_OK);
  }
  const Saved before = save_all(device, temp.path + "/before");
  for (int i = 0; i < 2; ++i) {
    const gcop_train_result want = step(cpu, i, smooth()).result, got = step(device, i, smooth()).result;
    CHECK(got.loss == doctest::Approx(want.loss).epsilon(1e-4));
  }
  const Saved a = save_all(cpu, temp.path + "/cpu"), d = save_all(device, temp.path + "/device");
  CHECK(close(a.weights, d.weights, before.weights) == 14);
  CHECK(close(a.adapter, d.adapter, before.adapter) == 28);
  CHECK(difference(scored(cpu, {cpu.encode("probe me")}), scored(device, {cpu.encode("probe me")})).worst <= kExact);
}

TEST_CASE("a step that fails leaves adapter, optimizer and weights on the device's path alone") {
  const TempDir temp;
  const Model m(on_device(with_lora(kTiny), "bf16"));
  const std::vector<std::vector<int32_t>> probe = {m.encode("probe me")};
  step(m, 0, Model::adamw(1e-2f));
  const std::vector<float> before = scored(m, probe);
  save_all(m, temp.path + "/before");
  Batch b = training_batch(m);
  b.old_logprobs.assign(b.tokens.size(), -1);
  b.old_logprobs.back() = -1e30f;  // the last sequence's, whose advantage is negative: nothing clips its ratio
  const Trained t = m.train(b, Model::policy(), Model::adamw(1e-2f));
  CHECK(t.status == GCOP_INVALID);
  CHECK_MESSAGE(t.error.find("the weights are unchanged") != std::string::npos, t.error);
  CHECK(scored(m, probe) == before);
  save_all(m, temp.path + "/after");
  for (const char *file : kFiles)
    CHECK(bytes_of(temp.path + "/before" + file) == bytes_of(temp.path + "/after" + file));
}

TEST_CASE("an optimizer of another adapter is refused on the device's path") {
  const TempDir temp;
  const Model full(on_device(kTiny, "bf16")), m(on_device(with_lora(kTiny), "bf16"));
  const std::vector<std::vector<int32_t>> probe = {m.encode("probe me")};
  const std::vector<float> before = scored(m, probe);
  REQUIRE(full.train(training_batch(full), Model::nll(), Model::adamw(1e-2f)).status == GCOP_OK);
  REQUIRE(full.save("current", temp.path + "/full", GCOP_SAVE_OPTIMIZER).status == GCOP_OK);
  const Plain loaded = m.load("current", temp.path + "/full");
  CHECK(loaded.status != GCOP_OK);
  CHECK_MESSAGE(loaded.error.find("trained with another lora") != std::string::npos, loaded.error);
  CHECK(scored(m, probe) == before);
}

TEST_CASE("CUDA trains an adapter like the CPU within bf16, where a device is") {
  if (!cuda_opens(on_device(with_lora(kTiny), "bf16", "cuda"))) return;
  for (const auto &model : architectures()) {
    CAPTURE(model["name"].get<std::string>());
    const tiny::Directory directory(model["config"], "F32", 1);
    like_the_cpu(with_lora(config_of(directory)), "cuda", "bf16");
  }
}
