// What the .cu files share: launching, and sums over the threads of a block. nvcc compiles them for the device; the
// tests compile the same files for the host over tests/guide_torch/cuda_on_cpu.hpp, which must then come first.
#pragma once
#include <cstdint>

#include "kernels.hpp"
#include "numbers.hpp"

#ifdef __CUDACC__
#include <cuda_runtime.h>
#define GCOP_LAUNCH(kernel, grid, threads, stream, ...) \
  kernel<<<grid, threads, 0, static_cast<cudaStream_t>(stream)>>>(__VA_ARGS__)
#endif

namespace gcop::guide_torch::device {

typedef unsigned long long Mass;  // what atomicAdd and shuffles know

__device__ inline float infinity() { return __builtin_inff(); }

struct Add {
  template <class V>
  __device__ V operator()(V a, V b) const {
    return a + b;
  }
};
struct Most {
  __device__ float operator()(float a, float b) const { return a > b ? a : b; }
};

// Over all threads of the block, the same value for each. Threads are a multiple of 32; every one calls.
template <class V, class Op>
__device__ inline V over_block(V v, Op op) {
  __shared__ V parts[32];
  for (int other = 16; other > 0; other /= 2) v = op(v, __shfl_xor_sync(0xffffffffu, v, other));
  __syncthreads();  // whoever still reads the last call's parts
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = v;
  __syncthreads();
  v = parts[0];
  for (unsigned i = 1; i < blockDim.x / 32; ++i) v = op(v, parts[i]);
  return v;
}

template <class T>
__device__ inline const T *as(const void *p) {
  return static_cast<const T *>(p);
}
template <class T>
__device__ inline T *as(void *p) {
  return static_cast<T *>(p);
}

inline unsigned blocks_of(int64_t count, int64_t each) { return static_cast<unsigned>((count + each - 1) / each); }

// Calls kernel<float> or kernel<bf16>.
#define GCOP_LAUNCH_TYPE(kernel, type, grid, threads, stream, ...)      \
  do {                                                                  \
    if ((type) == Type::f32)                                            \
      GCOP_LAUNCH((kernel<float>), grid, threads, stream, __VA_ARGS__); \
    else                                                                \
      GCOP_LAUNCH((kernel<bf16>), grid, threads, stream, __VA_ARGS__);  \
  } while (false)

// --- the launches, one file each
namespace cuda {
void embed(const EmbedArgs &, Type, void *stream);  // elementwise.cu
void swiglu(const SwigluArgs &, Type, void *stream);
void swiglu_slope(const SwigluSlopeArgs &, Type, void *stream);
void sum_rows(const SumRowsArgs &, Type, void *stream);
void round(const RoundArgs &, Type, void *stream);
void squares(const SquaresArgs &, Type, void *stream);
void adam(const AdamArgs &, Type, void *stream);
void merge(const MergeArgs &, Type, void *stream);
void norm(const NormArgs &, Type, void *stream);  // norm.cu
void norm_slope(const NormSlopeArgs &, Type, void *stream);
void column_sum(const ColumnSumArgs &, Type, void *stream);
void rope(const RopeArgs &, Type, void *stream);  // rope.cu
void rope_slope(const RopeSlopeArgs &, Type, void *stream);
void attention(const AttentionArgs &, Type, void *stream);  // attention.cu
void sample(const SampleArgs &, Type, void *stream);        // sample.cu
void loss(const LossArgs &, Type, void *stream);            // loss.cu
void loss_slope(const LossSlopeArgs &, Type, void *stream);
}  // namespace cuda

}  // namespace gcop::guide_torch::device
