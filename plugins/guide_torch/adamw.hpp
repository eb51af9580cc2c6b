// AdamW over a whole arena (Loshchilov and Hutter, arXiv 1711.05101), moments in fp32. Engine thread only.
#pragma once
#include <memory>
#include <string>

#include <gcop/plugin.h>

#include "base/result.hpp"
#include "crew.hpp"
#include "weights.hpp"

namespace gcop::guide_torch {

class AdamW {
 public:
  AdamW(const Layout &layout, Crew &crew) : layout_(layout), crew_(crew) {}

  // One step: gradients times grad_scale; decay on matrices only.
  void step(float *weights, const float *gradients, double grad_scale, const gcop_optimizer_options &options);
  void reset();  // as if no step had been taken
  bool fresh() const { return step_ == 0; }

  Result<> write(const std::string &path) const;  // write_moments()
  Result<> read(const std::string &path);

 private:
  const Layout &layout_;
  Crew &crew_;
  std::unique_ptr<Arena> first_, second_;  // made by the first step
  uint64_t step_ = 0;
};

// The optimizer's file: m.<parameter>, v.<parameter> as in `layout`, and the step in its metadata. Null moments: step
// 0.
struct Moments {
  std::unique_ptr<Arena> first, second;
  uint64_t step = 0;
};
Result<> write_moments(const std::string &path, const Layout &layout, const Arena *first, const Arena *second,
                       uint64_t step);
Result<Moments> read_moments(const std::string &path, const Layout &layout);

extern const char *const kOptimizerFile;  // its name in a saved directory

}  // namespace gcop::guide_torch
