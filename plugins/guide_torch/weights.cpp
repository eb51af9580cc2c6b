#include "weights.hpp"

#include <sys/mman.h>

#include <cmath>
#include <cstring>
#include <mutex>
#include <new>
#include <nlohmann/json.hpp>

#include "crew.hpp"
#include "draw.hpp"

namespace gcop::guide_torch {

Arena::Arena(size_t floats) : floats_(floats) {
  void *at =
      mmap(nullptr, floats * sizeof(float), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) throw std::bad_alloc();
  madvise(at, floats * sizeof(float), MADV_HUGEPAGE);  // a wish: fewer address translations while weights stream
  data_ = static_cast<float *>(at);
}

Arena::~Arena() { munmap(data_, floats_ * sizeof(float)); }

Layout::Layout(std::vector<TensorSpec> tensors) {
  for (TensorSpec &spec : tensors) {
    Parameter p{std::move(spec.name), std::move(spec.shape), floats, 1};
    for (int64_t n : p.shape) p.count *= static_cast<size_t>(n);
    count += p.count;
    floats += (p.count + 15) / 16 * 16;  // each starts on a cache line
    parameters.push_back(std::move(p));
  }
}

size_t Layout::index(const std::string &name) const {
  for (size_t i = 0; i < parameters.size(); ++i)
    if (parameters[i].name == name) return i;
  throw std::logic_error("no parameter " + name);
}

ModelView::ModelView(const Config &config, const Layout &layout, const float *arena) {
  std::map<std::string, const float *> at;
  for (const Parameter &p : layout.parameters) at[p.name] = arena + p.offset;
  embed = at.at("model.embed_tokens.weight");
  norm = at.at("model.norm.weight");
  head = {config.tied ? embed : at.at("lm_head.weight")};
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string base = "model.layers." + std::to_string(i) + ".";
    const auto get = [&](const char *name) { return at.at(base + name); };
    const auto bias = [&](const char *name) { return config.qkv_bias ? get(name) : nullptr; };
    const auto head_norm = [&](const char *name) { return config.qk_norm ? get(name) : nullptr; };
    const auto matrix = [&](const char *name) { return Matrix{get(name)}; };
    layers.push_back({get("input_layernorm.weight"), bias("self_attn.q_proj.bias"), bias("self_attn.k_proj.bias"),
                      bias("self_attn.v_proj.bias"), head_norm("self_attn.q_norm.weight"),
                      head_norm("self_attn.k_norm.weight"), get("post_attention_layernorm.weight"),
                      matrix("self_attn.q_proj.weight"), matrix("self_attn.k_proj.weight"),
                      matrix("self_attn.v_proj.weight"), matrix("self_attn.o_proj.weight"),
                      matrix("mlp.gate_proj.weight"), matrix("mlp.up_proj.weight"), matrix("mlp.down_proj.weight")});
  }
}

Weights::Weights(Config config, std::shared_ptr<Arena> current) : config_(std::move(config)), layout_(config_) {
  put("current", std::move(current));
}

const Version *Weights::find(const std::string &name) const {
  const auto it = versions_.find(name);
  return it == versions_.end() ? nullptr : &it->second;
}

const Version *Weights::fetched(const std::string &name) const {
  const Version *version = find(name);
  if (version && version->placed) version->placed->fetch(*version);
  return version;
}

void Weights::use_device(Place place) {
  place_ = std::move(place);
  for (auto &[name, version] : versions_) version.placed = place_(*version.arena);
}

std::string Weights::names() const {
  std::string out;
  for (const auto &[name, version] : versions_) out += (out.empty() ? "" : ", ") + name;
  return out;
}

Error Weights::unknown(const std::string &name) const {
  return invalid("no weights named \"" + name + "\"; there are: " + names());
}

void Weights::put(const std::string &name, std::shared_ptr<Arena> arena, std::shared_ptr<const Arena> base,
                  std::shared_ptr<Arena> adapter) {
  Version &version = versions_[name];
  version.view = std::make_shared<ModelView>(config_, layout_, arena->data());
  version.placed = place_ ? place_(*arena) : nullptr;
  version.arena = std::move(arena);
  version.base = std::move(base);
  version.adapter = std::move(adapter);
  version.number = ++changes_;
}

void Weights::use_compact(std::shared_ptr<const CompactWeights> compact) {
  Version &version = versions_.at("current");
  auto view = std::make_shared<ModelView>(*version.view);
  compact->show(*view);
  version.view = std::move(view);
  version.compact = std::move(compact);
}

void Weights::changed(const std::string &name) { versions_.at(name).number = ++changes_; }

Result<> Weights::copy(const std::string &from, const std::string &to) {
  const Version *source = fetched(from);
  if (!source) return unknown(from);
  if (from == to) return Unit{};
  put(to, copy_of(*source->arena), source->base, source->adapter ? copy_of(*source->adapter) : nullptr);
  return Unit{};
}

Result<> Weights::drop(const std::string &name) {
  if (name == "current") return invalid("the weights \"current\" cannot be dropped");
  if (!versions_.erase(name)) return unknown(name);
  return Unit{};
}

Result<std::shared_ptr<Arena>> read_weights(const ModelFile &file, const Layout &layout, Crew &crew,
                                            const std::function<bool(const Parameter &)> &wanted) {
  auto arena = std::make_shared<Arena>(layout.floats);
  std::mutex mutex;
  std::optional<Error> failed;
  crew.run(layout.parameters.size(), [&](size_t i, int) {
    const Parameter &p = layout.parameters[i];
    if (wanted && !wanted(p)) return;
    Result<> read = file.read(p.name, arena->data() + p.offset, p.count);
    if (read) return;
    std::lock_guard lock(mutex);
    if (!failed) failed = read.error();
  });
  if (failed) return *failed;
  return arena;
}

std::shared_ptr<Arena> copy_of(const Arena &arena) {
  auto out = std::make_shared<Arena>(arena.size());
  std::memcpy(out->data(), arena.data(), arena.size() * sizeof(float));
  return out;
}

std::shared_ptr<Arena> random_weights(const Config &config, const Layout &layout, uint64_t seed) {
  auto arena = std::make_shared<Arena>(layout.floats);
  for (size_t i = 0; i < layout.parameters.size(); ++i) {
    const Parameter &p = layout.parameters[i];
    float *out = arena->data() + p.offset;
    const bool norm = p.name.find("norm") != std::string::npos;
    if (norm || !p.matrix()) {
      std::fill_n(out, p.count, norm ? 1.0f : 0.0f);
      continue;
    }
    // Fan-in scaling; what writes into the residual stream is damped by its depth, as usual.
    double scale = 1 / std::sqrt(static_cast<double>(p.shape[1]));
    if (p.name.find("embed") != std::string::npos || p.name.find("lm_head") != std::string::npos) scale *= 0.5;
    if (p.name.find("o_proj") != std::string::npos || p.name.find("down_proj") != std::string::npos)
      scale /= std::sqrt(2.0 * static_cast<double>(config.layers));
    for (size_t j = 0; j < p.count; ++j) {
      const double radius = std::sqrt(-2 * std::log(1 - uniform(seed + i, 2 * j)));
      out[j] = static_cast<float>(scale * radius * std::cos(6.283185307179586 * uniform(seed + i, 2 * j + 1)));
    }
  }
  return arena;
}

Result<Config> random_config(const std::string &json, int64_t tokenizer_vocab) {
  const nlohmann::json given = nlohmann::json::parse(json);
  Config config;
  config.arch = "llama";
  config.tied = true;
  const std::map<std::string, std::pair<int64_t *, int64_t>> sizes = {{"layers", {&config.layers, 2}},
                                                                      {"hidden", {&config.hidden, 64}},
                                                                      {"heads", {&config.heads, 4}},
                                                                      {"kv_heads", {&config.kv_heads, 0}},
                                                                      {"intermediate", {&config.intermediate, 128}},
                                                                      {"vocab", {&config.vocab, tokenizer_vocab}},
                                                                      {"context", {&config.context, 1024}}};
  if (!given.is_object()) return invalid("\"random\" is a table of sizes: {\"layers\":2,\"hidden\":64,...}");
  for (const auto &[key, entry] : sizes) *entry.first = entry.second;
  for (const auto &[key, value] : given.items()) {
    const auto it = sizes.find(key);
    if (it == sizes.end())
      return invalid("\"random\" has no size \"" + key +
                     "\"; it has layers, hidden, heads, kv_heads, intermediate, vocab, context");
    if (!value.is_number_integer() || value.get<int64_t>() <= 0 || value.get<int64_t>() > (1 << 24))
      return invalid("\"random\": " + key + " is " + value.dump() + "; a positive whole number is wanted");
    *it->second.first = value.get<int64_t>();
  }
  if (config.kv_heads == 0) config.kv_heads = config.heads;
  if (config.vocab < tokenizer_vocab)
    return invalid("\"random\": vocab is " + std::to_string(config.vocab) + "; the byte tokenizer needs at least " +
                   std::to_string(tokenizer_vocab));
  if (config.hidden % config.heads != 0)
    return invalid("\"random\": hidden " + std::to_string(config.hidden) + " is no multiple of heads " +
                   std::to_string(config.heads));
  config.head_dim = config.hidden / config.heads;
  return config;
}

std::string fingerprint(const Arena &arena) {
  uint64_t lanes[4] = {1, 2, 3, 4};
  const size_t words = arena.size() / 2;  // arenas hold whole cache lines
  const char *bytes = reinterpret_cast<const char *>(arena.data());
  for (size_t i = 0; i + 4 <= words; i += 4)
    for (int l = 0; l < 4; ++l) {
      uint64_t word;
      std::memcpy(&word, bytes + (i + l) * 8, 8);
      lanes[l] = (lanes[l] ^ word) * 0x9e3779b97f4a7c15u;
      lanes[l] ^= lanes[l] >> 29;
    }
  uint64_t all = arena.size();
  for (uint64_t lane : lanes) all = (all ^ lane) * 0xbf58476d1ce4e5b9u, all ^= all >> 32;
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(all));
  return text;
}

}  // namespace gcop::guide_torch
