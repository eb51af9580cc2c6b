// Tests that stop early: bounds on the successes after every trial, what they do, and the best of them.
// Pure functions, any thread.
#pragma once
#include <cstdint>
#include <limits>
#include <vector>

namespace gcop::strategy {

constexpr int32_t kNever = std::numeric_limits<int32_t>::max();

// After t trials with s successes, t in [0, cap]: keep iff s >= keep_at[t] (kNever: not yet), drop iff s <= drop_at[t]
// (-1: not yet). At cap one of them holds. Whatever the bounds, Pr_p[keep] rises with p: a sequence that has at least
// the successes of a kept one at every t is kept too, since it cannot have been dropped before.
struct Bounds {
  explicit Bounds(uint32_t cap) : keep_at(cap + 1, kNever), drop_at(cap + 1, -1) {}
  uint32_t cap() const { return static_cast<uint32_t>(keep_at.size()) - 1; }
  std::vector<int32_t> keep_at, drop_at;
};

// Every way through a test, by dynamic programming: open(t, s, w) for what goes on after t trials, kept(t, s, w) for
// what is kept then; w is the number of such sequences, each success counted `win` and each failure `lose`. With p and
// 1 - p they are probabilities.
template <class Open, class Kept>
void walk(const Bounds &b, double win, double lose, Open open, Kept kept) {
  std::vector<double> weight(b.cap() + 2, 0.0);
  weight[0] = 1;
  uint32_t low = 0, end = 1;  // s in [low, end) is undecided
  for (uint32_t t = 1; t <= b.cap() && low < end; ++t) {
    for (uint32_t s = low; s < end; ++s) open(t - 1, s, weight[s]);
    for (uint32_t s = end++; s-- > low;) {  // from above, so that each is moved once
      weight[s + 1] += weight[s] * win;
      weight[s] *= lose;
    }
    for (; low < end && static_cast<int32_t>(end - 1) >= b.keep_at[t]; weight[end] = 0) {
      --end;
      kept(t, end, weight[end]);
    }
    for (; low < end && static_cast<int32_t>(low) <= b.drop_at[t]; ++low) weight[low] = 0;
  }
}

// The test of the rule `sprt`: among those that decide by `cap` and only between rounds, keep something of
// executability p0 with probability at most `beta` and something of p1 with at least `power`, the one that takes the
// fewest trials on average over p ~ 1/2 Uniform(0, 1) + 1/2 Beta(4, 1).
//
// By Lagrangian duality that is Bayes-optimal stopping: with f(p) = p^s (1-p)^(t-s) and f_w its mean under the prior,
//   V(t, s) = min(l0 f(p0), l1 f(p1), f_w + V(t+1, s) + V(t+1, s+1)),
// the first meaning keep, the second drop; l0 and l1 are found so that beta and power are met. What a finite number of
// tests leaves between their promise and the one asked for is used up bound by bound. `known` is a test that keeps the
// promise, where the search starts from as well, so that the result is never worse.
struct SprtProblem {
  double p0, p1, beta, power;  // 0 < p0 < p1 <= 1
  uint32_t cap, rounds_of;
};
Bounds best_bounds(const SprtProblem &problem, const Bounds &known);  // deterministic; cap 32: milliseconds

}  // namespace gcop::strategy
