// Vectors of floats as wide as GCOP_LANES says, and what is computed with them everywhere. Included by the kernels'
// bodies only; unnamed namespace, see kernels_body.hpp.
#pragma once
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
inline float fused(float a, float b, float c) { return std::fma(a, b, c); }
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

// In order of the lanes. Sums of L interleaved parts (value i goes to part i % L) end with it in every kernel, so that
// a row's sum has the same bits whether its values lie in one lane of a panel or in vectors of their own.
inline float add_lanes(Vec v) {
  float sum = 0;
  for (int l = 0; l < L; ++l) sum += v[l];
  return sum;
}
inline Vec add_parts(const Vec (&parts)[L]) {
  Vec sum = {};
  for (int l = 0; l < L; ++l) sum += parts[l];
  return sum;
}

struct Exponentials {
  float max, sum;
};
// Whole vectors: x becomes exp(x - max).
inline Exponentials exp_in_place(float *x, size_t n) {
  Vec top = load(x);
  for (size_t i = L; i < n; i += L) top = vmax(top, load(x + i));
  float max = top[0];
  for (int l = 1; l < L; ++l) max = std::max(max, top[l]);
  Vec sums = {};
  for (size_t i = 0; i < n; i += L) {
    const Vec e = vexp(load(x + i) - max);
    sums += e;
    store(x + i, e);
  }
  return {max, add_lanes(sums)};
}

}  // namespace
}  // namespace gcop::guide_torch
