#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <random>

#include "base/secret.hpp"
#include "folder.hpp"
#include "store/store.hpp"

using namespace gcop;
using store::Store;

namespace {

std::shared_ptr<Store> opened(const std::string &dir) {
  auto s = Store::open(dir);
  if (!s) FAIL(s.error().message);
  return *s;
}

Reply reply_of(const std::string &text, double cost = 0) {
  Reply r;
  r.text = text;
  r.finish = "stop";
  r.model = "m-1";
  r.usage = {10, 2, 3, 40, 5, true};
  r.cost_usd = cost;
  r.latency_s = 0.25;
  r.attempts = 2;
  return r;
}

bool contains(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("a call comes back as it was, free and marked, also after a reopen") {
  Folder folder;
  {
    auto s = opened(folder.path);
    CHECK_FALSE(s->find_call("k1"));
    REQUIRE(s->begin_call({"k1", "core", "m", "accept", R"({"q":1})", 0.5}));
    CHECK(s->reserved() == doctest::Approx(0.5));
    CHECK_FALSE(s->find_call("k1"));
    REQUIRE(s->end_call("k1", reply_of("answer", 0.125)));
    CHECK(s->reserved() == 0);
    CHECK(s->spent() == 0.125);
  }
  auto s = opened(folder.path);
  const auto hit = s->find_call("k1");
  REQUIRE(hit);
  CHECK(hit->text == "answer");
  CHECK(hit->cached);
  CHECK(hit->cost_usd == 0);
  CHECK(hit->usage.in() == 15);
  CHECK(hit->usage.out() == 45);
  CHECK(hit->finish == "stop");
  CHECK(hit->attempts == 2);
  CHECK(hit->latency_s == 0.25);
  CHECK(s->spent() == 0.125);
  const auto costs = s->costs();
  REQUIRE(costs.size() == 1);
  CHECK(costs[0].role == "core");
  CHECK(costs[0].calls == 1);
  CHECK(costs[0].hits == 1);
  CHECK(costs[0].usage.cache_write == 3);
}

TEST_CASE("what failed is not an answer; what timed out may have been billed") {
  Folder folder;
  auto s = opened(folder.path);
  for (const char *key : {"bad", "slow", "stopped", "partly"})
    REQUIRE(s->begin_call({key, "core", "m", "grpo", "{}", 0.1}));
  REQUIRE(s->end_call("bad", Error{Code::unavailable, "connection refused", {}}));
  REQUIRE(s->end_call("slow", Error{Code::timeout, "no answer", {}}));
  REQUIRE(s->end_call("stopped", Error{Code::cancelled, "cancelled", {}}));
  const Reply partial = reply_of("", 0.03);
  REQUIRE(s->end_call("partly", Error{Code::cancelled, "cancelled", {}}, &partial));
  for (const char *key : {"bad", "slow", "stopped", "partly"}) CHECK_FALSE(s->find_call(key));
  const auto c = s->costs().at(0);
  CHECK(c.calls == 4);
  CHECK(c.failed == 2);
  CHECK(c.unknown == 2);
  CHECK(c.possible_usd == doctest::Approx(0.2));
  CHECK(c.usd == doctest::Approx(0.03));
  CHECK(s->unknown_calls().size() == 2);
  CHECK(s->unknown_calls()[0].key == "slow");
  CHECK(s->unknown_calls()[0].reserved_usd == doctest::Approx(0.1));
  CHECK_FALSE(s->end_call("never begun", reply_of("x")));
}

TEST_CASE("the same request twice in flight: both settle, the first answer is kept") {
  Folder folder;
  auto s = opened(folder.path);
  REQUIRE(s->begin_call({"k", "core", "m", "s", "{}", 0.1}));
  REQUIRE(s->begin_call({"k", "core", "m", "s", "{}", 0.1}));
  REQUIRE(s->end_call("k", reply_of("first", 0.01)));
  REQUIRE(s->end_call("k", reply_of("second", 0.02)));
  CHECK(s->find_call("k")->text == "first");
  CHECK(s->spent() == doctest::Approx(0.03));
  CHECK(s->reserved() == 0);
}

TEST_CASE("budget 0 refuses the first priced call and lets free ones pass") {
  Folder folder;
  auto s = opened(folder.path);
  s->set_budget(0);
  CHECK(s->begin_call({"free", "core", "local", "s", "{}", 0}));
  const auto refused = s->begin_call({"paid", "teacher", "big", "s", "{}", 0.001});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::exhausted);
  CHECK(contains(refused.error().message, "teacher"));
  CHECK(contains(refused.error().message, "$0.001"));
  CHECK_FALSE(s->failed());  // the budget's refusal is no fault of the store
  s->set_budget(-1);
  CHECK(s->begin_call({"paid", "teacher", "big", "s", "{}", 1e6}));
}

TEST_CASE("the cap holds for any mixture of calls in flight, and unused reservations come back") {
  for (unsigned seed = 0; seed < 60; ++seed) {
    Folder folder;
    auto s = opened(folder.path);
    std::mt19937 draw(seed);
    const double cap = 1.0;
    s->set_budget(cap);
    std::vector<std::pair<std::string, double>> flying;
    int refused = 0, next = 0;
    for (int step = 0; step < 120; ++step) {
      if (flying.empty() || draw() % 3) {
        const double reserve = double(draw() % 1000) / 10000;
        const std::string key = "k" + std::to_string(next++);
        const auto begun = s->begin_call({key, "core", "m", "s", "{}", reserve});
        if (begun)
          flying.emplace_back(key, reserve);
        else
          ++refused;
        if (!begun) CHECK(begun.error().code == Code::exhausted);
      } else {
        const size_t at = draw() % flying.size();
        const auto [key, reserve] = flying[at];
        flying.erase(flying.begin() + long(at));
        const bool fails = draw() % 5 == 0;
        if (fails)
          REQUIRE(s->end_call(key, Error{draw() % 2 ? Code::timeout : Code::unavailable, "x", {}}));
        else
          REQUIRE(s->end_call(key, reply_of("y", reserve * double(draw() % 101) / 100)));
      }
      double held = 0, unknown = 0;
      for (const auto &[key, reserve] : flying) held += reserve;
      for (const auto &c : s->costs()) unknown += c.possible_usd;
      if (s->spent() + held + unknown > cap + 1e-9) FAIL("cap broken: ", s->spent(), " + ", held, " + ", unknown);
      if (std::abs(s->reserved() - held) > 1e-9) FAIL("reservations drift: ", s->reserved(), " against ", held);
    }
    CHECK(refused > 0);
    for (const auto &[key, reserve] : flying) REQUIRE(s->end_call(key, reply_of("z", 0)));
    CHECK(s->reserved() == 0);
    CHECK(s->spent() > 0.1);
  }
}

TEST_CASE("costs sum to the same figure in any order") {
  const double costs[] = {0.1, 1e-7, 0.2, 3.3e-6, 0.3, 7.5e-8};
  double sums[2];
  for (int way = 0; way < 2; ++way) {
    Folder folder;
    auto s = opened(folder.path);
    for (int i = 0; i < 600; ++i) {
      const std::string key = std::to_string(i);
      REQUIRE(s->begin_call({key, "core", "m", "s", "{}", 0}));
      REQUIRE(s->end_call(key, reply_of("y", costs[size_t(way ? 599 - i : i) % 6])));
    }
    sums[way] = s->spent();
  }
  CHECK(sums[0] == sums[1]);
}

TEST_CASE("checks, entries, events, meta") {
  Folder folder;
  {
    auto s = opened(folder.path);
    REQUIRE(s->put_check("c1", "t1", "def f(): pass", {0.5, 1, 2, "assert 2 failed", R"({"x":1})"}));
    REQUIRE(s->put("step", "grpo/0002", "{\"r\":2}"));
    REQUIRE(s->put("step", "grpo/0001", "{\"r\":1}"));
    REQUIRE(s->put("step", "sft/0001", "{}"));
    REQUIRE(s->put("step", "grpo/0001", "{\"r\":9}"));
    REQUIRE(s->put("state", "a%b_", std::string("z\0w", 3)));
    REQUIRE(s->event("warn", "slow core"));
    REQUIRE(s->set_meta("seed", "7"));
    REQUIRE(s->set_meta("seed", "8"));
  }
  auto s = opened(folder.path);
  const auto v = s->find_check("c1");
  REQUIRE(v);
  CHECK(v->score == 0.5);
  CHECK(v->passed == 1);
  CHECK(v->feedback == "assert 2 failed");
  CHECK(v->detail == R"({"x":1})");
  CHECK(v->cached);
  CHECK_FALSE(s->find_check("c2"));
  const auto rows = s->list("step", "grpo/");
  REQUIRE(rows.size() == 2);
  CHECK(rows[0] == std::pair<std::string, std::string>("grpo/0001", "{\"r\":9}"));
  CHECK(s->list("step").size() == 3);
  CHECK(s->list("state", "a%").size() == 1);
  CHECK(s->list("state", "a_").empty());
  CHECK(*s->get("state", "a%b_") == std::string("z\0w", 3));
  CHECK_FALSE(s->get("state", "none"));
  CHECK(s->meta().at("seed") == "8");
}

TEST_CASE("no secret reaches the file, by whatever door") {
  Folder folder;
  const std::string canary = "canary-key-83f1c0d2";
  register_secret(canary);
  {
    auto s = opened(folder.path);
    REQUIRE(s->begin_call({"k", "core", "m", "s", "{\"h\":\"" + canary + "\"}", 0}));
    REQUIRE(s->end_call("k", reply_of("said " + canary)));
    REQUIRE(s->begin_call({"k2", "core", "m", "s", "{}", 0}));
    REQUIRE(s->end_call("k2", Error{Code::denied, "401 for " + canary, {}}));
    REQUIRE(s->put_check("c", "t", "x = '" + canary + "'", {0, 0, 1, canary, canary}));
    REQUIRE(s->put("state", "x", canary));
    REQUIRE(s->event("info", canary));
    REQUIRE(s->set_meta("options", canary));
    CHECK(s->find_call("k")->text == "said ***");
  }
  const std::string file = "grep -c " + canary + " " + folder.path + "/* >/dev/null";
  CHECK(std::system(file.c_str()) != 0);
}

TEST_CASE("thousands of calls are recorded and found again") {
  Folder folder;
  auto s = opened(folder.path);
  const auto start = std::chrono::steady_clock::now();
  const int n = 3000;
  for (int i = 0; i < n; ++i) {
    const std::string key = "key-" + std::to_string(i);
    if (!s->begin_call({key, "core", "m", "s", std::string(400, 'q') + std::to_string(i / 4), 0.001})) FAIL("begin");
    if (!s->end_call(key, reply_of(std::string(300, 'a') + std::to_string(i), 0.0005))) FAIL("end");
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  MESSAGE(int(n / seconds), " calls a second");
  CHECK(s->find_call("key-2777")->text.substr(300) == "2777");
  CHECK(s->spent() == doctest::Approx(1.5));
}
