// One optimizer step on a weight arena: micro-batches side by side, gradient norm, AdamW. Engine thread only.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include <gcop/plugin.h>

#include "adamw.hpp"
#include "base/result.hpp"
#include "crew.hpp"
#include "lora.hpp"
#include "packed_rows.hpp"
#include "weights.hpp"

namespace gcop::guide_torch {

struct TrainStats {
  double loss = 0, kl = 0, entropy = 0, clip_frac = 0, ratio_max = 0, grad_norm = 0;
  uint64_t n_tokens = 0;
};

class Trainer {
 public:
  // `lora`: null, or what versions given to step() have an adapter of.
  Trainer(const Config &config, const Layout &layout, const Lora *lora, int64_t context, Crew &crew);
  ~Trainer();

  // Changes the version's arenas and the optimizer's state, or nothing when it fails. The request's pointers hold until
  // the return.
  Result<TrainStats> step(const Version &version, const gcop_train_request &request,
                          const std::function<bool()> &cancelled);
  AdamW &optimizer() { return optimizer_; }

 private:
  Result<size_t> check(const gcop_train_request &request) const;  // number of masked tokens
  std::vector<PackedRows> cut(const gcop_train_request &request, size_t slots) const;

  const Config config_;
  const Layout &layout_;  // of the model
  const Lora *const lora_;
  const Layout &trained_;  // of what the optimizer changes
  const int64_t context_;
  Crew &crew_;
  AdamW optimizer_;
  std::vector<std::unique_ptr<Arena>> gradients_, workspaces_;  // one for each slot, made when first needed
};

}  // namespace gcop::guide_torch
