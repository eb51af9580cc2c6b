// Sampling through the C ABI on a tiny random model: what a token depends on, and what it does not.
#include <fstream>

#include "plugged.hpp"

using namespace plugged;

namespace {

// The same model for all cases: loading one takes longer than most of them.
Model &tiny() {
  static Model model(kTiny);
  return model;
}

std::vector<int32_t> prompt(const std::string &s) { return tiny().encode(s); }

}  // namespace

TEST_CASE("a batch gives each sequence the tokens and log-probabilities it gets alone, bit by bit") {
  const Model fresh(kTiny.substr(0, kTiny.size() - 1) + R"(,"prefix_reuse":false})");
  std::vector<std::vector<int32_t>> prompts;
  for (int i = 0; i < 21; ++i)
    prompts.push_back(prompt(std::string(static_cast<size_t>(i * 7 + 1), static_cast<char>('a' + i)) + "?"));
  Ask ask;
  ask.max_tokens = 24;
  std::vector<std::unique_ptr<Rollout>> alone, together;
  for (const auto &p : prompts) alone.push_back(fresh.sample(p, ask));
  for (const auto &p : prompts) together.push_back(fresh.start(p, ask));
  for (size_t i = 0; i < prompts.size(); ++i) {
    together[i]->wait();
    CHECK(together[i]->status == GCOP_OK);
    CHECK(together[i]->tokens == alone[i]->tokens);
    CHECK(together[i]->logprobs == alone[i]->logprobs);
  }
}

TEST_CASE("the same seeds give the same tokens and log-probabilities: again, in another order, with other threads") {
  constexpr uint64_t kCount = 24;
  std::vector<std::vector<int32_t>> prompts;
  for (uint64_t i = 0; i < kCount; ++i)
    prompts.push_back(prompt("A start that is shared. " + std::string(5 * i, static_cast<char>('a' + i % 3))));
  std::vector<std::pair<std::vector<int32_t>, std::vector<float>>> first;
  for (const char *options :
       {R"("threads":2)", R"("threads":2)", R"("threads":1)", R"("threads":2,"max_batch":1)",
        R"("threads":1,"max_batch":5)", R"("threads":2,"prefix_reuse":false)", R"("threads":2,"kv_bytes":400000)"}) {
    CAPTURE(options);
    const std::string sizes = kTiny.substr(0, kTiny.find("\"threads\""));
    const Model m(sizes + options + "}");
    for (int round = 0; round < 2; ++round) {
      std::vector<std::unique_ptr<Rollout>> all(kCount);
      for (uint64_t k = 0; k < kCount; ++k) {
        const uint64_t i = round == 0 ? k : (k * 7 + 3) % kCount;  // another order
        Ask ask;
        ask.temperature = i % 3 == 0 ? 0.7f : 1.0f;
        ask.top_p = i % 4 == 0 ? 0.9f : 1.0f;
        ask.max_tokens = 10 + static_cast<uint32_t>(i % 5) * 6;
        ask.seed = i / 2;
        all[i] = m.start(prompts[i], ask);
      }
      for (uint64_t i = 0; i < kCount; ++i) {
        all[i]->wait();
        REQUIRE_MESSAGE(all[i]->status == GCOP_OK, all[i]->error);
        if (first.size() < kCount) first.emplace_back(all[i]->tokens, all[i]->logprobs);
        CHECK(all[i]->tokens == first[i].first);
        CHECK(all[i]->logprobs == first[i].second);
      }
    }
  }
}

TEST_CASE("a shared prompt is computed once and changes nothing") {
  const Model without(kTiny.substr(0, kTiny.size() - 1) + R"(,"prefix_reuse":false})");
  const Model with(kTiny);
  const std::vector<int32_t> common =
      prompt("A system message that every sequence starts with, longer than one block. ");
  Ask ask;
  ask.temperature = 1;
  ask.max_tokens = 20;
  std::vector<std::unique_ptr<Rollout>> a, b;
  for (uint64_t i = 0; i < 8; ++i) {
    std::vector<int32_t> p = common;
    const std::vector<int32_t> rest = prompt(i < 5 ? "the same question" : "question " + std::to_string(i));
    p.insert(p.end(), rest.begin(), rest.end());
    ask.seed = i;
    a.push_back(without.start(p, ask));
    b.push_back(with.start(p, ask));
  }
  size_t computed = 0, given = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    a[i]->wait();
    b[i]->wait();
    CHECK(a[i]->tokens == b[i]->tokens);
    CHECK(a[i]->logprobs == b[i]->logprobs);
    CHECK(a[i]->reused == 0);
    computed += b[i]->prompt.size() - b[i]->reused;
    given += b[i]->prompt.size();
  }
  CHECK(b[0]->reused == 0);
  for (size_t i = 1; i < 5; ++i) CHECK(b[i]->reused == b[i]->prompt.size() - 1);  // its last token gives the logits
  for (size_t i = 5; i < 8; ++i) CHECK(b[i]->reused >= common.size());
  CHECK(computed < given / 3);
  // Also after all have ended.
  auto late = with.sample(a[0]->prompt, ask);
  CHECK(late->reused == late->prompt.size() - 1);
}

TEST_CASE("sampled log-probabilities are the scored ones") {
  Ask ask;
  ask.temperature = 1;
  ask.max_tokens = 60;
  for (const float top_p : {1.0f, 0.8f}) {
    ask.top_p = top_p;
    auto r = tiny().sample(prompt("Score me."), ask);
    REQUIRE(r->status == GCOP_OK);
    std::vector<int32_t> whole = r->prompt;
    whole.insert(whole.end(), r->tokens.begin(), r->tokens.end());
    std::vector<float> scored;
    REQUIRE(tiny().score({whole, {5, 6}}, &scored).status == GCOP_OK);
    REQUIRE(scored.size() == whole.size() + 2);
    CHECK(scored[0] == 0);
    CHECK(scored[whole.size()] == 0);
    for (size_t i = 0; i < r->tokens.size(); ++i)
      CHECK(scored[r->prompt.size() + i] == doctest::Approx(r->logprobs[i]).epsilon(1e-4));
  }
}

TEST_CASE("a draw is a function of the seed and its place, and follows the distribution") {
  Ask ask;
  ask.temperature = 1;
  ask.max_tokens = 12;
  ask.seed = 3;
  auto a = tiny().sample(prompt("seed"), ask), b = tiny().sample(prompt("seed"), ask);
  CHECK(a->tokens == b->tokens);
  ask.seed = 4;
  CHECK(tiny().sample(prompt("seed"), ask)->tokens != a->tokens);

  // 4,000 first tokens against the scored distribution.
  const std::vector<int32_t> p = prompt("dist");
  std::vector<std::vector<int32_t>> ends;
  for (int32_t t = 0; t < 259; ++t) {
    ends.push_back(p);
    ends.back().push_back(t);
  }
  std::vector<float> scored;
  REQUIRE(tiny().score(ends, &scored).status == GCOP_OK);
  for (const auto &[temperature, top_k] : {std::pair{1.0f, 0u}, std::pair{0.5f, 0u}, std::pair{1.0f, 40u}}) {
    std::vector<double> want;
    for (size_t t = 0; t < ends.size(); ++t)
      want.push_back(std::exp(scored[(t + 1) * (p.size() + 1) - 1] / temperature));
    if (top_k) {
      std::vector<double> sorted = want;
      std::sort(sorted.rbegin(), sorted.rend());
      for (double &w : want) w = w >= sorted[top_k - 1] ? w : 0;
    }
    double total = 0;
    for (double w : want) total += w;
    Ask one;
    one.max_tokens = 1;
    one.temperature = temperature;
    one.top_k = top_k;
    constexpr int kDraws = 4000;
    std::vector<int> seen(want.size());
    std::vector<std::unique_ptr<Rollout>> all;
    for (int i = 0; i < kDraws; ++i) {
      one.seed = static_cast<uint64_t>(i);
      all.push_back(tiny().start(p, one));
    }
    for (auto &r : all) {
      r->wait();
      ++seen[r->tokens.at(0)];
    }
    double chi = 0;
    int cells = 0;
    for (size_t t = 0; t < want.size(); ++t) {
      const double expected = kDraws * want[t] / total;
      if (want[t] == 0) CHECK(seen[t] == 0);
      if (expected < 5) continue;
      chi += (seen[t] - expected) * (seen[t] - expected) / expected;
      ++cells;
    }
    CHECK(cells > 10);
    CHECK(chi < cells + 5 * std::sqrt(2.0 * cells));  // five standard deviations
  }
}

TEST_CASE("a nucleus holds the fewest tokens that reach top_p") {
  const std::vector<int32_t> p = prompt("nucleus");
  std::vector<std::vector<int32_t>> ends;
  for (int32_t t = 0; t < 259; ++t) {
    ends.push_back(p);
    ends.back().push_back(t);
  }
  std::vector<float> scored;
  REQUIRE(tiny().score(ends, &scored).status == GCOP_OK);
  std::vector<std::pair<double, int32_t>> order;
  for (size_t t = 0; t < ends.size(); ++t)
    order.push_back({std::exp(scored[(t + 1) * (p.size() + 1) - 1]), static_cast<int32_t>(t)});
  std::sort(order.rbegin(), order.rend());
  std::vector<int32_t> nucleus;
  double mass = 0;
  for (size_t i = 0; i < order.size() && mass < 0.3; ++i) mass += order[i].first, nucleus.push_back(order[i].second);
  Ask one;
  one.max_tokens = 1;
  one.temperature = 1;
  one.top_p = 0.3f;
  std::vector<int32_t> seen;
  std::vector<std::unique_ptr<Rollout>> all;
  for (uint64_t i = 0; i < 3000; ++i) {
    one.seed = i;
    all.push_back(tiny().start(p, one));
  }
  for (auto &r : all) {
    r->wait();
    seen.push_back(r->tokens.at(0));
  }
  std::sort(seen.begin(), seen.end());
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  std::sort(nucleus.begin(), nucleus.end());
  CHECK(seen == nucleus);
}

TEST_CASE("a stop string ends a sequence and stays in its text") {
  Ask ask;
  ask.temperature = 1;
  ask.max_tokens = 200;
  auto free = tiny().sample(prompt("stop"), ask);
  const size_t at = free->text.find_first_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", 3);
  REQUIRE(at != std::string::npos);
  const std::string stop = free->text.substr(at, 1);
  ask.stop = {stop};
  auto r = tiny().sample(prompt("stop"), ask);
  CHECK(r->finish == GCOP_FINISH_STOP);
  CHECK(r->text.ends_with(stop));
  CHECK(r->text == free->text.substr(0, free->text.find(stop) + stop.size()));
}

TEST_CASE("cancelled and late sequences are answered once, and the engine goes on") {
  std::vector<std::unique_ptr<Rollout>> all;
  Ask ask;
  ask.max_tokens = 400;
  ask.temperature = 1;
  for (uint64_t i = 0; i < 12; ++i) {
    ask.seed = i;
    auto r = std::make_unique<Rollout>();
    if (i == 3) r->op.deadline_ns = 1;
    if (i == 4) r->cancel = true;
    all.push_back(tiny().start(prompt("cancel"), ask, std::move(r)));
  }
  for (size_t i = 6; i < 12; ++i) {
    all[i]->cancel = true;
    tiny().guide->cancel(tiny().raw, &all[i]->op);
  }
  for (auto &r : all) r->wait();
  CHECK(all[3]->status == GCOP_TIMEOUT);
  CHECK(all[4]->status == GCOP_CANCELLED);
  for (size_t i : {0, 1, 2, 5}) CHECK(all[i]->status == GCOP_OK);
  for (size_t i = 6; i < 12; ++i) CHECK((all[i]->status == GCOP_CANCELLED || all[i]->status == GCOP_OK));
  for (auto &r : all) CHECK(r->answers == 1);
  ask.max_tokens = 4;
  CHECK(tiny().sample(prompt("after"), ask)->status == GCOP_OK);
}

TEST_CASE("more sequences than memory: they take turns") {
  const std::string small = kTiny.substr(0, kTiny.size() - 1) + R"(,"kv_bytes":200000,"max_batch":5})";
  const Model model(small);
  Ask ask;
  ask.max_tokens = 30;
  std::vector<std::unique_ptr<Rollout>> all;
  for (int i = 0; i < 30; ++i) all.push_back(model.start(prompt("turn " + std::to_string(i)), ask));
  for (auto &r : all) {
    r->wait();
    CHECK(r->status == GCOP_OK);
  }
  ask.max_tokens = 5000;
  auto big = model.sample(prompt(std::string(400, 'x')), ask);
  CHECK(big->status == GCOP_INVALID);
  CHECK(big->error.find("kv_bytes") != std::string::npos);
}

TEST_CASE("bad requests say what is wrong") {
  Ask ask;
  const auto error = [&](const std::vector<int32_t> &p, const Ask &a) {
    auto r = tiny().sample(p, a);
    CHECK(r->status == GCOP_INVALID);
    CHECK(r->answers == 1);
    return r->error;
  };
  CHECK(error({}, ask).find("empty") != std::string::npos);
  CHECK(error({1, 259}, ask).find("259") != std::string::npos);
  CHECK(error({-1}, ask).find("-1") != std::string::npos);
  CHECK(error(std::vector<int32_t>(600, 65), ask).find("512") != std::string::npos);
  Ask bad = ask;
  bad.weights = "nobody";
  CHECK(error({1}, bad).find("\"nobody\"; there are: current") != std::string::npos);
  bad = ask;
  bad.temperature = -1;
  CHECK(error({1}, bad).find("temperature") != std::string::npos);
  bad = ask;
  bad.top_p = 0;
  CHECK(error({1}, bad).find("top_p") != std::string::npos);
  bad = ask;
  bad.max_tokens = 0;
  CHECK(error({1}, bad).find("max_tokens") != std::string::npos);
}

TEST_CASE("a model that cannot be is refused with a clear message") {
  const auto refused = [](const std::string &config) -> std::string {
    gcop_error error{};
    error.struct_size = sizeof error;
    gcop_instance *made = plugin()->create(host(), view(config), &error);
    CHECK(made == nullptr);
    if (made) plugin()->destroy(made);
    return error.message;
  };
  CHECK(refused(R"({"model":"/no/such/model.gguf"})").find("/no/such/model.gguf") != std::string::npos);
  CHECK(refused(R"({})").find("model") != std::string::npos);
  CHECK(refused("nonsense").find("JSON") != std::string::npos);
  CHECK(refused(R"({"random":{},"colour":1})").find("colour") != std::string::npos);
  CHECK(refused(R"({"random":{"hidden":63}})").find("63") != std::string::npos);
  CHECK(refused(R"({"random":{"layers":"two"}})").find("layers") != std::string::npos);
  CHECK(refused(R"({"random":{},"threads":0})").find("threads") != std::string::npos);
  const TempDir dir;
  const std::string path = dir.path + "/cut.gguf";
  {
    std::FILE *f = std::fopen(path.c_str(), "wb");
    std::fwrite("GGUF\3\0\0\0", 1, 8, f);
    std::fclose(f);
  }
  CHECK(refused("{\"model\":\"" + path + "\"}").find("cut.gguf") != std::string::npos);
}

TEST_CASE("weights that hold a NaN are refused with the tensor's name, from a model and from saved weights") {
  const TempDir dir;
  const Model m(kTiny);
  REQUIRE(m.save("current", dir.path + "/m").status == GCOP_OK);
  const Model good("{\"model\":\"" + dir.path + "/m\"}");
  {
    // model.norm.weight is the last tensor; its last value becomes NaN.
    std::fstream file(dir.path + "/m/model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-4, std::ios::end);
    const float bad = NAN;
    file.write(reinterpret_cast<const char *>(&bad), 4);
  }
  const auto p = good.load("current", dir.path + "/m");
  CHECK(p.status == GCOP_INVALID);
  CHECK_MESSAGE(p.error.find("tensor 'model.norm.weight' holds a NaN") != std::string::npos, p.error);
  CHECK_THROWS_WITH_AS(Model("{\"model\":\"" + dir.path + "/m\"}"),
                       doctest::Contains("tensor 'model.norm.weight' holds a NaN"), std::runtime_error);
}

TEST_CASE("nothing to score is no mistake") {
  std::vector<float> out = {1};
  CHECK(tiny().score({}, &out).status == GCOP_OK);
  CHECK(out.empty());
  CHECK(tiny().score({{}, {65}}, &out).status == GCOP_OK);
  CHECK(out == std::vector<float>{0});
  CHECK(tiny().score({std::vector<int32_t>(600, 65)}, &out).error.find("the context holds 512") != std::string::npos);
}
