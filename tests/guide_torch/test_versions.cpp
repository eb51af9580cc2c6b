// Named weight versions, and what save and load keep.
#include <fstream>
#include <thread>

#include "plugged.hpp"

using namespace plugged;

namespace {

std::vector<float> scores(const Model &m, const std::string &weights = {}) {
  std::vector<float> out;
  const Plain p = m.score({m.encode("some text to score")}, &out, weights);
  CHECK_MESSAGE(p.status == GCOP_OK, p.error);
  return out;
}

Trained learn(const Model &m, const std::string &what, float lr = 2e-3f) {
  Batch b;
  b.add(m.encode("> "), m.encode(what));
  return m.train(b, Model::nll(), Model::adamw(lr));
}

}  // namespace

TEST_CASE("versions have names: copy keeps, train changes only current, drop forgets") {
  const Model m(kTiny);
  const std::vector<float> base = scores(m);
  REQUIRE(m.copy("current", "base").status == GCOP_OK);
  REQUIRE(learn(m, "something").status == GCOP_OK);
  CHECK(scores(m) != base);
  CHECK(scores(m, "base") == base);
  Ask ask;
  ask.weights = "base";
  CHECK(m.sample(m.encode("v"), ask)->version == 2);  // a number of its own: it can move apart from "current"
  // Both in one batch.
  std::vector<std::unique_ptr<Rollout>> mixed;
  for (int i = 0; i < 6; ++i) {
    ask.weights = i % 2 ? "base" : "";
    mixed.push_back(m.start(m.encode("mixed"), ask));
  }
  for (auto &r : mixed) r->wait();
  CHECK(mixed[0]->logprobs == mixed[2]->logprobs);
  CHECK(mixed[1]->logprobs == mixed[3]->logprobs);
  CHECK(mixed[0]->logprobs != mixed[1]->logprobs);
  REQUIRE(m.copy("base", "current").status == GCOP_OK);
  CHECK(scores(m) == base);
  CHECK(m.drop("base").status == GCOP_OK);
  CHECK(m.drop("base").error.find("\"base\"; there are: current") != std::string::npos);
  CHECK(m.drop("current").status == GCOP_INVALID);
  CHECK(m.copy("nobody", "x").status == GCOP_INVALID);
}

TEST_CASE("a sequence comes from one version, and samples of an older one than the trainer is told are refused") {
  const Model m(kTiny);
  REQUIRE(m.copy("current", "old").status == GCOP_OK);
  // Long ones are in flight when the weights are to change; others come after.
  std::vector<std::unique_ptr<Rollout>> all;
  Ask ask;
  ask.temperature = 1;
  ask.max_tokens = 80;
  std::thread trainer;
  for (uint64_t i = 0; i < 12; ++i) {
    if (i == 6) trainer = std::thread([&m] { CHECK(learn(m, "something else", 2e-2f).status == GCOP_OK); });
    ask.seed = i;
    all.push_back(m.start(m.encode("draw"), ask));
  }
  trainer.join();
  size_t from_old = 0;
  for (auto &r : all) {
    r->wait();
    REQUIRE_MESSAGE(r->status == GCOP_OK, r->error);
    CHECK((r->version == 1 || r->version == 3));
    from_old += r->version == 1;
    // Every one of its tokens has the log-probability that this version gives, not the other.
    std::vector<int32_t> whole = r->prompt;
    whole.insert(whole.end(), r->tokens.begin(), r->tokens.end());
    std::vector<float> scored;
    REQUIRE(m.score({whole}, &scored, r->version == 1 ? "old" : "current").status == GCOP_OK);
    for (size_t t = 0; t < r->tokens.size(); ++t) CHECK(scored[r->prompt.size() + t] == r->logprobs[t]);
  }
  CHECK(from_old >= 6);

  Batch b;
  for (auto &r : all) {
    b.add(r->prompt, r->tokens);
    b.advantages.push_back(1);
  }
  const std::vector<float> before = scores(m);
  const Trained stale = m.train(b, Model::policy(), Model::adamw(1e-2f), 1);
  CHECK(stale.status == GCOP_INVALID);
  CHECK_MESSAGE(
      stale.error.find("drawn from version 1 of the weights and \"current\" is at version 3") != std::string::npos,
      stale.error);
  CHECK(scores(m) == before);
  CHECK(m.train(b, Model::policy(), Model::adamw(1e-2f), 3).status == GCOP_OK);
}

TEST_CASE("save and load: the same weights, and the same next steps") {
  const TempDir dir;
  const Model m(kTiny);
  for (int i = 0; i < 3; ++i) REQUIRE(learn(m, "before").status == GCOP_OK);
  const Plain saved = m.save("current", dir.path + "/policy", GCOP_SAVE_OPTIMIZER);
  REQUIRE_MESSAGE(saved.status == GCOP_OK, saved.error);
  const std::vector<float> at_save = scores(m);
  for (int i = 0; i < 3; ++i) REQUIRE(learn(m, "after").status == GCOP_OK);
  const std::vector<float> later = scores(m);
  CHECK(at_save != later);

  SUBCASE("into the same engine") {
    REQUIRE(m.load("current", dir.path + "/policy").status == GCOP_OK);
    CHECK(scores(m) == at_save);
    for (int i = 0; i < 3; ++i) REQUIRE(learn(m, "after").status == GCOP_OK);
    CHECK(scores(m) == later);  // the optimizer came back bit by bit
    CHECK(learn(m, "again").result.weights_version == 12);
  }
  SUBCASE("into a version of another name") {
    REQUIRE(m.load("sft", dir.path + "/policy").status == GCOP_OK);
    CHECK(scores(m, "sft") == at_save);
    CHECK(scores(m) == later);
  }
  SUBCASE("as a model of its own") {
    const Model other("{\"model\":\"" + dir.path + "/policy\",\"threads\":2}");
    CHECK(scores(other) == at_save);
    CHECK(other.decode(other.encode("bytes: \xc3\xa9\xe2\x82\xac <|im_end|>")) == "bytes: \xc3\xa9\xe2\x82\xac ");
    CHECK(other.render(R"([{"role":"user","content":"hi"}])") == m.render(R"([{"role":"user","content":"hi"}])"));
  }
  SUBCASE("a directory of another shape is refused") {
    const Model wide(R"({"random":{"hidden":128,"heads":8},"seed":1,"threads":1})");
    const Plain p = wide.load("current", dir.path + "/policy");
    CHECK(p.status == GCOP_INVALID);
    CHECK(p.error.find("another shape") != std::string::npos);
  }
  SUBCASE("a cut optimizer file changes nothing") {
    const std::string file = dir.path + "/policy/optimizer.safetensors";
    std::filesystem::resize_file(file, std::filesystem::file_size(file) / 2);
    const Plain p = m.load("current", dir.path + "/policy");
    CHECK(p.status == GCOP_INVALID);
    CHECK_MESSAGE(p.error.find("optimizer.safetensors") != std::string::npos, p.error);
    CHECK(scores(m) == later);
  }
  SUBCASE("moments that none can be change nothing") {
    const std::string file = dir.path + "/policy/optimizer.safetensors";
    std::fstream bytes(file, std::ios::in | std::ios::out | std::ios::binary);
    const float bad = NAN;
    bytes.seekp(-4, std::ios::end);
    bytes.write(reinterpret_cast<const char *>(&bad), 4);
    bytes.close();
    const Plain p = m.load("current", dir.path + "/policy");
    CHECK(p.status == GCOP_INVALID);
    CHECK_MESSAGE(p.error.find("no moment can be") != std::string::npos, p.error);
    CHECK(scores(m) == later);
  }
  SUBCASE("no such place") {
    CHECK(m.load("current", dir.path + "/nowhere").status != GCOP_OK);
    CHECK(m.save("current", "/proc/nowhere/policy").status != GCOP_OK);
    CHECK(m.save("nobody", dir.path + "/x").error.find("nobody") != std::string::npos);
  }
}
