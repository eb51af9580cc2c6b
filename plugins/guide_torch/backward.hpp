// Forward and backward of a training step with LibTorch's autograd, padding-free: sequences lie one after another, the
// losses come in closed form, the logits exist only at masked positions and in chunks. backward.cpp is the one file
// that includes torch headers. Used by one thread at a time; several objects may work side by side on the same weights.
#pragma once
#include <cstdint>
#include <memory>

#include <gcop/plugin.h>

#include "base/result.hpp"
#include "lora.hpp"
#include "loss.hpp"
#include "weights.hpp"

namespace gcop::guide_torch {

class Backward {
 public:
  // What is trained: all of `weights`, or the adapter alone, whose products `weights` hold already. `gradients` is laid
  // out like it.
  struct Model {
    const Config &config;
    const Layout &layout;
    const Arena &weights;
    const Lora *lora = nullptr;
    const Arena *adapter = nullptr;
  };
  // `threads` of LibTorch for the calling thread; sequences of at most `longest` tokens.
  Backward(const Model &model, Arena &gradients, int64_t longest, int threads);
  ~Backward();

  // Adds the gradients of sequences [first, last) of a checked request.
  Result<> run(const gcop_train_request &request, size_t first, size_t last, const LossScale &scale);
  const LossSums &sums() const { return sums_; }

 private:
  struct Pass;  // tensors over the arenas

  const Model model_;
  Arena &gradients_;
  LossSums sums_;
  std::unique_ptr<Pass> pass_;
};

}  // namespace gcop::guide_torch
