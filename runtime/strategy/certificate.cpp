#include "strategy/certificate.hpp"

#include <algorithm>
#include <boost/math/special_functions/beta.hpp>
#include <boost/math/special_functions/gamma.hpp>
#include <cmath>

#include "strategy/acceptance.hpp"

namespace gcop::strategy {
namespace {

double log_beta(double a, double b) {
  return boost::math::lgamma(a) + boost::math::lgamma(b) - boost::math::lgamma(a + b);
}

// log of B(a, b) (1 - I_x(a, b)): the part of the beta integral above x. -inf where it is below the smallest double.
double log_upper_beta(double a, double b, double x) { return log_beta(a, b) + std::log(boost::math::ibetac(a, b, x)); }

}  // namespace

double expected_bad(double beta_fa, uint64_t kept, uint64_t rejected) {
  if (beta_fa <= 0) return 0;
  if (beta_fa >= 1) return double(kept);
  return std::min(double(kept), beta_fa / (1 - beta_fa) * double(rejected));
}

double bad_share(double beta_fa, double rho) {
  if (beta_fa <= 0) return 0;
  if (beta_fa >= 1) return 1;
  return std::min(1.0, beta_fa / (1 - beta_fa) * (1 - rho) / rho);
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

double single_round_good_share(double beta_fa, uint64_t kept, uint64_t rejected, double delta) {
  const double rho = kept == 0 ? 0 : boost::math::ibeta_inv(double(kept), double(rejected + 1), delta);
  return rho > beta_fa ? 1 - beta_fa / rho : 0;
}

Result<uint32_t> smallest_m(const Wanted &w) {
  const auto share = [](double x) { return x > 0 && x < 1; };
  for (const auto &[name, value] : {std::pair{"rho", w.rho}, {"bad_share", w.bad_share}, {"power", w.power}})
    if (!share(value))
      return invalid(std::string("acceptance: ") + name + " = " + std::to_string(value) + " must lie between 0 and 1");
  for (uint32_t m = 1; m <= 1000; ++m) {
    const Result<Plan> plan = Plan::make({w.tau, w.epsilon, m, Rule::curtailed, w.p1});
    if (!plan) return plan.error();
    if (bad_share(plan->beta_fa, w.rho) <= w.bad_share && plan->power_at_p1 >= w.power) return m;
  }
  return Error{Code::exhausted,
               "acceptance: no m up to 1000 keeps p1 with power " + std::to_string(w.power) + " and has " +
                   std::to_string(w.bad_share) + " or fewer bad among the kept; a larger epsilon or p1 makes it easier",
               {}};
}

}  // namespace gcop::strategy
