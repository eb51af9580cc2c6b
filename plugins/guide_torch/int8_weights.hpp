// A model's matrices in 7 bits with one scale for each 32 inputs, for cores that only answer: twice the arithmetic of
// fp32 on CPUs without matrix units and a third of the memory. Values; read by any thread once made.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels.hpp"

namespace gcop::guide_torch {

class Arena;
class Crew;
struct Config;
struct Layout;

struct Int8Layer {
  Int8Rows q, k, v, o, gate, up, down;
};
struct Int8View {
  std::vector<Int8Layer> layers;
  Int8Rows head;
};

class Int8Weights {
 public:
  // Every matrix must have inputs in multiples of 32: see fits().
  Int8Weights(const Config &config, const Layout &layout, const Arena &weights, Crew &crew);
  ~Int8Weights();
  static bool fits(const Config &config);
  const Int8View &view() const { return view_; }
  size_t bytes() const;

 private:
  std::unique_ptr<Arena> values_, scales_, offsets_;
  Int8View view_;
};

}  // namespace gcop::guide_torch
