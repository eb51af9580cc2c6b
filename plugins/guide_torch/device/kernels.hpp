// What a device must offer beside matrix products: a table of functions that enqueue one kernel each. Two sets exist:
// reference.cpp, plain loops on the host, and the .cu files in libguide_torch_cuda.so. Both take the same arguments, so
// the engine's device path runs, and is tested, without a device.
//
// Pointers are into the device's memory, row-major and dense unless a stride is given. `void *` data are of the call's
// Type; float is float. Sums are in fp32 or better, in an order that depends on the shapes alone: the same call gives
// the same bits. Nothing is allocated, nothing waits for the device: every call may be captured in a CUDA graph.
#pragma once
#include <cstddef>
#include <cstdint>

namespace gcop::guide_torch::device {

enum class Type : int32_t { f32, bf16 };
inline constexpr int kTableVersion = 2;
inline constexpr int kPageTokens = 16;   // kBlockTokens
inline constexpr int kTaskQueries = 16;  // members * heads / kv_heads of one attention task, at most
inline constexpr int kWidestHead = 256;
inline constexpr int kRowSlices = 64;  // sums over rows come in this many parts

// x[i] = table[tokens[i]].
struct EmbedArgs {
  const int32_t *tokens;
  const void *table;
  float *x;
  int64_t rows, hidden;
};

// x += add (unless null); out = x / rms(x) * weight.
struct NormArgs {
  float *x;
  const void *add, *weight;
  void *out;
  int64_t rows, hidden;
  float eps;
};

// Rows of q heads, k heads, v heads: adds the bias, normalises q and k heads, rotates them; `out` may be `in`. Keys and
// values also go to their place in the cache, [block][kv_head][16][dim], where there is one.
struct RopeArgs {
  const void *in;
  void *out;
  const void *bias, *q_norm, *k_norm;  // or null
  const int32_t *positions;
  const float *cos, *sin;  // [position][dim / 2]
  void *keys, *values;     // of this layer, or null
  const int32_t *slots;    // block * 16 + place in the block; below 0: not stored
  int64_t rows, heads, kv_heads, dim;
  float eps;
};

// Attention over a cache in blocks. A task is one stretch of one block table and the rows that look at it: rows of a
// group that share their prompt's blocks read them once. Each member gets a partial result (a softmax over the stretch
// alone), and a row's partials are merged. plan.hpp makes the tasks.
struct AttentionTask {
  int32_t first_member, members;
  int32_t begin, end;  // tokens; begin is a multiple of 16
  int32_t table;       // where its block table begins
};
struct AttentionMember {
  int32_t row, slot;  // the slot of its partial result
};
struct AttentionArgs {
  const void *q;  // [row][q_stride], heads first
  int64_t q_stride;
  const void *keys, *values;
  const AttentionTask *tasks;
  const int32_t *task_count;
  const AttentionMember *members;
  const int32_t *tables;
  const int32_t *limits;      // of each row: how many tokens it sees
  const int32_t *first_slot;  // [rows + 1]
  float *partials;            // [slot][head][dim + 2]: sum of weights * values, maximum, sum of weights
  void *out;                  // [row][heads * dim]
  int64_t rows, heads, kv_heads, dim;
  float scale;
};

// out = silu(gate) * up; a row of gate_up holds gate, then up.
struct SwigluArgs {
  const void *gate_up;
  void *out;
  int64_t rows, width;  // of out
};

// The draw of draw.hpp from fp32 logits. Weights of tokens are whole multiples of 2^-40 here, so that their sums do not
// depend on the order of adding.
struct DrawParameters {
  double uniform;  // in [0, 1)
  float temperature, top_p;
  uint32_t top_k, spare;
};
struct DrawnToken {
  int32_t token;
  float logprob;  // at temperature 1
};
struct SampleArgs {
  const float *logits;  // [row][vocab]
  const DrawParameters *parameters;
  DrawnToken *out;
  int64_t rows, vocab;
};

// Of each row of logits: log p(target), log of the sum of exponentials, entropy.
struct LossArgs {
  const float *logits;
  const int32_t *targets;
  float *logprobs, *log_sums, *entropies;  // log_sums, entropies: or null
  int64_t rows, vocab;
};
// out[i][v] = slopes[i] * ([v is target] - p(v)).
struct LossSlopeArgs {
  const float *logits;
  const int32_t *targets;
  const float *log_sums, *slopes;
  void *out;
  int64_t rows, vocab;
};

// --- training

// Of y = x / rms(x) * weight, from dy. Rows come in groups: row i lies at (i / groups) * stride + (i % groups) * width.
// Residual stream: x float, `sum` float: dx is added to it. Heads of q or k: x of the Type, dx replaces dy.
struct NormSlopeArgs {
  const float *x_residual;  // or null
  const void *x_heads;      // or null
  void *dy;
  const void *weight;
  float *sum;      // with x_residual
  float *dweight;  // added to; or null
  float *scratch;  // 2 * rows * groups + kRowSlices * width floats
  int64_t rows, groups, stride, width;
  float eps;
};
// Rotates q and k heads of gradients back, in place.
struct RopeSlopeArgs {
  void *d;
  const int32_t *positions;
  const float *cos, *sin;
  int64_t rows, heads, kv_heads, dim;
};
struct SwigluSlopeArgs {
  const void *gate_up, *dout;
  void *dgate_up;
  int64_t rows, width;
};
// out[targets[i]] = or += the sum of in[sources[j]], j in [offsets[i], offsets[i + 1]), in that order.
struct SumRowsArgs {
  const void *in;
  void *out;
  const int32_t *targets, *offsets, *sources;
  int64_t count, width, in_stride, out_stride;
  int32_t floats;  // in and out are float and out is added to; else both of the Type, and out is replaced
};
// out[c] += the sum over rows of in[row][c].
struct ColumnSumArgs {
  const void *in;
  float *out, *scratch;  // kRowSlices * width floats
  int64_t rows, width, stride;
};
// out = x, rounded to the Type.
struct RoundArgs {
  const float *x;
  void *out;
  int64_t count;
};
// out[i] = the sum of squares of slice i of 65,536.
struct SquaresArgs {
  const float *x;
  double *out;
  int64_t count;
};
struct AdamArgs {
  float *weights, *first, *second;
  const float *gradients;
  void *rounded;  // weights in the Type, or null
  int64_t count;
  float scale, beta1, beta2, rate, unbias, eps, keep;  // adamw.cpp
};
// out = base + scale * b a, summed up as Lora::merge does: before it is rounded to the Type, the same bits.
struct MergeArgs {
  const float *base;   // [rows][width]
  const float *a, *b;  // [rank][width], [rows][rank]
  void *out;           // [rows][width]
  int64_t rows, width, rank;
  float scale;
};

struct KernelTable {
  int32_t version;  // kTableVersion
  const char *name;
  // `stream` is the device's own handle; null on the host.
  void (*embed)(const EmbedArgs &, Type, void *stream);
  void (*norm)(const NormArgs &, Type, void *stream);
  void (*rope)(const RopeArgs &, Type, void *stream);
  void (*attention)(const AttentionArgs &, Type, void *stream);
  void (*swiglu)(const SwigluArgs &, Type, void *stream);
  void (*sample)(const SampleArgs &, Type, void *stream);
  void (*loss)(const LossArgs &, Type, void *stream);
  void (*loss_slope)(const LossSlopeArgs &, Type, void *stream);
  void (*norm_slope)(const NormSlopeArgs &, Type, void *stream);
  void (*rope_slope)(const RopeSlopeArgs &, Type, void *stream);
  void (*swiglu_slope)(const SwigluSlopeArgs &, Type, void *stream);
  void (*sum_rows)(const SumRowsArgs &, Type, void *stream);
  void (*column_sum)(const ColumnSumArgs &, Type, void *stream);
  void (*round)(const RoundArgs &, Type, void *stream);
  void (*squares)(const SquaresArgs &, Type, void *stream);
  void (*adam)(const AdamArgs &, Type, void *stream);
  void (*merge)(const MergeArgs &, Type, void *stream);
  // Graphs; null where there are none. record() starts, finish() ends and gives one that replay() enqueues, or null.
  void (*record)(void *stream);
  void *(*finish)(void *stream);
  void (*replay)(void *graph, void *stream);
  void (*forget)(void *graph);
  // What went wrong since the last call, or null.
  const char *(*failure)();
};

const KernelTable &reference_kernels();

}  // namespace gcop::guide_torch::device

// The one symbol of libguide_torch_cuda.so.
extern "C" {
typedef const gcop::guide_torch::device::KernelTable *(*gcop_guide_cuda_entry)();
}
