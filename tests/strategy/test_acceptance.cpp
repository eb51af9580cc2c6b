#include <doctest/doctest.h>

#include <cmath>
#include <random>

#include "report/stats.hpp"
#include "strategy/acceptance.hpp"

using namespace gcop::strategy;

namespace {

Plan plan_of(PlanOptions o) {
  const auto made = Plan::make(o);
  REQUIRE_MESSAGE(made, made.error().message);
  return *made;
}

constexpr double kAt[] = {.1, .2, .3, .4, .5, .6, .7, .8, .9, .95};

// Fixed trials per trial of this plan, over p ~ Beta(a, 1).
double saving(const Plan &plan, double a) {
  constexpr int kSteps = 4000;
  double trials = 0;
  for (int i = 0; i < kSteps; ++i) {
    const double p = (i + 0.5) / kSteps;
    trials += plan.expected_trials(p) * a * std::pow(p, a - 1) / kSteps;
  }
  return plan.options.m / trials;
}

std::vector<PlanOptions> many() {
  struct Test {
    double tau, epsilon;
    uint32_t m;
  };
  const Test tests[] = {{0.8, 0.2, 16}, {0.8, 0.2, 6},   {0.75, 0.25, 5}, {0.5, 0.3, 12},
                        {1.0, 0.3, 8},  {0.9, 0.05, 40}, {0.2, 0.1, 9},   {0.8, 0.2, 3}};
  std::vector<PlanOptions> out;
  for (const Rule rule : {Rule::sprt, Rule::curtailed, Rule::fixed})
    for (const uint32_t rounds : {1u, 2u, 3u})
      for (const Test &t : tests) out.push_back({t.tau, t.epsilon, t.m, rule, 0, rounds});
  return out;
}

}  // namespace

TEST_CASE("need is ceil(tau m), not one more by rounding") {
  const auto need = [](double tau, double epsilon, uint32_t m) { return plan_of({tau, epsilon, m}).need; };
  CHECK(need(0.8, 0.2, 16) == 13);
  CHECK(need(0.8, 0.2, 15) == 12);
  CHECK(need(0.8, 0.2, 5) == 4);
  CHECK(need(0.8, 0.2, 8) == 7);
  CHECK(need(1, 0.5, 1) == 1);
  CHECK(need(0.01, 0.005, 4) == 1);
}

TEST_CASE("exact false accept and power of the fixed tests that the facts tabulate") {
  const Plan m16 = plan_of({0.8, 0.2, 16, Rule::fixed}), m8 = plan_of({0.8, 0.2, 8, Rule::fixed});
  CHECK(m16.beta_fa == doctest::Approx(0.065).epsilon(0.01));
  CHECK(m16.power_at_p1 == doctest::Approx(0.932).epsilon(0.001));
  CHECK(m8.beta_fa == doctest::Approx(0.106).epsilon(0.01));
  CHECK(m8.power(0.9) == doctest::Approx(0.813).epsilon(0.001));
  CHECK(m16.beta_fa < std::exp(-2 * 16 * 0.04));  // the paper's Hoeffding bound
  CHECK(m16.power(0) == 0);
  CHECK(m16.power(1) == 1);
  CHECK(m16.expected_trials(0.3) == doctest::Approx(16));
}

TEST_CASE("every rule keeps the fixed test's promise, keeps more often the larger p is, and never takes longer") {
  for (const PlanOptions &o : many()) {
    CAPTURE(static_cast<int>(o.rule));
    CAPTURE(o.m);
    CAPTURE(o.rounds_of);
    CAPTURE(o.tau);
    const Plan plan = plan_of(o), fixed = plan_of({o.tau, o.epsilon, o.m, Rule::fixed}),
               curtailed = plan_of({o.tau, o.epsilon, o.m, Rule::curtailed, 0, o.rounds_of});
    CHECK(plan.beta_fa <= fixed.beta_fa * (1 + 1e-9));
    CHECK(plan.power_at_p1 >= fixed.power_at_p1 * (1 - 1e-9));
    double before = 0;
    for (int i = 0; i <= 100; ++i) {
      const double power = plan.power(i / 100.0);
      CHECK(power >= before - 1e-12);
      before = power;
    }
    if (o.rule == Rule::sprt)
      CHECK(saving(plan, 1) + saving(plan, 4) >= saving(curtailed, 1) + saving(curtailed, 4) - 0.05);
    CHECK(plan.cap() <= (o.rule == Rule::sprt ? 2 * o.m : o.m));
    for (uint32_t t = 1; t < plan.cap(); ++t)  // no decision inside a round
      if (t % o.rounds_of != 0) {
        CHECK(plan.bounds.keep_at[t] == kNever);
        CHECK(plan.bounds.drop_at[t] == -1);
      }
    for (uint32_t s = 0; s <= plan.cap(); ++s) CHECK(plan.decide(s, plan.cap()) != Decision::go_on);
  }
}

TEST_CASE("stopping early never changes the fixed test's decision: every sequence of 12, in rounds of any size") {
  for (const uint32_t m : {1u, 2u, 5u, 12u})
    for (const uint32_t rounds : {1u, 2u, 5u}) {
      if (rounds > m) continue;
      const Plan plan = plan_of({0.75, 0.2, m, Rule::curtailed, 0, rounds});
      for (uint32_t bits = 0; bits < 1u << m; ++bits) {
        Decision early = Decision::go_on;
        uint32_t successes = 0;
        for (uint32_t t = 0; t < m; ++t) {
          successes += bits >> t & 1;
          if (early == Decision::go_on) early = plan.decide(successes, t + 1);
        }
        if (early != (successes >= plan.need ? Decision::keep : Decision::drop)) FAIL("m ", m, " sequence ", bits);
      }
    }
}

TEST_CASE("expected trials of the curtailed test match the facts' table") {
  const Plan m16 = plan_of({0.8, 0.2, 16, Rule::curtailed});
  const double table[] = {4.4, 5.0, 5.7, 6.7, 8.0, 9.8, 11.9, 13.8, 14.1, 13.7};
  for (int i = 0; i < 10; ++i) CHECK(m16.expected_trials(kAt[i]) == doctest::Approx(table[i]).epsilon(0.015));
  CHECK(m16.expected_trials(1) == doctest::Approx(13));
  CHECK(m16.expected_trials(0) == doctest::Approx(4));
  CHECK(saving(m16, 1) == doctest::Approx(1.82).epsilon(0.01));
  CHECK(saving(m16, 4) == doctest::Approx(1.27).epsilon(0.01));
}

TEST_CASE("the sequential test saves what the best deterministic one can: 2.55 and 1.70 of at most 2.564 and 1.710") {
  const Plan plan = plan_of({0.8, 0.2, 16});
  CHECK(plan.cap() <= 32);
  CHECK(plan.beta_fa <= 0.0652);
  CHECK(plan.power_at_p1 >= 0.9315);
  CHECK(saving(plan, 1) >= 2.55);
  CHECK(saving(plan, 1) <= 2.564);
  CHECK(saving(plan, 4) >= 1.70);
  CHECK(saving(plan, 4) <= 1.710);
  // The facts' truncated SPRT in rounds: 2.11 / 1.40 and 1.76 / 1.30.
  CHECK(saving(plan_of({0.8, 0.2, 16, Rule::sprt, 0, 2}), 1) >= 2.3);
  CHECK(saving(plan_of({0.8, 0.2, 16, Rule::sprt, 0, 4}), 1) >= 1.9);
}

TEST_CASE("dynamic programming agrees with 200,000 simulated strategies") {
  std::mt19937_64 draw(7);
  for (const PlanOptions &o :
       {PlanOptions{}, PlanOptions{0.8, 0.2, 16, Rule::sprt, 0, 4}, PlanOptions{0.8, 0.2, 16, Rule::curtailed}}) {
    const Plan plan = plan_of(o);
    for (const double p : {0.3, 0.6, 0.85}) {
      constexpr int kTimes = 200000;
      double kept = 0, trials = 0, squares = 0;
      for (int i = 0; i < kTimes; ++i) {
        uint32_t s = 0, t = 0;
        while (plan.decide(s, t) == Decision::go_on) {
          s += double(draw() >> 11) * 0x1p-53 < p;
          ++t;
        }
        kept += plan.decide(s, t) == Decision::keep;
        trials += t;
        squares += double(t) * t;
      }
      const double power = plan.power(p), mean = trials / kTimes, sd = std::sqrt(squares / kTimes - mean * mean);
      CHECK(std::abs(kept / kTimes - power) < 4.5 * std::sqrt(power * (1 - power) / kTimes) + 1e-9);
      CHECK(std::abs(mean - plan.expected_trials(p)) < 4.5 * sd / std::sqrt(kTimes));
    }
  }
}

TEST_CASE("lower bounds: Clopper and Pearson's for the fixed test, true 95 times in 100 for a stopped one") {
  const Plan fixed = plan_of({0.8, 0.2, 16, Rule::fixed});
  for (const uint32_t s : {13u, 14u, 16u})
    CHECK(fixed.lower_bound(s, 16, 0.05) ==
          doctest::Approx(gcop::report::clopper_pearson(s, 16, 0.9).low).epsilon(1e-6));
  const Plan plan = plan_of({});
  std::mt19937_64 draw(11);
  for (const double p : {0.5, 0.7, 0.9}) {
    // Of all tested, not of the kept: that a strategy is kept is part of what is unlikely.
    int wrong = 0;
    constexpr int kTimes = 20000;
    for (int i = 0; i < kTimes; ++i) {
      uint32_t s = 0, t = 0;
      while (plan.decide(s, t) == Decision::go_on) {
        s += double(draw() >> 11) * 0x1p-53 < p;
        ++t;
      }
      if (plan.decide(s, t) == Decision::keep) wrong += plan.lower_bound(s, t, 0.05) > p;
    }
    CHECK(wrong <= kTimes * 0.05 + 4.5 * std::sqrt(kTimes * 0.05 * 0.95));
  }
  double sooner = 1;  // the later it is kept, the less it shows
  for (uint32_t t = 1; t <= plan.cap(); ++t) {
    const int32_t s = plan.bounds.keep_at[t];
    if (s > static_cast<int32_t>(t) || s <= plan.bounds.drop_at[t - 1]) continue;
    const double bound = plan.lower_bound(static_cast<uint32_t>(s), t, 0.05);
    CHECK(bound <= sooner);
    sooner = bound;
  }
}

TEST_CASE("plans that make no sense are refused by name") {
  const auto refusal = [](PlanOptions o) {
    const auto made = Plan::make(o);
    return made ? std::string() : made.error().message;
  };
  const auto names = [&](PlanOptions o, const std::string &what) {
    CAPTURE(what);
    CHECK(refusal(o).find(what) != std::string::npos);
  };
  names({0, 0.2, 4}, "tau = 0");
  names({1.2, 0.2, 4}, "tau = 1.2");
  names({NAN, 0.2, 4}, "tau = nan");
  names({0.8, 0.8, 4}, "epsilon = 0.8");
  names({0.8, 0, 4}, "epsilon = 0");
  names({0.8, 0.2, 0}, "m = 0");
  names({0.8, 0.2, 1001, Rule::fixed}, "m = 1001");
  names({0.8, 0.2, 129}, "rule = \"curtailed\"");
  names({0.8, 0.2, 16, Rule::sprt, 0.5}, "p1 = 0.5");
  names({0.8, 0.2, 16, Rule::sprt, 1.1}, "p1 = 1.1");
  names({0.8, 0.2, 4, Rule::sprt, 0, 5}, "rounds_of = 5");
  names({0.8, 0.2, 4, Rule::sprt, 0, 0}, "rounds_of = 0");
  CHECK(refusal({0.8, 0.2, 128}) == "");
}
