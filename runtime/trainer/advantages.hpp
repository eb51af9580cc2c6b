// Group-relative advantages (GRPO). Pure functions, any thread.
//   none   A = r - mean_g                        default: with binary rewards std scaling erases the harm term (DESIGN,
//   trap 1) group  A = (r - mean_g) / (std_g + 1e-4)     the published GRPO batch  A = (r - mean_g) / (std_all + 1e-4)
// std has Bessel's correction. A missing reward (the check could not run, the call failed) leaves its group: it neither
// moves the mean nor gets an advantage. A group with fewer than two rewards has advantage 0.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "flow.hpp"

namespace gcop::trainer {

Result<Scaling> scaling_from(const std::string &name);  // Code::invalid names the three

struct Advantages {
  std::vector<double> values;  // parallel to rewards; 0 where missing
  uint32_t groups = 0;         // distinct group ids
  uint32_t dead_groups = 0;    // no two differing rewards: nothing to learn from, refill or skip
  uint32_t missing = 0;
  std::vector<uint8_t> dead;  // parallel to rewards: 1 = its group is dead
};

// groups[i] is any number that the samples of one prompt share. Errors: Code::invalid when the lengths differ or a
// reward is not finite.
Result<Advantages> advantages(const std::vector<std::optional<double>> &rewards, const std::vector<int64_t> &groups,
                              Scaling scaling = Scaling::none);

}  // namespace gcop::trainer
