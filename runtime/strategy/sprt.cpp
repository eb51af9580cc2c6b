#include "strategy/sprt.hpp"

#include <algorithm>
#include <cmath>

namespace gcop::strategy {
namespace {

// Of one sequence with s successes in t trials: its likelihood for p0, for p1 and under the prior.
class Likelihoods {
 public:
  struct At {
    double bad, good, prior;
  };
  explicit Likelihoods(const SprtProblem &problem) {
    const auto log_beta = [](double a, double b) { return std::lgamma(a) + std::lgamma(b) - std::lgamma(a + b); };
    for (uint32_t t = 0; t <= problem.cap; ++t)
      for (uint32_t s = 0; s <= t; ++s) {
        const double won = s, lost = t - s;
        all_.push_back({std::pow(problem.p0, won) * std::pow(1 - problem.p0, lost),
                        std::pow(problem.p1, won) * std::pow(1 - problem.p1, lost),
                        0.5 * std::exp(log_beta(won + 1, lost + 1)) + 2 * std::exp(log_beta(won + 4, lost + 1))});
      }
  }
  const At &operator()(uint32_t t, uint32_t s) const { return all_[size_t{t} * (t + 1) / 2 + s]; }

 private:
  std::vector<At> all_;
};

struct Worth {
  double bad_kept = 0, good_kept = 0, trials = 0;  // the last under the prior
};

Worth worth(const Bounds &b, const Likelihoods &f) {
  Worth out;
  walk(
      b, 1, 1, [&](uint32_t t, uint32_t s, double n) { out.trials += n * f(t, s).prior; },
      [&](uint32_t t, uint32_t s, double n) {
        out.bad_kept += n * f(t, s).bad;
        out.good_kept += n * f(t, s).good;
      });
  return out;
}

Bounds optimal_stopping(const SprtProblem &problem, const Likelihoods &f, double l0, double l1) {
  const uint32_t cap = problem.cap;
  Bounds b(cap);
  std::vector<double> value(cap + 2);  // of t + 1, then of t
  for (uint32_t t = cap + 1; t-- > 0;) {
    const bool may_stop = t > 0 && (t % problem.rounds_of == 0 || t == cap);
    for (uint32_t s = 0; s <= t; ++s) {  // ascending: value[s + 1] is still that of t + 1
      const double go_on = t == cap ? INFINITY : f(t, s).prior + value[s] + value[s + 1];
      const double keep = l0 * f(t, s).bad, drop = l1 * f(t, s).good;
      value[s] = go_on;
      if (!may_stop || go_on < std::min(keep, drop)) continue;
      value[s] = std::min(keep, drop);
      if (keep >= drop)
        b.drop_at[t] = static_cast<int32_t>(s);
      else if (b.keep_at[t] == kNever)
        b.keep_at[t] = static_cast<int32_t>(s);
    }
  }
  b.keep_at[cap] = b.drop_at[cap] + 1;
  return b;
}

// The smallest x in [1, most] for which `good` holds, on a logarithmic scale; good(most) is taken for granted.
template <class Good>
double smallest(double most, Good good) {
  double low = 1;
  while (most / low > 1 + 1e-7) {
    const double middle = std::sqrt(low * most);
    (good(middle) ? most : low) = middle;
  }
  return most;
}

constexpr double kRounding = 1 + 1e-12;
bool keeps_promise(const SprtProblem &problem, const Worth &w) {
  return w.bad_kept <= problem.beta * kRounding && w.good_kept * kRounding >= problem.power;
}

// Moves one bound by one as long as that saves trials and the promise holds: the best such move each time.
double tightened(const SprtProblem &problem, const Likelihoods &f, Bounds &b) {
  Worth now = worth(b, f);
  for (bool moved = true; moved;) {
    moved = false;
    Bounds best = b;
    double least = now.trials * (1 - 1e-9);
    for (uint32_t t = problem.rounds_of; t < b.cap(); t += problem.rounds_of)
      for (const bool keep : {true, false}) {
        Bounds tried = b;
        if (keep)
          tried.keep_at[t] = std::min(b.keep_at[t], static_cast<int32_t>(t) + 1) - 1;
        else
          ++tried.drop_at[t];
        if (tried.keep_at[t] <= tried.drop_at[t]) continue;
        const Worth w = worth(tried, f);
        if (w.trials >= least || !keeps_promise(problem, w)) continue;
        least = w.trials;
        best = std::move(tried);
        moved = true;
      }
    if (moved) b = std::move(best), now = worth(b, f);
  }
  return now.trials;
}

}  // namespace

Bounds best_bounds(const SprtProblem &problem, const Bounds &known) {
  const Likelihoods f(problem);
  constexpr double kMost = 1e12;
  const auto with = [&](double l1) {  // and the least l0 that keeps no more than beta of the bad
    const double l0 = smallest(kMost, [&](double tried) {
      return worth(optimal_stopping(problem, f, tried, l1), f).bad_kept <= problem.beta * kRounding;
    });
    return optimal_stopping(problem, f, l0, l1);
  };
  Bounds best = with(smallest(kMost, [&](double l1) { return keeps_promise(problem, worth(with(l1), f)); }));
  Bounds other(problem.cap);
  std::copy(known.keep_at.begin(), known.keep_at.end(), other.keep_at.begin());
  std::copy(known.drop_at.begin(), known.drop_at.end(), other.drop_at.begin());
  const bool good = keeps_promise(problem, worth(best, f));
  const double trials = tightened(problem, f, best);
  if (tightened(problem, f, other) < trials || !good) best = std::move(other);
  uint32_t last = 0;  // trial that is ever needed
  walk(
      best, 1, 1, [&](uint32_t t, uint32_t, double) { last = t + 1; }, [](uint32_t, uint32_t, double) {});
  best.keep_at.resize(last + 1);
  best.drop_at.resize(last + 1);
  return best;
}

}  // namespace gcop::strategy
