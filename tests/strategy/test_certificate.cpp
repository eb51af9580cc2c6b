#include <doctest/doctest.h>

#include <cmath>
#include <random>

#include "report/stats.hpp"
#include "strategy/acceptance.hpp"
#include "strategy/certificate.hpp"

using namespace gcop::strategy;

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
  const auto plan = Plan::make({0.8, 0.2, 8});
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

TEST_CASE("Pr[bad | kept] and the single round's bound") {
  CHECK(bad_share(0.065, 0.5) == doctest::Approx(0.065 / 0.935));
  CHECK(bad_share(0.065, 0.01) == 1);
  CHECK(bad_share(0.065, 1) == 0);
  CHECK(bad_share(0, 0.3) == 0);
  CHECK(bad_share(1, 0.3) == 1);
  // 60 of 200 kept: rho is at least 0.247 with 95 % confidence (facts), one-sided.
  CHECK(single_round_good_share(0.1, 60, 140) == doctest::Approx(1 - 0.1 / 0.247).epsilon(0.01));
  CHECK(single_round_good_share(0.3, 60, 140) == 0);  // too few kept to say anything
  CHECK(single_round_good_share(0.1, 0, 140) == 0);
  CHECK(single_round_good_share(0.1, 0, 0) == 0);
}

TEST_CASE("the single round's bound holds in one round of independent proposals") {
  const auto plan = Plan::make({0.8, 0.2, 8});
  REQUIRE(plan);
  std::mt19937_64 draw(9);
  auto unit = [&] { return double(draw() >> 11) * 0x1p-53; };
  const double pass_good = plan->power(0.95), beta = plan->beta_fa, good = 0.3;
  const double truth = good * pass_good / (good * pass_good + (1 - good) * beta);  // Pr[good | kept]
  int violated = 0;
  for (int set = 0; set < 2000; ++set) {
    uint64_t kept = 0;
    for (int i = 0; i < 200; ++i) kept += unit() < (unit() < good ? pass_good : beta);
    violated += single_round_good_share(beta, kept, 200 - kept) > truth;
  }
  CHECK(violated <= 100);
}

TEST_CASE("the smallest m for what is wanted, and no smaller one will do") {
  const Wanted wanted{0.8, 0.2, 0, 0.3, 0.1, 0.9};
  const auto m = smallest_m(wanted);
  REQUIRE(m);
  const auto keeps = [&](uint32_t tried) {
    const auto plan = Plan::make({0.8, 0.2, tried, Rule::fixed});
    return bad_share(plan->beta_fa, 0.3) <= 0.1 && plan->power_at_p1 >= 0.9;
  };
  CHECK(keeps(*m));
  for (uint32_t tried = 1; tried < *m; ++tried) CHECK_FALSE(keeps(tried));
  CHECK(*m > 16);  // .065 / .935 * 7 / 3 is .16
  CHECK(smallest_m({0.8, 0.2, 0, 0, 0.1, 0.9}).error().message.find("rho") != std::string::npos);
  CHECK(smallest_m({0.8, 0.2, 0, 0.3, 1, 0.9}).error().message.find("bad_share") != std::string::npos);
  CHECK(smallest_m({0.8, 0.9, 0, 0.3, 0.1, 0.9}).error().message.find("epsilon") != std::string::npos);
  CHECK(smallest_m({0.8, 0.001, 0.8005, 0.3, 0.1, 0.9}).error().code == gcop::Code::exhausted);
}
