#include "learner.hpp"

#include <cmath>

namespace gcop::guide_torch {

namespace {
// Counted from 1, as Lua does.
std::string sequence(size_t i) { return "training sequence " + std::to_string(i + 1); }
}  // namespace

Result<size_t> check_request(const gcop_train_request &r, int64_t vocab, int64_t context) {
  if (r.n == 0) return invalid("a training step needs at least one sequence; it got none");
  const gcop_loss_options &o = *r.loss;
  if (o.objective > GCOP_OBJECTIVE_POLICY || o.reduction > GCOP_REDUCE_GRPO || o.ratio_level > GCOP_RATIO_SEQUENCE)
    return invalid("unknown objective, reduction or ratio level in the loss options");
  const bool policy = o.objective == GCOP_OBJECTIVE_POLICY;
  if (policy && !r.advantages) return invalid("the policy objective needs advantages, one for each sequence");
  if (policy && o.reduction == GCOP_REDUCE_DR_GRPO && o.max_len == 0)
    return invalid("the reduction dr_grpo divides by max_len, which is 0; set it to the longest completion allowed");
  if (policy && o.kl_beta != 0 && !r.ref_logprobs)
    return invalid("kl_beta is " + std::to_string(o.kl_beta) +
                   " but there are no ref_logprobs; score the reference first");
  for (const auto &[name, beta] : {std::pair{"beta1", r.optimizer->beta1}, {"beta2", r.optimizer->beta2}})
    if (!(beta >= 0 && beta < 1))  // 1 - beta^step divides the moments
      return invalid(std::string("the optimizer's ") + name + " is " + std::to_string(beta) +
                     "; it must be at least 0 and less than 1");
  size_t masked = 0;
  for (size_t i = 0; i < r.n; ++i) {
    const uint64_t begin = r.offsets[i], end = r.offsets[i + 1];
    if (end <= begin) return invalid(sequence(i) + " is empty");
    if (end - begin > static_cast<uint64_t>(context))
      return invalid(sequence(i) + " has " + std::to_string(end - begin) + " tokens and the context holds " +
                     std::to_string(context));
    if (r.mask[begin]) return invalid(sequence(i) + ": its first token is masked in, but nothing comes before it");
    for (uint64_t j = begin; j < end; ++j) {
      if (r.tokens[j] < 0 || r.tokens[j] >= vocab)
        return invalid(sequence(i) + ": token id " + std::to_string(r.tokens[j]) + " is outside the vocabulary of " +
                       std::to_string(vocab));
      masked += r.mask[j] != 0;
      for (const auto &[name, values] : {std::pair{"old_logprob", r.old_logprobs}, {"ref_logprob", r.ref_logprobs}})
        if (r.mask[j] && values && !std::isfinite(values[j]))
          return invalid(sequence(i) + ", token " + std::to_string(j - begin + 1) + ": its " + name + " is " +
                         std::to_string(values[j]) + "; a finite number is wanted");
    }
    if (policy && !std::isfinite(r.advantages[i]))
      return invalid(sequence(i) + ": its advantage is " + std::to_string(r.advantages[i]) +
                     "; a finite number is wanted");
  }
  if (masked == 0) return invalid("no token is masked in: there is nothing to train on");
  return masked;
}

double clip_scale(double norm, const gcop_train_request &r) {
  const double limit = r.optimizer->max_grad_norm;
  return limit > 0 && norm > limit ? limit / (norm + 1e-6) : 1;
}

TrainStats train_stats(const LossSums &sums, const gcop_train_request &r, size_t masked, double norm) {
  const double tokens = static_cast<double>(masked);
  const bool policy = r.loss->objective == GCOP_OBJECTIVE_POLICY;
  return {sums.loss, sums.kl / tokens, sums.entropy / tokens, sums.clipped / tokens, policy ? sums.ratio_max : 1, norm,
          masked};
}

}  // namespace gcop::guide_torch
