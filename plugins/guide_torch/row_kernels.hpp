// What training, and decoding a few tokens, do beside matrix products, over rows that follow one another
// ([row][feature], fp32). One table for each instruction set, in Kernels::rows. Sums within a row have one fixed order.
// Any thread; the functions keep no state.
#pragma once
#include <cstddef>
#include <cstdint>

namespace gcop::guide_torch {

struct LogitStats;

struct RowKernels {
  // out = x * rstd * weight with rstd[row] = 1 / sqrt(mean(x^2) + eps), for `rows` rows of n. rstd may be null.
  void (*rmsnorm)(const float *x, const float *weight, float eps, float *out, float *rstd, size_t rows, int n);
  // Given d out in dy: d x into dx (added to what is there if `add`), d weight added (unless null). dx may be dy if not
  // `add`.
  void (*rmsnorm_backward)(const float *dy, const float *x, const float *weight, const float *rstd, float *dx, bool add,
                           float *d_weight, size_t rows, int n);
  // Rotates rows of heads [row][head][dim] in place by cos and sin [position][dim / 2]; backwards if `inverse`.
  void (*rope)(float *x, const int64_t *positions, const float *cos, const float *sin, bool inverse, size_t rows,
               int heads, int dim);
  // out = silu(gate) * up.
  void (*swiglu)(const float *gate, const float *up, float *out, size_t n);
  // Given d out: gate and up become their own gradients, out the forward value again.
  void (*swiglu_backward)(const float *d_out, float *gate, float *up, float *out, size_t n);
  // Row i of scores [rows][ld] has its first `seen + i` columns and their log sum exp in lse[i * lse_stride]: they
  // become exp(scores - lse), the others up to `columns` 0. ld is a multiple of 16 and >= columns.
  void (*softmax_again)(float *scores, size_t ld, size_t rows, size_t seen, size_t columns, const float *lse,
                        size_t lse_stride);
  // d_p becomes p * (d_p - dot(out, d_out)) * scale, out and d_out rows of `dim` with stride out_ld.
  void (*softmax_backward)(const float *p, float *d_p, size_t ld, size_t rows, size_t columns, const float *out,
                           const float *d_out, size_t out_ld, int dim, float scale);
  // Of n <= kHeadChunk neighbouring logits of a row: LogitStats' max and sum, with the bits of Kernels::logit_stats.
  void (*chunk_sum)(const float *x, int n, float *max, float *sum);
  // All of LogitStats, with the bits of Kernels::logit_stats; ids start at first.
  LogitStats (*chunk_stats)(const float *x, int n, int32_t first, float inverse_temperature);
  // x = logits becomes -slope * p with p = exp(x - lse). Returns sum p log p.
  double (*softmax_slopes)(float *x, size_t n, float lse, float slope);
};

}  // namespace gcop::guide_torch
