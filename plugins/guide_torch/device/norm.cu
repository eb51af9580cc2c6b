// RMSNorm with the residual added before it, its derivative, and sums over rows.
#include "block.hpp"

namespace gcop::guide_torch::device::cuda {

namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void norm_rows(NormArgs a) {
  const int64_t begin = blockIdx.x * a.hidden;
  float squares = 0;
  for (int64_t i = threadIdx.x; i < a.hidden; i += blockDim.x) {
    float x = a.x[begin + i];
    if (a.add) {
      x += widen(as<T>(a.add)[begin + i]);
      a.x[begin + i] = x;  // read again below by this thread alone
    }
    squares += x * x;
  }
  const float scale = 1 / sqrtf(over_block(squares, Add()) / static_cast<float>(a.hidden) + a.eps);
  for (int64_t i = threadIdx.x; i < a.hidden; i += blockDim.x)
    as<T>(a.out)[begin + i] = narrow<T>(a.x[begin + i] * scale * widen(as<T>(a.weight)[i]));
}

template <class T>
__device__ inline float input(const NormSlopeArgs &a, int64_t at) {
  return a.x_residual ? a.x_residual[at] : widen(as<T>(a.x_heads)[at]);
}
template <class T>
__device__ inline float slope(const NormSlopeArgs &a, int64_t at, int64_t k, float scale, float dot) {
  const float n = static_cast<float>(a.width);
  return scale * widen(as<T>(a.dy)[at]) * widen(as<T>(a.weight)[k]) - input<T>(a, at) * scale * scale * scale / n * dot;
}

// scratch[2 i], [2 i + 1]: 1 / rms and the sum of w dy x. The residual stream's dx is added here; a head's replaces dy,
// which the weight's slope still needs, and comes last.
template <class T>
__global__ void norm_sums(NormSlopeArgs a) {
  const int64_t i = blockIdx.x, begin = i / a.groups * a.stride + i % a.groups * a.width;
  float squares = 0, dot = 0;
  for (int64_t k = threadIdx.x; k < a.width; k += blockDim.x) {
    const float x = input<T>(a, begin + k);
    squares += x * x;
    dot += widen(as<T>(a.dy)[begin + k]) * widen(as<T>(a.weight)[k]) * x;
  }
  squares = over_block(squares, Add());
  dot = over_block(dot, Add());
  const float scale = 1 / sqrtf(squares / static_cast<float>(a.width) + a.eps);
  if (threadIdx.x == 0) {
    a.scratch[2 * i] = scale;
    a.scratch[2 * i + 1] = dot;
  }
  if (!a.sum) return;
  for (int64_t k = threadIdx.x; k < a.width; k += blockDim.x) a.sum[begin + k] += slope<T>(a, begin + k, k, scale, dot);
}

template <class T>
__global__ void head_slopes(NormSlopeArgs a) {
  const int64_t i = blockIdx.x, begin = i / a.groups * a.stride + i % a.groups * a.width;
  const float scale = a.scratch[2 * i], dot = a.scratch[2 * i + 1];
  for (int64_t k = threadIdx.x; k < a.width; k += blockDim.x)
    as<T>(a.dy)[begin + k] = narrow<T>(slope<T>(a, begin + k, k, scale, dot));
}

// Sums over rows: a block has 32 columns and one slice of the rows, eight rows at a time.
template <class Value>
__device__ inline void sum_slice(int64_t rows, int64_t width, float *out, Value value) {
  __shared__ float parts[8][32];
  const int64_t column = blockIdx.x * 32 + threadIdx.x % 32, lane = threadIdx.x / 32;
  const int64_t each = (rows + gridDim.y - 1) / gridDim.y, begin = blockIdx.y * each;
  const int64_t end = begin + each < rows ? begin + each : rows;
  float sum = 0;
  if (column < width)
    for (int64_t r = begin + lane; r < end; r += 8) sum += value(r, column);
  parts[lane][threadIdx.x % 32] = sum;
  __syncthreads();
  if (lane != 0 || column >= width) return;
  for (int i = 1; i < 8; ++i) sum += parts[i][threadIdx.x];
  out[blockIdx.y * width + column] = sum;
}

template <class T>
__global__ void weight_slopes(NormSlopeArgs a) {
  sum_slice(a.rows * a.groups, a.width, a.scratch + 2 * a.rows * a.groups, [&](int64_t i, int64_t k) {
    const int64_t at = i / a.groups * a.stride + i % a.groups * a.width + k;
    return widen(as<T>(a.dy)[at]) * input<T>(a, at) * a.scratch[2 * i];
  });
}

template <class T>
__global__ void column_slices(ColumnSumArgs a) {
  sum_slice(a.rows, a.width, a.scratch, [&](int64_t r, int64_t k) { return widen(as<T>(a.in)[r * a.stride + k]); });
}

__global__ void add_slices(const float *slices, float *out, int64_t width) {
  const int64_t k = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (k >= width) return;
  float sum = 0;
  for (int i = 0; i < kRowSlices; ++i) sum += slices[i * width + k];
  out[k] += sum;
}

}  // namespace

void norm(const NormArgs &a, Type type, void *stream) {
  GCOP_LAUNCH_TYPE(norm_rows, type, static_cast<unsigned>(a.rows), kThreads, stream, a);
}

void norm_slope(const NormSlopeArgs &a, Type type, void *stream) {
  const unsigned count = static_cast<unsigned>(a.rows * a.groups), threads = a.width <= 128 ? 64 : kThreads;
  GCOP_LAUNCH_TYPE(norm_sums, type, count, threads, stream, a);
  if (a.dweight) {
    GCOP_LAUNCH_TYPE(weight_slopes, type, dim3(blocks_of(a.width, 32), kRowSlices), kThreads, stream, a);
    GCOP_LAUNCH(add_slices, blocks_of(a.width, kThreads), kThreads, stream, a.scratch + 2 * a.rows * a.groups,
                a.dweight, a.width);
  }
  if (!a.sum) GCOP_LAUNCH_TYPE(head_slopes, type, count, threads, stream, a);
}

void column_sum(const ColumnSumArgs &a, Type type, void *stream) {
  GCOP_LAUNCH_TYPE(column_slices, type, dim3(blocks_of(a.width, 32), kRowSlices), kThreads, stream, a);
  GCOP_LAUNCH(add_slices, blocks_of(a.width, kThreads), kThreads, stream, a.scratch, a.out, a.width);
}

}  // namespace gcop::guide_torch::device::cuda
