// The losses of gcop.guide/1 (formulas: sdk/include/gcop/plugin.h) as functions of log-probabilities alone: values and
// derivatives in closed form, so that the trainer needs no graph above the logits. Pure functions.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include <gcop/plugin.h>

namespace gcop::guide_torch {

// The masked tokens of one sequence.
struct LossTokens {
  std::span<const float> logprobs;
  std::span<const float> old_logprobs;  // empty: on policy
  std::span<const float> ref_logprobs;  // empty: no KL
  float advantage = 0;
};

// Of the whole step, known before its first micro-batch.
struct LossScale {
  size_t sequences = 0, tokens = 0;
};

struct LossSums {
  double loss = 0, kl = 0, entropy = 0, clipped = 0, ratio_max = 0;  // kl, entropy, clipped: sums over tokens
};

// Adds this sequence's part to `sums`; slopes[t] = d loss / d logprobs[t].
void add_loss(const LossTokens &tokens, const gcop_loss_options &options, const LossScale &scale,
              std::span<float> slopes, LossSums &sums);

}  // namespace gcop::guide_torch
