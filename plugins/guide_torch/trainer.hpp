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
#include "learner.hpp"
#include "lora.hpp"
#include "packed_rows.hpp"
#include "weights.hpp"

namespace gcop::guide_torch {

class Trainer : public Learner {
 public:
  // `lora`: null, or what versions given to step() have an adapter of.
  Trainer(const Config &config, const Layout &layout, const Lora *lora, int64_t context, Crew &crew);
  ~Trainer() override;

  // What steps take in all whose micro-batches are full and whose sequences fit one of them.
  static size_t typical_bytes(const Config &config, const Layout &layout, const Lora *lora, int threads);

  Result<TrainStats> step(const Version &version, const gcop_train_request &request,
                          const std::function<bool()> &cancelled) override;
  void reset_optimizer() override { optimizer_.reset(); }
  Result<> write_optimizer(const std::string &path) override { return optimizer_.write(path); }
  Result<> read_optimizer(const std::string &path) override { return optimizer_.read(path); }

 private:
  Result<> make_room(size_t slots, size_t workspace_floats, int64_t longest);
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
