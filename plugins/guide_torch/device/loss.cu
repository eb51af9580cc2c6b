// Cross-entropy over a chunk of logits: log-probabilities of the targets, and the slopes of the logits.
#include "block.hpp"

namespace gcop::guide_torch::device::cuda {

namespace {

constexpr int kThreads = 512;

__global__ void loss_rows(LossArgs a) {
  const float *logits = a.logits + blockIdx.x * a.vocab;
  float most = -infinity();
  for (int64_t v = threadIdx.x; v < a.vocab; v += blockDim.x) most = logits[v] > most ? logits[v] : most;
  most = over_block(most, Most());
  double sum = 0, weighted = 0;
  for (int64_t v = threadIdx.x; v < a.vocab; v += blockDim.x) {
    const float e = expf(logits[v] - most);
    sum += e;
    weighted += e * (logits[v] - most);
  }
  sum = over_block(sum, Add());
  weighted = over_block(weighted, Add());
  if (threadIdx.x != 0) return;
  const double log_sum = most + log(sum);
  a.logprobs[blockIdx.x] = static_cast<float>(logits[a.targets[blockIdx.x]] - log_sum);
  if (a.log_sums) a.log_sums[blockIdx.x] = static_cast<float>(log_sum);
  if (a.entropies) a.entropies[blockIdx.x] = static_cast<float>(log(sum) - weighted / sum);
}

template <class T>
__global__ void loss_slopes(LossSlopeArgs a) {
  const int64_t row = blockIdx.y, v = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (v >= a.vocab) return;
  const float p = expf(a.logits[row * a.vocab + v] - a.log_sums[row]);
  as<T>(a.out)[row * a.vocab + v] = narrow<T>(a.slopes[row] * ((v == a.targets[row] ? 1.0f : 0.0f) - p));
}

}  // namespace

void loss(const LossArgs &a, Type, void *stream) {
  GCOP_LAUNCH(loss_rows, static_cast<unsigned>(a.rows), kThreads, stream, a);
}
void loss_slope(const LossSlopeArgs &a, Type type, void *stream) {
  const dim3 grid(blocks_of(a.vocab, kThreads), static_cast<unsigned>(a.rows));
  GCOP_LAUNCH_TYPE(loss_slopes, type, grid, kThreads, stream, a);
}

}  // namespace gcop::guide_torch::device::cuda
