// Low-rank adapters: the numbers of PEFT (tests/reference/lora.py), saving, loading, resuming, refusals.
#include <cmath>
#include <fstream>

#include "lora.hpp"
#include "plugged.hpp"
#include "probe.hpp"
#include "tiny_model.hpp"

using namespace gcop::guide_torch;
using gcop::Result;
using nlohmann::json;
using tiny::Probe;

namespace {

json golden() {
  std::ifstream file(GCOP_SOURCE_DIR "/tests/guide_torch/golden/lora.json");
  return json::parse(file);
}

json lora_of(const json &c) { return {{"rank", c["rank"]}, {"alpha", c["alpha"]}, {"targets", c["targets"]}}; }

// The case's adapter, filled by the formula, as a PEFT directory.
void write_adapter(const json &c, const std::string &dir) {
  const Layout model(tiny::specs(c["config"]));
  const Result<LoraSettings> settings = parse_lora(lora_of(c).dump());
  REQUIRE(settings);
  const Lora lora(*settings, model);
  Arena arena(lora.layout().floats);
  for (const Parameter &p : lora.layout().parameters) {
    const std::vector<float> values = tiny::weights({p.name, p.shape});
    std::copy(values.begin(), values.end(), arena.data() + p.offset);
  }
  REQUIRE(lora.write(dir, arena));
}

plugged::Batch batch_of(const json &c) {
  const std::vector<int32_t> tokens = c["tokens"];
  const auto cut = tokens.begin() + c["prompt"].get<int>();
  plugged::Batch b;
  b.add({tokens.begin(), cut}, {cut, tokens.end()});
  return b;
}

std::string bytes_of(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE(file.good());
  return {std::istreambuf_iterator<char>(file), {}};
}

gcop_optimizer_options adamw() {
  gcop_optimizer_options o = plugged::Model::adamw(0.01f);
  o.max_grad_norm = 0;
  return o;
}

}  // namespace

TEST_CASE("an adapter's logits, losses and steps are PEFT's, and what is saved gives them again") {
  const json cases = golden();
  REQUIRE(cases.size() == 3);
  for (const json &c : cases) {
    CAPTURE(c["name"].get<std::string>());
    const plugged::TempDir temp;
    const char *const keep = std::getenv("GCOP_SAVE_LORA");
    const std::string here = keep ? std::string(keep) + "/" + c["name"].get<std::string>() : temp.path;
    const tiny::Directory base(c["config"], "F32", 1);
    if (keep) {
      std::filesystem::create_directories(here);
      std::filesystem::copy(base.path(), here + "/base", std::filesystem::copy_options::recursive);
    }
    write_adapter(c, temp.path + "/adapter");
    const plugged::Model guide(json{{"model", base.path()}, {"lora", lora_of(c)}, {"threads", 2}}.dump());
    const plugged::Plain loaded = guide.load("current", temp.path + "/adapter");
    REQUIRE_MESSAGE(loaded.status == GCOP_OK, loaded.error);

    REQUIRE(guide.save("current", here + "/saved").status == GCOP_OK);
    Probe probe(here + "/saved");
    const std::vector<std::vector<float>> logits = probe.logits(c["tokens"]);
    double worst = 0;
    for (size_t i = 0; i < c["positions"].size(); ++i)
      for (size_t j = 0; j < c["logits"][i].size(); ++j)
        worst = std::max(
            worst, std::abs(c["logits"][i][j].get<double>() - static_cast<double>(logits[c["positions"][i]][3 * j])));
    CHECK(worst <= 1e-4);

    const std::vector<double> losses = c["losses"];
    double square = 0;
    for (const auto &[name, norm] : c["gradients"].items()) square += norm.get<double>() * norm.get<double>();
    for (size_t step = 0; step < losses.size(); ++step) {
      const plugged::Trained t = guide.train(batch_of(c), plugged::Model::nll(), adamw());
      REQUIRE_MESSAGE(t.status == GCOP_OK, t.error);
      CHECK(t.result.loss == doctest::Approx(losses[step]).epsilon(2e-5));
      if (step == 0) CHECK(t.result.grad_norm == doctest::Approx(std::sqrt(square)).epsilon(2e-5));
    }
  }
}

TEST_CASE("training with an adapter goes on from a saved directory bit for bit") {
  const json c = golden()[1];
  const tiny::Directory base(c["config"], "F32", 1);
  const std::string config = json{{"model", base.path()}, {"lora", lora_of(c)}, {"threads", 2}, {"seed", 3}}.dump();
  const plugged::TempDir temp;
  {
    const plugged::Model straight(config);
    for (int i = 0; i < 4; ++i) REQUIRE(straight.train(batch_of(c), plugged::Model::nll(), adamw()).status == GCOP_OK);
    REQUIRE(straight.save("current", temp.path + "/four", GCOP_SAVE_OPTIMIZER).status == GCOP_OK);
  }
  {
    const plugged::Model first(config);
    for (int i = 0; i < 2; ++i) REQUIRE(first.train(batch_of(c), plugged::Model::nll(), adamw()).status == GCOP_OK);
    REQUIRE(first.save("current", temp.path + "/two", GCOP_SAVE_OPTIMIZER).status == GCOP_OK);
  }
  const plugged::Model second(config);
  const plugged::Plain loaded = second.load("current", temp.path + "/two");
  REQUIRE_MESSAGE(loaded.status == GCOP_OK, loaded.error);
  for (int i = 0; i < 2; ++i) REQUIRE(second.train(batch_of(c), plugged::Model::nll(), adamw()).status == GCOP_OK);
  REQUIRE(second.save("current", temp.path + "/again", GCOP_SAVE_OPTIMIZER).status == GCOP_OK);
  for (const char *file : {"/model.safetensors", "/adapter/adapter_model.safetensors", "/optimizer.safetensors"})
    CHECK(bytes_of(temp.path + "/four" + file) == bytes_of(temp.path + "/again" + file));
}

TEST_CASE("a fresh adapter changes nothing, and training it leaves other weights and the base alone") {
  const json c = golden()[0];
  const tiny::Directory base(c["config"], "F32", 1);
  const plugged::Model plain(json{{"model", base.path()}}.dump());
  const plugged::Model guide(json{{"model", base.path()}, {"lora", {{"rank", 2}, {"targets", {"q_proj"}}}}}.dump());
  std::vector<float> want, got, after, copy;
  REQUIRE(plain.score({c["tokens"]}, &want).status == GCOP_OK);
  REQUIRE(guide.score({c["tokens"]}, &got).status == GCOP_OK);
  CHECK(want == got);
  REQUIRE(guide.copy("current", "start").status == GCOP_OK);
  REQUIRE(guide.train(batch_of(c), plugged::Model::nll(), adamw()).status == GCOP_OK);
  REQUIRE(guide.score({c["tokens"]}, &after).status == GCOP_OK);
  CHECK(after != want);
  REQUIRE(guide.score({c["tokens"]}, &copy, "start").status == GCOP_OK);
  CHECK(copy == want);
  REQUIRE(guide.copy("start", "current").status == GCOP_OK);
  REQUIRE(guide.score({c["tokens"]}, &after).status == GCOP_OK);
  CHECK(after == want);
}

TEST_CASE("an adapter that does not fit is refused and nothing changes") {
  const json c = golden()[0];
  const tiny::Directory base(c["config"], "F32", 1), other(golden()[2]["config"], "F32", 1);
  const plugged::TempDir temp;
  write_adapter(c, temp.path + "/adapter");
  const auto refused = [](const plugged::Plain &p, const char *part) {
    CHECK(p.status != GCOP_OK);
    CHECK_MESSAGE(p.error.find(part) != std::string::npos, p.error);
  };
  const auto why = [&](const json &lora) {
    try {
      plugged::Model(json{{"model", base.path()}, {"lora", lora}}.dump());
    } catch (const std::exception &e) {
      return std::string(e.what());
    }
    return std::string();
  };
  const auto has = [](const std::string &text, const char *part) {
    CHECK_MESSAGE(text.find(part) != std::string::npos, text);
  };
  has(why({{"rank", 0}}), "rank is 0");
  has(why({{"rank", "four"}}), "rank is \"four\"");
  has(why({{"rank", 4}, {"alpha", -1}}), "alpha is -1");
  has(why({{"rank", 4}, {"targets", {"lm_head"}}}), "no target \"lm_head\"");
  has(why({{"rank", 4}, {"targets", {"q_proj", "q_proj"}}}), "named twice");
  has(why({{"r", 4}}), "no option \"r\"");

  const plugged::Model plain(json{{"model", base.path()}}.dump());
  refused(plain.load("current", temp.path + "/adapter"), "lora = { rank, alpha, targets }");
  const plugged::Model rank2(json{{"model", base.path()}, {"lora", {{"rank", 2}}}}.dump());
  refused(rank2.load("current", temp.path + "/adapter"), "an adapter of rank 4");
  const plugged::Model fits(json{{"model", base.path()}, {"lora", lora_of(c)}}.dump());
  std::vector<float> before, after;
  REQUIRE(fits.score({c["tokens"]}, &before).status == GCOP_OK);
  const plugged::Model another(json{{"model", other.path()}, {"lora", lora_of(c)}}.dump());
  refused(another.load("current", temp.path + "/adapter"), "belongs to another model");

  // The same shapes, and another token in a row of the embeddings.
  json tokenizer = write_tokenizer_json(make_byte_tokenizer());
  std::ofstream(temp.path + "/adapter/tokenizer.json") << tokenizer.dump();
  CHECK(fits.load("other", temp.path + "/adapter").status == GCOP_OK);
  std::string swapped = tokenizer.dump();
  for (size_t at; (at = swapped.find("<|im_start|>")) != std::string::npos;) swapped.replace(at, 12, "<|user|>");
  std::ofstream(temp.path + "/adapter/tokenizer.json") << swapped;
  refused(fits.load("current", temp.path + "/adapter"), "token 257 is '<|user|>' there and '<|im_start|>' here");
  std::filesystem::remove(temp.path + "/adapter/tokenizer.json");

  REQUIRE(fits.save("current", temp.path + "/saved").status == GCOP_OK);
  std::ofstream(temp.path + "/saved/tokenizer.json") << swapped;
  std::filesystem::remove(temp.path + "/saved/tokenizer_config.json");
  refused(plain.load("current", temp.path + "/saved"), "has another vocabulary than");
  REQUIRE(fits.save("current", temp.path + "/saved").status == GCOP_OK);
  write_adapter(c, temp.path + "/saved/adapter");  // not the one whose products are in the weights
  refused(fits.load("current", temp.path + "/saved"), "other base weights");
  std::ofstream(temp.path + "/adapter/adapter_model.safetensors", std::ios::binary) << "short";
  refused(fits.load("current", temp.path + "/adapter"), "truncated");
  REQUIRE(fits.score({c["tokens"]}, &after).status == GCOP_OK);
  CHECK(after == before);
}
