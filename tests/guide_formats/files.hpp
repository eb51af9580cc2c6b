// What the tests of this folder share: a temporary folder, golden files, and tiny models they write themselves.
#pragma once
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "chat_template.hpp"
#include "hf_writer.hpp"
#include "model_file.hpp"

namespace gcop::guide_torch {

namespace fs = std::filesystem;
using Json = nlohmann::json;

class TempFolder {
 public:
  TempFolder() {
    std::string name = (fs::temp_directory_path() / "gcop-formats-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~TempFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  std::string operator/(const std::string &name) const { return (path_ / name).string(); }

 private:
  fs::path path_;
};

inline void write_file(const std::string &path, const std::string &bytes) {
  std::ofstream file(path, std::ios::binary);
  file << bytes;
  REQUIRE(file.flush().good());
}

inline std::string read_file(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE(file.good());
  return {std::istreambuf_iterator<char>(file), {}};
}

inline Json golden(const std::string &name) {
  return Json::parse(read_file(std::string(GCOP_SOURCE_DIR) + "/tests/guide_formats/golden/" + name + ".json"));
}

// A published model, by its size, under $GCOP_TEST_MODELS or gcop's cache; "" = not on this machine.
inline std::string find_model(uint64_t bytes) {
  auto text = [](const char *name) { return std::string(std::getenv(name) ? std::getenv(name) : ""); };
  std::string home = text("GCOP_HOME").empty() ? text("HOME") + "/.cache/gcop" : text("GCOP_HOME");
  for (const std::string &folder : {text("GCOP_TEST_MODELS"), home + "/models"}) {
    std::error_code ec;
    for (fs::recursive_directory_iterator it(folder, ec), end; !ec && it != end; it.increment(ec))
      if (it->is_regular_file(ec) && it->path().extension() == ".gguf" && it->file_size(ec) == bytes)
        return it->path().string();
  }
  return {};
}

// A GGUF file under construction, little-endian as the format is.
class GgufBuilder {
 public:
  template <class T>
  static std::string raw(T value) {
    return {reinterpret_cast<const char *>(&value), sizeof value};
  }
  static std::string text(const std::string &s) { return raw<uint64_t>(s.size()) + s; }

  void put_u32(const std::string &key, uint32_t v) { put(key, 4, raw(v)); }
  void put_f32(const std::string &key, float v) { put(key, 6, raw(v)); }
  void put_text(const std::string &key, const std::string &v) { put(key, 8, text(v)); }
  void put_texts(const std::string &key, const std::vector<std::string> &list) {
    std::string bytes = raw<uint32_t>(8) + raw<uint64_t>(list.size());
    for (const std::string &s : list) bytes += text(s);
    put(key, 9, bytes);
  }
  void put_ints(const std::string &key, const std::vector<int32_t> &list) {
    std::string bytes = raw<uint32_t>(5) + raw<uint64_t>(list.size());
    for (int32_t v : list) bytes += raw(v);
    put(key, 9, bytes);
  }
  void put(const std::string &key, uint32_t type, const std::string &bytes) {
    values[key] = text(key) + raw(type) + bytes;
  }
  // shape: row-major, as ModelFile gives it.
  void tensor(const std::string &name, const std::vector<int64_t> &shape, uint32_t type, const std::string &bytes) {
    std::string info = text(name) + raw<uint32_t>(static_cast<uint32_t>(shape.size()));
    for (size_t i = shape.size(); i-- > 0;) info += raw<uint64_t>(static_cast<uint64_t>(shape[i]));
    tensors += info + raw(type) + raw<uint64_t>(data.size());
    data += bytes;
    data.resize((data.size() + 31) / 32 * 32);
    ++n_tensors;
  }
  void floats(const std::string &name, const std::vector<int64_t> &shape, const std::vector<float> &v) {
    tensor(name, shape, 0, {reinterpret_cast<const char *>(v.data()), v.size() * sizeof(float)});
  }
  std::string bytes() const {
    std::string out = "GGUF" + raw<uint32_t>(3) + raw<uint64_t>(n_tensors) + raw<uint64_t>(values.size());
    for (const auto &[key, entry] : values) out += entry;
    out += tensors;
    out.resize((out.size() + 31) / 32 * 32);
    return out + data;
  }

  std::map<std::string, std::string> values;
  std::string tensors, data;
  uint64_t n_tensors = 0;
};

// vocab is that of make_byte_tokenizer().
inline Config tiny_config(const std::string &arch) {
  Config c;
  c.arch = arch;
  c.vocab = 259;
  c.hidden = 8;
  c.layers = 2;
  c.heads = 2;
  c.kv_heads = 1;
  c.head_dim = 4;
  c.intermediate = 12;
  c.context = 64;
  c.rms_eps = 1e-5;
  c.rope.theta = 5000;
  c.tied = arch == "llama";
  c.qkv_bias = arch == "qwen2";
  c.qk_norm = arch == "qwen3";
  return c;
}

// Distinct, exactly representable values for every tensor.
inline std::map<std::string, std::vector<float>> tiny_weights(const Config &config) {
  std::map<std::string, std::vector<float>> weights;
  float next = -20;
  for (const TensorSpec &spec : tensor_specs(config)) {
    int64_t n = 1;
    for (int64_t size : spec.shape) n *= size;
    for (int64_t i = 0; i < n; ++i) weights[spec.name].push_back(next += 0.0078125f);
  }
  return weights;
}

inline GgufBuilder tiny_gguf(const Config &c, const std::map<std::string, std::vector<float>> &weights) {
  GgufBuilder file;
  std::string p = c.arch + ".";
  file.put_text("general.architecture", c.arch);
  auto size = [&](const char *key, int64_t value) { file.put_u32(p + key, static_cast<uint32_t>(value)); };
  size("block_count", c.layers);
  size("context_length", c.context);
  size("embedding_length", c.hidden);
  size("feed_forward_length", c.intermediate);
  size("attention.head_count", c.heads);
  size("attention.head_count_kv", c.kv_heads);
  file.put_f32(p + "attention.layer_norm_rms_epsilon", static_cast<float>(c.rms_eps));
  file.put_f32(p + "rope.freq_base", static_cast<float>(c.rope.theta));
  TokenizerData tokenizer = make_byte_tokenizer();
  std::vector<int32_t> types(tokenizer.tokens.size(), 1);
  for (const AddedToken &token : tokenizer.added) types[static_cast<size_t>(token.id)] = 3;
  file.put_text("tokenizer.ggml.model", "gpt2");
  file.put_text("tokenizer.ggml.pre", "gpt-2");
  file.put_texts("tokenizer.ggml.tokens", tokenizer.tokens);
  file.put_texts("tokenizer.ggml.merges", {});
  file.put_ints("tokenizer.ggml.token_type", types);
  file.put_u32("tokenizer.ggml.eos_token_id", 258);
  file.put_text("tokenizer.chat_template", kChatMlTemplate);
  static const std::pair<const char *, const char *> kNames[] = {{"model.embed_tokens", "token_embd"},
                                                                 {"model.norm", "output_norm"},
                                                                 {"lm_head", "output"},
                                                                 {"model.layers.", "blk."},
                                                                 {"input_layernorm", "attn_norm"},
                                                                 {"post_attention_layernorm", "ffn_norm"},
                                                                 {"self_attn.q_proj", "attn_q"},
                                                                 {"self_attn.k_proj", "attn_k"},
                                                                 {"self_attn.v_proj", "attn_v"},
                                                                 {"self_attn.q_norm", "attn_q_norm"},
                                                                 {"self_attn.k_norm", "attn_k_norm"},
                                                                 {"self_attn.o_proj", "attn_output"},
                                                                 {"mlp.gate_proj", "ffn_gate"},
                                                                 {"mlp.up_proj", "ffn_up"},
                                                                 {"mlp.down_proj", "ffn_down"}};
  for (const TensorSpec &spec : tensor_specs(c)) {
    std::string name = spec.name;
    for (auto [hf, ggml] : kNames)
      if (size_t at = name.find(hf); at != std::string::npos) name.replace(at, std::strlen(hf), ggml);
    file.floats(name, spec.shape, weights.at(spec.name));
  }
  return file;
}

inline std::vector<TensorOut> as_tensors(const Config &config,
                                         const std::map<std::string, std::vector<float>> &weights) {
  std::vector<TensorOut> out;
  for (const TensorSpec &spec : tensor_specs(config))
    out.push_back({spec.name, spec.shape, [&weights, name = spec.name] { return weights.at(name).data(); }});
  return out;
}

inline std::vector<float> read_tensor(const ModelFile &file, const std::string &name) {
  size_t n = 1;
  for (int64_t size : file.shape(name)) n *= static_cast<size_t>(size);
  std::vector<float> values(n);
  auto ok = file.read(name, values.data(), n);
  REQUIRE_MESSAGE(ok, (ok ? "" : ok.error().message));
  return values;
}

inline std::string why_not(const std::string &path) {
  auto file = ModelFile::open(path);
  return file ? "" : file.error().message;
}

}  // namespace gcop::guide_torch
