#include <doctest/doctest.h>

#include <cmath>

#include "trainer/advantages.hpp"

using gcop::Scaling;
using namespace gcop::trainer;
using Rewards = std::vector<std::optional<double>>;

TEST_CASE("none centres a group and nothing else") {
  const auto a = advantages({1.0, 0.0, 0.0, 1.0, 5.0, 7.0}, {7, 7, 7, 7, 9, 9});
  REQUIRE(a);
  CHECK(a->values == std::vector<double>{0.5, -0.5, -0.5, 0.5, -1, 1});
  CHECK(a->groups == 2);
  CHECK(a->dead_groups == 0);
}

TEST_CASE("group and batch scaling are the published formulas") {
  const Rewards r{1.0, 2.0, 4.0, 1.0, 1.0, 2.0};
  const std::vector<int64_t> g{0, 0, 0, 1, 1, 1};
  const auto group = advantages(r, g, Scaling::group), batch = advantages(r, g, Scaling::batch);
  REQUIRE(group);
  REQUIRE(batch);
  const double mean = 7.0 / 3;
  const double s0 = std::sqrt(((1 - mean) * (1 - mean) + (2 - mean) * (2 - mean) + (4 - mean) * (4 - mean)) / 2);
  CHECK(group->values[0] == doctest::Approx((1 - mean) / (s0 + 1e-4)));
  const double all_mean = 11.0 / 6;
  double squares = 0;
  for (const auto &x : r) squares += (*x - all_mean) * (*x - all_mean);
  CHECK(batch->values[2] == doctest::Approx((4 - mean) / (std::sqrt(squares / 5) + 1e-4)));
}

TEST_CASE("a missing reward leaves its group: it moves neither mean nor deviation and earns nothing") {
  const auto with = advantages({1.0, std::nullopt, 0.0}, {1, 1, 1}, Scaling::group);
  const auto without = advantages({1.0, 0.0}, {1, 1}, Scaling::group);
  REQUIRE(with);
  CHECK(with->values[0] == without->values[0]);
  CHECK(with->values[1] == 0);
  CHECK(with->values[2] == without->values[1]);
  CHECK(with->missing == 1);
}

TEST_CASE("groups without contrast are dead, whatever their size") {
  const auto a =
      advantages({0.1, 0.1, 0.1, 3.0, std::nullopt, std::nullopt, 1.0, 2.0}, {1, 1, 1, 2, 2, 3, 4, 4}, Scaling::batch);
  REQUIRE(a);
  CHECK(a->dead_groups == 3);
  CHECK(a->dead == std::vector<uint8_t>{1, 1, 1, 1, 1, 1, 0, 0});
  for (size_t i = 0; i < 6; ++i) CHECK(a->values[i] == 0);
}

TEST_CASE("trap 1: std scaling erases the harm term, centring keeps it as a task's weight") {
  auto rewards = [](double w_harm) {
    Rewards r;  // the core alone solves this task with u = 0.75: a failing sample loses w_harm u more
    for (const double success : {1.0, 0.0, 1.0, 0.0, 0.0})
      r.push_back(success + 0.1 - w_harm * std::max(0.0, 0.75 - success));
    return r;
  };
  const std::vector<int64_t> g(5, 1);
  for (const double w : {0.5, 2.0}) {
    const auto scaled = advantages(rewards(w), g, Scaling::group), scaled0 = advantages(rewards(0), g, Scaling::group);
    const auto centred = advantages(rewards(w), g), centred0 = advantages(rewards(0), g);
    for (size_t i = 0; i < 5; ++i) {
      CHECK(scaled->values[i] == doctest::Approx(scaled0->values[i]).epsilon(1e-3));
      CHECK(centred->values[i] == doctest::Approx(centred0->values[i] * (1 + w * 0.75)));
    }
  }
}

TEST_CASE("mistakes are named") {
  CHECK_FALSE(advantages({1.0}, {1, 2}));
  CHECK_FALSE(advantages({std::nan("")}, {1}));
  CHECK(scaling_from("batch").value() == Scaling::batch);
  CHECK(scaling_from("std").error().message.find("none") != std::string::npos);
}
