// The kernels, written once over the vector width; included by kernels_avx2.cpp and kernels_avx512.cpp only, each
// compiled for its instruction set. Everything sits in an unnamed namespace, so that no symbol of one width can be
// taken for the other's by the linker.
#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <vector>

#include "kernels.hpp"
#include "row_kernels.hpp"

namespace gcop::guide_torch {
namespace {

constexpr int L = GCOP_LANES;
typedef float Vec __attribute__((vector_size(L * 4)));
typedef int32_t IVec __attribute__((vector_size(L * 4)));
typedef float Loose __attribute__((vector_size(L * 4), aligned(4)));  // for unaligned addresses

inline Vec load(const float *p) { return *reinterpret_cast<const Loose *>(p); }
inline void store(float *p, Vec v) { *reinterpret_cast<Loose *>(p) = v; }
inline Vec splat(float f) { return f - Vec{}; }
// a * b + c, rounded once: in words, since the products' bits must not depend on what the compiler contracts.
inline Vec fused(Vec a, Vec b, Vec c) {
#if GCOP_LANES == 16
  return (Vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#else
  return (Vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#endif
}
inline Vec vmax(Vec a, Vec b) { return a > b ? a : b; }

// Relative error about 2e-7 over the whole range; below -87 the result is 0.
inline Vec vexp(Vec x) {
  const Vec low = splat(-87.0f);
  const IVec tiny = x < low;
  x = x > 88.0f ? splat(88.0f) : (tiny ? low : x);
  const Vec shift = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const Vec n = (x * 1.44269504088896341f + shift) - shift;
  Vec r = x - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  Vec p = splat(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const IVec bits = (__builtin_convertvector(n, IVec) + 127) << 23;
  p = p * (Vec)bits;  // same bits, read as floats
  return tiny ? Vec{} : p;
}

// R weight rows against P panels over k inputs; sums go on from y unless `fresh`.
template <int R, int P>
inline void tile(const float *w, size_t ldw, const float *x, size_t x_stride, float *y, size_t y_stride, int k,
                 bool fresh, const float *bias) {
  Vec acc[R][P];
  for (int r = 0; r < R; ++r)
    for (int p = 0; p < P; ++p) acc[r][p] = fresh ? splat(bias ? bias[r] : 0.0f) : load(y + p * y_stride + r * L);
  int i = 0;
  for (; i + 16 <= k; i += 16) {
    for (int r = 0; r < R; ++r) _mm_prefetch(reinterpret_cast<const char *>(w + (R + r) * ldw + i), _MM_HINT_T0);
#pragma GCC unroll 4
    for (int j = i; j < i + 16; ++j) {
      Vec in[P];
      for (int p = 0; p < P; ++p) in[p] = load(x + p * x_stride + static_cast<size_t>(j) * L);
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) {
        const Vec b = splat(w[r * ldw + j]);
        for (int p = 0; p < P; ++p) acc[r][p] = fused(b, in[p], acc[r][p]);
      }
    }
  }
  for (; i < k; ++i) {
    for (int p = 0; p < P; ++p) {
      const Vec in = load(x + p * x_stride + static_cast<size_t>(i) * L);
      for (int r = 0; r < R; ++r) acc[r][p] = fused(splat(w[r * ldw + i]), in, acc[r][p]);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int p = 0; p < P; ++p) store(y + p * y_stride + r * L, acc[r][p]);
}

template <int P>
inline void rows(const float *w, size_t ldw, const float *x, size_t x_stride, float *y, size_t y_stride, int k,
                 bool fresh, const float *bias, int n) {
  constexpr int kRows = P == 1 ? 12 : 6;
  int i = 0;
  for (; i + kRows <= n; i += kRows)
    tile<kRows, P>(w + i * ldw, ldw, x, x_stride, y + i * L, y_stride, k, fresh, bias ? bias + i : nullptr);
  for (; i + 4 <= n; i += 4)
    tile<4, P>(w + i * ldw, ldw, x, x_stride, y + i * L, y_stride, k, fresh, bias ? bias + i : nullptr);
  for (; i < n; ++i)
    tile<1, P>(w + i * ldw, ldw, x, x_stride, y + i * L, y_stride, k, fresh, bias ? bias + i : nullptr);
}

void gemm(const float *w, const float *bias, const float *x, size_t x_stride, float *y, size_t y_stride, int k,
          int panels, int begin, int end) {
  constexpr int kDepth = 512;  // a panel's slice of 512 inputs stays in the first-level cache over all rows
  const size_t ldw = static_cast<size_t>(k);
  for (int from = 0; from < k; from += kDepth) {
    const int depth = std::min(kDepth, k - from);
    const bool fresh = from == 0;
    int p = 0;
    for (; p + 2 <= panels; p += 2)
      rows<2>(w + begin * ldw + from, ldw, x + p * x_stride + static_cast<size_t>(from) * L, x_stride,
              y + p * y_stride + static_cast<size_t>(begin) * L, y_stride, depth, fresh, bias ? bias + begin : nullptr,
              end - begin);
    if (p < panels)
      rows<1>(w + begin * ldw + from, ldw, x + p * x_stride + static_cast<size_t>(from) * L, x_stride,
              y + p * y_stride + static_cast<size_t>(begin) * L, y_stride, depth, fresh, bias ? bias + begin : nullptr,
              end - begin);
  }
}

inline float widened(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float f;
  std::memcpy(&f, &wide, 4);
  return f;
}
inline __m256 load8(const float *p) { return _mm256_loadu_ps(p); }
inline __m256 load8(const uint16_t *p) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i *>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

// A few rows are widened at a time and then go through the fp32 tiles, all panels of them.
void gemm_bf16(const uint16_t *w, const float *bias, const float *x, size_t x_stride, float *y, size_t y_stride, int k,
               int panels, int begin, int end) {
  constexpr int kDepth = 512, kRows = 12;
  float wide[kRows * kDepth];
  for (int from = 0; from < k; from += kDepth) {
    const int depth = std::min(kDepth, k - from);
    for (int row = begin; row < end; row += kRows) {
      const int n = std::min(kRows, end - row);
      for (int r = 0; r < n; ++r) {
        const uint16_t *in = w + static_cast<size_t>(row + r) * k + from;
        int i = 0;
        for (; i + 8 <= depth; i += 8) _mm256_storeu_ps(wide + r * kDepth + i, load8(in + i));
        for (; i < depth; ++i) wide[r * kDepth + i] = widened(in[i]);
      }
      const float *const b = bias ? bias + row : nullptr;
      const float *const at = x + static_cast<size_t>(from) * L;
      float *const to = y + static_cast<size_t>(row) * L;
      int p = 0;
      for (; p + 2 <= panels; p += 2)
        rows<2>(wide, kDepth, at + p * x_stride, x_stride, to + p * y_stride, y_stride, depth, from == 0, b, n);
      if (p < panels)
        rows<1>(wide, kDepth, at + p * x_stride, x_stride, to + p * y_stride, y_stride, depth, from == 0, b, n);
    }
  }
}

// 8 x 8 floats, rows against columns.
inline void transpose8(__m256 (&r)[8]) {
  __m256 t[8], u[8];
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    u[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    u[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    u[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    u[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
    r[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
  }
}

// The next rows lie right behind these; they are fetched in one stream, evenly while these are computed.
inline void prefetch_ahead(const void *from, size_t bytes) {
  for (size_t b = 0; b < bytes; b += 64) _mm_prefetch(static_cast<const char *>(from) + b, _MM_HINT_T1);
}

// G groups of 8 rows against A tokens, x [A][k]: a vector holds one input's weights for 8 rows, so each row's sum is
// taken in the order of the panels' tiles.
template <int G, int A, class Weight>
inline void gemv_rows(const Weight *w, const float *bias, const float *x, float *y, int k) {
  __m256 acc[G][A];
  for (int g = 0; g < G; ++g)
    for (int a = 0; a < A; ++a) acc[g][a] = bias ? _mm256_loadu_ps(bias + g * 8) : _mm256_setzero_ps();
  const size_t ldw = static_cast<size_t>(k);
  int i = 0;
  for (; i + 8 <= k; i += 8) {
    prefetch_ahead(w + G * 8 * (ldw + static_cast<size_t>(i)), G * 8 * 8 * sizeof(Weight));
    for (int g = 0; g < G; ++g) {
      __m256 r[8];
      for (int j = 0; j < 8; ++j) {
        r[j] = load8(w + (g * 8 + j) * ldw + i);
      }
      transpose8(r);
      for (int j = 0; j < 8; ++j)
        for (int a = 0; a < A; ++a)
          acc[g][a] = _mm256_fmadd_ps(r[j], _mm256_broadcast_ss(x + a * k + i + j), acc[g][a]);
    }
  }
  for (; i < k; ++i)
    for (int g = 0; g < G; ++g) {
      float column[8];
      for (int j = 0; j < 8; ++j) {
        const Weight v = w[(g * 8 + j) * ldw + i];
        if constexpr (sizeof(Weight) == 4)
          column[j] = v;
        else
          column[j] = widened(v);
      }
      for (int a = 0; a < A; ++a)
        acc[g][a] = _mm256_fmadd_ps(_mm256_loadu_ps(column), _mm256_set1_ps(x[a * k + i]), acc[g][a]);
    }
  for (int g = 0; g < G; ++g)
    for (int a = 0; a < A; ++a) {
      float out[8];
      _mm256_storeu_ps(out, acc[g][a]);
      for (int j = 0; j < 8; ++j) y[static_cast<size_t>(g * 8 + j) * L + a] = out[j];
    }
}

// 16 rows of bf16 at once: transposed as they are stored, half the shuffles of fp32, and widened by a zero below.
template <int A>
inline void gemv_rows_bf16(const uint16_t *w, const float *bias, const float *x, float *y, int k) {
  // A vector holds rows 0-3 and 8-11, or 4-7 and 12-15.
  constexpr int kFirst[2][2] = {{0, 8}, {4, 12}};
  __m256 acc[2][A];
  for (int half = 0; half < 2; ++half)
    for (int a = 0; a < A; ++a)
      acc[half][a] = bias ? _mm256_set_m128(_mm_loadu_ps(bias + kFirst[half][1]), _mm_loadu_ps(bias + kFirst[half][0]))
                          : _mm256_setzero_ps();
  const size_t ldw = static_cast<size_t>(k);
  const __m256i zero = _mm256_setzero_si256();
  const auto take = [&](__m256i column, int i) {
    const __m256 low = _mm256_castsi256_ps(_mm256_unpacklo_epi16(zero, column)),
                 high = _mm256_castsi256_ps(_mm256_unpackhi_epi16(zero, column));
    for (int a = 0; a < A; ++a) {
      const __m256 in = _mm256_broadcast_ss(x + a * k + i);
      acc[0][a] = _mm256_fmadd_ps(low, in, acc[0][a]);
      acc[1][a] = _mm256_fmadd_ps(high, in, acc[1][a]);
    }
  };
  int i = 0;
  for (; i + 8 <= k; i += 8) {
    prefetch_ahead(w + 16 * (ldw + static_cast<size_t>(i)), 16 * 8 * sizeof(uint16_t));
    __m256i r[8], t[8];
    for (int j = 0; j < 8; ++j) {
      const uint16_t *const from = w + j * ldw + i;
      r[j] = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i *>(from))),
                                     _mm_loadu_si128(reinterpret_cast<const __m128i *>(from + 8 * ldw)), 1);
    }
    for (int j = 0; j < 8; j += 2) {
      t[j] = _mm256_unpacklo_epi16(r[j], r[j + 1]);
      t[j + 1] = _mm256_unpackhi_epi16(r[j], r[j + 1]);
    }
    for (int j = 0; j < 8; j += 4) {
      r[j] = _mm256_unpacklo_epi32(t[j], t[j + 2]);
      r[j + 1] = _mm256_unpackhi_epi32(t[j], t[j + 2]);
      r[j + 2] = _mm256_unpacklo_epi32(t[j + 1], t[j + 3]);
      r[j + 3] = _mm256_unpackhi_epi32(t[j + 1], t[j + 3]);
    }
    for (int j = 0; j < 4; ++j) {
      take(_mm256_unpacklo_epi64(r[j], r[j + 4]), i + 2 * j);
      take(_mm256_unpackhi_epi64(r[j], r[j + 4]), i + 2 * j + 1);
    }
  }
  for (; i < k; ++i) {
    alignas(32) uint16_t column[16];
    for (int j = 0; j < 16; ++j) column[j] = w[j * ldw + i];
    take(_mm256_load_si256(reinterpret_cast<const __m256i *>(column)), i);
  }
  for (int half = 0; half < 2; ++half)
    for (int a = 0; a < A; ++a) {
      float out[8];
      _mm256_storeu_ps(out, acc[half][a]);
      for (int j = 0; j < 8; ++j) y[static_cast<size_t>(kFirst[half][j / 4] + j % 4) * L + a] = out[j];
    }
}

template <int A, class Weight>
void gemv_lanes(const Weight *w, const float *bias, const float *x, float *y, int k, int begin, int end) {
  const auto go = [&]<int G>(std::integral_constant<int, G>, int row) {
    const Weight *const from = w + static_cast<size_t>(row) * k;
    const float *const b = bias ? bias + row : nullptr;
    float *const to = y + static_cast<size_t>(row) * L;
    if constexpr (G == 2 && sizeof(Weight) == 2)
      gemv_rows_bf16<A>(from, b, x, to, k);
    else
      gemv_rows<G, A>(from, b, x, to, k);
  };
  int row = begin;
  for (; row + 16 <= end; row += 16) go(std::integral_constant<int, 2>{}, row);
  for (; row + 8 <= end; row += 8) go(std::integral_constant<int, 1>{}, row);
  if (row == end) return;
  if (end - begin >= 8) return go(std::integral_constant<int, 1>{}, end - 8);  // some rows once more: the same numbers
  for (; row < end; ++row)
    for (int a = 0; a < A; ++a) {
      float sum = bias ? bias[row] : 0.0f;
      for (int i = 0; i < k; ++i) {
        const Weight v = w[static_cast<size_t>(row) * k + i];
        if constexpr (sizeof(Weight) == 4)
          sum = std::fma(v, x[a * k + i], sum);
        else
          sum = std::fma(widened(v), x[a * k + i], sum);
      }
      y[static_cast<size_t>(row) * L + a] = sum;
    }
}

template <class Weight>
void gemv_of(const Weight *w, const float *bias, const float *x, float *y, int k, int lanes, int begin, int end) {
  thread_local std::vector<float> flat;  // x without the empty lanes
  flat.resize(static_cast<size_t>(lanes) * k);
  for (int i = 0; i < k; ++i)
    for (int a = 0; a < lanes; ++a) flat[static_cast<size_t>(a) * k + i] = x[static_cast<size_t>(i) * L + a];
  switch (lanes) {
    case 1: return gemv_lanes<1>(w, bias, flat.data(), y, k, begin, end);
    case 2: return gemv_lanes<2>(w, bias, flat.data(), y, k, begin, end);
    case 3: return gemv_lanes<3>(w, bias, flat.data(), y, k, begin, end);
    default: return gemv_lanes<4>(w, bias, flat.data(), y, k, begin, end);
  }
}
void gemv(const float *w, const float *bias, const float *x, float *y, int k, int lanes, int begin, int end) {
  gemv_of(w, bias, x, y, k, lanes, begin, end);
}
void gemv_bf16(const uint16_t *w, const float *bias, const float *x, float *y, int k, int lanes, int begin, int end) {
  gemv_of(w, bias, x, y, k, lanes, begin, end);
}

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
      for (int j = 0; j < 4; ++j) {
        const Vec rounded = load(from + (i + j) * L) * inverse + splat(12582912.0f);  // 1.5 * 2^23: to an integer
        packed |= ((IVec)rounded - 0x4B400000 + 64) << (8 * j);                       // the bits of 12582912.0f
      }
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
        out[r][p] += to_floats(acc[r][p]) * (splat(w.scales[static_cast<size_t>(row + r) * groups + g]) * scale);
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
  Vec squares[4] = {};
  for (int i = 0; i < n; ++i) {
    Vec v = load(x + static_cast<size_t>(i) * L);
    if (add) {
      v += load(add + static_cast<size_t>(i) * L);
      store(x + static_cast<size_t>(i) * L, v);
    }
    squares[i & 3] += v * v;
  }
  const Vec mean = ((squares[0] + squares[1]) + (squares[2] + squares[3])) / static_cast<float>(n) + eps;
  Vec scale;
  for (int l = 0; l < L; ++l) scale[l] = 1.0f / std::sqrt(mean[l]);
  for (int i = 0; i < n; ++i)
    store(out + static_cast<size_t>(i) * L, load(x + static_cast<size_t>(i) * L) * scale * weight[i]);
}

void rope(float *x, const float *cos, const float *sin, int heads, int dim) {
  const int half = dim / 2;
  for (int h = 0; h < heads; ++h) {
    float *head = x + static_cast<size_t>(h) * dim * L;
    for (int d = 0; d < half; ++d) {
      const Vec c = load(cos + d * L), s = load(sin + d * L);
      const Vec a = load(head + d * L), b = load(head + (d + half) * L);
      store(head + d * L, a * c - b * s);
      store(head + (d + half) * L, b * c + a * s);
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
            int tokens, float *scores, float *out) {
  const size_t stride = static_cast<size_t>((tokens + kBlockTokens - 1) / kBlockTokens) * kBlockTokens;
  for (int t = 0; t < tokens; t += kBlockTokens)
    dot_block<G>(q, dim, keys + static_cast<size_t>(blocks[t / kBlockTokens]) * block_stride, scores + t, stride);
  float inverse[G];
  for (int g = 0; g < G; ++g) {
    float *row = scores + g * stride;
    for (size_t t = tokens; t < stride; ++t) row[t] = -INFINITY;
    Vec top = load(row);
    for (size_t t = L; t < stride; t += L) top = vmax(top, load(row + t));
    float max = top[0];
    for (int l = 1; l < L; ++l) max = std::max(max, top[l]);
    Vec sum = {};
    for (size_t t = 0; t < stride; t += L) {
      const Vec e = vexp(load(row + t) - max);
      sum += e;
      store(row + t, e);
    }
    float total = 0;
    for (int l = 0; l < L; ++l) total += sum[l];
    inverse[g] = 1.0f / total;
  }
  for (int from = 0; from < dim; from += 16)
    mix<G>(scores, stride, values, block_stride, blocks, tokens, dim, from, inverse, out);
}

void attention(const float *q, int group, int dim, const float *keys, const float *values, size_t block_stride,
               const int32_t *blocks, int tokens, float *scores, float *out) {
  while (group > 0) {
    const int g = group >= 4 && group != 5 && group != 6 ? 4 : std::min(group, 3);
    switch (g) {
      case 4: attend<4>(q, dim, keys, values, block_stride, blocks, tokens, scores, out); break;
      case 3: attend<3>(q, dim, keys, values, block_stride, blocks, tokens, scores, out); break;
      case 2: attend<2>(q, dim, keys, values, block_stride, blocks, tokens, scores, out); break;
      default: attend<1>(q, dim, keys, values, block_stride, blocks, tokens, scores, out); break;
    }
    q += g * dim;
    out += g * dim;
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
  Vec sum = {}, tempered_sum = {};
  for (int i = 0; i < n; ++i) sum += vexp(load(logits + static_cast<size_t>(i) * L) - max);
  if (tempered)
    for (int i = 0; i < n; ++i) tempered_sum += vexp((load(logits + static_cast<size_t>(i) * L) - max) * scale);
  else
    tempered_sum = sum;
  for (int l = 0; l < L; ++l) out[l] = {max[l], sum[l], scale[l] == 1.0f ? sum[l] : tempered_sum[l], where[l]};
}

}  // namespace
}  // namespace gcop::guide_torch
