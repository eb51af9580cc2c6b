// Writes a model as a Hugging Face directory that transformers (and vLLM) load: config.json, generation_config.json,
// tokenizer.json, tokenizer_config.json, special_tokens_map.json, model.safetensors.
// Called by the engine's save; blocking. Everything goes to a temporary folder beside `dir`, is flushed to disk and
// renamed at the end, so that `dir` is either the whole model or untouched. What a killed save of the same `dir` left
// is removed by the next.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "model_file.hpp"
#include "safetensors.hpp"

namespace gcop::guide_torch {

// `tensors` must be exactly those of tensor_specs(config). `more` are files of the caller's own, {name, bytes}, that
// become part of the directory (optimizer state and the like); none of the names above.
struct FileOut {
  std::string name;
  std::function<Result<>(const std::string &path)> write;
};
Result<> write_hf_dir(const std::string &dir, const Config &config, const TokenizerData &tokenizer,
                      const std::string &chat_template, const std::vector<TensorOut> &tensors, StoredAs stored_as,
                      const std::vector<FileOut> &more = {});

}  // namespace gcop::guide_torch
