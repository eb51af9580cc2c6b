// The arithmetic of a decoder step on the CPU, one table of functions per instruction set, chosen once at run time.
//
// Activations lie in panels: [panel][feature][lane], one token per lane; a few tokens alone lie in rows instead, as the
// trainer's do (row_kernels.hpp). A weight matrix stays as the model file has it, [out][in]; one weight is broadcast
// against the lanes of a panel. So weights are read once for up to two panels of
// tokens, nothing is packed, and the trainer works on the same memory. Each value is summed in one fixed order that
// does not depend on what else is in the batch: alone, batched, sampled, scored or trained on, a token gets the same
// bits.
//
// Any thread; the functions keep no state.
#pragma once
#include <cstddef>
#include <cstdint>

namespace gcop::guide_torch {

constexpr int kBlockTokens = 16;  // tokens in one block of the key/value pool
constexpr int kHeadChunk = 96;    // vocabulary entries that share one LogitStats
constexpr int kFewTokens = 4;     // that gemv takes at once
constexpr int kFewInt8 = 3;       // of these, in 7 bits: one more, and a panel is faster
constexpr int kInt8Group = 32;    // inputs that share a scale in the 7-bit form of weights and activations

// Rows of a weight matrix in 7 bits: w[n][k] = values[n][k] * scales[n][k / 32], values in -63 .. 63.
struct Int8Rows {
  const int8_t *values;
  const float *scales;
  const int32_t *offsets;  // [n][k / 32]: -64 * the sum of the group's values, since activations are stored + 64
};

// A weight matrix [out][in] as the kernels read it: in one of three forms, the other two null.
struct Matrix {
  const float *f32 = nullptr;
  const uint16_t *bf16 = nullptr;  // the upper halves of floats
  const Int8Rows *int8 = nullptr;
};

struct RowKernels;

// Over one chunk of the vocabulary, for one lane.
struct LogitStats {
  float max;
  float sum;           // of exp(x - max)
  float tempered_sum;  // of exp((x - max) * inverse temperature)
  int32_t argmax;      // lowest id that has max
};

struct Kernels {
  const char *name;
  int lanes;
  // y[panel][n][lane] = sum_k w[n][k] x[panel][k][lane] (+ bias[n]) for n in [begin, end); panel strides in floats.
  void (*gemm)(const float *w, const float *bias, const float *x, size_t x_stride, float *y, size_t y_stride, int k,
               int panels, int begin, int end);
  void (*gemm_bf16)(const uint16_t *w, const float *bias, const float *x, size_t x_stride, float *y, size_t y_stride,
                    int k, int panels, int begin, int end);
  // The same numbers, bit for bit, for 1 to kFewTokens tokens that lie apart, x [token][k] and y [token][y_stride]:
  // weights pass once and no lane is empty.
  void (*gemv)(const float *w, const float *bias, const float *x, float *y, size_t y_stride, int k, int tokens,
               int begin, int end);
  void (*gemv_bf16)(const uint16_t *w, const float *bias, const float *x, float *y, size_t y_stride, int k, int tokens,
                    int begin, int end);
  // out[c][r] = in[r][c]; row strides in floats.
  void (*transpose)(const float *in, size_t ld, int rows, int columns, float *out, size_t out_ld);
  // Columns of b[k][n], or of b[n][k] if `transposed`, in panels of one vector's width: [n / lanes][k][lane], rounded
  // up with zeros.
  void (*pack)(const float *b, size_t ld, bool transposed, int k, int n, float *panels);
  // c[m][n] = sum_k a[m][k] b[k][n] with packed b, going on from c unless `fresh`; gemm's bits.
  void (*product)(const float *a, size_t lda, const float *panels, int k, int m, int n, float *c, size_t ldc,
                  bool fresh);
  // One panel in 7 bits: bytes [k / 4][lane][4] hold round(x / scale) + 64, scales [k / 32][lane]. k is a multiple
  // of 32.
  void (*quantize)(const float *x, uint8_t *bytes, float *scales, int k);
  // gemm of such panels (k * lanes bytes each) and rows. Integer sums within a group, fp32 sums over groups in order.
  void (*gemm_int8)(const Int8Rows &w, const float *bias, const uint8_t *x, const float *x_scales, float *y,
                    size_t y_stride, int k, int panels, int begin, int end);
  // The same for 1 to kFewTokens tokens that lie apart, bit for bit: bytes [token][k], scales [token][k / 32] and
  // y [token][y_stride]; quantize_row takes one of them.
  void (*quantize_row)(const float *x, uint8_t *bytes, float *scales, int k);
  void (*gemv_int8)(const Int8Rows &w, const float *bias, const uint8_t *x, const float *x_scales, float *y,
                    size_t y_stride, int k, int tokens, int begin, int end);
  // gate[...] = silu(gate) * up over features [begin, end).
  void (*swiglu)(float *gate, const float *up, size_t stride, int panels, int begin, int end);
  // One panel: x += add (unless null); out = x / rms(x) * weight.
  void (*rmsnorm)(float *x, const float *add, const float *weight, float *out, int n, float eps);
  // One panel of heads, [head][dim][lane], rotated in place by cos and sin, [dim / 2][lane].
  void (*rope)(float *x, const float *cos, const float *sin, int heads, int dim);
  // One query group against one key/value head: q [group][dim] (already scaled), blocks' keys [dim][16] and values
  // [16][dim] at pool + blocks[i] * block_stride; scores is scratch for group * round_up(tokens, 16) floats.
  // lse [group]: log sum exp of the scores; may be null.
  void (*attention)(const float *q, int group, int dim, const float *keys, const float *values, size_t block_stride,
                    const int32_t *blocks, int tokens, float *scores, float *out, float *lse);
  // Statistics of logits [n][lane] of one panel; ids start at first.
  void (*logit_stats)(const float *logits, int n, int32_t first, const float *inverse_temperature, LogitStats *out);
  const RowKernels *rows;  // what training does beside matrix products
};

// nullptr if this CPU has neither AVX-512 nor AVX2 with FMA.
const Kernels *pick_kernels();
const Kernels *kernels_avx2();
const Kernels *kernels_avx512();

}  // namespace gcop::guide_torch
