// Acceptance sampling (stage 1): is a strategy executed well often enough to be trained on? Pure functions, any thread.
//
// A strategy is tried up to m times; keep iff successes >= need = ceil(tau m). `decide` stops as soon as the outcome is
// certain, so it takes the decisions of the fixed-m test on every sequence, in fewer calls. A failed *trial of the
// infrastructure* is no trial: repeat it, never count it.
//
//   beta_fa = sup over p <= tau - epsilon of Pr_p[keep] = Pr[Bin(m, tau - epsilon) >= need]      (exact, not
//   Hoeffding's)
#pragma once
#include <cstdint>
#include <vector>

#include "base/result.hpp"

namespace gcop::strategy {

enum class Decision { go_on, keep, drop };

struct Plan {
  double tau = 0.8, epsilon = 0.2;
  uint32_t m = 16;
  uint32_t need = 13;  // ceil(tau m)
  double beta_fa = 0;  // [0, 1]

  // Errors: Code::invalid, naming the field, unless 0 < tau <= 1, 0 < epsilon < tau, 1 <= m <= 10000.
  static Result<Plan> make(double tau, double epsilon, uint32_t m);

  // After `trials` <= m trials. With trials == m it is never go_on.
  Decision decide(uint32_t successes, uint32_t trials) const;
  double power(double p) const;            // Pr_p[keep]: beta_fa is power(tau - epsilon)
  double expected_trials(double p) const;  // of the stopped test, by dynamic programming
};

// What a data set of kept strategies may claim. T strategies were *tested*, every refinement round counted; A were
// kept, R = T - A rejected; M = the unknown number of kept ones with p <= tau - epsilon. Both hold under adaptive
// refinement.

// E[M] <= beta/(1-beta) E[R]: the plug-in with the observed R, at most A. beta in [0, 1].
double expected_bad(double beta_fa, uint64_t kept, uint64_t rejected);

// M_U = max{M <= A : L(M, R) < 1/delta}: with probability 1 - delta no more than this many kept ones are bad.
// L is the likelihood ratio of a Beta(1, b)-mixture over acceptance probabilities in (beta, 1), b = 1/beta - 1,
// against beta itself (Ville's inequality; valid for every stopping and refinement rule).
uint64_t certified_bad(double beta_fa, uint64_t kept, uint64_t rejected, double delta = 0.05);

}  // namespace gcop::strategy
