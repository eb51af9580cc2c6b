// A decoder's files on disk, read-only: configuration, weights by canonical Hugging Face name, tokenizer, chat
// template. The engine opens one per model, reads the tensors it wants and drops it; nothing here knows LibTorch. Two
// layouts answer it: one .gguf file (gguf.cpp) or a Hugging Face directory (safetensors.cpp), both memory-mapped. Any
// thread, concurrently: an open file is never changed. Files are untrusted: every count and offset is checked against
// the file's size before it is used, and a bad file is an Error of one sentence.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "rope.hpp"
#include "tokenizer.hpp"

namespace gcop::guide_torch {

// Shapes follow Hugging Face: q_proj is [heads*head_dim, hidden], k_proj and v_proj [kv_heads*head_dim, hidden],
// o_proj [hidden, heads*head_dim], gate_proj and up_proj [intermediate, hidden], down_proj [hidden, intermediate].
// Rotary layout is Hugging Face's (rotate the two halves of a head), also when the file came from llama.cpp.
struct Config {
  std::string arch;  // "llama", "qwen2" or "qwen3"
  int64_t vocab = 0, hidden = 0, layers = 0, heads = 0, kv_heads = 0, head_dim = 0, intermediate = 0;
  int64_t context = 0;  // positions the model was made for
  double rms_eps = 1e-6;
  Rope rope;
  bool tied = false;      // lm_head.weight is model.embed_tokens.weight; then has("lm_head.weight") is false
  bool qkv_bias = false;  // q_proj, k_proj, v_proj have a .bias: qwen2
  bool qk_norm = false;   // each head of q and k is RMS-normalised before it is rotated: qwen3
};

// Every tensor name a model of this configuration has, in canonical order, with its shape. Names are Hugging Face's:
// model.embed_tokens.weight, model.layers.N.{input_layernorm,post_attention_layernorm}.weight,
// model.layers.N.self_attn.{q,k,v,o}_proj.weight (.bias), model.layers.N.self_attn.{q,k}_norm.weight [head_dim],
// model.layers.N.mlp.{gate,up,down}_proj.weight, model.norm.weight, lm_head.weight unless tied.
struct TensorSpec {
  std::string name;
  std::vector<int64_t> shape;
};
std::vector<TensorSpec> tensor_specs(const Config &config);
void each_tensor_spec(const Config &config, const std::function<void(TensorSpec)> &visit);  // one at a time

inline constexpr const char *kArchitectures = "llama, qwen2 and qwen3";  // for messages

// Says what is wrong with a configuration (sizes that cannot be, an unknown architecture); for files and for
// configurations made by hand.
Result<> check_config(const Config &config);

class ModelFile {
 public:
  // `path` is a .gguf file or a directory with config.json, *.safetensors and tokenizer.json. On success every tensor
  // of tensor_specs(config()) is there with its shape; no weight has been read yet.
  static Result<std::unique_ptr<ModelFile>> open(const std::string &path);
  // The same of what is in memory already and outlives the model: a .gguf file's bytes, or a directory's files.
  static Result<std::unique_ptr<ModelFile>> parse(const std::string &name, std::span<const uint8_t> gguf);
  static Result<std::unique_ptr<ModelFile>> parse(const std::string &name,
                                                  const std::map<std::string, std::span<const uint8_t>> &files);
  virtual ~ModelFile() = default;

  const Config &config() const { return config_; }
  const TokenizerData &tokenizer() const { return tokenizer_; }
  const std::string &chat_template() const { return chat_template_; }  // Jinja source; "" = the file has none

  virtual bool has(const std::string &hf_name) const = 0;
  virtual std::vector<int64_t> shape(const std::string &hf_name) const = 0;  // empty = no such tensor
  virtual std::vector<std::string> names() const = 0;                        // unordered; equals tensor_specs(config())
  // Writes n = product of shape floats to out: dequantised fp32, row-major. A value that is no finite number is an
  // Error.
  virtual Result<> read(const std::string &hf_name, float *out, size_t n) const = 0;

  // Of everything that makes the model answer as it does: weights, configuration, tokenizer. "sha256:HEX" of a GGUF
  // file, as sha256sum has it (half a second per GB); "xxh3:HEX" in 128 bits of a directory's files (as fast as
  // memory). Reads all of them.
  virtual Result<std::string> identity() const = 0;

 protected:
  Config config_;
  TokenizerData tokenizer_;
  std::string chat_template_;
};

}  // namespace gcop::guide_torch
