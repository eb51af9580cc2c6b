#include <filesystem>

#include "core/core.hpp"
#include "store/store.hpp"
#include "wayward.hpp"

using namespace gcop;
namespace fs = std::filesystem;

namespace {

core::Request ask(const std::string &text, uint64_t sample = 0) {
  core::Request request;
  request.messages = {{"system", "Be brief."}, {"user", text}};
  request.sample = sample;
  request.max_tokens = 100;
  return request;
}

struct RunFolder {
  fs::path path = fs::temp_directory_path() / ("gcop-core-" + std::to_string(getpid()));
  RunFolder() {
    fs::remove_all(path);
    fs::create_directories(path);
  }
  ~RunFolder() { fs::remove_all(path); }
};

std::vector<Result<Reply>> call(Bench &bench, core::Core &handle, const std::vector<core::Request> &requests) {
  std::vector<Result<Reply>> out(requests.size(), Error{});
  size_t left = requests.size();
  bench.until([&](auto end) {
    for (size_t i = 0; i < requests.size(); ++i)
      handle.complete(requests[i], [&, i, end](auto result) {
        out[i] = std::move(result);
        if (--left == 0) end();
      });
  });
  return out;
}

const core::Price kPrice = {{2.0, 0.5, 3.0, 8.0}, {}, 0, ""};  // USD per million tokens

}  // namespace

TEST_CASE("the request key is the same bytes on every machine") {
  core::Request request = ask("héllo", 3);
  request.temperature = 0.7;
  request.stop = {"\n\n"};
  // Frozen: a change here empties every cache there is.
  CHECK(core::request_key("conn/1 model", request) ==
        "d1da998e3aad74efdb8e74a2987e93ab5a7e17a1e8a2f6c3687cb10b53056228");
  const std::string before = core::request_key("conn/1 model", request);
  request.role = "teacher";
  request.stage = "accept";
  CHECK(core::request_key("conn/1 model", request) == before);  // who pays is no part of the question
  const auto differs = [&](auto change) {
    core::Request other = request;
    change(other);
    return core::request_key("conn/1 model", other) != before;
  };
  CHECK(differs([](auto &r) { r.sample = 4; }));
  CHECK(differs([](auto &r) { r.temperature = 0.70001; }));
  CHECK(differs([](auto &r) { r.top_p = 0.9; }));
  CHECK(differs([](auto &r) { r.max_tokens = 101; }));
  CHECK(differs([](auto &r) { r.seed = 1; }));
  CHECK(differs([](auto &r) { r.prefix = "x"; }));
  CHECK(differs([](auto &r) { r.extra_json = "{\"a\":1}"; }));
  CHECK(differs([](auto &r) { r.messages[1].content += " "; }));
  CHECK(differs([](auto &r) { std::swap(r.messages[0], r.messages[1]); }));
  CHECK(core::request_key("conn/2 model", request) != before);
}

TEST_CASE("a call's seed is a function of the run's seed, the request and the sample") {
  CHECK(core::request_seed(1, ask("a")) == core::request_seed(1, ask("a")));
  CHECK(core::request_seed(1, ask("a")) != core::request_seed(2, ask("a")));
  CHECK(core::request_seed(1, ask("a")) != core::request_seed(1, ask("b")));
  CHECK(core::request_seed(1, ask("a")) != core::request_seed(1, ask("a", 1)));
  core::Request seeded = ask("a");
  seeded.seed = 99;
  CHECK(core::request_seed(1, ask("a")) == core::request_seed(1, seeded));
}

TEST_CASE("usage times price is the cost, reasoning billed as output") {
  Bench bench;
  core::Core handle(bench.loop, nullptr, bench.wayward("echo"), "w", kPrice, 4, 0);
  CHECK(handle.identity() == "wayward/1");
  CHECK(handle.capabilities() == GCOP_CORE_SEED);
  const auto reply = call(bench, handle, {ask("hi")})[0];
  REQUIRE(reply);
  CHECK(reply->cost_usd == doctest::Approx(1000 * 2e-6 + 500 * 8e-6));
  CHECK(reply->usage.in() == 1000);
  CHECK(reply->usage.out() == 500);
  CHECK(has(reply->text, "Be brief."));
  CHECK_FALSE(reply->cached);
}

TEST_CASE("equal requests in flight share one call; only the first pays") {
  Bench bench;
  core::Core handle(bench.loop, nullptr, bench.wayward("slow"), "w", kPrice, 4, 0);
  const auto replies = call(bench, handle, {ask("same"), ask("same"), ask("other"), ask("same", 1)});
  REQUIRE((replies[0] && replies[1] && replies[2] && replies[3]));
  CHECK(replies[0]->text == replies[1]->text);
  CHECK_FALSE(replies[0]->cached);
  CHECK(replies[1]->cached);
  CHECK(replies[1]->cost_usd == 0);
  CHECK_FALSE(replies[2]->cached);
  CHECK_FALSE(replies[3]->cached);
}

TEST_CASE("no more calls are at the plugin than the limit, and they start in order") {
  Bench bench;
  core::Core handle(bench.loop, nullptr, bench.wayward("slow"), "w", {}, 3, 0);
  std::vector<core::Request> requests;
  for (int i = 0; i < 30; ++i) requests.push_back(ask("n" + std::to_string(i)));
  const auto replies = call(bench, handle, requests);
  std::string most;
  for (const auto &reply : replies) {
    REQUIRE(reply);
    most = std::max(most, reply->model);
  }
  CHECK(most <= "most 3");
  CHECK(handle.in_flight() == 0);
  std::vector<int> order;
  core::Core one(bench.loop, nullptr, bench.wayward("slow"), "w", {}, 1, 0);
  bench.until([&](auto end) {
    for (int i = 0; i < 6; ++i)
      one.complete(ask("n" + std::to_string(i)), [&order, i, end](auto) {
        order.push_back(i);
        if (order.size() == 6) end();
      });
  });
  CHECK(order == std::vector<int>{0, 1, 2, 3, 4, 5});
}

TEST_CASE("cancelling a waiting call or one of two callers leaves the others alone") {
  Bench bench;
  core::Core handle(bench.loop, nullptr, bench.wayward("slow"), "w", {}, 1, 0);
  std::vector<Result<Reply>> got(4, Error{});
  size_t left = 4;
  bench.until([&](auto end) {
    const auto keep = [&, end](size_t i) {
      return [&, i, end](auto result) {
        got[i] = std::move(result);
        if (--left == 0) end();
      };
    };
    const auto first = handle.complete(ask("a"), keep(0));
    handle.complete(ask("a"), keep(1));
    const auto waiting = handle.complete(ask("b"), keep(2));
    handle.complete(ask("c"), keep(3));
    handle.cancel(first);
    handle.cancel(waiting);
    handle.cancel(waiting);  // a late cancel is ignored
    handle.cancel(12345);
  });
  REQUIRE_FALSE(got[0]);
  CHECK(got[0].error().code == Code::cancelled);
  CHECK(got[1]);
  REQUIRE_FALSE(got[2]);
  CHECK(got[2].error().code == Code::cancelled);
  CHECK(got[3]);
}

TEST_CASE("a handle that goes away cancels its calls") {
  Bench bench;
  int cancelled = 0;
  bench.until([&](auto end) {
    core::Core handle(bench.loop, nullptr, bench.wayward("hold"), "w", {}, 1, 0);
    for (const std::string text : {"a", "b"})
      handle.complete(ask(text), [&, end](auto result) {
        if (!result && result.error().code == Code::cancelled && ++cancelled == 2) end();
      });
  });
  CHECK(cancelled == 2);
  bench.until_logged("destroyed");
}

TEST_CASE("a core is a function: it may answer at once, later or twice, and fail") {
  Bench bench;
  int runs = 0;
  core::Core handle(
      bench.loop, nullptr,
      [&](const core::Request &request, core::Done done) -> std::function<void()> {
        ++runs;
        if (request.messages[1].content == "fail") {
          done(Error{Code::unavailable, "not today", {}});
          return {};
        }
        Reply reply;
        reply.text = "script " + request.messages[1].content;
        done(reply);
        reply.text = "again";
        done(reply);
        return {};
      },
      "script/abc", "scripted");
  const auto replies = call(bench, handle, {ask("x"), ask("fail"), ask("x")});
  REQUIRE(replies[0]);
  CHECK(replies[0]->text == "script x");
  CHECK(replies[0]->model == "scripted");
  REQUIRE_FALSE(replies[1]);
  CHECK(replies[1].error().message == "core 'scripted': not today");
  CHECK(replies[2]->cached);
  CHECK(runs == 2);
}

TEST_CASE("an instance without the interface answers every call with an error") {
  Bench bench;
  core::Core handle(bench.loop, nullptr, *bench.make("broken_DestroyThrows"), "w", {}, 4, 0);
  const auto reply = call(bench, handle, {ask("x")})[0];
  REQUIRE_FALSE(reply);
  CHECK(reply.error().code == Code::unsupported);
  CHECK(has(reply.error().message, "plugin 'test.broken' offers no gcop.core/1"));
}

TEST_CASE("with a store an answered call is never sent again, in this run or the next") {
  RunFolder folder;
  std::string first_text;
  {
    auto store = store::Store::open(folder.path);
    REQUIRE_MESSAGE(store, (store ? "" : store.error().text()));
    Bench bench;
    core::Core handle(bench.loop, store->get(), bench.wayward("echo"), "w", kPrice, 4, 0);
    const auto first = call(bench, handle, {ask("hi")})[0], second = call(bench, handle, {ask("hi")})[0];
    REQUIRE(first);
    REQUIRE(second);
    CHECK_FALSE(first->cached);
    CHECK(second->cached);
    CHECK(second->cost_usd == 0);
    CHECK(second->text == first->text);
    CHECK(second->usage.out() == 500);
    CHECK((*store)->spent() == doctest::Approx(first->cost_usd));
    first_text = first->text;
  }
  auto store = store::Store::open(folder.path);
  REQUIRE_MESSAGE(store, (store ? "" : store.error().text()));
  Bench bench;
  core::Core handle(bench.loop, store->get(), bench.wayward("never"), "w", kPrice, 4, 50);
  const auto resumed = call(bench, handle, {ask("hi")})[0];
  REQUIRE(resumed);
  CHECK(resumed->cached);
  CHECK(resumed->text == first_text);
}

TEST_CASE("the budget holds under concurrency; what it cannot cover is exhausted and never sent") {
  RunFolder folder;
  auto store = store::Store::open(folder.path);
  REQUIRE_MESSAGE(store, (store ? "" : store.error().text()));
  (*store)->set_budget(0.013);  // two calls at 0.006; a third would pass it
  Bench bench;
  core::Core handle(bench.loop, store->get(), bench.wayward("echo"), "w", kPrice, 64, 0);
  std::vector<core::Request> requests;
  for (int i = 0; i < 20; ++i) requests.push_back(ask(std::string(1000, 'x') + std::to_string(i)));
  for (auto &request : requests) request.max_tokens = 500;
  int paid = 0;
  for (const auto &reply : call(bench, handle, requests)) {
    if (reply)
      ++paid;
    else
      CHECK(reply.error().code == Code::exhausted);
  }
  CHECK(paid >= 1);
  CHECK(paid <= 2);
  CHECK((*store)->spent() <= 0.013);
}

TEST_CASE("a failed call is settled and may be tried again") {
  RunFolder folder;
  auto store = store::Store::open(folder.path);
  REQUIRE_MESSAGE(store, (store ? "" : store.error().text()));
  Bench bench;
  core::Core handle(bench.loop, store->get(), bench.wayward("flaky"), "w", kPrice, 4, 0);
  const auto failed = call(bench, handle, {ask("hi")})[0];
  REQUIRE_FALSE(failed);
  CHECK(failed.error().retryable());
  CHECK((*store)->unknown_calls().empty());
  const auto again = call(bench, handle, {ask("hi")})[0];
  REQUIRE(again);
  CHECK_FALSE(again->cached);
}

TEST_CASE("what a failed call costs: nothing, what the peer counted, or nobody knows") {
  RunFolder folder;
  auto store = store::Store::open(folder.path);
  REQUIRE_MESSAGE(store, (store ? "" : store.error().text()));
  Bench bench;
  const auto fails = [&](const std::string &mode) {
    core::Core handle(bench.loop, store->get(), bench.wayward(mode), mode, kPrice, 4, 0);
    CHECK_FALSE(call(bench, handle, {ask(mode)})[0]);
  };
  fails("refused");  // an error answer is not billed
  CHECK((*store)->spent() == 0);
  CHECK((*store)->unknown_calls().empty());
  fails("metered");
  CHECK((*store)->spent() == doctest::Approx(1000 * 2e-6));
  fails("cut");  // sent, and then the connection ended: it may have been billed
  CHECK((*store)->spent() == doctest::Approx(1000 * 2e-6));
  const auto unknown = (*store)->unknown_calls();
  REQUIRE(unknown.size() == 1);
  CHECK(unknown[0].model == "cut");
  CHECK(unknown[0].possible_usd > 0.0008);
  CHECK((*store)->costs().at(0).failed == 2);
  fails("huge");  // an answer with a bill that cannot be: what it cost, nobody knows
  CHECK((*store)->spent() == doctest::Approx(1000 * 2e-6));
  CHECK((*store)->unknown_calls().size() == 2);
}
