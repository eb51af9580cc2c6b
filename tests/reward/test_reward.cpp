#include <doctest/doctest.h>

#include <algorithm>
#include <random>

#include "reward/order.hpp"

using namespace gcop::reward;

namespace {
const Term &term(const Order &order, const std::string &name) {
  return *std::find_if(order.terms.begin(), order.terms.end(), [&](const Term &t) { return t.name == name; });
}
}  // namespace

TEST_CASE("the defaults keep the order, and the table shows it") {
  const auto order = check({});
  REQUIRE(order);
  REQUIRE(order->outcomes.size() == 4);
  CHECK(order->outcomes[0].outcome == "malformed");
  CHECK(order->outcomes[2].low == doctest::Approx(-0.4));
  CHECK(order->outcomes[2].high == doctest::Approx(0.3));
  CHECK(order->outcomes[3].low == doctest::Approx(1.1));
}

TEST_CASE("the paper's gate is refused: malformed 0 beats honest failures") {
  const auto order = check({.malformed = 0, .leak = 0.05});
  REQUIRE_FALSE(order);
  CHECK(order.error().message.find("leak") != std::string::npos);
  CHECK(order.error().code == gcop::Code::invalid);
}

TEST_CASE("each inequality has its own refusal") {
  CHECK(check({.malformed = -0.5, .leak = -0.5}).error().message.find("malformed") != std::string::npos);
  CHECK(check({.w_harm = 0.6}).error().message.find("w_harm") != std::string::npos);  // -0.5 is not above leak
  CHECK(check({.leak = -0.9, .w_judge = 1.0}).error().message.find("w_judge") != std::string::npos);
  CHECK(check({.malformed = -9, .leak = -8, .lambda = 2, .cost_max = 0.45}).error().message.find("lambda") !=
        std::string::npos);
  CHECK(check({.malformed = -9, .leak = -8, .lambda = 1, .cost_max = 0.45}));
  CHECK(check({.judge_min = 1, .judge_max = 0}).error().message.find("judge_max") != std::string::npos);
}

TEST_CASE("what it lets pass keeps the order for every outcome, by trying them") {
  std::mt19937 draw(3);
  std::uniform_real_distribution<double> unit(0, 1);
  int passed = 0;
  for (int i = 0; i < 20000; ++i) {
    Constants c;
    c.malformed = -2 * unit(draw);
    c.leak = -unit(draw);
    c.c_valid = unit(draw) * 0.4;
    c.w_judge = unit(draw);
    c.w_harm = unit(draw);
    c.lambda = unit(draw) * 2;
    c.cost_max = unit(draw) * 0.3;
    const bool ok = bool(check(c));
    passed += ok;
    double worst_success = 1e9, best_failure = -1e9, worst_failure = 1e9;
    for (const double u : {0.0, 0.3, 1.0})
      for (const double judge : {0.0, 1.0})
        for (const double cost : {0.0, c.cost_max}) {
          auto reward = [&](double r) {
            return r + c.c_valid + c.w_judge * judge - c.w_harm * std::max(0.0, u - r) - c.lambda * cost;
          };
          worst_success = std::min(worst_success, reward(1));
          best_failure = std::max(best_failure, reward(0));
          worst_failure = std::min(worst_failure, reward(0));
        }
    const bool holds = c.malformed < c.leak && c.leak < worst_failure && best_failure < worst_success;
    if (ok != holds)
      FAIL("constants judged wrongly: ", c.malformed, " ", c.leak, " ", c.w_judge, " ", c.lambda * c.cost_max);
  }
  CHECK(passed > 100);
  CHECK(passed < 19000);
}

TEST_CASE("it says which term can act") {
  using gcop::Scaling;
  CHECK(term(*check({}), "w_harm").why.find("weight") != std::string::npos);
  const auto dead = check({.judge_min = 1, .judge_max = 1, .scaling = Scaling::group, .valid_varies = false});
  REQUIRE(dead);
  CHECK_FALSE(term(*dead, "w_harm").acts);
  CHECK_FALSE(term(*dead, "w_judge").acts);
  CHECK_FALSE(term(*dead, "c_valid").acts);
  CHECK_FALSE(term(*dead, "lambda").acts);
  CHECK(term(*dead, "task").acts);
  CHECK(term(*check({.scaling = Scaling::group}), "w_harm").acts);
  CHECK(term(*check({.malformed = -9, .leak = -8, .lambda = 1, .cost_max = 0.2}), "lambda").acts);
}
