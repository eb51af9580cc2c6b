// The model's parameters in memory: fp32, one flat arena for each weight version, laid out alike. The engine's kernels
// and the trainer's tensors are views into the same arena, so a trained step is sampled from without any copying.
// Owned and used by the engine thread once it runs; values, no locks.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "compact_weights.hpp"
#include "model_file.hpp"

namespace gcop::guide_torch {

class Crew;

// Zeroed floats, page-aligned, on huge pages where the kernel has them. Throws std::bad_alloc.
class Arena {
 public:
  explicit Arena(size_t floats);
  ~Arena();
  Arena(const Arena &) = delete;
  Arena &operator=(const Arena &) = delete;
  float *data() const { return data_; }
  size_t size() const { return floats_; }

 private:
  float *data_;
  size_t floats_;
};

// Where each parameter lies in an arena.
struct Parameter {
  std::string name;
  std::vector<int64_t> shape;
  size_t offset = 0, count = 0;
  bool matrix() const { return shape.size() > 1; }
};

struct Layout {
  explicit Layout(const Config &config) : Layout(tensor_specs(config)) {}
  explicit Layout(std::vector<TensorSpec> tensors);
  size_t index(const std::string &name) const;  // of a name that is there
  std::vector<Parameter> parameters;
  size_t floats = 0;  // of an arena
  size_t count = 0;   // parameters without the gaps
};

// Pointers into one arena, as the forward pass wants them.
struct LayerView {
  const float *norm1, *q_bias, *k_bias, *v_bias, *q_norm, *k_norm, *norm2;
  Matrix q, k, v, o, gate, up, down;
};
struct ModelView {
  ModelView(const Config &config, const Layout &layout, const float *arena);
  const float *embed, *norm;
  Matrix head;
  std::vector<LayerView> layers;
};

struct Version;

// A version's parameters in the memory of a device that computes with them. The version's arena and adapter are then
// copies on the host, which a training step leaves behind.
class Placed {
 public:
  virtual ~Placed() = default;
  virtual void fetch(const Version &host) = 0;  // brings the copies up to date
};
using Place = std::function<std::shared_ptr<Placed>(const Arena &host)>;

struct Version {
  std::shared_ptr<Arena> arena;
  // Of a model trained through a low-rank adapter, else null: arena = base + the adapter's products (lora.hpp).
  std::shared_ptr<const Arena> base;
  std::shared_ptr<Arena> adapter;
  std::shared_ptr<const CompactWeights> compact;  // or null; else the arena's matrices count no more
  std::shared_ptr<const ModelView> view;
  std::shared_ptr<Placed> placed;  // or null: computed with where it is
  uint64_t number = 0;
};

class Weights {
 public:
  Weights(Config config, std::shared_ptr<Arena> current);

  const Config &config() const { return config_; }
  const Layout &layout() const { return layout_; }
  const Version *find(const std::string &name) const;
  const Version *fetched(const std::string &name) const;  // with arena and adapter up to date
  std::string names() const;                              // "current, sft": for messages
  void put(const std::string &name, std::shared_ptr<Arena> arena, std::shared_ptr<const Arena> base = nullptr,
           std::shared_ptr<Arena> adapter = nullptr);
  void use_compact(std::shared_ptr<const CompactWeights> compact);  // "current", from now on
  void use_device(Place place);                                     // all versions, from now on
  void changed(const std::string &name);                            // its arena was written in place
  Result<> copy(const std::string &from, const std::string &to);
  Result<> drop(const std::string &name);
  Error unknown(const std::string &name) const;

 private:
  Config config_;
  Layout layout_;
  Place place_;
  std::map<std::string, Version> versions_;
  uint64_t changes_ = 0;  // of any name: a number says which weights, and never comes twice
};

// All parameters, or those that `wanted` says; what is not read takes no memory.
Result<std::shared_ptr<Arena>> read_weights(const ModelFile &file, const Layout &layout, Crew &crew,
                                            const std::function<bool(const Parameter &)> &wanted = {});
std::shared_ptr<Arena> copy_of(const Arena &arena);
std::shared_ptr<Arena> random_weights(const Config &config, const Layout &layout, uint64_t seed);
// "random":{"layers":2,"hidden":64,"heads":4,"kv_heads":2,"intermediate":128,"vocab":259,"context":512}, as JSON text.
Result<Config> random_config(const std::string &json, int64_t tokenizer_vocab);
// 16 hex digits over the bits of an arena: names weights that no file stands for.
std::string fingerprint(const Arena &arena);

}  // namespace gcop::guide_torch
