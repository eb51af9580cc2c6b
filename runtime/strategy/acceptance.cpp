#include "strategy/acceptance.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>

namespace gcop::strategy {
namespace {

std::string number(double x) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", x);
  return text;
}

constexpr uint32_t kMostTrials = 1000, kMostForSprt = 128;

Result<> check(const PlanOptions &o) {
  if (!(o.tau > 0 && o.tau <= 1))
    return invalid("acceptance: tau = " + number(o.tau) +
                   " must lie in (0, 1]: the share of trials a strategy should win");
  if (!(o.epsilon > 0 && o.epsilon < o.tau))
    return invalid("acceptance: epsilon = " + number(o.epsilon) + " must lie in (0, tau = " + number(o.tau) + ")");
  if (!(o.p1 > o.tau - o.epsilon && o.p1 <= 1))
    return invalid("acceptance: p1 = " + number(o.p1) + " must lie in (tau - epsilon = " + number(o.tau - o.epsilon) +
                   ", 1]: it is the executability that should be kept");
  if (o.m < 1 || o.m > kMostTrials)
    return invalid("acceptance: m = " + std::to_string(o.m) + " must lie in 1.." + std::to_string(kMostTrials) +
                   " trials");
  if (o.rule == Rule::sprt && o.m > kMostForSprt)
    return invalid("acceptance: m = " + std::to_string(o.m) + " is more than the " + std::to_string(kMostForSprt) +
                   " for which rule = \"sprt\" finds its bounds at once; take a smaller m or rule = \"curtailed\"");
  if (o.rounds_of < 1 || o.rounds_of > o.m)
    return invalid("acceptance: rounds_of = " + std::to_string(o.rounds_of) +
                   " must lie in 1..m = " + std::to_string(o.m));
  return Unit{};
}

// Of the fixed test of m trials; with `early`, at the first end of a round where its outcome is certain.
Bounds fixed_bounds(const PlanOptions &o, uint32_t need, bool early) {
  Bounds b(o.m);
  const auto at_least = static_cast<int32_t>(need);
  for (uint32_t t = o.rounds_of; early && t < o.m; t += o.rounds_of) {
    if (t >= need) b.keep_at[t] = at_least;
    b.drop_at[t] = std::max(-1, static_cast<int32_t>(need + t) - static_cast<int32_t>(o.m) - 1);
  }
  b.keep_at[o.m] = at_least;
  b.drop_at[o.m] = at_least - 1;
  return b;
}

double kept_at(const Bounds &b, double p) {
  double kept = 0;
  walk(
      b, p, 1 - p, [](uint32_t, uint32_t, double) {}, [&](uint32_t, uint32_t, double w) { kept += w; });
  return std::min(kept, 1.0);
}

}  // namespace

Result<Plan> Plan::make(const PlanOptions &options) {
  Plan plan;
  PlanOptions &o = plan.options = options;
  if (o.p1 == 0) o.p1 = (1 + o.tau) / 2;
  if (const Result<> good = check(o); !good) return good.error();
  // 0.8 * 15 is 12.000000000000002 in binary: a hair above an integer is that integer.
  plan.need = std::max<uint32_t>(1, static_cast<uint32_t>(std::ceil(o.tau * o.m - 1e-9)));
  const double p0 = o.tau - o.epsilon;
  plan.bounds = fixed_bounds(o, plan.need, o.rule != Rule::fixed);
  if (o.rule == Rule::sprt)
    plan.bounds = best_bounds({p0, o.p1, kept_at(plan.bounds, p0), kept_at(plan.bounds, o.p1), 2 * o.m, o.rounds_of},
                              plan.bounds);
  plan.beta_fa = plan.power(p0);
  plan.power_at_p1 = plan.power(o.p1);
  return plan;
}

Decision Plan::decide(uint32_t successes, uint32_t trials) const {
  if (static_cast<int32_t>(successes) >= bounds.keep_at[trials]) return Decision::keep;
  return static_cast<int32_t>(successes) <= bounds.drop_at[trials] ? Decision::drop : Decision::go_on;
}

double Plan::power(double p) const { return kept_at(bounds, std::clamp(p, 0.0, 1.0)); }

double Plan::expected_trials(double p) const {
  p = std::clamp(p, 0.0, 1.0);
  double trials = 0;
  walk(
      bounds, p, 1 - p, [&](uint32_t, uint32_t, double w) { trials += w; }, [](uint32_t, uint32_t, double) {});
  return trials;
}

double Plan::lower_bound(uint32_t successes, uint32_t trials, double alpha) const {
  double low = 0, high = 1;
  for (int i = 0; i < 50; ++i) {
    const double p = (low + high) / 2;
    double as_good = 0;
    walk(
        bounds, p, 1 - p, [](uint32_t, uint32_t, double) {},
        [&](uint32_t t, uint32_t s, double w) {
          if (t < trials || (t == trials && s >= successes)) as_good += w;
        });
    (as_good < alpha ? low : high) = p;
  }
  return low;
}

}  // namespace gcop::strategy
