#include "report/stats.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>

#include <boost/math/distributions/students_t.hpp>
#include <boost/math/special_functions/beta.hpp>
#include <boost/math/special_functions/erf.hpp>

#include "base/random.hpp"

namespace gcop::report {
namespace {

constexpr uint32_t kBootstrap = 0x626F6F74;  // sets these draws apart from all others of the seed
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

double mean_of(const std::vector<double> &values) {
  double sum = 0;
  for (const double v : values) sum += v;
  return values.empty() ? kNaN : sum / double(values.size());
}

double deviation_of(const std::vector<double> &values, double mean) {
  double squares = 0;
  for (const double v : values) squares += (v - mean) * (v - mean);
  return values.size() < 2 ? kNaN : std::sqrt(squares / double(values.size() - 1));
}

double t_quantile(double level, double freedom) {
  return boost::math::quantile(boost::math::students_t(freedom), 0.5 + level / 2);
}

Estimate t_interval(const std::vector<double> &values, double level, const char *method) {
  Estimate e;
  e.n = values.size();
  e.method = method;
  e.mean = mean_of(values);
  e.low = e.high = kNaN;
  if (values.size() < 2) return e;
  const double half =
      t_quantile(level, double(values.size() - 1)) * deviation_of(values, e.mean) / std::sqrt(double(values.size()));
  e.low = e.mean - half;
  e.high = e.mean + half;
  return e;
}

// Mean per family, in the order of names; a value without a family is one of its own.
Result<std::map<std::string, double>> family_means(const std::vector<double> &values,
                                                   const std::vector<std::string> &families) {
  if (values.size() != families.size())
    return invalid("family interval: " + std::to_string(values.size()) + " values but " +
                   std::to_string(families.size()) + " family names; give one per value");
  std::map<std::string, std::pair<double, size_t>> sums;
  for (size_t i = 0; i < values.size(); ++i) {
    auto &[sum, n] = sums[families[i].empty() ? "\x01" + std::to_string(i) : families[i]];
    sum += values[i];
    ++n;
  }
  std::map<std::string, double> means;
  for (const auto &[name, s] : sums) means[name] = s.first / double(s.second);
  return means;
}

std::vector<double> numbers(const std::map<std::string, double> &by_name) {
  std::vector<double> values;
  for (const auto &[name, value] : by_name) values.push_back(value);
  return values;
}

}  // namespace

Estimate mean_ci(const std::vector<double> &values, double level) { return t_interval(values, level, "t"); }

Result<Estimate> family_ci(const std::vector<double> &values, const std::vector<std::string> &families, double level) {
  auto means = family_means(values, families);
  if (!means) return means.error();
  return t_interval(numbers(*means), level, "family");
}

Result<Estimate> pooled_family_ci(const std::vector<SeedValues> &seeds, double level) {
  std::map<std::string, std::vector<double>> per_family;
  for (const SeedValues &seed : seeds) {
    auto means = family_means(seed.values, seed.families);
    if (!means) return means.error();
    for (const auto &[name, mean] : *means) per_family[name].push_back(mean);
  }
  std::map<std::string, double> pooled;
  for (const auto &[name, means] : per_family) {
    if (means.size() != seeds.size())
      return invalid("pooled interval: family '" + name + "' has figures in " + std::to_string(means.size()) + " of " +
                     std::to_string(seeds.size()) + " seeds; all seeds must measure the same tasks");
    pooled[name] = mean_of(means);
  }
  return t_interval(numbers(pooled), level, "family");
}

Estimate bootstrap_ci(const std::vector<double> &values, uint64_t seed, uint32_t replicates, double level) {
  Estimate e;
  e.n = values.size();
  e.method = "bootstrap";
  e.mean = mean_of(values);
  e.low = e.high = kNaN;
  if (values.size() < 2 || replicates < 2) return e;
  std::vector<double> means(replicates);
  for (uint32_t r = 0; r < replicates; ++r) {
    double sum = 0;
    std::array<uint32_t, 4> words{};
    for (size_t i = 0; i < values.size(); ++i) {
      if (i % 4 == 0) words = philox4x32({uint32_t(i / 4), r, kBootstrap, 0}, {uint32_t(seed), uint32_t(seed >> 32)});
      sum += values[size_t(uint64_t(words[i % 4]) * values.size() >> 32)];
    }
    means[r] = sum / double(values.size());
  }
  std::sort(means.begin(), means.end());
  const double tail = (1 - level) / 2 * double(replicates - 1);
  e.low = means[size_t(std::floor(tail))];
  e.high = means[size_t(std::ceil(double(replicates - 1) - tail))];
  return e;
}

Estimate clopper_pearson(uint64_t successes, uint64_t trials, double level) {
  const double s = double(successes), n = double(trials), tail = (1 - level) / 2;
  Estimate e{trials ? s / n : kNaN, 0, 1, size_t(trials), "clopper-pearson"};
  if (successes > 0 && successes <= trials) e.low = boost::math::ibeta_inv(s, n - s + 1, tail);
  if (successes < trials) e.high = boost::math::ibeta_inv(s + 1, n - s, 1 - tail);
  return e;
}

Estimate wilson(uint64_t successes, uint64_t trials, double level) {
  Estimate e{kNaN, 0, 1, size_t(trials), "wilson"};
  if (trials == 0) return e;
  const double n = double(trials), p = double(successes) / n;
  const double z = std::sqrt(2.0) * boost::math::erf_inv(level), z2 = z * z;
  const double centre = (p + z2 / (2 * n)) / (1 + z2 / n),
               half = z / (1 + z2 / n) * std::sqrt(p * (1 - p) / n + z2 / (4 * n * n));
  e.mean = p;
  e.low = successes == 0 ? 0 : centre - half;
  e.high = successes == trials ? 1 : centre + half;
  return e;
}

Result<Estimate> slope_ci(const std::vector<double> &x, const std::vector<double> &y, double level) {
  if (x.size() != y.size())
    return invalid("slope: " + std::to_string(x.size()) + " x but " + std::to_string(y.size()) + " y values");
  const double x_mean = mean_of(x), y_mean = mean_of(y), n = double(x.size());
  double xx = 0, xy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    xx += (x[i] - x_mean) * (x[i] - x_mean);
    xy += (x[i] - x_mean) * (y[i] - y_mean);
  }
  if (!(xx > 0)) return invalid("slope: needs at least two points with different x");
  Estimate e{xy / xx, kNaN, kNaN, x.size(), "slope"};
  if (x.size() < 3) return e;
  double residual = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double miss = y[i] - y_mean - e.mean * (x[i] - x_mean);
    residual += miss * miss;
  }
  const double half = t_quantile(level, n - 2) * std::sqrt(residual / (n - 2) / xx);
  e.low = e.mean - half;
  e.high = e.mean + half;
  return e;
}

double t_test_p(const std::vector<double> &values) {
  const double mean = mean_of(values), deviation = deviation_of(values, mean);
  if (!(deviation > 0)) return values.size() < 2 ? kNaN : (mean == 0 ? 1.0 : 0.0);
  const double t = std::fabs(mean) / (deviation / std::sqrt(double(values.size())));
  return 2 * boost::math::cdf(boost::math::complement(boost::math::students_t(double(values.size() - 1)), t));
}

std::vector<double> holm(const std::vector<double> &p) {
  std::vector<size_t> order(p.size());
  for (size_t i = 0; i < p.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return p[a] < p[b]; });
  std::vector<double> adjusted(p.size());
  double highest = 0;
  for (size_t rank = 0; rank < order.size(); ++rank) {
    highest = std::max(highest, std::min(1.0, p[order[rank]] * double(p.size() - rank)));
    adjusted[order[rank]] = highest;
  }
  return adjusted;
}

}  // namespace gcop::report
