// Matrix products of kernels_body.hpp in fp32 and bf16: panels of tokens, a few tokens alone, and rows of tokens as the
// trainer has them, all with the same bits: each value is one chain of fused multiply-adds in order of the inputs.
#pragma once
#include "vector_body.hpp"

namespace gcop::guide_torch {
namespace {

// Where a tile's values go: row r of panel p at r * row + p * panel floats.
struct Place {
  size_t row, panel;
};

// R weight rows against P panels over k inputs; sums go on from y unless `fresh`.
template <int R, int P>
inline void tile(const float *w, size_t ldw, const float *x, size_t x_stride, float *y, Place at, int k, bool fresh,
                 const float *bias) {
  Vec acc[R][P];
  for (int r = 0; r < R; ++r)
    for (int p = 0; p < P; ++p) acc[r][p] = fresh ? splat(bias ? bias[r] : 0.0f) : load(y + p * at.panel + r * at.row);
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
    for (int p = 0; p < P; ++p) store(y + p * at.panel + r * at.row, acc[r][p]);
}

template <int P>
inline void rows(const float *w, size_t ldw, const float *x, size_t x_stride, float *y, Place at, int k, bool fresh,
                 const float *bias, int n) {
  constexpr int kRows = P == 1 ? 12 : 6;
  int i = 0;
  for (; i + kRows <= n; i += kRows)
    tile<kRows, P>(w + i * ldw, ldw, x, x_stride, y + i * at.row, at, k, fresh, bias ? bias + i : nullptr);
  for (; i + 4 <= n; i += 4)
    tile<4, P>(w + i * ldw, ldw, x, x_stride, y + i * at.row, at, k, fresh, bias ? bias + i : nullptr);
  for (; i < n; ++i) tile<1, P>(w + i * ldw, ldw, x, x_stride, y + i * at.row, at, k, fresh, bias ? bias + i : nullptr);
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
              y + p * y_stride + static_cast<size_t>(begin) * L, {L, y_stride}, depth, fresh,
              bias ? bias + begin : nullptr, end - begin);
    if (p < panels)
      rows<1>(w + begin * ldw + from, ldw, x + p * x_stride + static_cast<size_t>(from) * L, x_stride,
              y + p * y_stride + static_cast<size_t>(begin) * L, {L, y_stride}, depth, fresh,
              bias ? bias + begin : nullptr, end - begin);
  }
}

inline float widened(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float f;
  std::memcpy(&f, &wide, 4);
  return f;
}
inline __m256 widened8(const uint16_t *p) {
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
        for (; i + 8 <= depth; i += 8) _mm256_storeu_ps(wide + r * kDepth + i, widened8(in + i));
        for (; i < depth; ++i) wide[r * kDepth + i] = widened(in[i]);
      }
      const float *const b = bias ? bias + row : nullptr;
      const float *const at = x + static_cast<size_t>(from) * L;
      float *const to = y + static_cast<size_t>(row) * L;
      int p = 0;
      for (; p + 2 <= panels; p += 2)
        rows<2>(wide, kDepth, at + p * x_stride, x_stride, to + p * y_stride, {L, y_stride}, depth, from == 0, b, n);
      if (p < panels)
        rows<1>(wide, kDepth, at + p * x_stride, x_stride, to + p * y_stride, {L, y_stride}, depth, from == 0, b, n);
    }
  }
}

// The columns of 8 rows of 8 floats. Halves of rows j and j + 4 are joined as they are loaded, so that nothing has to
// cross the middle of a vector afterwards.
inline void columns8(const float *in, size_t ld, __m256 (&column)[8]) {
  for (int half = 0; half < 8; half += 4) {
    __m256 r[4];
    for (int j = 0; j < 4; ++j)
      r[j] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(in + j * ld + half)),
                                  _mm_loadu_ps(in + (j + 4) * ld + half), 1);
    const __m256 low01 = _mm256_unpacklo_ps(r[0], r[1]), high01 = _mm256_unpackhi_ps(r[0], r[1]),
                 low23 = _mm256_unpacklo_ps(r[2], r[3]), high23 = _mm256_unpackhi_ps(r[2], r[3]);
    column[half] = _mm256_shuffle_ps(low01, low23, 0x44);
    column[half + 1] = _mm256_shuffle_ps(low01, low23, 0xee);
    column[half + 2] = _mm256_shuffle_ps(high01, high23, 0x44);
    column[half + 3] = _mm256_shuffle_ps(high01, high23, 0xee);
  }
}

void transpose(const float *in, size_t ld, int rows, int columns, float *out, size_t out_ld) {
  for (int r = 0; r < rows; r += 8)
    for (int c = 0; c < columns; c += 8) {
      const float *const from = in + r * ld + c;
      float *const to = out + c * out_ld + r;
      if (r + 8 <= rows && c + 8 <= columns) {
        __m256 block[8];
        columns8(from, ld, block);
        for (int i = 0; i < 8; ++i) _mm256_storeu_ps(to + i * out_ld, block[i]);
        continue;
      }
      for (int i = 0; i < std::min(8, rows - r); ++i)
        for (int j = 0; j < std::min(8, columns - c); ++j) to[j * out_ld + i] = from[i * ld + j];
    }
}

void pack(const float *b, size_t ld, bool transposed, int k, int n, float *panels) {
  for (int from = 0; from < n; from += L, panels += static_cast<size_t>(k) * L) {
    const int some = std::min(L, n - from);
    if (some < L) std::fill(panels, panels + static_cast<size_t>(k) * L, 0.0f);
    if (transposed) {
      transpose(b + from * ld, ld, some, k, panels, L);
    } else if (some == L) {
      for (int i = 0; i < k; ++i) store(panels + static_cast<size_t>(i) * L, load(b + i * ld + from));
    } else {
      for (int i = 0; i < k; ++i) std::copy_n(b + i * ld + from, some, panels + static_cast<size_t>(i) * L);
    }
  }
}

void product(const float *a, size_t lda, const float *panels, int k, int m, int n, float *c, size_t ldc, bool fresh) {
  const size_t panel = static_cast<size_t>(k) * L;
  int at = 0;
  for (; at + 2 * L <= n; at += 2 * L, panels += 2 * panel)
    rows<2>(a, lda, panels, panel, c + at, {ldc, L}, k, fresh, nullptr, m);
  for (; at + L <= n; at += L, panels += panel) rows<1>(a, lda, panels, panel, c + at, {ldc, L}, k, fresh, nullptr, m);
  if (at == n) return;
  float some[12][L];  // of the last columns, fewer than a vector has
  for (int r = 0; r < m; r += 12) {
    const int count = std::min(12, m - r);
    for (int i = 0; i < count && !fresh; ++i) std::copy_n(c + (r + i) * ldc + at, n - at, some[i]);
    rows<1>(a + r * lda, lda, panels, panel, some[0], {L, L}, k, fresh, nullptr, count);
    for (int i = 0; i < count; ++i) std::copy_n(some[i], n - at, c + (r + i) * ldc + at);
  }
}

// The next rows lie right behind these; they are fetched in one stream, evenly while these are computed.
inline void prefetch_ahead(const void *from, size_t bytes) {
  for (size_t b = 0; b < bytes; b += 64) _mm_prefetch(static_cast<const char *>(from) + b, _MM_HINT_T0);
}

// 8 rows against A tokens, x [A][k]: a vector holds one input's weights for the rows, so each row's sum is taken in the
// order of the panels' tiles.
template <int A>
inline void gemv_rows(const float *w, const float *bias, const float *x, float *y, size_t y_stride, int k) {
  __m256 acc[A];
  for (int a = 0; a < A; ++a) acc[a] = bias ? _mm256_loadu_ps(bias) : _mm256_setzero_ps();
  const size_t ldw = static_cast<size_t>(k);
  const auto take = [&](__m256 column, int i) {
    for (int a = 0; a < A; ++a) acc[a] = _mm256_fmadd_ps(column, _mm256_broadcast_ss(x + a * k + i), acc[a]);
  };
  int i = 0;
  for (; i + 8 <= k; i += 8) {
    prefetch_ahead(w + 8 * (ldw + static_cast<size_t>(i)), 8 * 8 * sizeof(float));
    __m256 column[8];
    columns8(w + i, ldw, column);
    for (int j = 0; j < 8; ++j) take(column[j], i + j);
  }
  for (; i < k; ++i) {
    float column[8];
    for (int j = 0; j < 8; ++j) column[j] = w[j * ldw + i];
    take(_mm256_loadu_ps(column), i);
  }
  for (int a = 0; a < A; ++a) _mm256_storeu_ps(y + a * y_stride, acc[a]);
}

// 16 rows of bf16 at once: transposed as they are stored, half the shuffles of fp32, and widened by a zero below.
template <int A>
inline void gemv_rows(const uint16_t *w, const float *bias, const float *x, float *y, size_t y_stride, int k) {
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
      float *const to = y + a * y_stride;
      _mm_storeu_ps(to + kFirst[half][0], _mm256_castps256_ps128(acc[half][a]));
      _mm_storeu_ps(to + kFirst[half][1], _mm256_extractf128_ps(acc[half][a], 1));
    }
}

inline float value_of(float w) { return w; }
inline float value_of(uint16_t w) { return widened(w); }

template <int A, class Weight>
void gemv_tokens(const Weight *w, const float *bias, const float *x, float *y, size_t y_stride, int k, int begin,
                 int end) {
  constexpr int kRows = sizeof(Weight) == 4 ? 8 : 16;
  const auto go = [&](int row) {
    gemv_rows<A>(w + static_cast<size_t>(row) * k, bias ? bias + row : nullptr, x, y + row, y_stride, k);
  };
  int row = begin;
  for (; row + kRows <= end; row += kRows) go(row);
  if (row == end) return;
  if (end - begin >= kRows) return go(end - kRows);  // some rows once more: the same numbers
  for (; row < end; ++row)
    for (int a = 0; a < A; ++a) {
      float sum = bias ? bias[row] : 0.0f;
      for (int i = 0; i < k; ++i) sum = std::fma(value_of(w[static_cast<size_t>(row) * k + i]), x[a * k + i], sum);
      y[a * y_stride + row] = sum;
    }
}

template <class Weight>
void gemv_of(const Weight *w, const float *bias, const float *x, float *y, size_t y_stride, int k, int tokens,
             int begin, int end) {
  switch (tokens) {
    case 1: return gemv_tokens<1>(w, bias, x, y, y_stride, k, begin, end);
    case 2: return gemv_tokens<2>(w, bias, x, y, y_stride, k, begin, end);
    case 3: return gemv_tokens<3>(w, bias, x, y, y_stride, k, begin, end);
    default: return gemv_tokens<4>(w, bias, x, y, y_stride, k, begin, end);
  }
}
void gemv(const float *w, const float *bias, const float *x, float *y, size_t y_stride, int k, int tokens, int begin,
          int end) {
  gemv_of(w, bias, x, y, y_stride, k, tokens, begin, end);
}
void gemv_bf16(const uint16_t *w, const float *bias, const float *x, float *y, size_t y_stride, int k, int tokens,
               int begin, int end) {
  gemv_of(w, bias, x, y, y_stride, k, tokens, begin, end);
}

}  // namespace
}  // namespace gcop::guide_torch
