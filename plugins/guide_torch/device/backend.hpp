// What the device's files share: where tensors live, their type, and the stream that everything is enqueued on. Only
// device/*.cpp include this.
#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/StreamGuard.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "../lora.hpp"
#include "../model_file.hpp"
#include "../weights.hpp"
#include "device.hpp"
#include "kernels.hpp"

namespace gcop::guide_torch::device {

struct Backend {
  Config config;
  at::Device where;
  at::ScalarType scalar;  // of weights and activations
  Type type;
  const KernelTable *kernels;
  std::optional<c10::Stream> stream;
  void *raw_stream = nullptr;
  int64_t context;
  int max_batch, processors;

  bool host() const { return where.is_cpu(); }
  at::Tensor empty(at::IntArrayRef shape) const { return make(shape, scalar); }
  at::Tensor floats(at::IntArrayRef shape) const { return make(shape, at::kFloat); }
  at::Tensor ints(at::IntArrayRef shape) const { return make(shape, at::kInt); }
  at::Tensor make(at::IntArrayRef shape, at::ScalarType what) const;
  at::Tensor upload(const std::vector<int32_t> &values) const;

  // y = x w^T (+ y), rows of x and y in the Type.
  void multiply(at::Tensor y, const at::Tensor &x, const at::Tensor &w) const;
  // The same with fp32 results.
  void multiply_floats(at::Tensor y, const at::Tensor &x, const at::Tensor &w) const;
  // dx = dy w.
  void multiply_back(at::Tensor dx, const at::Tensor &dy, const at::Tensor &w) const;
  // dw += dy^T x, dw in fp32.
  void add_product(at::Tensor dw, const at::Tensor &dy, const at::Tensor &x) const;

  uint64_t allocations() const;  // so far; 0 on the host
  void check() const;            // throws what the kernels' launches said
};
using BackendPtr = std::shared_ptr<const Backend>;

// Every entry from outside: no autograd, and the device's stream for this thread.
class Scope {
 public:
  explicit Scope(const Backend &backend);

 private:
  at::NoGradGuard off_;
  std::optional<c10::StreamGuard> stream_;
};

// Null where there is no tensor.
inline void *data(const at::Tensor &t) { return t.defined() ? t.data_ptr() : nullptr; }
template <class T>
T *data(const at::Tensor &t) {
  return static_cast<T *>(data(t));
}

// Offsets of parameters in the device's flat tensors. A model's are the host's Layout, but in an order that makes one
// matrix of q, k and v and one of gate and up; an adapter's are as on the host.
struct DeviceLayout {
  DeviceLayout(const Config &config, const Layout &host);
  explicit DeviceLayout(const Layout &adapter);
  at::Tensor part(const at::Tensor &flat, size_t parameter) const;
  void upload(const Arena &from, const at::Tensor &to) const;
  void download(const at::Tensor &from, const Arena &to) const;  // fp32

  struct Piece {
    size_t host_offset, offset, count;
    bool matrix;
  };
  std::vector<Piece> pieces;  // in order of the host's parameters
  size_t count = 0;           // of a flat tensor
};

struct LayerTensors {
  at::Tensor norm1, qkv, qkv_bias, q_norm, k_norm, o, norm2, gate_up, down;
};
// Parameters, or gradients, as views of one flat tensor.
struct ModelTensors {
  ModelTensors() = default;
  ModelTensors(const Config &config, const Layout &host, const DeviceLayout &layout, const at::Tensor &flat);
  at::Tensor embed, norm, head;
  std::vector<LayerTensors> layers;
};

// What training changes, flat: fp32 values, and as they are computed with. In fp32 both are one.
struct TrainedTensors {
  at::Tensor master, work;
};

// A version's parameters: all in the Type for computing, and what is trained of them once it is.
class DeviceModel : public Placed {
 public:
  DeviceModel(BackendPtr backend, const Layout &host, const Lora *lora, Crew &crew, const Arena &arena);
  void fetch(const Version &host) override;

  const ModelTensors &tensors() const { return tensors_; }
  const DeviceLayout &layout() const { return layout_; }
  const at::Tensor &work() const { return work_; }
  // What a step changes: all parameters, whose `work` is work(), or the adapter's alone. Made from `host` the first
  // time. The caller changes both tensors, brings work() up to date and calls changed().
  const TrainedTensors &trained(const Version &host);
  void changed() { stale_ = true; }

 private:
  const BackendPtr backend_;
  const Lora *const lora_;
  Crew &crew_;
  const DeviceLayout layout_, trained_layout_;
  at::Tensor work_;
  const ModelTensors tensors_;
  TrainedTensors trained_;
  bool stale_ = false;  // the host's copies
};

struct RopeTables {
  explicit RopeTables(const Backend &backend);
  at::Tensor cos, sin;  // [context][head_dim / 2]
};

std::unique_ptr<Compute> make_compute(BackendPtr backend);
std::unique_ptr<Learner> make_learner(BackendPtr backend, const Layout &layout, const Lora *lora);

}  // namespace gcop::guide_torch::device
