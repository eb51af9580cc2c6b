// Causal attention of a training pass over packed rows, forward and backward, without copies: each span of rows looks
// at its own earlier rows and at all of its prefix (a group's prompt, stored once). Scores exist for one head and one
// block of rows at a time, so memory grows with a sequence's length, not with its square.
#pragma once
#include <cstdint>
#include <vector>

#include "kernels.hpp"
#include "packed_rows.hpp"
#include "products.hpp"
#include "row_kernels.hpp"

namespace gcop::guide_torch {

struct AttentionShape {
  int64_t heads, kv_heads, head_dim;
};

// [row][head][dim] for q, out and their gradients; [row][kv_head][dim] for k and v; lse [row][head].
struct AttentionRows {
  const float *q, *k, *v;
  float *out, *lse;
};
struct AttentionGradients {
  const float *d_out;
  float *dq, *dk, *dv;  // dq is written; dk and dv are added to
};

class SpanAttention {
 public:
  SpanAttention(const AttentionShape &shape, const Kernels &kernels) : shape_(shape), kernels_(kernels) {}

  static constexpr int64_t kBlockRows = 128;
  // Floats of `scratch` for spans that see at most `longest` rows.
  static int64_t scratch_floats(const AttentionShape &shape, int64_t longest);

  // By the sampler's kernel, whose bits it has.
  void forward(const PackedRows &rows, const AttentionRows &t, float *scratch);
  // `t` as forward() left it.
  void backward(const PackedRows &rows, const AttentionRows &t, const AttentionGradients &g, Products &products,
                float *scratch) const;

 private:
  struct Block;
  template <class Work>
  void each_block(const PackedRows &rows, Work work) const;

  const AttentionShape shape_;
  const Kernels &kernels_;
  std::vector<int32_t> blocks_;  // 0, 1, 2 ...
};

}  // namespace gcop::guide_torch
