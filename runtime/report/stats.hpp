// The statistics of reports (DESIGN, "Evaluation protocol"). Pure functions, any thread; deterministic to the bit:
// the bootstrap draws from (seed, replicate, draw), never from a stream. An interval that the data cannot give
// (one family, one point) comes back as NaN, which JSON writes as null.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.hpp"

namespace gcop::report {

struct Estimate {
  double mean = 0;
  double low = 0, high = 0;  // the interval's ends
  size_t n = 0;              // units that the interval counts: values, families, tasks
  std::string method;        // "t", "family", "bootstrap", "clopper-pearson", "wilson", "slope"
};

// mean -+ t_{n-1} sd / sqrt(n).
Estimate mean_ci(const std::vector<double> &values, double level = 0.95);

// The primary interval for grouped tasks: mean of the family means -+ t_{F-1} sd(family means) / sqrt(F); families
// weigh the same whatever their size. An empty family name is a family of its own. Code::invalid when the lengths
// differ.
Result<Estimate> family_ci(const std::vector<double> &values, const std::vector<std::string> &families,
                           double level = 0.95);

// Over several training seeds: a family's mean is averaged over the seeds first (each seed one set of values), then as
// above; the families, not seeds x tasks, are the sample. Code::invalid when a family is missing in a seed.
struct SeedValues {
  std::vector<double> values;
  std::vector<std::string> families;
};
Result<Estimate> pooled_family_ci(const std::vector<SeedValues> &seeds, double level = 0.95);

// Percentile bootstrap of the mean over tasks (values are per-task differences). Secondary: it takes tasks for
// independent.
Estimate bootstrap_ci(const std::vector<double> &values, uint64_t seed, uint32_t replicates = 4000,
                      double level = 0.95);

Estimate clopper_pearson(uint64_t successes, uint64_t trials, double level = 0.95);
Estimate wilson(uint64_t successes, uint64_t trials, double level = 0.95);

// Least squares y = a + b x: b and its t interval (n - 2 degrees of freedom). Code::invalid when lengths differ or all
// x are equal.
Result<Estimate> slope_ci(const std::vector<double> &x, const std::vector<double> &y, double level = 0.95);

// Two-sided p value of mean = 0 by the t test that belongs to mean_ci / family_ci on family means.
double t_test_p(const std::vector<double> &values);

// Holm's step-down: adjusted p values, parallel to the input, monotone, at most 1.
std::vector<double> holm(const std::vector<double> &p);

}  // namespace gcop::report
