// What a data set of kept strategies may claim. T strategies were *tested*, every refinement round a test of its own; A
// were kept, R = T - A rejected; beta = beta_fa of the plan; M = the unknown number of kept ones whose executability is
// tau - epsilon or less ("bad"). Pure functions, any thread.
//
// All but `single_round_good_share` hold when what is proposed depends on the outcomes so far (refinement): given the
// past, a bad strategy is kept with probability at most beta, whoever proposed it.
#pragma once
#include <cstdint>

#include "base/result.hpp"

namespace gcop::strategy {

// E[M] <= beta/(1-beta) E[R]: the plug-in with the observed R, at most A. An estimate that holds on average, no bound:
// it is 0 where nothing was rejected. beta in [0, 1].
double expected_bad(double beta_fa, uint64_t kept, uint64_t rejected);

// Pr[bad | kept] <= beta/(1-beta) (1-rho)/rho, at most 1; rho in (0, 1] is the share of the tested that is kept.
double bad_share(double beta_fa, double rho);

// M_U = max{M <= A : L(M, R) < 1/delta}: with probability 1 - delta no more than this many kept ones are bad.
// L is the likelihood ratio of a Beta(1, b)-mixture over acceptance probabilities in (beta, 1), b = 1/beta - 1,
// against beta itself (Ville's inequality; valid for every stopping and refinement rule). It falls in R, so that
// counting every rejection as bad is safe.
uint64_t certified_bad(double beta_fa, uint64_t kept, uint64_t rejected, double delta = 0.05);

// Where every tested strategy was proposed before any outcome was known: with probability 1 - delta at least the share
// 1 - beta/rho_low of what such a source yields is good, rho_low the lower Clopper-Pearson bound of A/T at 1 - delta.
double single_round_good_share(double beta_fa, uint64_t kept, uint64_t rejected, double delta = 0.05);

// The smallest m whose fixed test keeps p1 with at least `power` and makes bad_share(beta, rho) at most the one wanted.
// Errors: Code::invalid for numbers that make no sense, Code::exhausted where m = 1000 does not do.
struct Wanted {
  double tau = 0.8, epsilon = 0.2, p1 = 0;  // as in PlanOptions
  double rho = 0.5, bad_share = 0.05, power = 0.9;
};
Result<uint32_t> smallest_m(const Wanted &wanted);

}  // namespace gcop::strategy
