// Bias, head norm and rotation of a row's heads, written to the cache in the same pass. One warp for each head.
#include "block.hpp"

namespace gcop::guide_torch::device::cuda {

namespace {

constexpr int kThreads = 128, kWarps = kThreads / 32, kPairs = kWidestHead / 64;  // pairs of dimensions for each lane

template <class T>
__global__ void rope_rows(RopeArgs a) {
  const int lane = threadIdx.x % 32;
  const int64_t row = blockIdx.x, all = a.heads + 2 * a.kv_heads, half = a.dim / 2;
  const int64_t h = blockIdx.y * kWarps + threadIdx.x / 32, at = (row * all + h) * a.dim;
  const bool there = h < all, rotated = h < a.heads + a.kv_heads;
  float low[kPairs] = {}, high[kPairs] = {}, squares = 0;
  for (int p = 0; p < kPairs; ++p) {
    const int64_t d = lane + 32 * p;
    if (!there || d >= half) continue;
    low[p] = widen(as<T>(a.in)[at + d]);
    high[p] = widen(as<T>(a.in)[at + d + half]);
    if (a.bias) {
      low[p] += widen(as<T>(a.bias)[h * a.dim + d]);
      high[p] += widen(as<T>(a.bias)[h * a.dim + d + half]);
    }
    squares += low[p] * low[p] + high[p] * high[p];
  }
  if (a.q_norm) {  // q and k come with norms both, or neither
    for (int other = 16; other > 0; other /= 2) squares += __shfl_xor_sync(0xffffffffu, squares, other);
    const float scale = 1 / sqrtf(squares / static_cast<float>(a.dim) + a.eps);
    const T *weight = as<T>(h < a.heads ? a.q_norm : a.k_norm);
    for (int p = 0; p < kPairs; ++p) {
      const int64_t d = lane + 32 * p;
      if (!there || !rotated || d >= half) continue;
      low[p] = low[p] * scale * widen(weight[d]);
      high[p] = high[p] * scale * widen(weight[d + half]);
    }
  }
  if (!there) return;
  T *cache = nullptr;
  if (a.keys && h >= a.heads && a.slots[row] >= 0) {
    const int64_t slot = a.slots[row], kv = (h - a.heads) % a.kv_heads;
    cache = as<T>(rotated ? a.keys : a.values) +
            ((slot / kPageTokens * a.kv_heads + kv) * kPageTokens + slot % kPageTokens) * a.dim;
  }
  for (int p = 0; p < kPairs; ++p) {
    const int64_t d = lane + 32 * p;
    if (d >= half) continue;
    float x = low[p], y = high[p];
    if (rotated) {
      const float c = a.cos[a.positions[row] * half + d], s = a.sin[a.positions[row] * half + d];
      x = low[p] * c - high[p] * s;
      y = high[p] * c + low[p] * s;
    }
    as<T>(a.out)[at + d] = narrow<T>(x);
    as<T>(a.out)[at + d + half] = narrow<T>(y);
    if (!cache) continue;
    cache[d] = narrow<T>(x);
    cache[d + half] = narrow<T>(y);
  }
}

template <class T>
__global__ void rope_slopes(RopeSlopeArgs a) {
  const int64_t half = a.dim / 2, turned = (a.heads + a.kv_heads) * half;
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= a.rows * turned) return;
  const int64_t row = at / turned, h = at % turned / half, k = at % half;
  T *d = as<T>(a.d) + (row * (a.heads + 2 * a.kv_heads) + h) * a.dim;
  const float c = a.cos[a.positions[row] * half + k], s = a.sin[a.positions[row] * half + k];
  const float x = widen(d[k]), y = widen(d[k + half]);
  d[k] = narrow<T>(x * c + y * s);
  d[k + half] = narrow<T>(y * c - x * s);
}

}  // namespace

void rope(const RopeArgs &a, Type type, void *stream) {
  const dim3 grid(static_cast<unsigned>(a.rows), blocks_of(a.heads + 2 * a.kv_heads, kWarps));
  GCOP_LAUNCH_TYPE(rope_rows, type, grid, kThreads, stream, a);
}
void rope_slope(const RopeSlopeArgs &a, Type type, void *stream) {
  GCOP_LAUNCH_TYPE(rope_slopes, type, blocks_of(a.rows * (a.heads + a.kv_heads) * a.dim / 2, 256), 256, stream, a);
}

}  // namespace gcop::guide_torch::device::cuda
