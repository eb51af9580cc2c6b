#include "trainer/advantages.hpp"

#include <cmath>
#include <map>

namespace gcop::trainer {
namespace {

constexpr double kEpsilon = 1e-4;  // the published implementations' guard against a zero deviation

struct Moments {
  uint64_t n = 0;
  double mean = 0, squares = 0;  // Welford: squares = sum (r - mean)^2
  bool differs = false;
  double first = 0;
  void add(double r) {
    if (n == 0) first = r;
    differs = differs || r != first;
    ++n;
    const double step = r - mean;
    mean += step / double(n);
    squares += step * (r - mean);
  }
  double deviation() const { return n > 1 ? std::sqrt(squares / double(n - 1)) : 0; }
};

}  // namespace

Result<Scaling> scaling_from(const std::string &name) {
  if (name == "none") return Scaling::none;
  if (name == "group") return Scaling::group;
  if (name == "batch") return Scaling::batch;
  return invalid("advantage scaling '" + name + "' is not known; use none (default), group or batch");
}

Result<Advantages> advantages(const std::vector<std::optional<double>> &rewards, const std::vector<int64_t> &groups,
                              Scaling scaling) {
  if (rewards.size() != groups.size())
    return invalid("advantages: " + std::to_string(rewards.size()) + " rewards but " + std::to_string(groups.size()) +
                   " group numbers; give one per reward");
  std::map<int64_t, Moments> by_group;
  Moments all;
  Advantages result;
  for (size_t i = 0; i < rewards.size(); ++i) {
    Moments &group = by_group[groups[i]];
    if (!rewards[i]) {
      ++result.missing;
      continue;
    }
    if (!std::isfinite(*rewards[i]))
      return invalid("advantages: reward " + std::to_string(i + 1) +
                     " is not a finite number; leave it out (nil) if it could not be measured");
    group.add(*rewards[i]);
    all.add(*rewards[i]);
  }
  result.groups = uint32_t(by_group.size());
  for (const auto &[id, group] : by_group) result.dead_groups += !group.differs;
  result.values.assign(rewards.size(), 0.0);
  result.dead.assign(rewards.size(), 0);
  for (size_t i = 0; i < rewards.size(); ++i) {
    const Moments &group = by_group[groups[i]];
    result.dead[i] = !group.differs;
    if (!rewards[i] || !group.differs) continue;
    const double scale =
        scaling == Scaling::none ? 1 : kEpsilon + (scaling == Scaling::group ? group : all).deviation();
    result.values[i] = (*rewards[i] - group.mean) / scale;
  }
  return result;
}

}  // namespace gcop::trainer
