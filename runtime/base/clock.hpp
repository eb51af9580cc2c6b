// Where the runtime reads the time. Injectable through Loop, so that a test or a replay can hold it still.
// Any thread; a Clock outlives every Loop that uses it.
#pragma once
#include <cstdint>

namespace gcop {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual uint64_t steady_ns() const = 0;   // CLOCK_MONOTONIC: durations
  virtual double unix_seconds() const = 0;  // wall clock: for people and file names only
};

const Clock &real_clock();

}  // namespace gcop
