// Tiny models whose weights follow from a formula (tests/reference/tiny_models.py has the same), written as the Hugging
// Face directories that users have.
#pragma once
#include <doctest/doctest.h>
#include <unistd.h>

#include <bit>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "model_file.hpp"
#include "quants.hpp"
#include "tokenizer_json.hpp"

namespace tiny {

using Json = nlohmann::json;
using namespace gcop::guide_torch;

inline uint64_t mix(uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

inline std::vector<float> weights(const TensorSpec &spec) {
  uint64_t name = 0xCBF29CE484222325u, n = 1;
  for (char c : spec.name) name = (name ^ static_cast<uint8_t>(c)) * 0x100000001B3u;
  for (int64_t size : spec.shape) n *= static_cast<uint64_t>(size);
  const auto has = [&](const char *part) { return spec.name.find(part) != std::string::npos; };
  std::vector<float> out(n);
  for (uint64_t i = 0; i < n; ++i) {
    const auto k = static_cast<int64_t>(mix(name + i) >> 40);
    if (has("norm"))
      out[i] = 1 + static_cast<float>(k % 32 - 16) / 64;
    else if (spec.name.ends_with("bias"))
      out[i] = static_cast<float>(k % 64 - 32) / 64;
    else
      out[i] = static_cast<float>(k % 128 - 64) / 512 * (has("embed") || has("lm_head") ? 4 : 1);
  }
  return out;
}

// The tensors that a Hugging Face config.json asks for.
inline std::vector<TensorSpec> specs(const Json &config) {
  Config c;
  c.arch = config["model_type"];
  c.vocab = config["vocab_size"];
  c.hidden = config["hidden_size"];
  c.layers = config["num_hidden_layers"];
  c.heads = config["num_attention_heads"];
  c.kv_heads = config["num_key_value_heads"];
  c.head_dim = config["head_dim"];
  c.intermediate = config["intermediate_size"];
  c.tied = config["tie_word_embeddings"];
  c.qkv_bias = c.arch == "qwen2";
  c.qk_norm = c.arch == "qwen3";
  return tensor_specs(c);
}

// The bits of an exactly representable value. Normal numbers and zero only.
inline uint16_t half_bits(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value), sign = bits >> 16 & 0x8000;
  if (value == 0) return static_cast<uint16_t>(sign);
  return static_cast<uint16_t>(sign | (((bits >> 23 & 255) - 112) << 10) | (bits >> 13 & 1023));
}

inline void write_safetensors(const std::string &path, const std::vector<TensorSpec> &tensors,
                              const std::string &dtype) {
  Json header = Json::object();
  std::string data;
  for (const TensorSpec &spec : tensors) {
    const size_t begin = data.size();
    for (float value : weights(spec)) {
      if (dtype == "F32") {
        data.append(reinterpret_cast<const char *>(&value), 4);
      } else {
        const uint16_t bits = dtype == "BF16" ? float_to_bf16(value) : half_bits(value);
        data.append(reinterpret_cast<const char *>(&bits), 2);
      }
    }
    header[spec.name] = {{"dtype", dtype}, {"shape", spec.shape}, {"data_offsets", {begin, data.size()}}};
  }
  const std::string text = header.dump();
  const uint64_t length = text.size();
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char *>(&length), 8);
  file << text << data;
  REQUIRE(file.flush().good());
}

inline void write_json(const std::string &path, const Json &json) {
  std::ofstream file(path);
  file << json.dump();
  REQUIRE(file.flush().good());
}

// A directory with these weights stored as F32, F16 or BF16, in `shards` files. Removed with the object.
class Directory {
 public:
  Directory(const Json &config, const std::string &dtype, size_t shards) {
    std::string name = (std::filesystem::temp_directory_path() / "gcop-tiny-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
    write_json(name + "/config.json", config);
    write_json(name + "/tokenizer.json", write_tokenizer_json(make_byte_tokenizer()));
    const std::vector<TensorSpec> all = specs(config);
    if (shards == 1) {
      write_safetensors(name + "/model.safetensors", all, dtype);
      return;
    }
    Json map = Json::object();
    for (size_t s = 0; s < shards; ++s) {
      const std::string file = "model-" + std::to_string(s) + ".safetensors";
      const std::vector<TensorSpec> part(all.begin() + static_cast<std::ptrdiff_t>(s * all.size() / shards),
                                         all.begin() + static_cast<std::ptrdiff_t>((s + 1) * all.size() / shards));
      write_safetensors(name + "/" + file, part, dtype);
      for (const TensorSpec &spec : part) map[spec.name] = file;
    }
    write_json(name + "/model.safetensors.index.json", {{"metadata", Json::object()}, {"weight_map", map}});
  }
  ~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Directory(const Directory &) = delete;
  Directory &operator=(const Directory &) = delete;
  const std::string &path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace tiny
