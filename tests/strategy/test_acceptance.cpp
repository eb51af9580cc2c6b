#include <doctest/doctest.h>

#include <cmath>
#include <random>

#include "strategy/acceptance.hpp"

using namespace gcop::strategy;

TEST_CASE("need is ceil(tau m), not one more by rounding") {
  CHECK(Plan::make(0.8, 0.2, 16)->need == 13);
  CHECK(Plan::make(0.8, 0.2, 15)->need == 12);
  CHECK(Plan::make(0.8, 0.2, 5)->need == 4);
  CHECK(Plan::make(0.8, 0.2, 8)->need == 7);
  CHECK(Plan::make(1, 0.5, 1)->need == 1);
  CHECK(Plan::make(0.01, 0.005, 4)->need == 1);
}

TEST_CASE("exact false accept and power of the plans that the facts tabulate") {
  const auto m16 = Plan::make(0.8, 0.2, 16), m8 = Plan::make(0.8, 0.2, 8);
  CHECK(m16->beta_fa == doctest::Approx(0.065).epsilon(0.01));
  CHECK(m16->power(0.9) == doctest::Approx(0.932).epsilon(0.001));
  CHECK(m8->beta_fa == doctest::Approx(0.106).epsilon(0.01));
  CHECK(m8->power(0.9) == doctest::Approx(0.813).epsilon(0.001));
  CHECK(m16->beta_fa < std::exp(-2 * 16 * 0.04));  // the paper's Hoeffding bound
  CHECK(m16->power(0) == 0);
  CHECK(m16->power(1) == 1);
}

TEST_CASE("plans that make no sense are refused by name") {
  CHECK(Plan::make(0, 0.2, 4).error().message.find("tau") != std::string::npos);
  CHECK(Plan::make(1.2, 0.2, 4).error().message.find("tau") != std::string::npos);
  CHECK(Plan::make(0.8, 0.8, 4).error().message.find("epsilon") != std::string::npos);
  CHECK(Plan::make(0.8, 0, 4).error().message.find("epsilon") != std::string::npos);
  CHECK(Plan::make(0.8, 0.2, 0).error().message.find("m = 0") != std::string::npos);
}

TEST_CASE("stopping early never changes the fixed test's decision: every sequence of 12") {
  for (const uint32_t m : {1u, 2u, 5u, 12u}) {
    const auto plan = Plan::make(0.75, 0.2, m);
    REQUIRE(plan);
    for (uint32_t bits = 0; bits < 1u << m; ++bits) {
      Decision early = plan->decide(0, 0);
      uint32_t successes = 0, stopped_at = 0;
      for (uint32_t t = 0; t < m; ++t) {
        successes += bits >> t & 1;
        if (early == Decision::go_on) {
          early = plan->decide(successes, t + 1);
          stopped_at = t + 1;
        }
      }
      const Decision fixed = successes >= plan->need ? Decision::keep : Decision::drop;
      if (early != fixed || stopped_at > m) FAIL("m ", m, " sequence ", bits);
    }
  }
}

TEST_CASE("expected trials match the facts' table") {
  const auto m16 = Plan::make(0.8, 0.2, 16);
  const double table[] = {4.4, 5.0, 5.7, 6.7, 8.0, 9.8, 11.9, 13.8, 14.1, 13.7},
               at[] = {.1, .2, .3, .4, .5, .6, .7, .8, .9, .95};
  for (int i = 0; i < 10; ++i) CHECK(m16->expected_trials(at[i]) == doctest::Approx(table[i]).epsilon(0.015));
  CHECK(m16->expected_trials(1) == doctest::Approx(13));
  CHECK(m16->expected_trials(0) == doctest::Approx(4));
}

TEST_CASE("certificates at their ends") {
  CHECK(expected_bad(0.065, 100, 0) == 0);
  CHECK(expected_bad(0.065, 3, 1000) == 3);
  CHECK(expected_bad(0.1, 100, 90) == doctest::Approx(10));
  CHECK(certified_bad(0.065, 0, 50) == 0);
  CHECK(certified_bad(0, 50, 50) == 0);
  CHECK(certified_bad(1, 50, 50) == 50);
  CHECK(certified_bad(0.065, 100, 100000) == 100);  // so many rejections that all kept ones may be luck
  CHECK(certified_bad(0.065, 100, 0) < 10);
  for (uint64_t r = 0; r < 400; r += 20)
    CHECK(certified_bad(0.065, 60, r) <= certified_bad(0.065, 60, r + 20));  // safe to count all rejections
}

TEST_CASE("the certificate holds under adaptive refinement; the paper's per-task rate does not") {
  // 10 % good proposals (p = 0.95), the rest at p = tau - epsilon; refined up to 3 times while rejected.
  const auto plan = Plan::make(0.8, 0.2, 8);
  REQUIRE(plan);
  std::mt19937_64 draw(5);
  auto unit = [&] { return double(draw() >> 11) * 0x1p-53; };
  const double pass_good = plan->power(0.95), beta = plan->beta_fa;
  const int sets = 2000, tasks = 200;
  int violated = 0, task_rate_wrong = 0;
  double bad_sum = 0, expected_sum = 0;
  for (int set = 0; set < sets; ++set) {
    uint64_t kept = 0, rejected = 0, bad = 0;
    for (int task = 0; task < tasks; ++task)
      for (int round = 0; round < 3; ++round) {
        const bool good = unit() < 0.1;
        if (unit() >= (good ? pass_good : beta)) {
          ++rejected;
          continue;
        }
        ++kept;
        bad += !good;
        break;
      }
    violated += bad > certified_bad(beta, kept, rejected);
    bad_sum += double(bad);
    expected_sum += expected_bad(beta, kept, rejected);
    // "Pr[bad | kept] <= beta / rho" with rho counted per task instead of per tested strategy
    task_rate_wrong += double(bad) / double(kept) > beta / (double(kept) / tasks);
  }
  MESSAGE("violated ", violated, " of ", sets, "; mean bad ", bad_sum / sets, ", bound ", expected_sum / sets,
          "; per-task rate wrong in ", task_rate_wrong);
  CHECK(violated <= sets * 0.05);
  CHECK(bad_sum <= expected_sum);
  CHECK(task_rate_wrong > sets / 2);
}
