// The draw of draw.hpp, one block for each row. Sums of probabilities are whole numbers (units of 2^-40 of the best
// token's), so they are exact and do not depend on the order of threads. Truncation by top_k and top_p, and the draw
// among what is left, need tokens from best to worst: three selections over the bits of the logits stand in for
// sorting.
#include "block.hpp"

namespace gcop::guide_torch::device::cuda {

namespace {

constexpr int kThreads = 512;

struct Shared {
  Mass bins[256], parts[kThreads], rest;
  uint32_t digit;
  int32_t token;
};

struct Row {
  const float *logits;
  int32_t vocab;
  float max;
  double inverse;
  __device__ Mass mass_of(float logit) const {
    const double e = exp((static_cast<double>(logit) - max) * inverse);
    return e > 0 ? mass(e) : 0;
  }
};

// From best to worst, the token at which the sum of weigh(logit) first exceeds `target`, which is below the whole sum:
// its logit as an ordered number; target becomes what is left of it where tokens with this logit begin.
template <class Weigh>
__device__ uint32_t select(const Row &row, Shared &s, Mass &target, Weigh weigh) {
  uint32_t found = 0, known = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    for (int i = threadIdx.x; i < 256; i += kThreads) s.bins[i] = 0;
    __syncthreads();
    uint32_t bin = 256;  // neighbours often share a bin: one atomic for each run of them
    Mass run = 0;
    for (int32_t v = threadIdx.x; v < row.vocab; v += kThreads) {
      const uint32_t key = ordered(row.logits[v]);
      if ((key & known) != found) continue;
      const uint32_t digit = key >> shift & 255;
      if (digit != bin) {
        if (run) atomicAdd(&s.bins[bin], run);
        bin = digit;
        run = 0;
      }
      run += weigh(row.logits[v]);
    }
    if (run) atomicAdd(&s.bins[bin], run);
    __syncthreads();
    if (threadIdx.x == 0) {
      uint32_t digit = 255;
      Mass left = target;
      while (digit > 0 && left >= s.bins[digit]) left -= s.bins[digit--];
      s.digit = digit;
      s.rest = left;
    }
    __syncthreads();
    found |= s.digit << shift;
    known |= 255u << shift;
    target = s.rest;
    __syncthreads();
  }
  return found;
}

// From the lowest id up, the token at which the sum of weigh(logit) first exceeds `target`; -1 if it never does.
template <class Weigh>
__device__ int32_t by_id(const Row &row, Shared &s, Mass target, Weigh weigh) {
  const int32_t each = (row.vocab + kThreads - 1) / kThreads, begin = static_cast<int32_t>(threadIdx.x) * each;
  const int32_t end = begin + each < row.vocab ? begin + each : row.vocab;
  Mass sum = 0;
  for (int32_t v = begin; v < end; ++v) sum += weigh(row.logits[v]);
  s.parts[threadIdx.x] = sum;
  if (threadIdx.x == 0) s.token = -1;
  __syncthreads();
  if (threadIdx.x == 0) {
    uint32_t i = 0;
    while (i + 1 < kThreads && target >= s.parts[i]) target -= s.parts[i++];
    s.digit = i;
    s.rest = target;
  }
  __syncthreads();
  if (threadIdx.x == s.digit) {
    Mass left = s.rest;
    for (int32_t v = begin; v < end; ++v) {
      const Mass own = weigh(row.logits[v]);
      if (left < own) {
        s.token = v;
        break;
      }
      left -= own;
    }
  }
  __syncthreads();
  const int32_t token = s.token;
  __syncthreads();
  return token;
}

__device__ inline Mass below(double share, Mass whole) {  // floor(share * whole), and less than whole
  const Mass at = static_cast<Mass>(share * static_cast<double>(whole));
  return at < whole ? at : whole - 1;
}

__global__ void __launch_bounds__(kThreads) sample_rows(SampleArgs a) {
  __shared__ Shared s;
  const DrawParameters p = a.parameters[blockIdx.x];
  Row row{a.logits + blockIdx.x * a.vocab, static_cast<int32_t>(a.vocab), -infinity(),
          static_cast<double>(p.temperature > 0 ? 1 / p.temperature : 1.0f)};
  float most = -infinity();
  for (int32_t v = threadIdx.x; v < row.vocab; v += kThreads) most = row.logits[v] > most ? row.logits[v] : most;
  row.max = over_block(most, Most());
  double sum = 0;
  for (int32_t v = threadIdx.x; v < row.vocab; v += kThreads) sum += expf(row.logits[v] - row.max);
  sum = over_block(sum, Add());

  const auto mass_of = [&](float logit) { return row.mass_of(logit); };
  int32_t token;
  if (p.temperature <= 0) {
    token = by_id(row, s, 0, [&](float logit) { return static_cast<Mass>(logit == row.max); });
  } else {
    Mass total = 0;
    for (int32_t v = threadIdx.x; v < row.vocab; v += kThreads) total += mass_of(row.logits[v]);
    total = over_block(total, Add());
    if (p.top_k == 0 && p.top_p >= 1) {
      token = by_id(row, s, below(p.uniform, total), mass_of);
    } else {
      const auto same = [](uint32_t key) { return [key](float l) { return static_cast<Mass>(ordered(l) == key); }; };
      const auto weight_of = [&](uint32_t key) {  // of a token with this logit
        const uint32_t bits = key & 0x80000000u ? key & 0x7fffffffu : ~key;
        float logit;
        memcpy(&logit, &bits, 4);
        return mass_of(logit);
      };
      // Which of the tokens with one logit, `rest` into their mass; it is not 0 where a target fell among them.
      const auto among = [](Mass rest, Mass own) { return own ? rest / own : 0; };
      if (p.top_k > 0 && p.top_k < static_cast<uint32_t>(row.vocab)) {
        Mass ties = p.top_k - 1;
        const uint32_t key = select(row, s, ties, [](float) { return Mass{1}; });
        Mass above = 0;
        for (int32_t v = threadIdx.x; v < row.vocab; v += kThreads)
          if (ordered(row.logits[v]) > key) above += mass_of(row.logits[v]);
        total = over_block(above, Add()) + (ties + 1) * weight_of(key);
      }
      Mass kept = total;
      if (p.top_p < 1) {
        const double wanted = ceil(static_cast<double>(p.top_p) * static_cast<double>(total));
        const Mass last = wanted >= 1 ? static_cast<Mass>(wanted) - 1 : 0;
        Mass rest = last < total ? last : total - 1;
        const Mass at = rest;
        const uint32_t key = select(row, s, rest, mass_of);
        kept = at - rest + (among(rest, weight_of(key)) + 1) * weight_of(key);
      }
      Mass rest = below(p.uniform, kept);
      const uint32_t key = select(row, s, rest, mass_of);
      token = by_id(row, s, among(rest, weight_of(key)), same(key));
    }
  }
  if (threadIdx.x != 0) return;
  if (token < 0) token = 0;  // no number among the logits: the log-probability says so
  a.out[blockIdx.x] = {token, static_cast<float>(row.logits[token] - (row.max + log(sum)))};
}

}  // namespace

void sample(const SampleArgs &a, Type, void *stream) {
  GCOP_LAUNCH(sample_rows, static_cast<unsigned>(a.rows), kThreads, stream, a);
}

}  // namespace gcop::guide_torch::device::cuda
