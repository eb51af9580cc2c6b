// Training as the engine asks for it: one optimizer step on a weight version, by the CPU (trainer.hpp) or a device
// (device/). Engine thread only.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include <gcop/plugin.h>

#include "base/result.hpp"
#include "loss.hpp"
#include "weights.hpp"

namespace gcop::guide_torch {

struct TrainStats {
  double loss = 0, kl = 0, entropy = 0, clip_frac = 0, ratio_max = 0, grad_norm = 0;
  uint64_t n_tokens = 0;
};

class Learner {
 public:
  virtual ~Learner() = default;

  // Changes the version's parameters and the optimizer's state, or nothing when it fails. The request's pointers hold
  // until the return.
  virtual Result<TrainStats> step(const Version &version, const gcop_train_request &request,
                                  const std::function<bool()> &cancelled) = 0;
  virtual void reset_optimizer() = 0;  // as if no step had been taken
  // A safetensors file, the same whatever computes (adamw.hpp).
  virtual Result<> write_optimizer(const std::string &path) = 0;
  virtual Result<> read_optimizer(const std::string &path) = 0;
};

// The number of masked tokens of a request that can be trained on, or what is wrong with it.
Result<size_t> check_request(const gcop_train_request &request, int64_t vocab, int64_t context);
// What gradients of this norm are multiplied with. The same 1e-6 as torch.nn.utils.clip_grad_norm_, so that both give
// the same steps.
double clip_scale(double norm, const gcop_train_request &request);
TrainStats train_stats(const LossSums &sums, const gcop_train_request &request, size_t masked, double norm);

}  // namespace gcop::guide_torch
