#include "strategy/acceptance.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include <boost/math/special_functions/beta.hpp>
#include <boost/math/special_functions/gamma.hpp>

namespace gcop::strategy {
namespace {

std::string number(double x) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", x);
  return text;
}

double log_beta(double a, double b) {
  return boost::math::lgamma(a) + boost::math::lgamma(b) - boost::math::lgamma(a + b);
}

// log of B(a, b) (1 - I_x(a, b)): the part of the beta integral above x. -inf where it is below the smallest double.
double log_upper_beta(double a, double b, double x) { return log_beta(a, b) + std::log(boost::math::ibetac(a, b, x)); }

}  // namespace

Result<Plan> Plan::make(double tau, double epsilon, uint32_t m) {
  if (!(tau > 0 && tau <= 1))
    return invalid("acceptance: tau = " + number(tau) +
                   " must lie in (0, 1]: the share of trials a strategy should win");
  if (!(epsilon > 0 && epsilon < tau))
    return invalid("acceptance: epsilon = " + number(epsilon) + " must lie in (0, tau = " + number(tau) + ")");
  if (m < 1 || m > 10000) return invalid("acceptance: m = " + std::to_string(m) + " must lie in 1..10000 trials");
  Plan plan;
  plan.tau = tau;
  plan.epsilon = epsilon;
  plan.m = m;
  // 0.8 * 15 is 12.000000000000002 in binary: a hair above an integer is that integer.
  plan.need = std::max<uint32_t>(1, static_cast<uint32_t>(std::ceil(tau * m - 1e-9)));
  plan.beta_fa = plan.power(tau - epsilon);
  return plan;
}

Decision Plan::decide(uint32_t successes, uint32_t trials) const {
  if (successes >= need) return Decision::keep;
  return trials - successes > m - need ? Decision::drop : Decision::go_on;
}

double Plan::power(double p) const {
  if (p <= 0) return 0;
  if (p >= 1) return 1;
  return boost::math::ibeta(double(need), double(m - need + 1), p);  // Pr[Bin(m, p) >= need]
}

double Plan::expected_trials(double p) const {
  p = std::clamp(p, 0.0, 1.0);
  std::vector<double> open(need + 1, 0.0);  // probability of s successes so far, undecided
  open[0] = 1;
  double expected = 0;
  for (uint32_t t = 0; t < m; ++t) {
    double undecided = 0;
    for (uint32_t s = std::min(t + 1, need); s-- > 0;) {
      if (open[s] == 0) continue;
      const double mass = open[s];
      undecided += mass;
      open[s] = 0;
      if (decide(s + 1, t + 1) == Decision::go_on) open[s + 1] += mass * p;
      if (decide(s, t + 1) == Decision::go_on) open[s] = mass * (1 - p);
    }
    expected += undecided;
  }
  return expected;
}

double expected_bad(double beta_fa, uint64_t kept, uint64_t rejected) {
  if (beta_fa <= 0) return 0;
  if (beta_fa >= 1) return double(kept);
  return std::min(double(kept), beta_fa / (1 - beta_fa) * double(rejected));
}

uint64_t certified_bad(double beta_fa, uint64_t kept, uint64_t rejected, double delta) {
  if (beta_fa <= 0) return 0;
  if (beta_fa >= 1) return kept;
  const double b = 1 / beta_fa - 1, r = double(rejected);
  const double prior = log_upper_beta(1, b, beta_fa), bar = -std::log(delta);
  auto log_evidence = [&](double bad) {
    return log_upper_beta(bad + 1, r + b, beta_fa) - prior - bad * std::log(beta_fa) - r * std::log1p(-beta_fa);
  };
  uint64_t bad = kept;
  while (bad > 0 && log_evidence(double(bad)) >= bar) --bad;
  return bad;
}

}  // namespace gcop::strategy
