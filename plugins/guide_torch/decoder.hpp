// The decoder's layers over packed rows for training: forward, with the bits of the sampler's Forward, and the
// gradients by hand. fp32. All memory is one workspace whose size is known beforehand; nothing is allocated in a pass.
// Used by one thread at a time; several objects may work side by side on the same weights.
#pragma once
#include <cstdint>
#include <vector>

#include "kernels.hpp"
#include "lora.hpp"
#include "packed_rows.hpp"
#include "products.hpp"
#include "span_attention.hpp"
#include "weights.hpp"

namespace gcop::guide_torch {

// What is trained: all of `weights`, or the adapter alone, whose products `weights` hold already. `gradients` is laid
// out like it; gradients are added.
struct TrainedModel {
  const Config &config;
  const Layout &layout;
  const Arena &weights;
  Arena &gradients;
  const Lora *lora = nullptr;
  const Arena *adapter = nullptr;
};

// A matrix of a layer, [out][in], and what is trained of it: null where it is not.
struct TrainedMatrix {
  const float *w, *bias;
  int64_t out, in;
  float *d_w, *d_bias;
  const float *a, *b;  // of its adapter
  float *d_a, *d_b;
};
struct TrainedVector {
  const float *w;
  float *d_w;
};

class Decoder {
 public:
  // Rows of one pass, how many the longest sequence among them has, and whether each layer is computed a second time
  // in backward() instead of being kept: a third more work for about a tenth of the memory.
  struct Plan {
    int64_t rows = 0, longest = 0;
    bool recompute = false;
    bool operator==(const Plan &) const = default;
  };
  static size_t workspace_floats(const Config &config, const Lora *lora, const Plan &plan);

  // `workspace`: workspace_floats(), kept by the caller; contents do not matter.
  Decoder(const TrainedModel &model, const Kernels &kernels, Products &products, const Plan &plan, float *workspace);

  // Embeds the rows' tokens; leaves hidden states after the last norm, [row][hidden], until the next call.
  const float *forward(const PackedRows &rows);
  // d_states [row][hidden], which is overwritten. Adds all gradients but the head's.
  void backward(const PackedRows &rows, float *d_states);

 private:
  struct Layer {
    TrainedVector norm1, norm2, q_norm, k_norm;
    TrainedMatrix q, k, v, o, gate, up, down;
  };
  // Of one layer's pass, kept for the way back.
  struct Kept {
    float *rstd1, *q_plain, *k_plain, *q_rstd, *k_rstd, *q, *k, *v, *attended, *lse, *x1, *rstd2, *gate, *up;
  };
  struct Carver;  // hands out the workspace

  Decoder(const Config &config, const Lora *lora, const Kernels &kernels, const Plan &plan, float *workspace);
  void layer_forward(const Layer &layer, const Kept &kept, const float *x, float *out, const PackedRows &rows);
  void layer_backward(const Layer &layer, const Kept &kept, const float *x, const PackedRows &rows);
  void attention_backward(const Layer &layer, const Kept &kept, const float *x, const PackedRows &rows);
  void multiply(const TrainedMatrix &m, const float *in, float *out) const;
  void multiply_backward(const TrainedMatrix &m, const float *in, const float *d_out);           // of the matrix
  void multiply_input(const TrainedMatrix &m, const float *d_out, float *d_in, bool add) const;  // of its input

  const Config &config_;
  const Plan plan_;
  size_t floats_ = 0;  // of the workspace
  const RowKernels *kernels_ = nullptr;
  Products *products_ = nullptr;
  float lora_scale_ = 0;
  int64_t lora_rank_ = 0;
  const float *embed_ = nullptr;
  float *d_embed_ = nullptr;
  TrainedVector norm_{};
  std::vector<Layer> layers_;
  std::vector<float> cos_, sin_;  // [position][head_dim / 2]
  SpanAttention attention_;
  int64_t rows_ = 0;  // of the last forward()

  std::vector<float *> x_;  // input of each layer, and of the last norm
  std::vector<Kept> kept_;  // of each layer, or one for all
  float *rstd_, *h_, *act_, *d_x_, *d_h_, *d_q_, *d_k_, *d_v_, *d_act_, *low_, *d_low_, *scores_;
};

}  // namespace gcop::guide_torch
