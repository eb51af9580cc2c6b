// Matrix products of kernels_body.hpp in 7 bits.
#pragma once
#include "vector_body.hpp"

namespace gcop::guide_torch {
namespace {

// Vectors of integers: L lanes of 4 bytes.
#if GCOP_LANES == 16
typedef __m512i Bits;
inline Bits load_bits(const void *p) { return _mm512_loadu_si512(p); }
inline void store_bits(void *p, Bits v) { _mm512_storeu_si512(p, v); }
inline Bits splat_bits(int32_t v) { return _mm512_set1_epi32(v); }
inline Bits add_bits(Bits a, Bits b) { return _mm512_add_epi32(a, b); }
inline Bits quad_dots(Bits x0, Bits w0, Bits x1, Bits w1) {
  const Bits pairs = _mm512_add_epi16(_mm512_maddubs_epi16(x0, w0), _mm512_maddubs_epi16(x1, w1));
  return _mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
}
#else
typedef __m256i Bits;
inline Bits load_bits(const void *p) { return _mm256_loadu_si256(static_cast<const Bits *>(p)); }
inline void store_bits(void *p, Bits v) { _mm256_storeu_si256(static_cast<Bits *>(p), v); }
inline Bits splat_bits(int32_t v) { return _mm256_set1_epi32(v); }
inline Bits add_bits(Bits a, Bits b) { return _mm256_add_epi32(a, b); }
// Per lane, the sum of eight products of activations (0 .. 127) and weights (-63 .. 63): 16 bits hold four of them.
inline Bits quad_dots(Bits x0, Bits w0, Bits x1, Bits w1) {
  const Bits pairs = _mm256_add_epi16(_mm256_maddubs_epi16(x0, w0), _mm256_maddubs_epi16(x1, w1));
  return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}
#endif

inline Vec to_floats(Bits v) { return __builtin_convertvector((IVec)v, Vec); }

// round(v * inverse) + 64: adding 1.5 * 2^23 rounds to an integer, which the bits of the sum then hold.
inline IVec to_sevens(Vec v, Vec inverse) { return (IVec)fused(v, inverse, splat(12582912.0f)) - 0x4B400000 + 64; }

void quantize(const float *x, uint8_t *bytes, float *scales, int k) {
  for (int g = 0; g < k / kInt8Group; ++g) {
    const float *from = x + static_cast<size_t>(g) * kInt8Group * L;
    Vec most = {};
    for (int i = 0; i < kInt8Group; ++i) {
      const Vec v = load(from + i * L);
      most = vmax(most, vmax(v, -v));
    }
    store(scales + static_cast<size_t>(g) * L, most / 63.0f);
    const Vec inverse = most > 0.0f ? 63.0f / most : Vec{};
    for (int i = 0; i < kInt8Group; i += 4) {
      IVec packed = {};
      for (int j = 0; j < 4; ++j) packed |= to_sevens(load(from + (i + j) * L), inverse) << (8 * j);
      store_bits(bytes + (static_cast<size_t>(g) * kInt8Group + i) * L, (Bits)packed);
    }
  }
}

// R weight rows against P panels.
template <int R, int P>
inline void tile_int8(const Int8Rows &w, int row, const float *bias, const uint8_t *x, const float *x_scales, float *y,
                      size_t y_stride, int k) {
  const int groups = k / kInt8Group;
  const size_t x_stride = static_cast<size_t>(k) * L, s_stride = static_cast<size_t>(groups) * L;
  Vec out[R][P];
  for (int r = 0; r < R; ++r)
    for (int p = 0; p < P; ++p) out[r][p] = splat(bias ? bias[row + r] : 0.0f);
  for (int g = 0; g < groups; ++g) {
    Bits acc[R][P];
    for (int r = 0; r < R; ++r) {
      const Bits start = splat_bits(w.offsets[static_cast<size_t>(row + r) * groups + g]);
      for (int p = 0; p < P; ++p) acc[r][p] = start;
    }
    const uint8_t *from = x + static_cast<size_t>(g) * kInt8Group * L;
    const int8_t *weights = w.values + static_cast<size_t>(row) * k + static_cast<size_t>(g) * kInt8Group;
#pragma GCC unroll 4
    for (int i = 0; i < kInt8Group; i += 8) {
      Bits x0[P], x1[P];
      for (int p = 0; p < P; ++p) {
        x0[p] = load_bits(from + p * x_stride + static_cast<size_t>(i) * L);
        x1[p] = load_bits(from + p * x_stride + static_cast<size_t>(i + 4) * L);
      }
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        int32_t quads[2];
        std::memcpy(quads, weights + static_cast<size_t>(r) * k + i, 8);
        const Bits w0 = splat_bits(quads[0]), w1 = splat_bits(quads[1]);
        for (int p = 0; p < P; ++p) acc[r][p] = add_bits(acc[r][p], quad_dots(x0[p], w0, x1[p], w1));
      }
    }
    for (int p = 0; p < P; ++p) {
      const Vec scale = load(x_scales + p * s_stride + static_cast<size_t>(g) * L);
      for (int r = 0; r < R; ++r)
        out[r][p] =
            fused(to_floats(acc[r][p]), splat(w.scales[static_cast<size_t>(row + r) * groups + g]) * scale, out[r][p]);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int p = 0; p < P; ++p) store(y + p * y_stride + static_cast<size_t>(row + r) * L, out[r][p]);
}

void gemm_int8(const Int8Rows &w, const float *bias, const uint8_t *x, const float *x_scales, float *y, size_t y_stride,
               int k, int panels, int begin, int end) {
  const size_t x_stride = static_cast<size_t>(k) * L, s_stride = static_cast<size_t>(k / kInt8Group) * L;
  const auto rows = [&]<int P>(std::integral_constant<int, P>, int panel) {
    const uint8_t *from = x + panel * x_stride;
    const float *scales = x_scales + panel * s_stride;
    float *to = y + panel * y_stride;
    int row = begin;
    for (; row + 4 <= end; row += 4) tile_int8<4, P>(w, row, bias, from, scales, to, y_stride, k);
    for (; row < end; ++row) tile_int8<1, P>(w, row, bias, from, scales, to, y_stride, k);
  };
  int panel = 0;
  for (; panel + 2 <= panels; panel += 2) rows(std::integral_constant<int, 2>{}, panel);
  if (panel < panels) rows(std::integral_constant<int, 1>{}, panel);
}

}  // namespace
}  // namespace gcop::guide_torch
