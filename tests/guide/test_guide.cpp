#include "guide/guide.hpp"
#include "wayward.hpp"

using namespace gcop;

namespace {

template <class Value, class Start>
Result<Value> wait(Bench &bench, const Start &start) {
  Result<Value> out = Error{};
  bench.until([&](auto end) {
    start([&out, end](Result<Value> result) {
      out = std::move(result);
      end();
    });
  });
  return out;
}

}  // namespace

TEST_CASE("text and tokens") {
  Bench bench;
  guide::Guide g(bench.loop, bench.wayward("echo"), "g", 0);
  CHECK(*g.encode("ab") == std::vector<int32_t>{97, 98});
  CHECK(*g.decode({98, 97}) == "ba");
  CHECK(*g.render("[]") == std::vector<int32_t>{91, 93});
  const auto unknown = g.decode({300});
  REQUIRE_FALSE(unknown);
  CHECK(unknown.error().code == Code::invalid);
  CHECK(unknown.error().message == "guide 'g': decode: token 300 is not in the vocabulary");
}

TEST_CASE("a rollout carries prompt, tokens, logprobs and the weights version") {
  Bench bench;
  guide::Guide g(bench.loop, bench.wayward("posts"), "g", 0);
  Sampling how;
  how.max_tokens = 3;
  how.seed = 77;
  how.stop = {"</strategy>"};
  const auto r = wait<Rollout>(bench, [&](auto done) { g.sample("sft", {5, 6, 7}, how, done); });
  REQUIRE(r);
  CHECK(r->prompt == std::vector<int32_t>{5, 6, 7});
  CHECK(r->tokens == std::vector<int32_t>{5, 6, 7});
  CHECK(r->logprobs == std::vector<float>(3, -0.5f));
  CHECK(r->text == "sft|</strategy>");
  CHECK(r->weights_version == 77);
  CHECK(r->truncated);
  CHECK(r->reused == 3);
}

TEST_CASE("scores come back split as the sequences were") {
  Bench bench;
  guide::Guide g(bench.loop, bench.wayward("echo"), "g", 0);
  using Rows = std::vector<std::vector<float>>;
  const auto scores = wait<Rows>(bench, [&](auto done) { g.score("current", {{1, 2}, {}, {3}}, done); });
  REQUIRE(scores);
  CHECK(*scores == Rows{{1, 2}, {}, {3}});
}

TEST_CASE("a training step reaches the plugin with every column") {
  Bench bench;
  guide::Guide g(bench.loop, bench.wayward("echo"), "g", 0);
  guide::Loss loss;
  loss.policy = true;
  loss.reduction = "grpo";
  guide::Optimizer optimizer;
  optimizer.lr = 0.25f;
  std::vector<guide::Sequence> batch = {{{1, 2, 3}, {0, 1, 1}, {0, -1, -2}, {-9, -1, -2}, 0.5f},
                                        {{4, 5}, {0, 1}, {0, -1}, {0, -1}, -1.5f}};
  const auto train = [&] {
    return wait<guide::TrainStats>(bench, [&](auto done) { g.train(batch, loss, optimizer, 41, done); });
  };
  const auto stats = train();
  REQUIRE(stats);
  CHECK(stats->n_tokens == 3);
  CHECK(stats->loss == -1.5);
  CHECK(stats->kl == -9);
  CHECK(stats->entropy == GCOP_REDUCE_GRPO);
  CHECK(stats->clip_frac == 0.25);
  CHECK(stats->weights_version == 42);

  const auto said = [&] {
    const auto failed = train();
    REQUIRE_FALSE(failed);
    CHECK(failed.error().code == Code::invalid);
    return failed.error().message;
  };
  batch[1].ref_logprobs.clear();
  CHECK(said() == "guide 'g': ref_logprobs are given for 1 of 2 training sequences; give them for all or for none");
  batch[0].old_logprobs.pop_back();
  CHECK(said() == "guide 'g': training sequence 1 has 2 old_logprobs for 3 tokens; give one for each token, or none");
  batch[0].mask.pop_back();
  CHECK(said() == "guide 'g': training sequence 1 has a mask of 2 for 3 tokens; give one entry for each token");
  batch = {{{1}, {1}, {}, {}, 0}};
  loss.reduction = "mean";
  CHECK(said() == "guide 'g': loss reduction 'mean' is unknown; use dr_grpo, dapo or grpo");
}

TEST_CASE("copy, drop, save and load answer; cancel ends a sample") {
  Bench bench;
  guide::Guide g(bench.loop, bench.wayward("echo"), "g", 0);
  CHECK(wait<Unit>(bench, [&](auto done) { g.copy("current", "sft", done); }));
  CHECK(wait<Unit>(bench, [&](auto done) { g.save("sft", "/nowhere", true, done); }));
  CHECK(wait<Unit>(bench, [&](auto done) { g.load("sft", "/nowhere", done); }));
  CHECK(wait<Unit>(bench, [&](auto done) { g.drop("sft", done); }));
  guide::Guide held(bench.loop, bench.wayward("hold"), "h", 0);
  const auto cancelled = wait<Rollout>(bench, [&](auto done) { held.cancel(held.sample("current", {1}, {}, done)); });
  REQUIRE_FALSE(cancelled);
  CHECK(cancelled.error().code == Code::cancelled);
}

TEST_CASE("an instance that is no guide says so") {
  Bench bench;
  guide::Guide g(bench.loop, *bench.make("broken_DestroyThrows"), "g", 0);
  const auto encoded = g.encode("x");
  REQUIRE_FALSE(encoded);
  CHECK(encoded.error().message == "guide 'g': plugin 'test.broken' offers no gcop.guide/1");
  CHECK_FALSE(wait<Rollout>(bench, [&](auto done) { g.sample("current", {1}, {}, done); }));
}
