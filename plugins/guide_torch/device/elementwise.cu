// Kernels without sums over a row.
#include "block.hpp"

namespace gcop::guide_torch::device::cuda {

namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void embed_rows(EmbedArgs a) {
  const int64_t row = blockIdx.x;
  const T *from = as<T>(a.table) + a.tokens[row] * a.hidden;
  for (int64_t i = threadIdx.x; i < a.hidden; i += blockDim.x) a.x[row * a.hidden + i] = widen(from[i]);
}

template <class T>
__global__ void swiglu_rows(SwigluArgs a) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= a.rows * a.width) return;
  const int64_t gate_at = at / a.width * 2 * a.width + at % a.width;
  const float gate = widen(as<T>(a.gate_up)[gate_at]), up = widen(as<T>(a.gate_up)[gate_at + a.width]);
  as<T>(a.out)[at] = narrow<T>(gate / (1 + expf(-gate)) * up);
}

template <class T>
__global__ void swiglu_slopes(SwigluSlopeArgs a) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= a.rows * a.width) return;
  const int64_t g = at / a.width * 2 * a.width + at % a.width, u = g + a.width;
  const float gate = widen(as<T>(a.gate_up)[g]), up = widen(as<T>(a.gate_up)[u]);
  const float d = widen(as<T>(a.dout)[at]), sigmoid = 1 / (1 + expf(-gate));
  as<T>(a.dgate_up)[g] = narrow<T>(d * up * sigmoid * (1 + gate * (1 - sigmoid)));
  as<T>(a.dgate_up)[u] = narrow<T>(d * gate * sigmoid);
}

template <class In, class Out>
__device__ inline void sum_one_row(const SumRowsArgs &a, bool add) {
  const int64_t i = blockIdx.x;
  for (int64_t k = threadIdx.x; k < a.width; k += blockDim.x) {
    float sum = 0;
    for (int32_t j = a.offsets[i]; j < a.offsets[i + 1]; ++j)
      sum += widen(as<In>(a.in)[a.sources[j] * a.in_stride + k]);
    Out &to = as<Out>(a.out)[a.targets[i] * a.out_stride + k];
    to = narrow<Out>(add ? widen(to) + sum : sum);
  }
}
template <class T>
__global__ void sum_row_lists(SumRowsArgs a) {
  if (a.floats)
    sum_one_row<float, float>(a, true);
  else
    sum_one_row<T, T>(a, false);
}

template <class T>
__global__ void round_all(RoundArgs a) {
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < a.count;
       i += static_cast<int64_t>(gridDim.x) * blockDim.x)
    as<T>(a.out)[i] = narrow<T>(a.x[i]);
}

constexpr int64_t kSlice = 65536;
__global__ void square_slices(SquaresArgs a) {
  const int64_t begin = blockIdx.x * kSlice, end = begin + kSlice < a.count ? begin + kSlice : a.count;
  double sum = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) sum += static_cast<double>(a.x[i]) * a.x[i];
  sum = over_block(sum, Add());
  if (threadIdx.x == 0) a.out[blockIdx.x] = sum;
}

template <class T>
__global__ void adam_all(AdamArgs a) {
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < a.count;
       i += static_cast<int64_t>(gridDim.x) * blockDim.x) {
    const float g = a.gradients[i] * a.scale;
    const float m = a.beta1 * a.first[i] + (1 - a.beta1) * g;
    const float v = a.beta2 * a.second[i] + (1 - a.beta2) * g * g;
    const float w = a.weights[i] * a.keep - a.rate * m / (sqrtf(v) * a.unbias + a.eps);
    a.first[i] = m;
    a.second[i] = v;
    a.weights[i] = w;
    if (a.rounded) as<T>(a.rounded)[i] = narrow<T>(w);
  }
}

// Without fused multiplications and additions, which the host's sum has not.
template <class T>
__global__ void merge_rows(MergeArgs a) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= a.rows * a.width) return;
  const int64_t row = at / a.width, column = at % a.width;
  float sum = a.base[at];
  for (int64_t k = 0; k < a.rank; ++k)
    sum = __fadd_rn(sum, __fmul_rn(__fmul_rn(a.scale, a.b[row * a.rank + k]), a.a[k * a.width + column]));
  as<T>(a.out)[at] = narrow<T>(sum);
}

unsigned strided(int64_t count) {
  const unsigned blocks = blocks_of(count, kThreads);
  return blocks < 4096 ? blocks : 4096;
}

}  // namespace

void embed(const EmbedArgs &a, Type type, void *stream) {
  GCOP_LAUNCH_TYPE(embed_rows, type, static_cast<unsigned>(a.rows), kThreads, stream, a);
}
void swiglu(const SwigluArgs &a, Type type, void *stream) {
  GCOP_LAUNCH_TYPE(swiglu_rows, type, blocks_of(a.rows * a.width, kThreads), kThreads, stream, a);
}
void swiglu_slope(const SwigluSlopeArgs &a, Type type, void *stream) {
  GCOP_LAUNCH_TYPE(swiglu_slopes, type, blocks_of(a.rows * a.width, kThreads), kThreads, stream, a);
}
void sum_rows(const SumRowsArgs &a, Type type, void *stream) {
  GCOP_LAUNCH_TYPE(sum_row_lists, type, static_cast<unsigned>(a.count), kThreads, stream, a);
}
void round(const RoundArgs &a, Type type, void *stream) {
  GCOP_LAUNCH_TYPE(round_all, type, strided(a.count), kThreads, stream, a);
}
void squares(const SquaresArgs &a, Type, void *stream) {
  GCOP_LAUNCH(square_slices, blocks_of(a.count, kSlice), kThreads, stream, a);
}
void adam(const AdamArgs &a, Type type, void *stream) {
  GCOP_LAUNCH_TYPE(adam_all, type, strided(a.count), kThreads, stream, a);
}
void merge(const MergeArgs &a, Type type, void *stream) {
  GCOP_LAUNCH_TYPE(merge_rows, type, blocks_of(a.rows * a.width, kThreads), kThreads, stream, a);
}

}  // namespace gcop::guide_torch::device::cuda
