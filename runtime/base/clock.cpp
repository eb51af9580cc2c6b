#include "base/clock.hpp"

#include <ctime>

namespace gcop {
namespace {

timespec read(clockid_t id) {
  timespec t{};
  clock_gettime(id, &t);
  return t;
}

class RealClock final : public Clock {
 public:
  uint64_t steady_ns() const override {
    const timespec t = read(CLOCK_MONOTONIC);
    return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(t.tv_nsec);
  }
  double unix_seconds() const override {
    const timespec t = read(CLOCK_REALTIME);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
  }
};

}  // namespace

const Clock &real_clock() {
  static const RealClock clock;
  return clock;
}

}  // namespace gcop
