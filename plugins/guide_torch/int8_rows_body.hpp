// Products of kernels_body.hpp in 7 bits for a few tokens, with the bits of int8_body.hpp: integer sums are exact, and
// each row's groups are added in order.
#pragma once
#include "int8_body.hpp"
#include "matrix_body.hpp"

namespace gcop::guide_torch {
namespace {

void quantize_row(const float *x, uint8_t *bytes, float *scales, int k) {
  for (int g = 0; g < k / kInt8Group; ++g, x += kInt8Group, bytes += kInt8Group) {
    Vec vector_most = {};
    for (int i = 0; i < kInt8Group; i += L) {
      const Vec v = load(x + i);
      vector_most = vmax(vector_most, vmax(v, -v));
    }
    float most = vector_most[0];
    for (int l = 1; l < L; ++l) most = std::max(most, vector_most[l]);
    scales[g] = most / 63.0f;
    const float inverse = most > 0.0f ? 63.0f / most : 0.0f;
    int32_t rounded[kInt8Group];
    for (int i = 0; i < kInt8Group; i += L) {
      const IVec v = to_sevens(load(x + i), splat(inverse));
      std::memcpy(rounded + i, &v, sizeof v);
    }
    for (int i = 0; i < kInt8Group; ++i) bytes[i] = static_cast<uint8_t>(rounded[i]);
  }
}

inline __m256i load32(const void *p) { return _mm256_loadu_si256(static_cast<const __m256i *>(p)); }

// Sums over each of eight groups. Two products fit 16 bits, and so do four.
inline __m256i group_sums(const uint8_t *x, const int8_t *w) {
  __m256i fours[4];
  for (int i = 0; i < 4; ++i) {
    const uint8_t *const a = x + 2 * i * kInt8Group;
    const int8_t *const b = w + 2 * i * kInt8Group;
    const __m256i pairs = _mm256_hadd_epi16(_mm256_maddubs_epi16(load32(a), load32(b)),
                                            _mm256_maddubs_epi16(load32(a + kInt8Group), load32(b + kInt8Group)));
    fours[i] = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
  }
  const __m256i low = _mm256_hadd_epi32(fours[0], fours[1]), high = _mm256_hadd_epi32(fours[2], fours[3]);
  return _mm256_add_epi32(_mm256_permute2x128_si256(low, high, 0x20), _mm256_permute2x128_si256(low, high, 0x31));
}

inline int32_t group_sum(const uint8_t *x, const int8_t *w) {
  int32_t sum = 0;
  for (int i = 0; i < kInt8Group; ++i) sum += int32_t{x[i]} * w[i];
  return sum;
}

// 8 rows against one token: sums and scales of 8 groups at a time, then a vector holds one group of all rows.
inline void gemv_int8_rows(const Int8Rows &w, int row, const float *bias, const uint8_t *x, const float *x_scales,
                           float *y, int k) {
  const size_t groups = static_cast<size_t>(k / kInt8Group);
  const int8_t *const values = w.values + static_cast<size_t>(row) * k;
  const float *const scales = w.scales + row * groups;
  const int32_t *const offsets = w.offsets + row * groups;
  __m256 out = bias ? _mm256_loadu_ps(bias + row) : _mm256_setzero_ps();
  alignas(32) float sum[8][8], scale[8][8];
  size_t g = 0;
  for (; g + 8 <= groups; g += 8) {
    prefetch_ahead(values + 8 * (static_cast<size_t>(k) + g * kInt8Group), 8 * 8 * kInt8Group);
    const __m256 along = _mm256_loadu_ps(x_scales + g);
    for (size_t r = 0; r < 8; ++r) {
      const __m256i exact = _mm256_add_epi32(group_sums(x + g * kInt8Group, values + r * k + g * kInt8Group),
                                             load32(offsets + r * groups + g));
      _mm256_store_ps(sum[r], _mm256_cvtepi32_ps(exact));
      _mm256_store_ps(scale[r], _mm256_mul_ps(_mm256_loadu_ps(scales + r * groups + g), along));
    }
    __m256 sums[8], products[8];
    columns8(sum[0], 8, sums);
    columns8(scale[0], 8, products);
    for (int j = 0; j < 8; ++j) out = _mm256_fmadd_ps(sums[j], products[j], out);
  }
  for (; g < groups; ++g) {
    for (size_t r = 0; r < 8; ++r) {
      sum[0][r] =
          static_cast<float>(group_sum(x + g * kInt8Group, values + r * k + g * kInt8Group) + offsets[r * groups + g]);
      scale[0][r] = scales[r * groups + g] * x_scales[g];
    }
    out = _mm256_fmadd_ps(_mm256_load_ps(sum[0]), _mm256_load_ps(scale[0]), out);
  }
  _mm256_storeu_ps(y + row, out);
}

void gemv_int8(const Int8Rows &w, const float *bias, const uint8_t *x, const float *x_scales, float *y, size_t y_stride,
               int k, int tokens, int begin, int end) {
  const size_t groups = static_cast<size_t>(k / kInt8Group);
  const auto go = [&](int row) {
    for (int t = 0; t < tokens; ++t)
      gemv_int8_rows(w, row, bias, x + static_cast<size_t>(t) * k, x_scales + t * groups, y + t * y_stride, k);
  };
  int row = begin;
  for (; row + 8 <= end; row += 8) go(row);
  if (row == end) return;
  if (end - begin >= 8) return go(end - 8);  // some rows once more: the same numbers
  for (; row < end; ++row)
    for (int t = 0; t < tokens; ++t) {
      float out = bias ? bias[row] : 0.0f;
      for (size_t g = 0; g < groups; ++g) {
        const size_t at = row * groups + g;
        const int32_t sum = group_sum(x + static_cast<size_t>(t) * k + g * kInt8Group, w.values + at * kInt8Group);
        out = std::fma(static_cast<float>(sum + w.offsets[at]), w.scales[at] * x_scales[t * groups + g], out);
      }
      y[t * y_stride + row] = out;
    }
}

}  // namespace
}  // namespace gcop::guide_torch
