// Low-rank adapters (LoRA, Hu et al., arXiv 2106.09685): a target matrix is W0 + (alpha / rank) B A, with A [rank, in]
// and B [out, rank]. The sum is written into the weight arena after every step, so sampling, scoring and training read
// the same numbers; training differentiates by A and B alone. On disk an adapter is a PEFT directory.
// Constant once made; any thread.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "crew.hpp"
#include "weights.hpp"

namespace gcop::guide_torch {

struct LoraSettings {
  int64_t rank = 0;  // 0 = no adapter
  double alpha = 0;
  std::vector<std::string> targets;  // of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj; no repeats
};
// {"rank":16,"alpha":32,"targets":["q_proj","v_proj"]} as JSON text. Defaults: alpha = 2 rank, all seven targets.
Result<LoraSettings> parse_lora(const std::string &json);

class Lora {
 public:
  Lora(const LoraSettings &settings, const Layout &model);

  struct Target {
    size_t matrix;  // index into the model's parameters
    size_t a, b;    // indices into layout().parameters
  };
  const LoraSettings &settings() const { return settings_; }
  const Layout &layout() const { return layout_; }  // of an adapter's arena
  const std::vector<Target> &targets() const { return targets_; }
  float scale() const { return static_cast<float>(settings_.alpha / static_cast<double>(settings_.rank)); }

  // A uniform in +-1/sqrt(in), as PEFT has it; B zero.
  std::shared_ptr<Arena> fresh(uint64_t seed) const;
  // Target matrices of `weights` = those of `base` plus the adapter's product; the same bits whenever it is done.
  void merge(const Arena &base, const Arena &adapter, Arena &weights, Crew &crew) const;

  // A PEFT directory: adapter_config.json and adapter_model.safetensors (fp32).
  Result<> write(const std::string &dir, const Arena &adapter) const;
  // Of this rank, alpha and targets, for this model.
  Result<std::shared_ptr<Arena>> read(const std::string &dir) const;

 private:
  LoraSettings settings_;
  const Layout &model_;
  std::vector<Target> targets_;
  Layout layout_;
};

inline constexpr const char *kAdapterDir = "adapter";  // beside the merged weights of a saved model

// The settings of the adapter in a PEFT directory; rank 0 where `dir` holds none.
Result<LoraSettings> find_adapter(const std::string &dir);

}  // namespace gcop::guide_torch
