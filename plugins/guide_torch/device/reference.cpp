// The kernels as plain loops over host memory: what the .cu files are tested against, and what the device path runs on
// where there is no device.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "../draw.hpp"
#include "kernels.hpp"
#include "numbers.hpp"

namespace gcop::guide_torch::device {

namespace {

template <class T>
const T *as(const void *p) {
  return static_cast<const T *>(p);
}
template <class T>
T *as(void *p) {
  return static_cast<T *>(p);
}

// The table's function for both types.
template <class Args, void (*Float)(const Args &), void (*Half)(const Args &)>
void either(const Args &a, Type type, void *) {
  type == Type::f32 ? Float(a) : Half(a);
}
#define EITHER(Args, f) either<Args, f<float>, f<bf16>>

template <class T>
void embed(const EmbedArgs &a) {
  for (int64_t r = 0; r < a.rows; ++r)
    for (int64_t i = 0; i < a.hidden; ++i) a.x[r * a.hidden + i] = widen(as<T>(a.table)[a.tokens[r] * a.hidden + i]);
}

template <class T>
float inverse_rms(const T *x, int64_t n, float eps) {
  double squares = 0;
  for (int64_t i = 0; i < n; ++i) squares += static_cast<double>(widen(x[i])) * widen(x[i]);
  return static_cast<float>(1 / std::sqrt(squares / static_cast<double>(n) + eps));
}

template <class T>
void norm(const NormArgs &a) {
  for (int64_t r = 0; r < a.rows; ++r) {
    float *x = a.x + r * a.hidden;
    if (a.add)
      for (int64_t i = 0; i < a.hidden; ++i) x[i] += widen(as<T>(a.add)[r * a.hidden + i]);
    const float scale = inverse_rms(x, a.hidden, a.eps);
    for (int64_t i = 0; i < a.hidden; ++i)
      as<T>(a.out)[r * a.hidden + i] = narrow<T>(x[i] * scale * widen(as<T>(a.weight)[i]));
  }
}

template <class T>
void rope(const RopeArgs &a) {
  const int64_t half = a.dim / 2, width = (a.heads + 2 * a.kv_heads) * a.dim;
  std::vector<float> head(static_cast<size_t>(a.dim));
  for (int64_t r = 0; r < a.rows; ++r)
    for (int64_t h = 0; h < a.heads + 2 * a.kv_heads; ++h) {
      const int64_t at = r * width + h * a.dim;
      for (int64_t d = 0; d < a.dim; ++d)
        head[d] = widen(as<T>(a.in)[at + d]) + (a.bias ? widen(as<T>(a.bias)[h * a.dim + d]) : 0.0f);
      if (h < a.heads + a.kv_heads) {
        if (const void *weight = h < a.heads ? a.q_norm : a.k_norm) {
          const float scale = inverse_rms(head.data(), a.dim, a.eps);
          for (int64_t d = 0; d < a.dim; ++d) head[d] = head[d] * scale * widen(as<T>(weight)[d]);
        }
        for (int64_t d = 0; d < half; ++d) {
          const float c = a.cos[a.positions[r] * half + d], s = a.sin[a.positions[r] * half + d];
          const float x = head[d], y = head[d + half];
          head[d] = x * c - y * s;
          head[d + half] = y * c + x * s;
        }
      }
      for (int64_t d = 0; d < a.dim; ++d) as<T>(a.out)[at + d] = narrow<T>(head[d]);
      if (!a.keys || h < a.heads || a.slots[r] < 0) continue;
      const int64_t kv = (h - a.heads) % a.kv_heads;
      T *cache = as<T>(h < a.heads + a.kv_heads ? a.keys : a.values) +
                 ((a.slots[r] / kPageTokens * a.kv_heads + kv) * kPageTokens + a.slots[r] % kPageTokens) * a.dim;
      for (int64_t d = 0; d < a.dim; ++d) cache[d] = narrow<T>(head[d]);
    }
}

template <class T>
void attention(const AttentionArgs &a) {
  const int64_t group = a.heads / a.kv_heads, partial = a.dim + 2;
  for (int32_t t = 0; t < *a.task_count; ++t) {
    const AttentionTask &task = a.tasks[t];
    for (int32_t m = task.first_member; m < task.first_member + task.members; ++m)
      for (int64_t h = 0; h < a.heads; ++h) {
        const auto [row, slot] = a.members[m];
        const T *q = as<T>(a.q) + row * a.q_stride + h * a.dim;
        float *out = a.partials + (slot * a.heads + h) * partial;
        std::fill_n(out, partial, 0.0f);
        const int32_t end = std::min(task.end, a.limits[row]);
        std::vector<float> scores;
        const auto place = [&](int32_t token) {
          const int64_t block = a.tables[task.table + token / kPageTokens];
          return ((block * a.kv_heads + h / group) * kPageTokens + token % kPageTokens) * a.dim;
        };
        for (int32_t token = task.begin; token < end; ++token) {
          float dot = 0;
          for (int64_t d = 0; d < a.dim; ++d) dot += widen(q[d]) * widen(as<T>(a.keys)[place(token) + d]);
          scores.push_back(dot * a.scale);
        }
        float &max = out[a.dim], &sum = out[a.dim + 1];
        max = -INFINITY;
        for (float s : scores) max = std::max(max, s);
        for (size_t i = 0; i < scores.size(); ++i) {
          const float weight = std::exp(scores[i] - max);
          sum += weight;
          for (int64_t d = 0; d < a.dim; ++d)
            out[d] += weight * widen(as<T>(a.values)[place(task.begin + static_cast<int32_t>(i)) + d]);
        }
      }
  }
  for (int64_t r = 0; r < a.rows; ++r)
    for (int64_t h = 0; h < a.heads; ++h) {
      float max = -INFINITY, sum = 0;
      for (int32_t s = a.first_slot[r]; s < a.first_slot[r + 1]; ++s)
        max = std::max(max, a.partials[(s * a.heads + h) * partial + a.dim]);
      std::vector<float> out(static_cast<size_t>(a.dim));
      for (int32_t s = a.first_slot[r]; s < a.first_slot[r + 1]; ++s) {
        const float *from = a.partials + (s * a.heads + h) * partial;
        const float weight = std::exp(from[a.dim] - max);
        sum += weight * from[a.dim + 1];
        for (int64_t d = 0; d < a.dim; ++d) out[d] += weight * from[d];
      }
      for (int64_t d = 0; d < a.dim; ++d)
        as<T>(a.out)[(r * a.heads + h) * a.dim + d] = narrow<T>(sum > 0 ? out[d] / sum : 0);
    }
}

template <class T>
void swiglu(const SwigluArgs &a) {
  for (int64_t r = 0; r < a.rows; ++r)
    for (int64_t i = 0; i < a.width; ++i) {
      const float gate = widen(as<T>(a.gate_up)[r * 2 * a.width + i]);
      const float up = widen(as<T>(a.gate_up)[r * 2 * a.width + a.width + i]);
      as<T>(a.out)[r * a.width + i] = narrow<T>(gate / (1 + std::exp(-gate)) * up);
    }
}

// By draw.hpp itself, over statistics as the CPU's head leaves them.
void sample(const SampleArgs &a, Type, void *) {
  const int vocab = static_cast<int>(a.vocab);
  for (int64_t r = 0; r < a.rows; ++r) {
    const float *logits = a.logits + r * a.vocab;
    const DrawParameters &p = a.parameters[r];
    const Sampling sampling{p.temperature, p.top_p, p.top_k, 0};
    std::vector<LogitStats> stats;
    for (int begin = 0; begin < vocab; begin += kHeadChunk) {
      const int end = std::min(vocab, begin + kHeadChunk);
      LogitStats s{logits[begin], 0, 0, begin};
      for (int v = begin + 1; v < end; ++v)
        if (logits[v] > s.max) s.max = logits[v], s.argmax = v;
      for (int v = begin; v < end; ++v) {
        s.sum += std::exp(logits[v] - s.max);
        s.tempered_sum += std::exp((logits[v] - s.max) * sampling.inverse_temperature());
      }
      stats.push_back(s);
    }
    const LogitColumn column{logits, stats.data(), 1, vocab};
    const Drawn drawn = draw_at(column, sampling, p.uniform);
    a.out[r] = {drawn.token, drawn.logprob};
  }
}

struct Softmax {
  double max, sum, entropy;
  double log_sum() const { return max + std::log(sum); }
};
Softmax softmax(const float *logits, int64_t n) {
  Softmax s{*std::max_element(logits, logits + n), 0, 0};
  double weighted = 0;
  for (int64_t v = 0; v < n; ++v) {
    const double e = std::exp(logits[v] - s.max);
    s.sum += e;
    weighted += e * (logits[v] - s.max);
  }
  s.entropy = std::log(s.sum) - weighted / s.sum;
  return s;
}

void loss(const LossArgs &a, Type, void *) {
  for (int64_t r = 0; r < a.rows; ++r) {
    const float *logits = a.logits + r * a.vocab;
    const Softmax s = softmax(logits, a.vocab);
    a.logprobs[r] = static_cast<float>(logits[a.targets[r]] - s.log_sum());
    if (a.log_sums) a.log_sums[r] = static_cast<float>(s.log_sum());
    if (a.entropies) a.entropies[r] = static_cast<float>(s.entropy);
  }
}

template <class T>
void loss_slope(const LossSlopeArgs &a) {
  for (int64_t r = 0; r < a.rows; ++r)
    for (int64_t v = 0; v < a.vocab; ++v) {
      const float p = std::exp(a.logits[r * a.vocab + v] - a.log_sums[r]);
      as<T>(a.out)[r * a.vocab + v] = narrow<T>(a.slopes[r] * ((v == a.targets[r] ? 1.0f : 0.0f) - p));
    }
}

// y = x s w with s = 1 / rms(x): dx = s (w dy) - x s^3 / n * sum(w dy x); dw = sum over rows of dy x s.
template <class T>
void norm_slope(const NormSlopeArgs &a) {
  for (int64_t i = 0; i < a.rows * a.groups; ++i) {
    const int64_t at = i / a.groups * a.stride + i % a.groups * a.width;
    T *dy = as<T>(a.dy) + at;
    const auto x = [&](int64_t k) { return a.x_residual ? a.x_residual[at + k] : widen(as<T>(a.x_heads)[at + k]); };
    double squares = 0, dot = 0;
    for (int64_t k = 0; k < a.width; ++k) {
      squares += static_cast<double>(x(k)) * x(k);
      dot += static_cast<double>(widen(dy[k])) * widen(as<T>(a.weight)[k]) * x(k);
    }
    const double n = static_cast<double>(a.width), s = 1 / std::sqrt(squares / n + a.eps);
    for (int64_t k = 0; k < a.width; ++k) {
      if (a.dweight) a.dweight[k] += static_cast<float>(widen(dy[k]) * x(k) * s);
      const auto dx = static_cast<float>(s * widen(dy[k]) * widen(as<T>(a.weight)[k]) - x(k) * s * s * s / n * dot);
      if (a.sum)
        a.sum[at + k] += dx;
      else
        dy[k] = narrow<T>(dx);
    }
  }
}

template <class T>
void rope_slope(const RopeSlopeArgs &a) {
  const int64_t half = a.dim / 2, width = (a.heads + 2 * a.kv_heads) * a.dim;
  for (int64_t r = 0; r < a.rows; ++r)
    for (int64_t h = 0; h < a.heads + a.kv_heads; ++h) {
      T *d = as<T>(a.d) + r * width + h * a.dim;
      for (int64_t k = 0; k < half; ++k) {
        const float c = a.cos[a.positions[r] * half + k], s = a.sin[a.positions[r] * half + k];
        const float x = widen(d[k]), y = widen(d[k + half]);
        d[k] = narrow<T>(x * c + y * s);
        d[k + half] = narrow<T>(y * c - x * s);
      }
    }
}

template <class T>
void swiglu_slope(const SwigluSlopeArgs &a) {
  for (int64_t r = 0; r < a.rows; ++r)
    for (int64_t i = 0; i < a.width; ++i) {
      const int64_t g = r * 2 * a.width + i, u = g + a.width;
      const float gate = widen(as<T>(a.gate_up)[g]), up = widen(as<T>(a.gate_up)[u]);
      const float d = widen(as<T>(a.dout)[r * a.width + i]), sigmoid = 1 / (1 + std::exp(-gate));
      as<T>(a.dgate_up)[g] = narrow<T>(d * up * sigmoid * (1 + gate * (1 - sigmoid)));
      as<T>(a.dgate_up)[u] = narrow<T>(d * gate * sigmoid);
    }
}

template <class T>
void sum_rows(const SumRowsArgs &a) {
  for (int64_t i = 0; i < a.count; ++i)
    for (int64_t k = 0; k < a.width; ++k) {
      float sum = 0;
      for (int32_t j = a.offsets[i]; j < a.offsets[i + 1]; ++j) {
        const int64_t at = a.sources[j] * a.in_stride + k;
        sum += a.floats ? as<float>(a.in)[at] : widen(as<T>(a.in)[at]);
      }
      const int64_t to = a.targets[i] * a.out_stride + k;
      if (a.floats)
        as<float>(a.out)[to] += sum;
      else
        as<T>(a.out)[to] = narrow<T>(sum);
    }
}

template <class T>
void column_sum(const ColumnSumArgs &a) {
  for (int64_t k = 0; k < a.width; ++k) {
    double sum = 0;
    for (int64_t r = 0; r < a.rows; ++r) sum += widen(as<T>(a.in)[r * a.stride + k]);
    a.out[k] += static_cast<float>(sum);
  }
}

template <class T>
void round_all(const RoundArgs &a) {
  for (int64_t i = 0; i < a.count; ++i) as<T>(a.out)[i] = narrow<T>(a.x[i]);
}

void squares(const SquaresArgs &a, Type, void *) {
  constexpr int64_t kSlice = 65536;
  for (int64_t begin = 0; begin < a.count; begin += kSlice) {
    double sum = 0;
    for (int64_t i = begin; i < std::min(a.count, begin + kSlice); ++i) sum += static_cast<double>(a.x[i]) * a.x[i];
    a.out[begin / kSlice] = sum;
  }
}

template <class T>
void adam(const AdamArgs &a) {
  for (int64_t i = 0; i < a.count; ++i) {
    const float g = a.gradients[i] * a.scale;
    a.first[i] = a.beta1 * a.first[i] + (1 - a.beta1) * g;
    a.second[i] = a.beta2 * a.second[i] + (1 - a.beta2) * g * g;
    a.weights[i] = a.weights[i] * a.keep - a.rate * a.first[i] / (std::sqrt(a.second[i]) * a.unbias + a.eps);
    if (a.rounded) as<T>(a.rounded)[i] = narrow<T>(a.weights[i]);
  }
}

template <class T>
void merge(const MergeArgs &a) {
  for (int64_t r = 0; r < a.rows; ++r)
    for (int64_t c = 0; c < a.width; ++c) {
      float sum = a.base[r * a.width + c];
      for (int64_t k = 0; k < a.rank; ++k) sum += a.scale * a.b[r * a.rank + k] * a.a[k * a.width + c];
      as<T>(a.out)[r * a.width + c] = narrow<T>(sum);
    }
}

const char *failure() { return nullptr; }

constexpr KernelTable kTable = {kTableVersion,
                                "reference",
                                EITHER(EmbedArgs, embed),
                                EITHER(NormArgs, norm),
                                EITHER(RopeArgs, rope),
                                EITHER(AttentionArgs, attention),
                                EITHER(SwigluArgs, swiglu),
                                sample,
                                loss,
                                EITHER(LossSlopeArgs, loss_slope),
                                EITHER(NormSlopeArgs, norm_slope),
                                EITHER(RopeSlopeArgs, rope_slope),
                                EITHER(SwigluSlopeArgs, swiglu_slope),
                                EITHER(SumRowsArgs, sum_rows),
                                EITHER(ColumnSumArgs, column_sum),
                                EITHER(RoundArgs, round_all),
                                squares,
                                EITHER(AdamArgs, adam),
                                EITHER(MergeArgs, merge),
                                nullptr,
                                nullptr,
                                nullptr,
                                nullptr,
                                failure};

}  // namespace

const KernelTable &reference_kernels() { return kTable; }

}  // namespace gcop::guide_torch::device
