// The kernels, written once over the vector width; included by kernels_avx2.cpp and kernels_avx512.cpp only, each
// compiled for its instruction set. Everything sits in an unnamed namespace, so that no symbol of one width can be
// taken for the other's by the linker.
#include "int8_body.hpp"
#include "int8_rows_body.hpp"
#include "kernels.hpp"
#include "matrix_body.hpp"
#include "row_kernels.hpp"
#include "vector_body.hpp"

namespace gcop::guide_torch {
namespace {

void swiglu(float *gate, const float *up, size_t stride, int panels, int begin, int end) {
  for (int p = 0; p < panels; ++p) {
    float *g = gate + p * stride;
    const float *u = up + p * stride;
    for (size_t i = static_cast<size_t>(begin) * L; i < static_cast<size_t>(end) * L; i += L) {
      const Vec v = load(g + i);
      store(g + i, v / (1.0f + vexp(-v)) * load(u + i));
    }
  }
}

void rmsnorm(float *x, const float *add, const float *weight, float *out, int n, float eps) {
  Vec squares[L] = {};
  const auto take = [&](int i, Vec &sum) {
    float *const at = x + static_cast<size_t>(i) * L;
    Vec v = load(at);
    if (add) {
      v += load(add + static_cast<size_t>(i) * L);
      store(at, v);
    }
    sum = fused(v, v, sum);
  };
  int i = 0;
  for (; i + L <= n; i += L)
    for (int l = 0; l < L; ++l) take(i + l, squares[l]);
  for (int l = 0; i + l < n; ++l) take(i + l, squares[l]);
  const Vec mean = add_parts(squares) / static_cast<float>(n) + eps;
  Vec scale;
  for (int l = 0; l < L; ++l) scale[l] = 1.0f / std::sqrt(mean[l]);
  for (int j = 0; j < n; ++j)
    store(out + static_cast<size_t>(j) * L, load(x + static_cast<size_t>(j) * L) * scale * weight[j]);
}

// One pair of a head's dimensions, turned: the two products' rounding is written out, as in fused().
template <class T>
inline void turn(T &a, T &b, T c, T s) {
  const T first = fused(a, c, -(b * s)), second = fused(b, c, a * s);
  a = first;
  b = second;
}

void rope(float *x, const float *cos, const float *sin, int heads, int dim) {
  const int half = dim / 2;
  for (int h = 0; h < heads; ++h) {
    float *head = x + static_cast<size_t>(h) * dim * L;
    for (int d = 0; d < half; ++d) {
      Vec a = load(head + d * L), b = load(head + (d + half) * L);
      turn(a, b, load(cos + d * L), load(sin + d * L));
      store(head + d * L, a);
      store(head + (d + half) * L, b);
    }
  }
}

constexpr int kSplit = kBlockTokens / L;  // vectors that hold one value for each token of a block

template <int G>
inline void dot_block(const float *q, int dim, const float *k, float *scores, size_t stride) {
  Vec acc[G][kSplit] = {};
  for (int d = 0; d < dim; ++d)
    for (int s = 0; s < kSplit; ++s) {
      const Vec key = load(k + d * kBlockTokens + s * L);
      for (int g = 0; g < G; ++g) acc[g][s] += splat(q[g * dim + d]) * key;
    }
  for (int g = 0; g < G; ++g)
    for (int s = 0; s < kSplit; ++s) store(scores + g * stride + s * L, acc[g][s]);
}

template <int G>
inline void mix(const float *scores, size_t stride, const float *values, size_t block_stride, const int32_t *blocks,
                int tokens, int dim, int from, const float *inverse, float *out) {
  constexpr int kWide = 16 / L;
  Vec acc[G][kWide] = {};
  for (int t0 = 0; t0 < tokens; t0 += kBlockTokens) {
    const float *v = values + static_cast<size_t>(blocks[t0 / kBlockTokens]) * block_stride + from;
    const int n = std::min(kBlockTokens, tokens - t0);
    for (int t = 0; t < n; ++t)
      for (int s = 0; s < kWide; ++s) {
        const Vec value = load(v + static_cast<size_t>(t) * dim + s * L);
        for (int g = 0; g < G; ++g) acc[g][s] += splat(scores[g * stride + t0 + t]) * value;
      }
  }
  for (int g = 0; g < G; ++g)
    for (int s = 0; s < kWide; ++s) store(out + g * dim + from + s * L, acc[g][s] * inverse[g]);
}

template <int G>
void attend(const float *q, int dim, const float *keys, const float *values, size_t block_stride, const int32_t *blocks,
            int tokens, float *scores, float *out, float *lse) {
  const size_t stride = static_cast<size_t>((tokens + kBlockTokens - 1) / kBlockTokens) * kBlockTokens;
  for (int t = 0; t < tokens; t += kBlockTokens)
    dot_block<G>(q, dim, keys + static_cast<size_t>(blocks[t / kBlockTokens]) * block_stride, scores + t, stride);
  float inverse[G];
  for (int g = 0; g < G; ++g) {
    float *row = scores + g * stride;
    for (size_t t = tokens; t < stride; ++t) row[t] = -INFINITY;
    const auto [max, sum] = exp_in_place(row, stride);
    inverse[g] = 1.0f / sum;
    if (lse) lse[g] = max + std::log(sum);
  }
  for (int from = 0; from < dim; from += 16)
    mix<G>(scores, stride, values, block_stride, blocks, tokens, dim, from, inverse, out);
}

void attention(const float *q, int group, int dim, const float *keys, const float *values, size_t block_stride,
               const int32_t *blocks, int tokens, float *scores, float *out, float *lse) {
  while (group > 0) {
    const int g = group >= 4 && group != 5 && group != 6 ? 4 : std::min(group, 3);
    switch (g) {
      case 4: attend<4>(q, dim, keys, values, block_stride, blocks, tokens, scores, out, lse); break;
      case 3: attend<3>(q, dim, keys, values, block_stride, blocks, tokens, scores, out, lse); break;
      case 2: attend<2>(q, dim, keys, values, block_stride, blocks, tokens, scores, out, lse); break;
      default: attend<1>(q, dim, keys, values, block_stride, blocks, tokens, scores, out, lse); break;
    }
    q += g * dim;
    out += g * dim;
    if (lse) lse += g;
    group -= g;
  }
}

void logit_stats(const float *logits, int n, int32_t first, const float *inverse_temperature, LogitStats *out) {
  Vec max = load(logits);
  IVec where = IVec{} + first;
  for (int i = 1; i < n; ++i) {
    const Vec v = load(logits + static_cast<size_t>(i) * L);
    const IVec more = v > max;
    max = more ? v : max;
    where = more ? IVec{} + (first + i) : where;
  }
  const Vec scale = load(inverse_temperature);
  bool tempered = false;
  for (int l = 0; l < L; ++l) tempered = tempered || scale[l] != 1.0f;
  Vec parts[L] = {}, tempered_sum = {};
  int at = 0;
  for (; at + L <= n; at += L)
    for (int l = 0; l < L; ++l) parts[l] += vexp(load(logits + static_cast<size_t>(at + l) * L) - max);
  for (int l = 0; at + l < n; ++l) parts[l] += vexp(load(logits + static_cast<size_t>(at + l) * L) - max);
  const Vec sum = add_parts(parts);
  if (tempered)
    for (int i = 0; i < n; ++i) tempered_sum += vexp((load(logits + static_cast<size_t>(i) * L) - max) * scale);
  else
    tempered_sum = sum;
  for (int l = 0; l < L; ++l) out[l] = {max[l], sum[l], scale[l] == 1.0f ? sum[l] : tempered_sum[l], where[l]};
}

}  // namespace
}  // namespace gcop::guide_torch
