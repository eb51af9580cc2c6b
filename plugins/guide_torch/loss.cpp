#include "loss.hpp"

#include <algorithm>
#include <cmath>

namespace gcop::guide_torch {

namespace {

// -min(min(w, delta) A, clip(w) A) and its derivative by log w.
struct Term {
  double value, slope;
  bool clipped;
};
Term surrogate(double w, double a, const gcop_loss_options &o) {
  const bool capped = o.clip_delta > 0 && w > o.clip_delta;
  const double low = 1 - static_cast<double>(o.clip_low), high = 1 + static_cast<double>(o.clip_high);
  const double free = (capped ? static_cast<double>(o.clip_delta) : w) * a, bounded = std::clamp(w, low, high) * a;
  const bool clipped = (w < low && a < 0) || (w > high && a > 0);
  if (bounded < free) return {-bounded, w < low || w > high ? 0 : -a * w, clipped};
  return {-free, capped ? 0 : -a * w, clipped};
}

}  // namespace

void add_loss(const LossTokens &t, const gcop_loss_options &o, const LossScale &scale, std::span<float> slopes,
              LossSums &sums) {
  const size_t n = t.logprobs.size();
  if (n == 0) return;
  if (o.objective == GCOP_OBJECTIVE_NLL) {
    for (size_t i = 0; i < n; ++i) {
      sums.loss -= t.logprobs[i] / static_cast<double>(scale.tokens);
      slopes[i] = static_cast<float>(-1.0 / static_cast<double>(scale.tokens));
    }
    return;
  }
  double weight = 1;
  switch (o.reduction) {
    case GCOP_REDUCE_DR_GRPO: weight = 1 / (static_cast<double>(scale.sequences) * o.max_len); break;
    case GCOP_REDUCE_DAPO: weight = 1 / static_cast<double>(scale.tokens); break;
    default: weight = 1 / (static_cast<double>(scale.sequences) * static_cast<double>(n));
  }
  double mean = 0;
  if (!t.old_logprobs.empty() && o.ratio_level == GCOP_RATIO_SEQUENCE) {
    for (size_t i = 0; i < n; ++i) mean += static_cast<double>(t.logprobs[i]) - t.old_logprobs[i];
    mean /= static_cast<double>(n);
  }
  for (size_t i = 0; i < n; ++i) {
    double log_ratio = 0;
    if (!t.old_logprobs.empty())
      log_ratio = o.ratio_level == GCOP_RATIO_SEQUENCE ? mean : static_cast<double>(t.logprobs[i]) - t.old_logprobs[i];
    const double w = std::exp(log_ratio);
    // At sequence level each token's slope is 1/n of the sum over n equal terms: the same as its own term's slope.
    const Term term = surrogate(w, t.advantage, o);
    double value = term.value, slope = term.slope;
    if (!t.ref_logprobs.empty()) {
      const double d = static_cast<double>(t.ref_logprobs[i]) - t.logprobs[i];
      const double k3 = std::expm1(d) - d;
      sums.kl += k3;
      value += o.kl_beta * k3;
      slope -= o.kl_beta * std::expm1(d);
    }
    sums.loss += weight * value;
    sums.clipped += term.clipped ? 1 : 0;
    sums.ratio_max = std::max(sums.ratio_max, w);
    slopes[i] = static_cast<float>(weight * slope);
  }
}

}  // namespace gcop::guide_torch
