// Attention over the paged cache, task by task (plan.hpp). A block takes one task and key/value head, for all queries
// of the task's rows: what rows share is read once. Its warps take pages in turn, each with a softmax of its own; the
// four are joined in shared memory, and a row's tasks in a second kernel. The grid does not depend on the work, so that
// a captured graph serves any step: blocks look up how many tasks there are.
#include "block.hpp"

#ifndef GCOP_ATTENTION_GRID
#define GCOP_ATTENTION_GRID 1056  // a few blocks for each processor of the largest devices; tests have fewer than tasks
#endif

namespace gcop::guide_torch::device::cuda {

namespace {

constexpr int kThreads = 128, kWarps = kThreads / 32;

__device__ inline void load8(const float *p, float *out) {
  for (int i = 0; i < 8; ++i) out[i] = p[i];
}
struct alignas(16) Eight {
  bf16 at[8];
};
__device__ inline void load8(const bf16 *p, float *out) {  // heads are multiples of 16 wide: aligned
  const Eight all = *reinterpret_cast<const Eight *>(p);
  for (int i = 0; i < 8; ++i) out[i] = widen(all.at[i]);
}

template <class V, class Op>
__device__ inline V over_pages(V v, Op op) {  // lanes 2t and 2t + 1 hold token t
  for (int other = 2; other < 32; other *= 2) v = op(v, __shfl_xor_sync(0xffffffffu, v, other));
  return v;
}

template <class T, int Lanes>  // Lanes: dimensions of the values for each lane
__global__ void __launch_bounds__(kThreads) attend_tasks(AttentionArgs a) {
  __shared__ float q[kTaskQueries][Lanes * 32], mixed[kTaskQueries][Lanes * 32];
  __shared__ float tops[kWarps][kTaskQueries], sums[kWarps][kTaskQueries];
  __shared__ int32_t ends[kTaskQueries];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, dim = static_cast<int>(a.dim), half = dim / 2;
  const int group = static_cast<int>(a.heads / a.kv_heads), kv_heads = static_cast<int>(a.kv_heads);
  const int work = *a.task_count * kv_heads;
  for (int w = static_cast<int>(blockIdx.x); w < work; w += static_cast<int>(gridDim.x)) {
    const AttentionTask task = a.tasks[w / kv_heads];
    const int head = w % kv_heads, queries = task.members * group;
    __syncthreads();  // the last task's readers of shared memory
    for (int i = threadIdx.x; i < queries * dim; i += kThreads) {
      const int n = i / dim, d = i % dim;
      const int64_t row = a.members[task.first_member + n / group].row;
      q[n][d] = widen(as<T>(a.q)[row * a.q_stride + (head * group + n % group) * dim + d]) * a.scale;
      mixed[n][d] = 0;
    }
    for (int n = threadIdx.x; n < queries; n += kThreads) {
      const int32_t limit = a.limits[a.members[task.first_member + n / group].row];
      ends[n] = limit < task.end ? limit : task.end;
    }
    __syncthreads();

    float top[kTaskQueries], sum[kTaskQueries], out[kTaskQueries][Lanes];
#pragma unroll
    for (int n = 0; n < kTaskQueries; ++n) {
      top[n] = -infinity();
      sum[n] = 0;
#pragma unroll
      for (int j = 0; j < Lanes; ++j) out[n][j] = 0;
    }
    for (int page = task.begin / kPageTokens + warp; page * kPageTokens < task.end; page += kWarps) {
      const int64_t page_at = (static_cast<int64_t>(a.tables[task.table + page]) * kv_heads + head) * kPageTokens * dim;
      const int token = page * kPageTokens + lane / 2, offset = lane % 2 * half;
      const T *key = as<T>(a.keys) + page_at + lane / 2 * dim + offset;
      float score[kTaskQueries] = {};
      for (int d = 0; d < half; d += 8) {
        float k[8];
        load8(key + d, k);
#pragma unroll
        for (int n = 0; n < kTaskQueries; ++n)
          if (n < queries)
            for (int i = 0; i < 8; ++i) score[n] += q[n][offset + d + i] * k[i];
      }
#pragma unroll
      for (int n = 0; n < kTaskQueries; ++n) {
        if (n >= queries) continue;
        float s = score[n] + __shfl_xor_sync(0xffffffffu, score[n], 1);
        if (token >= ends[n]) s = -infinity();
        const float most = over_pages(s, Most()), next = most > top[n] ? most : top[n];
        const float weight = s == -infinity() ? 0 : expf(s - next),
                    keep = top[n] == -infinity() ? 0 : expf(top[n] - next);
        sum[n] = sum[n] * keep + over_pages(weight, Add());
        top[n] = next;
        score[n] = weight;
#pragma unroll
        for (int j = 0; j < Lanes; ++j) out[n][j] *= keep;
      }
      const T *value = as<T>(a.values) + page_at;
      // Beyond the end lies what earlier sequences left: not even its zeroth part may be added.
      for (int t = 0; t < kPageTokens && page * kPageTokens + t < task.end; ++t) {
        float v[Lanes];
#pragma unroll
        for (int j = 0; j < Lanes; ++j) v[j] = lane + 32 * j < dim ? widen(value[t * dim + lane + 32 * j]) : 0;
#pragma unroll
        for (int n = 0; n < kTaskQueries; ++n) {
          if (n >= queries) continue;
          const float weight = __shfl_sync(0xffffffffu, score[n], 2 * t);
#pragma unroll
          for (int j = 0; j < Lanes; ++j) out[n][j] += weight * v[j];
        }
      }
    }

#pragma unroll
    for (int n = 0; n < kTaskQueries; ++n)
      if (n < queries && lane == 0) {
        tops[warp][n] = top[n];
        sums[warp][n] = sum[n];
      }
    for (int turn = 0; turn < kWarps; ++turn) {  // in order: the same sum every time
      __syncthreads();
      if (turn != warp) continue;
#pragma unroll
      for (int n = 0; n < kTaskQueries; ++n) {
        if (n >= queries || top[n] == -infinity()) continue;
        float all = tops[0][n];
        for (int i = 1; i < kWarps; ++i) all = tops[i][n] > all ? tops[i][n] : all;
        const float part = expf(top[n] - all);
#pragma unroll
        for (int j = 0; j < Lanes; ++j)
          if (lane + 32 * j < dim) mixed[n][lane + 32 * j] += part * out[n][j];
      }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < queries * (dim + 2); i += kThreads) {
      const int n = i / (dim + 2), d = i % (dim + 2);
      const int64_t slot = a.members[task.first_member + n / group].slot;
      float all = tops[0][n];
      for (int k = 1; k < kWarps; ++k) all = tops[k][n] > all ? tops[k][n] : all;
      float value = d < dim ? mixed[n][d] : all;
      if (d == dim + 1) {
        value = 0;
        for (int k = 0; k < kWarps; ++k)
          if (tops[k][n] != -infinity()) value += sums[k][n] * expf(tops[k][n] - all);
      }
      a.partials[(slot * a.heads + head * group + n % group) * (dim + 2) + d] = value;
    }
  }
}

template <class T>
__global__ void merge_rows(AttentionArgs a) {
  const int64_t row = blockIdx.x, head = blockIdx.y, partial = a.dim + 2;
  const int32_t first = a.first_slot[row], end = a.first_slot[row + 1];
  float top = -infinity();
  for (int32_t s = first; s < end; ++s) {
    const float m = a.partials[(s * a.heads + head) * partial + a.dim];
    top = m > top ? m : top;
  }
  for (int64_t d = threadIdx.x; d < a.dim; d += blockDim.x) {
    float sum = 0, out = 0;
    for (int32_t s = first; s < end; ++s) {
      const float *from = a.partials + (s * a.heads + head) * partial;
      const float weight = from[a.dim] == -infinity() ? 0 : expf(from[a.dim] - top);
      sum += weight * from[a.dim + 1];
      out += weight * from[d];
    }
    as<T>(a.out)[(row * a.heads + head) * a.dim + d] = narrow<T>(sum > 0 ? out / sum : 0);
  }
}

template <class T>
void launch(const AttentionArgs &a, void *stream) {
  constexpr unsigned kGrid = GCOP_ATTENTION_GRID;
  if (a.dim <= 64)
    GCOP_LAUNCH((attend_tasks<T, 2>), kGrid, kThreads, stream, a);
  else if (a.dim <= 128)
    GCOP_LAUNCH((attend_tasks<T, 4>), kGrid, kThreads, stream, a);
  else
    GCOP_LAUNCH((attend_tasks<T, 8>), kGrid, kThreads, stream, a);
  const dim3 grid(static_cast<unsigned>(a.rows), static_cast<unsigned>(a.heads));
  GCOP_LAUNCH((merge_rows<T>), grid, 64, stream, a);
}

}  // namespace

void attention(const AttentionArgs &a, Type type, void *stream) {
  type == Type::f32 ? launch<float>(a, stream) : launch<bf16>(a, stream);
}

}  // namespace gcop::guide_torch::device::cuda
