// Acceptance sampling (stage 1): is a strategy executed well often enough to be trained on? Pure functions, any thread.
//
// A strategy of executability p is tried one execution after another. After t trials with s successes a plan says keep,
// drop or go on. A failed *trial of the infrastructure* is no trial: repeat it, never count it. Three rules, all with
// the promise of the fixed test of m trials, which keeps at s >= need = ceil(tau m):
//
//   fixed      all m trials, then the decision: the paper's rule
//   curtailed  stops when the fixed test's outcome is certain: its decision on every sequence, in fewer trials
//   sprt       a test of its own, with no more false accepts at tau - epsilon and no less power at p1 than the fixed
//              one, and the fewest trials: sequential probability ratios with the bounds of sprt.hpp, at most 2 m
//              trials
//
//   beta_fa = sup over p <= tau - epsilon of Pr_p[keep] = Pr_{tau - epsilon}[keep]                       (exact)
//
// What a set of kept strategies may claim is in certificate.hpp.
#pragma once
#include <cstdint>

#include "base/result.hpp"
#include "strategy/sprt.hpp"

namespace gcop::strategy {

enum class Decision { go_on, keep, drop };
enum class Rule { sprt, curtailed, fixed };

struct PlanOptions {
  double tau = 0.8, epsilon = 0.2;
  uint32_t m = 16;
  Rule rule = Rule::sprt;
  double p1 = 0;           // what should be kept, with the fixed test's power; 0: (1 + tau) / 2
  uint32_t rounds_of = 1;  // trials that start together; decisions fall between rounds
};

struct Plan {
  PlanOptions options;  // p1 is never 0 here
  uint32_t need = 0;    // of the fixed test
  Bounds bounds{0};
  double beta_fa = 0, power_at_p1 = 0;  // [0, 1]

  // Errors: Code::invalid, naming the option, unless 0 < tau <= 1, 0 < epsilon < tau, tau - epsilon < p1 <= 1,
  // 1 <= m <= 1000 (sprt: 128, in a quarter of a second), 1 <= rounds_of <= m.
  static Result<Plan> make(const PlanOptions &options);

  uint32_t cap() const { return bounds.cap(); }  // trials of one strategy, at most

  // After `trials` <= cap(); with trials == cap() it is never go_on.
  Decision decide(uint32_t successes, uint32_t trials) const;

  // Exact, by dynamic programming over (t, s); p in [0, 1].
  double power(double p) const;            // Pr_p[keep]
  double expected_trials(double p) const;  // until the decision

  // Lower confidence bound of p for a strategy that was kept after `trials` with `successes`: the p for which being
  // kept at least as convincingly (sooner, or at the same time with no fewer successes) has probability alpha in (0,
  // 1). For all kept ones of a data set together, alpha = delta * kept / tested makes the expected share of wrong
  // bounds among them at most delta (Benjamini and Yekutieli 2005).
  double lower_bound(uint32_t successes, uint32_t trials, double alpha) const;
};

}  // namespace gcop::strategy
