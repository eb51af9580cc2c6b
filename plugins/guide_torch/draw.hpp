// Draws a token from a row of logits. Counter-based: token t of a sequence uses number t of the stream `seed`, so a
// draw depends on nothing but (seed, t, logits). Any thread; pure functions.
#pragma once
#include <cstdint>

#include "kernels.hpp"

namespace gcop::guide_torch {

// Number `index` of the stream `seed`, in [0, 1): Philox4x32-10 (Salmon et al. 2011).
double uniform(uint64_t seed, uint64_t index);

// One lane of the logits that Forward::head left.
struct LogitColumn {
  const float *logits;      // id v at logits[v * lanes]
  const LogitStats *stats;  // chunk c at stats[c * lanes]
  int lanes, vocab;
  float at(int v) const { return logits[static_cast<int64_t>(v) * lanes]; }
  int chunks() const { return (vocab + kHeadChunk - 1) / kHeadChunk; }
  const LogitStats &chunk(int c) const { return stats[static_cast<int64_t>(c) * lanes]; }
};

struct Sampling {
  float temperature = 0;  // 0 = greedy
  float top_p = 1;
  uint32_t top_k = 0;
  uint64_t seed = 0;
  // What the head must know while it sums; 1 for greedy.
  float inverse_temperature() const { return temperature > 0 ? 1 / temperature : 1; }
};

struct Drawn {
  int32_t token;
  float logprob;  // at temperature 1, untruncated
};

double log_sum_exp(const LogitColumn &column);
Drawn draw(const LogitColumn &column, const Sampling &sampling, uint64_t index);
// The same with the number `u` in [0, 1) for the stream's.
Drawn draw_at(const LogitColumn &column, const Sampling &sampling, double u);

}  // namespace gcop::guide_torch
