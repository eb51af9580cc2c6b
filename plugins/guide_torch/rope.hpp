// Rotary position embeddings: the frequencies of the variants that published models use, computed as transformers
// computes them (modeling_rope_utils.py), so that long contexts agree. Pure functions, any thread.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.hpp"

namespace gcop::guide_torch {

struct Rope {
  std::string type = "default";  // default, linear, llama3 or yarn
  double theta = 10000;
  double factor = 1;                                 // how much longer the context became; not of default
  int64_t original_context = 0;                      // positions before that; of llama3 and yarn
  double low_freq_factor = 1, high_freq_factor = 4;  // llama3
  double beta_fast = 32, beta_slow = 1;              // yarn
  double attention_factor = 0;                       // yarn: scales cos and sin; 0 = 0.1 ln(factor) + 1
};

Result<> check_rope(const Rope &rope);
// Angle per position of each rotated pair of a head: head_dim / 2 values.
std::vector<float> rope_frequencies(const Rope &rope, int64_t head_dim);
// What cos and sin are multiplied with.
float rope_scale(const Rope &rope);
// A llama.cpp file stores llama3's scaling as divisors of the default frequencies ("rope_freqs.weight"). Finds the
// parameters that give them; an error where none of the published ones do.
Result<Rope> rope_from_divisors(const Rope &plain, const std::vector<float> &divisors);

}  // namespace gcop::guide_torch
