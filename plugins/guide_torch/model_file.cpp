#include "model_file.hpp"

#include <filesystem>
#include <unordered_set>

#include "fault.hpp"
#include "gguf.hpp"
#include "hf_dir.hpp"

namespace gcop::guide_torch {
namespace {

std::string shape_text(const std::vector<int64_t> &shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

// What must hold between the parts of a model whichever layout it came from.
std::unique_ptr<ModelFile> checked(std::unique_ptr<ModelFile> opened, const std::string &path) {
  const ModelFile &file = *opened;
  if (auto ok = check_config(file.config()); !ok) fail("'" + path + "': " + ok.error().message, ok.error().code);
  std::unordered_set<std::string> expected;
  each_tensor_spec(file.config(), [&](TensorSpec spec) {
    std::vector<int64_t> found = file.shape(spec.name);
    if (found.empty()) fail("'" + path + "' lacks the tensor '" + spec.name + "'");
    if (found != spec.shape)
      fail("'" + path + "': tensor '" + spec.name + "' has shape " + shape_text(found) +
           ", the configuration asks for " + shape_text(spec.shape));
    expected.insert(std::move(spec.name));
  });
  // A tensor gcop would not use changes what the model says: scaled rotary positions, further biases, experts.
  for (const std::string &name : file.names())
    if (!expected.count(name))
      fail("'" + path + "': tensor '" + name + "' has no place in a " + file.config().arch + " model as gcop runs it",
           Code::unsupported);
  if (static_cast<int64_t>(file.tokenizer().tokens.size()) > file.config().vocab)
    fail("'" + path + "' has " + std::to_string(file.tokenizer().tokens.size()) + " tokens but embeddings for " +
         std::to_string(file.config().vocab));
  return opened;
}

}  // namespace

Result<std::unique_ptr<ModelFile>> ModelFile::open(const std::string &path) {
  return guarded("'" + path + "'", [&] {
    std::error_code ignored;
    if (std::filesystem::is_directory(path, ignored)) return checked(open_hf_dir(ModelFolder(path)), path);
    if (path.ends_with(".safetensors"))
      fail("'" + path + "' is weights alone; give the directory that also holds config.json and tokenizer.json");
    return checked(open_gguf(MappedFile(path)), path);
  });
}

Result<std::unique_ptr<ModelFile>> ModelFile::parse(const std::string &name, std::span<const uint8_t> gguf) {
  return guarded("'" + name + "'", [&] { return checked(open_gguf(MappedFile(name, gguf)), name); });
}

Result<std::unique_ptr<ModelFile>> ModelFile::parse(const std::string &name,
                                                    const std::map<std::string, std::span<const uint8_t>> &files) {
  return guarded("'" + name + "'", [&] { return checked(open_hf_dir(ModelFolder(name, files)), name); });
}

std::vector<TensorSpec> tensor_specs(const Config &config) {
  std::vector<TensorSpec> specs;
  each_tensor_spec(config, [&](TensorSpec spec) { specs.push_back(std::move(spec)); });
  return specs;
}

void each_tensor_spec(const Config &c, const std::function<void(TensorSpec)> &visit) {
  int64_t q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  visit({"model.embed_tokens.weight", {c.vocab, c.hidden}});
  for (int64_t i = 0; i < c.layers; ++i) {
    std::string p = "model.layers." + std::to_string(i) + ".";
    visit({p + "input_layernorm.weight", {c.hidden}});
    visit({p + "self_attn.q_proj.weight", {q, c.hidden}});
    if (c.qkv_bias) visit({p + "self_attn.q_proj.bias", {q}});
    visit({p + "self_attn.k_proj.weight", {kv, c.hidden}});
    if (c.qkv_bias) visit({p + "self_attn.k_proj.bias", {kv}});
    visit({p + "self_attn.v_proj.weight", {kv, c.hidden}});
    if (c.qkv_bias) visit({p + "self_attn.v_proj.bias", {kv}});
    if (c.qk_norm) {
      visit({p + "self_attn.q_norm.weight", {c.head_dim}});
      visit({p + "self_attn.k_norm.weight", {c.head_dim}});
    }
    visit({p + "self_attn.o_proj.weight", {c.hidden, q}});
    visit({p + "post_attention_layernorm.weight", {c.hidden}});
    visit({p + "mlp.gate_proj.weight", {c.intermediate, c.hidden}});
    visit({p + "mlp.up_proj.weight", {c.intermediate, c.hidden}});
    visit({p + "mlp.down_proj.weight", {c.hidden, c.intermediate}});
  }
  visit({"model.norm.weight", {c.hidden}});
  if (!c.tied) visit({"lm_head.weight", {c.vocab, c.hidden}});
}

Result<> check_config(const Config &c) {
  if (c.arch != "llama" && c.arch != "qwen2" && c.arch != "qwen3")
    return Error{Code::unsupported, "architecture '" + c.arch + "' is not supported; gcop runs " + kArchitectures, {}};
  struct Size {
    const char *name;
    int64_t value, most;
  };
  for (auto [name, value, most] :
       {Size{"vocab", c.vocab, 1 << 22}, Size{"hidden", c.hidden, 1 << 17}, Size{"layers", c.layers, 1 << 10},
        Size{"heads", c.heads, 1 << 12}, Size{"kv_heads", c.kv_heads, 1 << 12}, Size{"head_dim", c.head_dim, 1 << 12},
        Size{"intermediate", c.intermediate, 1 << 20}, Size{"context", c.context, 1 << 28}})
    if (value < 1 || value > most)
      return invalid(std::string(name) + " is " + std::to_string(value) + "; 1 to " + std::to_string(most) +
                     " is possible");
  if (c.heads % c.kv_heads != 0)
    return invalid(std::to_string(c.heads) + " heads cannot share " + std::to_string(c.kv_heads) +
                   " key/value heads evenly");
  if (c.head_dim % 2 != 0)
    return invalid("head_dim is " + std::to_string(c.head_dim) + "; rotary positions need an even one");
  if (!(c.rms_eps >= 0 && c.rms_eps < 1))
    return invalid("rms_eps is " + std::to_string(c.rms_eps) + "; 0 to 1 is possible");
  if (c.qkv_bias != (c.arch == "qwen2")) return invalid("qkv_bias goes with qwen2 and only with it");
  if (c.qk_norm != (c.arch == "qwen3")) return invalid("qk_norm goes with qwen3 and only with it");
  return check_rope(c.rope);
}

}  // namespace gcop::guide_torch
