#include "hf_dir.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include "json_read.hpp"
#include "safetensors.hpp"
#include "tokenizer_json.hpp"

namespace gcop::guide_torch {
namespace {

constexpr size_t kMaxConfigBytes = size_t{16} << 20, kMaxTokenizerBytes = size_t{256} << 20;

Config read_config(const Json &json, const std::string &path) {
  auto unsupported = [&](const std::string &what) {
    fail("'" + path + "': " + what + " is not supported", Code::unsupported);
  };
  Config c;
  c.arch = text_field(json, "model_type", path);
  if (c.arch != "llama" && c.arch != "qwen2" && c.arch != "qwen3")
    fail("'" + path + "' has the architecture '" + c.arch + "'; gcop runs " + kArchitectures, Code::unsupported);
  bool qwen = c.arch != "llama";
  c.vocab = integer_field(json, "vocab_size", path);
  c.hidden = integer_field(json, "hidden_size", path);
  c.layers = integer_field(json, "num_hidden_layers", path);
  c.heads = integer_field(json, "num_attention_heads", path);
  c.kv_heads = integer_field(json, "num_key_value_heads", path, c.heads);
  c.intermediate = integer_field(json, "intermediate_size", path);
  c.context = integer_field(json, "max_position_embeddings", path);
  c.rms_eps = real_field(json, "rms_norm_eps", path, 1e-6);
  c.head_dim = integer_field(json, "head_dim", path, c.heads > 0 ? c.hidden / c.heads : 0);
  c.qkv_bias = c.arch == "qwen2";
  c.qk_norm = c.arch == "qwen3";

  // Older files say rope_theta and rope_scaling, newer ones put both into rope_parameters.
  c.rope.theta = real_field(json, "rope_theta", path, 10000.0);
  for (const char *name : {"rope_scaling", "rope_parameters"}) {
    const Json &rope = field(json, name, path);
    if (rope.is_null()) continue;
    const char *key = field(rope, "rope_type", path).is_null() ? "type" : "rope_type";
    c.rope.type = field(rope, key, path).is_null() ? "default" : text_field(rope, key, path);
    c.rope.theta = real_field(rope, "rope_theta", path, c.rope.theta);
    c.rope.factor = real_field(rope, "factor", path, 1);
    c.rope.original_context = integer_field(rope, "original_max_position_embeddings", path, c.context);
    c.rope.low_freq_factor = real_field(rope, "low_freq_factor", path, c.rope.low_freq_factor);
    c.rope.high_freq_factor = real_field(rope, "high_freq_factor", path, c.rope.high_freq_factor);
    c.rope.beta_fast = real_field(rope, "beta_fast", path, c.rope.beta_fast);
    c.rope.beta_slow = real_field(rope, "beta_slow", path, c.rope.beta_slow);
    c.rope.attention_factor = real_field(rope, "attention_factor", path, 0);
    if (c.rope.type == "llama3")
      for (const char *needed : {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"})
        if (field(rope, needed, path).is_null())
          fail("'" + path + "': " + name + " of type llama3 lacks '" + needed + "'");
    if (c.rope.type == "yarn" && field(rope, "factor", path).is_null())
      fail("'" + path + "': " + name + " of type yarn lacks 'factor'");
    for (const char *other : {"mscale", "mscale_all_dim"})
      if (!field(rope, other, path).is_null()) unsupported(std::string(name) + "." + other);
    if (!flag_field(rope, "truncate", path, true)) unsupported(std::string(name) + ".truncate = false");
    if (real_field(rope, "partial_rotary_factor", path, 1) != 1) unsupported("partial_rotary_factor");
  }
  if (real_field(json, "partial_rotary_factor", path, 1) != 1) unsupported("partial_rotary_factor");
  if (qwen && flag_field(json, "use_sliding_window", path, false)) unsupported("use_sliding_window");
  if (c.arch != "qwen2" && flag_field(json, "attention_bias", path, false)) unsupported("attention_bias");
  if (flag_field(json, "mlp_bias", path, false)) unsupported("mlp_bias");
  const Json &act = field(json, "hidden_act", path);
  if (!act.is_null() && act != "silu") unsupported("hidden_act " + act.dump());
  if (!field(json, "quantization_config", path).is_null()) unsupported("quantization_config (quantised weights)");
  c.tied = flag_field(json, "tie_word_embeddings", path, false);
  return c;
}

void add_ids(const Json &value, std::vector<int32_t> &ids, size_t vocab) {
  if (value.is_array()) {
    for (const Json &item : value) add_ids(item, ids, vocab);
  } else if (value.is_number_unsigned() && value.get<uint64_t>() < vocab) {
    auto id = value.get<int32_t>();
    if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
  }
}

class HfDirectory final : public ModelFile {
 public:
  explicit HfDirectory(ModelFolder folder) : folder_(std::move(folder)), dir_(folder_.path()) {
    config_ = read_config(json_in("config.json", kMaxConfigBytes), inside("config.json"));
    open_weights();
    read_tokenizer();
  }

  bool has(const std::string &name) const override { return tensors_.count(name) > 0; }

  std::vector<int64_t> shape(const std::string &name) const override {
    auto found = tensors_.find(name);
    return found == tensors_.end() ? std::vector<int64_t>{} : found->second->shape;
  }

  std::vector<std::string> names() const override {
    std::vector<std::string> all;
    for (const auto &[name, tensor] : tensors_) all.push_back(name);
    return all;
  }

  Result<> read(const std::string &name, float *out, size_t n) const override {
    auto found = tensors_.find(name);
    if (found == tensors_.end()) return invalid("'" + dir_ + "' has no tensor '" + name + "'");
    const StoredTensor &tensor = *found->second;
    if (n != tensor.values)
      return invalid("tensor '" + name + "' has " + std::to_string(tensor.values) + " values, " + std::to_string(n) +
                     " were asked for");
    if (!decode_finite(tensor, out))
      return invalid("'" + dir_ + "': tensor '" + name + "' holds a NaN or an infinite number; copy the file again");
    return Unit{};
  }

  Result<std::string> identity() const override {
    return guarded("'" + dir_ + "'", [&] {
      std::vector<std::string> texts;
      for (const char *name :
           {"config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"})
        texts.push_back(there(name) ? folder_.text(name, kMaxTokenizerBytes) : std::string());
      std::vector<std::span<const uint8_t>> parts;
      for (const std::string &text : texts)
        parts.emplace_back(reinterpret_cast<const uint8_t *>(text.data()), text.size());
      for (const auto &[name, file] : files_) parts.push_back(file.file().bytes());
      return "xxh3:" + xxh3_of(parts);
    });
  }

 private:
  std::string inside(const std::string &name) const { return folder_.inside(name); }
  bool there(const std::string &name) const { return folder_.has(name); }
  Json json_in(const std::string &name, size_t max_bytes) const {
    return parse_json(folder_.text(name, max_bytes), inside(name));
  }

  void open_weights() {
    std::map<std::string, std::string> file_of;  // from the index of a sharded model
    if (there("model.safetensors")) {
      files_.emplace("model.safetensors", folder_.open("model.safetensors"));
    } else if (std::string index = inside("model.safetensors.index.json"); there("model.safetensors.index.json")) {
      Json json = json_in("model.safetensors.index.json", kMaxConfigBytes);
      const Json &map = field(json, "weight_map", index);
      if (!map.is_object()) fail("'" + index + "' has no weight_map");
      for (auto &[name, value] : map.items()) {
        std::string file = value.is_string() ? value.get<std::string>() : "";
        if (file.empty() || file.find('/') != std::string::npos)
          fail("'" + index + "': the file of tensor '" + name + "' should be a name in the same directory");
        file_of[name] = file;
        if (!files_.count(file)) files_.emplace(file, folder_.open(file));
      }
    } else {
      fail("'" + dir_ + "' has neither model.safetensors nor model.safetensors.index.json" +
           (there("pytorch_model.bin") ? "; save pytorch_model.bin again with safe_serialization" : ""));
    }
    for (const auto &[name, file] : files_)
      for (const auto &[tensor_name, tensor] : file.tensors()) {
        if (tensor_name.ends_with(".rotary_emb.inv_freq")) continue;    // old checkpoints; a constant
        if (tensor_name == "lm_head.weight" && config_.tied) continue;  // a copy of the embeddings
        if (!file_of.empty() && (!file_of.count(tensor_name) || file_of[tensor_name] != name)) continue;
        tensors_[tensor_name] = &tensor;
      }
    for (const auto &[name, file] : file_of)
      if (!tensors_.count(name) && !name.ends_with(".rotary_emb.inv_freq") &&
          !(name == "lm_head.weight" && config_.tied))
        fail("'" + inside(file) + "' lacks the tensor '" + name + "' that the index promises");
    if (!config_.tied && !tensors_.count("lm_head.weight")) config_.tied = true;
  }

  void read_tokenizer() {
    std::string path = inside("tokenizer.json");
    if (!there("tokenizer.json"))
      fail("'" + dir_ + "' has no tokenizer.json; save the tokenizer with transformers' save_pretrained");
    tokenizer_ = read_tokenizer_json(json_in("tokenizer.json", kMaxTokenizerBytes), path);
    size_t vocab = tokenizer_.tokens.size();
    if (std::string config_path = inside("tokenizer_config.json"); there("tokenizer_config.json")) {
      Json json = json_in("tokenizer_config.json", kMaxConfigBytes);
      tokenizer_.bos = role(json, "bos_token", config_path);
      tokenizer_.eos = role(json, "eos_token", config_path);
      tokenizer_.pad = role(json, "pad_token", config_path);
      tokenizer_.unk = role(json, "unk_token", config_path);
      const Json &chat = field(json, "chat_template", config_path);
      if (chat.is_string()) chat_template_ = chat.get<std::string>();
      if (chat.is_array())
        for (const Json &entry : chat)
          if (text_field(entry, "name", config_path) == "default")
            chat_template_ = text_field(entry, "template", config_path);
    }
    if (there("chat_template.jinja")) chat_template_ = folder_.text("chat_template.jinja", kMaxConfigBytes);
    std::vector<int32_t> &stops = tokenizer_.stop_ids;
    for (const char *name : {"generation_config.json", "config.json"}) {
      if (!there(name)) continue;
      Json json = json_in(name, kMaxConfigBytes);
      add_ids(field(json, "eos_token_id", inside(name)), stops, vocab);
    }
    if (tokenizer_.eos >= 0 && std::find(stops.begin(), stops.end(), tokenizer_.eos) == stops.end())
      stops.push_back(tokenizer_.eos);
  }

  // The id of a role's token, which the file gives as text or as {"content": text}; -1 = none.
  int32_t role(const Json &json, const char *name, const std::string &path) const {
    const Json &value = field(json, name, path);
    if (value.is_null()) return -1;
    std::string text = value.is_object() ? text_field(value, "content", path) : text_field(json, name, path);
    auto found = std::find(tokenizer_.tokens.begin(), tokenizer_.tokens.end(), text);
    if (text.empty() || found == tokenizer_.tokens.end())
      fail("'" + path + "': " + name + " '" + text + "' is not in the vocabulary");
    return static_cast<int32_t>(found - tokenizer_.tokens.begin());
  }

  ModelFolder folder_;
  std::string dir_;
  std::map<std::string, SafetensorsFile> files_;
  std::unordered_map<std::string, const StoredTensor *> tensors_;
};

}  // namespace

std::unique_ptr<ModelFile> open_hf_dir(ModelFolder folder) { return std::make_unique<HfDirectory>(std::move(folder)); }

}  // namespace gcop::guide_torch
