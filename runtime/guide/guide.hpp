// Handle to gcop.guide/1: the small trainable model. All methods [run]; callbacks on the run strand.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/loop.hpp"
#include "base/result.hpp"
#include "flow.hpp"

namespace gcop::plugin {
class Instance;
}

namespace gcop::guide {

struct Sequence {  // one training sequence
  std::vector<int32_t> tokens;
  std::vector<uint8_t> mask;        // parallel: 1 = counts in the loss
  std::vector<float> old_logprobs;  // parallel or empty
  std::vector<float> ref_logprobs;  // parallel or empty
  float advantage = 0;
};

struct Loss {
  bool policy = false;  // false: NLL
  std::string reduction = "dr_grpo", ratio = "token";
  float clip_low = 0.2f, clip_high = 0.28f, clip_delta = 0, kl_beta = 0;
  uint32_t max_len = 0;
};

struct Optimizer {
  float lr = 1e-5f, beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f, weight_decay = 0, max_grad_norm = 1;
};

struct TrainStats {
  double loss = 0, kl = 0, entropy = 0, clip_frac = 0, ratio_max = 0, grad_norm = 0;
  uint64_t n_tokens = 0, weights_version = 0;
};

class Guide {
 public:
  Guide(Loop &, std::shared_ptr<plugin::Instance>, std::string name, uint32_t timeout_ms);
  ~Guide();

  Result<std::vector<int32_t>> encode(const std::string &text) const;
  Result<std::string> decode(const std::vector<int32_t> &) const;
  Result<std::vector<int32_t>> render(const std::string &messages_json) const;  // chat template + generation prompt
  uint64_t sample(const std::string &weights, std::vector<int32_t> prompt, const Sampling &,
                  std::function<void(Result<Rollout>)>);
  void score(const std::string &weights, std::vector<std::vector<int32_t>>,
             std::function<void(Result<std::vector<std::vector<float>>>)>);
  void train(std::vector<Sequence>, const Loss &, const Optimizer &, uint64_t expect_version,
             std::function<void(Result<TrainStats>)>);
  void copy(const std::string &from, const std::string &to, std::function<void(Result<>)>);
  void drop(const std::string &name, std::function<void(Result<>)>);
  void save(const std::string &weights, const std::string &dir, bool optimizer, std::function<void(Result<>)>);
  void load(const std::string &weights, const std::string &dir, std::function<void(Result<>)>);
  void cancel(uint64_t call_id);
  const std::string &name() const;
  const std::string &identity() const;
  const std::string &info() const;  // JSON

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace gcop::guide
