// Forward and backward of one micro-batch on a device, written out rather than left to autograd: a layer keeps its
// input, and as many layers as fit keep all else; the others compute it again on the way back. Weight gradients add up
// in fp32. Sequences lie padding-free, a group's prompt once (packed_rows.hpp).
#pragma once
#include <vector>

#include <gcop/plugin.h>

#include "../loss.hpp"
#include "../packed_rows.hpp"
#include "attention.hpp"
#include "backend.hpp"

namespace gcop::guide_torch::device {

// Lists of sources for some targets, as KernelTable::sum_rows takes them.
struct RowLists {
  // For each distinct value of `to`, in ascending order: where in `to` it stands.
  RowLists(const Backend &backend, const std::vector<int64_t> &to);
  at::Tensor targets, offsets, sources;
  int64_t count = 0;
};

// An adapter of rows [row, row + rows) of a fused matrix, to which it adds scale * B A.
struct LowRank {
  int64_t row, rows;
  at::Tensor a, b;    // in the Type
  at::Tensor da, db;  // fp32
};
struct LayerAdapters {
  std::vector<LowRank> qkv, o, gate_up, down;
};

// What a micro-batch adds to: gradients of all parameters, or of an adapter's alone.
struct Gradients {
  Gradients(const Config &config, const Layout &model, const DeviceLayout &layout, const at::Tensor &flat);
  // `layout` is of the adapter, `values` are its parameters in the Type.
  Gradients(const Config &config, const Layout &model, const Lora &lora, const DeviceLayout &layout,
            const at::Tensor &values, const at::Tensor &flat);
  ModelTensors all;                     // no tensors with an adapter
  std::vector<LayerAdapters> adapters;  // of each layer; empty lists without one
  float scale = 0;
};

class MicroBatch {
 public:
  struct Options {
    int64_t kept_layers;  // that keep their activations
    int64_t logit_rows;   // of one chunk of logits
  };
  MicroBatch(const Backend &backend, const RopeTables &rope, const ModelTensors &weights, const Gradients &gradients,
             const Options &options)
      : b_(backend), c_(backend.config), rope_(rope), weights_(weights), gradients_(gradients), options_(options) {}

  // Adds sequences [first, last) of a checked request to gradients and sums.
  void run(const gcop_train_request &request, size_t first, size_t last, const LossScale &scale, LossSums &sums);

 private:
  struct Rows;   // the batch on the device
  struct State;  // a layer's activations
  State forward(int64_t layer, const at::Tensor &x, const Rows &rows) const;
  void backward(int64_t layer, const at::Tensor &x, const State &state, const Rows &rows, const at::Tensor &dx) const;
  // Slopes of the states that predict the targets.
  at::Tensor losses(const at::Tensor &states, const gcop_train_request &request, const PackedRows &packed,
                    const LossScale &scale, LossSums &sums) const;
  void norm(const at::Tensor &x, const at::Tensor &add, const at::Tensor &weight, const at::Tensor &out) const;
  void norm_slope(const at::Tensor &x, const at::Tensor &dy, const at::Tensor &weight, const at::Tensor &dx,
                  const at::Tensor &dweight) const;
  // Of y = x w^T: adds to dw, and to the gradients of the adapters of w's rows.
  void matrix_slope(const at::Tensor &dy, const at::Tensor &x, const at::Tensor &dw,
                    const std::vector<LowRank> &adapters) const;
  at::Tensor rounded(const at::Tensor &x) const;

  const Backend &b_;
  const Config &c_;
  const RopeTables &rope_;
  const ModelTensors &weights_;
  const Gradients &gradients_;
  const Options options_;
};

}  // namespace gcop::guide_torch::device
