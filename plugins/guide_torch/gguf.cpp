#include "gguf.hpp"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <utility>

#include "fault.hpp"
#include "gguf_header.hpp"
#include "mapped_file.hpp"

namespace gcop::guide_torch {
namespace {

// llama.cpp's names of the parts of one layer.
constexpr std::array<std::pair<const char *, const char *>, 14> kLayerNames{{
    {"attn_norm.weight", "input_layernorm.weight"},
    {"ffn_norm.weight", "post_attention_layernorm.weight"},
    {"attn_q.weight", "self_attn.q_proj.weight"},
    {"attn_k.weight", "self_attn.k_proj.weight"},
    {"attn_v.weight", "self_attn.v_proj.weight"},
    {"attn_output.weight", "self_attn.o_proj.weight"},
    {"attn_q.bias", "self_attn.q_proj.bias"},
    {"attn_k.bias", "self_attn.k_proj.bias"},
    {"attn_v.bias", "self_attn.v_proj.bias"},
    {"attn_q_norm.weight", "self_attn.q_norm.weight"},
    {"attn_k_norm.weight", "self_attn.k_norm.weight"},
    {"ffn_gate.weight", "mlp.gate_proj.weight"},
    {"ffn_up.weight", "mlp.up_proj.weight"},
    {"ffn_down.weight", "mlp.down_proj.weight"},
}};

// A name without a counterpart stays as it is; the check against tensor_specs() then names it.
std::string hf_name(const std::string &name) {
  if (name == "token_embd.weight") return "model.embed_tokens.weight";
  if (name == "output_norm.weight") return "model.norm.weight";
  if (name == "output.weight") return "lm_head.weight";
  if (name.rfind("blk.", 0) != 0) return name;
  size_t dot = name.find('.', 4);
  if (dot == std::string::npos) return name;
  std::string layer = name.substr(4, dot - 4), part = name.substr(dot + 1);
  for (auto [ggml, hf] : kLayerNames)
    if (part == ggml) return "model.layers." + layer + "." + hf;
  return name;
}

class GgufModel final : public ModelFile {
 public:
  explicit GgufModel(MappedFile file) : file_(std::move(file)), header_(file_.bytes(), file_.path()) {
    for (const GgufTensor &tensor : header_.tensors()) tensors_[hf_name(tensor.name)] = &tensor;
    read_config();
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
    if (found == tensors_.end()) return invalid("GGUF '" + file_.path() + "' has no tensor for '" + name + "'");
    const GgufTensor &tensor = *found->second;
    size_t row = static_cast<size_t>(tensor.shape.back()), rows = 1;
    for (size_t d = 0; d + 1 < tensor.shape.size(); ++d) rows *= static_cast<size_t>(tensor.shape[d]);
    if (n != rows * row)
      return invalid("tensor '" + name + "' has " + std::to_string(rows * row) + " values, " + std::to_string(n) +
                     " were asked for");
    size_t stride = row / tensor.encoding->values * tensor.encoding->bytes;
    // llama.cpp stores a llama model's q and k rows with the two halves of each head interleaved (its rotary layout);
    // row t*half + i of a head lies at 2*i + t.
    bool interleaved = config_.arch == "llama" && (name.ends_with("q_proj.weight") || name.ends_with("k_proj.weight"));
    size_t head = static_cast<size_t>(config_.head_dim), half = head / 2;
    for (size_t r = 0; r < rows; ++r) {
      size_t in_head = r % head;
      size_t from = interleaved ? r - in_head + 2 * (in_head % half) + in_head / half : r;
      tensor.encoding->decode(tensor.data + from * stride, out + r * row, row);
      if (!all_finite(out + r * row, row))
        return invalid("GGUF '" + file_.path() + "': tensor '" + name + "' holds a NaN or an infinite number in row " +
                       std::to_string(r) + "; download or convert the file again");
    }
    return Unit{};
  }

  Result<std::string> identity() const override {
    return guarded(file_.path(), [&] { return "sha256:" + sha256_of(file_.bytes()); });
  }

 private:
  void read_config() {
    const std::string &path = file_.path();
    config_.arch = header_.text("general.architecture");
    if (config_.arch != "llama" && config_.arch != "qwen2" && config_.arch != "qwen3")
      fail("GGUF '" + path + "' has the architecture '" + config_.arch + "'; gcop runs " + kArchitectures,
           Code::unsupported);
    if (header_.integer("split.count", 1) > 1)
      fail("GGUF '" + path + "' is one part of a split model; merge the parts into one file first", Code::unsupported);
    std::string p = config_.arch + ".";
    config_.layers = header_.integer(p + "block_count");
    config_.context = header_.integer(p + "context_length");
    config_.hidden = header_.integer(p + "embedding_length");
    config_.intermediate = header_.integer(p + "feed_forward_length");
    config_.heads = header_.integer(p + "attention.head_count");
    config_.kv_heads = header_.integer(p + "attention.head_count_kv", config_.heads);
    config_.rms_eps = header_.real(p + "attention.layer_norm_rms_epsilon");
    if (header_.has(p + "rope.freq_base")) config_.rope.theta = header_.real(p + "rope.freq_base");
    int64_t even_share = config_.heads > 0 ? config_.hidden / config_.heads : 0;
    config_.head_dim = header_.integer(p + "attention.key_length", even_share);
    if (header_.integer(p + "rope.dimension_count", config_.head_dim) != config_.head_dim ||
        header_.integer(p + "attention.value_length", config_.head_dim) != config_.head_dim)
      fail("GGUF '" + path + "': rotary or value size differs from the head size, which gcop does not run",
           Code::unsupported);
    read_rope_scaling(p + "rope.scaling.");
    if (header_.integer(p + "attention.sliding_window", 0) != 0 || header_.integer(p + "expert_count", 0) != 0)
      fail("GGUF '" + path + "': sliding-window attention and experts are not supported", Code::unsupported);
    std::vector<int64_t> embedding = shape("model.embed_tokens.weight");
    config_.vocab = embedding.empty() ? 0 : embedding[0];
    config_.tied = !has("lm_head.weight");
    config_.qkv_bias = config_.arch == "qwen2";
    config_.qk_norm = config_.arch == "qwen3";
  }

  void read_rope_scaling(const std::string &p) {
    Rope &rope = config_.rope;
    const std::string type = header_.text(p + "type", "none");
    if (type == "linear" || type == "yarn") {
      rope.type = type;
      rope.factor = header_.real(p + "factor");
      rope.original_context = header_.integer(p + "original_context_length", config_.context);
      if (header_.has(p + "attn_factor") || header_.has(p + "yarn_log_multiplier"))
        fail("GGUF '" + file_.path() + "': " + p + "attn_factor and yarn_log_multiplier are not supported",
             Code::unsupported);
    } else if (type != "none") {
      fail("GGUF '" + file_.path() + "': " + p + "type is '" + type + "'; gcop runs none, linear and yarn",
           Code::unsupported);
    }
    const auto divisors = tensors_.find("rope_freqs.weight");
    if (divisors == tensors_.end()) return;
    const GgufTensor &tensor = *divisors->second;
    if (tensor.shape != std::vector<int64_t>{config_.head_dim / 2} || tensor.encoding->values != 1)
      fail("GGUF '" + file_.path() + "': rope_freqs.weight is not one number for each pair of a head");
    std::vector<float> values(static_cast<size_t>(config_.head_dim / 2));
    tensor.encoding->decode(tensor.data, values.data(), values.size());
    const Result<Rope> found = rope_from_divisors(rope, values);
    if (!found) fail("GGUF '" + file_.path() + "': " + found.error().message, found.error().code);
    rope = *found;
    tensors_.erase(divisors);
  }

  void read_tokenizer() {
    const std::string &path = file_.path();
    std::string model = header_.text("tokenizer.ggml.model"), pre = header_.text("tokenizer.ggml.pre", "");
    if (model != "gpt2")
      fail("GGUF '" + path + "' has a '" + model + "' tokenizer; gcop reads byte-level BPE ('gpt2')",
           Code::unsupported);
    if (pre == "smollm") {
      tokenizer_.splits = {{SplitStep::Kind::digits, "", true}, {SplitStep::Kind::regex, kGpt2Pattern, true}};
    } else if (pre == "qwen2") {
      tokenizer_.splits = {{SplitStep::Kind::regex, kQwen2Pattern, true}};
      tokenizer_.nfc = true;
    } else if (pre == "gpt-2") {
      tokenizer_.splits = {{SplitStep::Kind::regex, kGpt2Pattern, true}};
    } else if (pre == "llama-bpe") {
      tokenizer_.splits = {{SplitStep::Kind::regex, kLlama3Pattern, true}};
      tokenizer_.ignore_merges = true;
    } else {
      fail("GGUF '" + path + "' cuts words by the rule '" + pre +
               "'; gcop knows smollm, qwen2, llama-bpe and gpt-2; use the model's Hugging Face directory instead",
           Code::unsupported);
    }
    tokenizer_.tokens = header_.texts("tokenizer.ggml.tokens");
    for (const std::string &merge : header_.texts("tokenizer.ggml.merges")) {
      size_t space = merge.find(' ', 1);  // the left part is never empty
      if (space == std::string::npos || space + 1 == merge.size())
        fail("GGUF '" + path + "': the merge '" + merge + "' is no pair");
      tokenizer_.merges.emplace_back(merge.substr(0, space), merge.substr(space + 1));
    }
    std::vector<int64_t> types = header_.integers("tokenizer.ggml.token_type");
    if (types.size() != tokenizer_.tokens.size())
      fail("GGUF '" + path + "' has " + std::to_string(tokenizer_.tokens.size()) + " tokens and " +
           std::to_string(types.size()) + " token types");
    enum { kControl = 3, kUserDefined = 4, kUnused = 5 };
    for (size_t i = 0; i < types.size(); ++i) {
      if (types[i] == kControl || types[i] == kUserDefined)
        tokenizer_.added.push_back({static_cast<int32_t>(i), tokenizer_.tokens[i], types[i] == kControl, false});
      if (types[i] == kUnused) tokenizer_.tokens[i].clear();  // "[PAD151665]": rows beyond the real vocabulary
    }
    tokenizer_.bos = token_id("bos_token_id");
    tokenizer_.eos = token_id("eos_token_id");
    tokenizer_.pad = token_id("padding_token_id");
    tokenizer_.unk = token_id("unknown_token_id");
    // Files written before this key existed leave it out, and Llama 3's prompts begin with bos.
    tokenizer_.add_bos = header_.flag("tokenizer.ggml.add_bos_token", pre == "llama-bpe");
    // The file names one end token; a chat model may also end with its family's other one.
    std::vector<int32_t> &stops = tokenizer_.stop_ids;
    for (int32_t id : {tokenizer_.eos, token_id("eot_token_id")})
      if (id >= 0 && std::find(stops.begin(), stops.end(), id) == stops.end()) stops.push_back(id);
    for (const AddedToken &added : tokenizer_.added)
      for (const char *end : {"<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>"})
        if (added.text == end && std::find(stops.begin(), stops.end(), added.id) == stops.end())
          stops.push_back(added.id);
    chat_template_ = header_.text("tokenizer.chat_template", "");
  }

  int32_t token_id(const char *key) const {
    int64_t id = header_.integer(std::string("tokenizer.ggml.") + key, -1);
    if (id < -1 || id >= static_cast<int64_t>(tokenizer_.tokens.size()))
      fail("GGUF '" + file_.path() + "': tokenizer.ggml." + key + " is " + std::to_string(id) +
           ", outside the vocabulary");
    return static_cast<int32_t>(id);
  }

  MappedFile file_;
  GgufHeader header_;
  std::unordered_map<std::string, const GgufTensor *> tensors_;  // by Hugging Face name
};

}  // namespace

std::unique_ptr<ModelFile> open_gguf(MappedFile file) { return std::make_unique<GgufModel>(std::move(file)); }

}  // namespace gcop::guide_torch
