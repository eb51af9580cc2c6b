// From settings to a model in memory: reads or makes the weights, in the form that is computed with, after having made
// sure that they and the keys and values fit.
#pragma once
#include <memory>
#include <string>

#include "base/result.hpp"
#include "compact_weights.hpp"
#include "tokenizer.hpp"
#include "weights.hpp"

namespace gcop::guide_torch {

struct Settings;

struct OpenModel {
  Config config;
  TokenizerData tokens;
  std::string template_source, identity;
  std::string compute;                            // "fp32", "bf16" or "int8"
  std::shared_ptr<Arena> arena;                   // fp32; without the matrices that are in `compact`
  std::shared_ptr<const CompactWeights> compact;  // or null
  size_t bytes = 0;                               // of both
  int64_t context = 0;
  size_t kv_bytes = 0;
  size_t training_bytes = 0;  // beside weights, keys and values; 0: it is not trained
};
Result<OpenModel> open_model(const Settings &settings, Crew &crew);

}  // namespace gcop::guide_torch
