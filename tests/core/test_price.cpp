// What calls cost: classes of tokens, tiers, hours, and the dated list.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "core/core.hpp"
#include "core/price_list.hpp"
#include "store/store.hpp"
#include "wayward.hpp"

using namespace gcop;
using core::find_price;
namespace fs = std::filesystem;

namespace {

struct File {
  fs::path path = fs::temp_directory_path() / ("gcop-prices-" + std::to_string(getpid()) + ".toml");
  explicit File(const std::string &text) { std::ofstream(path) << text; }
  ~File() { fs::remove(path); }
};

std::string refusal(const std::string &text) {
  const File file(text);
  const auto list = core::read_prices(file.path);
  return list ? "accepted" : list.error().text();
}

const std::string kEntry = "[[price]]\nhost = \"h\"\nmodel = \"m\"\nread = 2026-01-02\ninput = 1.0\noutput = 2.0\n";

struct TurnedClock : Clock {  // a wall clock that somebody sets back, and a steady one that ticks by itself
  mutable uint64_t steady = 1'000'000'000;
  mutable double wall = 2e9;
  uint64_t steady_ns() const override { return steady += 1'000'000; }
  double unix_seconds() const override { return wall -= 86'400; }
};

}  // namespace

TEST_CASE("every token is billed once, by its class") {
  const core::Price price{{2, 0.5, 3, 8}, {}, 0, ""};
  CHECK(core::tokens_cost(price, {1'000'000, 0, 0, 0, 0, true}) == doctest::Approx(2));
  CHECK(core::tokens_cost(price, {0, 1'000'000, 0, 0, 0, true}) == doctest::Approx(0.5));
  CHECK(core::tokens_cost(price, {0, 0, 1'000'000, 0, 0, true}) == doctest::Approx(3));
  CHECK(core::tokens_cost(price, {0, 0, 0, 600'000, 400'000, true}) == doctest::Approx(8));
}

TEST_CASE("a longer prompt pays its tier's rates for the whole call, cached tokens counted") {
  const core::Price price{{0.10, 0.01, 0.125, 0.50}, {{100'000, {0.50, 0.05, 0.625, 2.50}}}, 0, ""};
  CHECK(core::tokens_cost(price, {100'000, 0, 0, 1000, 0, true}) == doctest::Approx(0.01 + 0.0005));
  CHECK(core::tokens_cost(price, {100'001, 0, 0, 1000, 0, true}) == doctest::Approx(0.0500005 + 0.0025));
  CHECK(core::tokens_cost(price, {1, 100'000, 0, 0, 0, true}) == doctest::Approx(0.5e-6 + 0.005));
  // The most a call may cost covers every tier that its prompt may reach.
  for (const uint64_t input : {uint64_t{10}, uint64_t{100'000}, uint64_t{100'001}, uint64_t{500'000}})
    for (const uint64_t cached : {uint64_t{0}, input / 2, input})
      CHECK(core::most_cost(price, input, 1000, 0) + 1e-12 >=
            core::tokens_cost(price, {input - cached, cached, 0, 1000, 0, true}));
}

TEST_CASE("an hour's price is shared by the calls that run at the same time") {
  const fs::path folder = fs::temp_directory_path() / ("gcop-hour-" + std::to_string(getpid()));
  {
    auto store = store::Store::open(folder);
    REQUIRE(store);
    Bench bench;
    core::Core handle(bench.loop, store->get(), bench.wayward("slow"), "w", {{}, {}, 3600, ""}, 8, 60'000);
    const auto started = bench.loop.clock().steady_ns();
    double costs = 0, latencies = 0;
    int left = 8;
    bench.until([&](auto end) {
      for (uint64_t i = 0; i < 8; ++i) {
        core::Request request;
        request.messages = {{"user", "x"}};
        request.sample = i;
        handle.complete(request, [&, end](Result<Reply> reply) {
          REQUIRE(reply);
          costs += reply->cost_usd;
          latencies += reply->latency_s;
          if (--left == 0) end();
        });
      }
    });
    const double wall = 1e-9 * static_cast<double>(bench.loop.clock().steady_ns() - started);
    CHECK(costs > 0);
    CHECK(costs <= wall + 1e-6);  // a dollar a second, however many share it
    CHECK(costs < latencies);
    CHECK((*store)->spent() == doctest::Approx(costs).epsilon(1e-6));
    core::Request again;
    again.messages = {{"user", "x"}};
    bench.until([&](auto end) {
      handle.complete(again, [&, end](Result<Reply> reply) {
        REQUIRE(reply);
        CHECK(reply->cached);
        CHECK(reply->cost_usd == 0);
        CHECK(reply->price_usd > 0);  // what it cost then
        end();
      });
    });
  }
  fs::remove_all(folder);
}

TEST_CASE("the shipped list is whole, and dated") {
  const auto list = core::read_prices(GCOP_SOURCE_DIR "/recipes/prices.toml");
  REQUIRE_MESSAGE(list, (list ? "" : list.error().text()));
  const auto on = [&](const char *model, const char *day) {
    return find_price(*list, "api.anthropic.com", model, day);
  };
  REQUIRE(on("claude-sonnet-5-5", "2026-10-06"));
  CHECK(on("claude-sonnet-5-5", "2026-10-06")->price.rate.cache_read == 0.20);
  CHECK(on("claude-sonnet-5-5", "2026-10-07")->price.rate.cache_read == 0.10);
  const auto haiku = on("claude-haiku-5-5", "2026-11-23");
  REQUIRE(haiku);
  REQUIRE(haiku->price.tiers.size() == 1);
  CHECK(haiku->price.tiers[0].rate.cache_read == doctest::Approx(0.05));  // in the proportion of its input
  const auto mini = find_price(*list, "api.openai.com", "gpt-4o-mini", "2026-11-23");
  REQUIRE(mini);
  CHECK(core::scaled(mini->price, mini->batch).rate.output == doctest::Approx(0.30));
  for (const auto &entry : *list) CHECK(entry.price.read.size() == 10);
}

TEST_CASE("a snapshot has its model's price, another model has not") {
  const File file(kEntry + "batch = 0.5\n" +
                  "[[price]]\nhost = \"h\"\nmodel = \"m-mini\"\nread = 2026-01-02\ninput = 0.1\noutput = 0.2\n");
  const auto list = core::read_prices(file.path);
  REQUIRE(list);
  const auto input = [&](const char *host, const char *model) {
    const auto found = find_price(*list, host, model, "2026-06-01");
    return found ? found->price.rate.input : -1;
  };
  for (const char *model : {"m", "m-2024-07-18", "m-20251001", "m-latest"}) CHECK(input("h", model) == 1);
  CHECK(input("h", "m-mini-2024-07-18") == 0.1);
  for (const char *model : {"mm", "m-pro", "m-2024", "m-20251001-x", "M"}) CHECK(input("h", model) == -1);
  CHECK(input("other", "m") == -1);
  CHECK(core::host_of("https://api.openai.com/v1") == "api.openai.com");
  CHECK(core::on_this_machine("http://127.0.0.1:8080/v1"));
  CHECK(core::on_this_machine("http://localhost/v1"));
  CHECK_FALSE(core::on_this_machine("https://127.0.0.1.evil.example/v1"));
  CHECK_FALSE(core::on_this_machine(""));
}

TEST_CASE("a wrong price list says where and what") {
  const std::pair<std::string, const char *> wrong[] = {
      {"[[price]\n", "cannot be read"},
      {"prices = 1\n", "not 'prices'"},
      {"[[price]]\nmodel = \"m\"\nread = 2026-01-02\ninput = 1\noutput = 1\n", "host and model"},
      {"[[price]]\nhost = \"h\"\nmodel = \"m\"\ninput = 1\noutput = 1\n", "read must say"},
      {"[[price]]\nhost = \"h\"\nmodel = \"m\"\nread = \"soon\"\ninput = 1\noutput = 1\n", "must be a date"},
      {"[[price]]\nhost = \"h\"\nmodel = \"m\"\nread = 2026-01-02\noutput = 1\n", "input is missing"},
      {kEntry + "cache_read = -1\n", "0 or more"},
      {kEntry + "cache_reed = 1\n", "no field 'cache_reed'"},
      {kEntry + "tiers = 5\n", "must be a list"},
      {kEntry + "tiers = [{ above = 10, input = 1, output = 1 }, { above = 10, input = 1, output = 1 }]\n", "rising"},
      {kEntry + "batch = 5.0\n", "batch must be the share of the price that a batch costs, above 0 and at most 1"},
      {kEntry + "batch = 0\n", "above 0 and at most 1"},
      {kEntry + "batch = nan\n", "above 0 and at most 1"},
      {kEntry + "batch = \"half\"\n", "above 0 and at most 1"},
      {kEntry + kEntry, "twice"}};
  for (const auto &[text, part] : wrong) {
    const std::string why = refusal(text);
    CHECK_MESSAGE(why.find(part) != std::string::npos, part, ": ", why);
    CHECK_MESSAGE(why.find(".toml:") != std::string::npos, why);
  }
}

TEST_CASE("a wall clock that is set back changes no latency and loses no call") {
  const fs::path folder = fs::temp_directory_path() / ("gcop-clock-" + std::to_string(getpid()));
  {
    auto store = store::Store::open(folder);
    REQUIRE(store);
    TurnedClock clock;
    Loop loop(1, clock);
    (*store)->commit_by_turn(loop);
    core::Core handle(loop, store->get(),
                      [](const core::Request &, core::Done done) {
                        Reply reply;
                        reply.text = "yes";
                        done(reply);
                        return std::function<void()>();
                      },
                      "script", "script", {});
    int left = 5;
    for (uint64_t i = 0; i < 5; ++i) {
      core::Request request;
      request.messages = {{"user", "x"}};
      request.sample = i;
      handle.complete(request, [&](Result<Reply> reply) {
        REQUIRE(reply);
        CHECK(reply->latency_s > 0);
        CHECK(reply->latency_s < 1);
        if (--left == 0) loop.stop();
      });
    }
    loop.run();
  }
  auto store = store::Store::open(folder);
  REQUIRE(store);
  CHECK((*store)->costs().at(0).calls == 5);
  CHECK((*store)->unknown_calls().empty());
  store->reset();
  fs::remove_all(folder);
}
