#include "draw.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace gcop::guide_torch {

double uniform(uint64_t seed, uint64_t index) {
  uint32_t key[2] = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
  uint32_t c[4] = {static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), 0, 0};
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * c[0], b = uint64_t{0xCD9E8D57} * c[2];
    const uint32_t next[4] = {static_cast<uint32_t>(b >> 32) ^ c[1] ^ key[0], static_cast<uint32_t>(b),
                              static_cast<uint32_t>(a >> 32) ^ c[3] ^ key[1], static_cast<uint32_t>(a)};
    std::copy(next, next + 4, c);
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return static_cast<double>((static_cast<uint64_t>(c[0]) << 32 | c[1]) >> 11) * 0x1p-53;
}

namespace {

double top(const LogitColumn &column) {
  float max = column.chunk(0).max;
  for (int c = 1; c < column.chunks(); ++c) max = std::max(max, column.chunk(c).max);
  return max;
}

int32_t greedy(const LogitColumn &column) {
  int best = 0;
  for (int c = 1; c < column.chunks(); ++c)
    if (column.chunk(c).max > column.chunk(best).max) best = c;
  return column.chunk(best).argmax;
}

// Inverse of the cumulative distribution over ids: first the chunk, by the sums the head left, then inside it.
int32_t from_all(const LogitColumn &column, double inverse, double u) {
  const double max = top(column);
  std::vector<double> mass(column.chunks());
  double total = 0;
  for (int c = 0; c < column.chunks(); ++c) {
    mass[c] = column.chunk(c).tempered_sum * std::exp((column.chunk(c).max - max) * inverse);
    total += mass[c];
  }
  double left = u * total;
  int c = 0;
  while (c + 1 < column.chunks() && left >= mass[c]) left -= mass[c++];
  const int end = std::min(column.vocab, (c + 1) * kHeadChunk);
  int32_t last = column.chunk(c).argmax;  // where rounding leaves a remainder
  for (int v = c * kHeadChunk; v < end; ++v) {
    const double weight = std::exp((column.at(v) - max) * inverse);
    if (weight > 0 && left < weight) return v;
    left -= weight;
  }
  return last;
}

struct Candidate {
  float logit;
  int32_t id;
  bool operator<(const Candidate &other) const {  // best first; equal logits by id
    return logit != other.logit ? logit > other.logit : id < other.id;
  }
};

// The chunk maxima bound what can be a candidate, so most of the vocabulary is never looked at.
int32_t from_best(const LogitColumn &column, const Sampling &s, double u) {
  const double inverse = s.inverse_temperature(), max = top(column);
  double total = 0;
  for (int c = 0; c < column.chunks(); ++c)
    total += column.chunk(c).tempered_sum * std::exp((column.chunk(c).max - max) * inverse);
  double floor = -INFINITY;
  if (s.top_k > 0 && s.top_k <= static_cast<uint32_t>(column.chunks())) {
    std::vector<float> maxima(column.chunks());
    for (int c = 0; c < column.chunks(); ++c) maxima[c] = column.chunk(c).max;
    std::nth_element(maxima.begin(), maxima.begin() + (s.top_k - 1), maxima.end(), std::greater<>());
    floor = maxima[s.top_k - 1];
  } else if (s.top_k == 0) {
    // All tokens below this probability together hold less than 1 - top_p: never part of the nucleus.
    floor = max + std::log((1 - static_cast<double>(s.top_p)) / column.vocab * total) / inverse;
    floor = std::min(floor, max);
  }
  std::vector<Candidate> best;
  for (int c = 0; c < column.chunks(); ++c) {
    if (column.chunk(c).max < floor) continue;
    for (int v = c * kHeadChunk; v < std::min(column.vocab, (c + 1) * kHeadChunk); ++v)
      if (column.at(v) >= floor) best.push_back({column.at(v), v});
  }
  std::sort(best.begin(), best.end());
  if (s.top_k > 0) {
    if (best.size() > s.top_k) best.resize(s.top_k);
    total = 0;
    for (const Candidate &b : best) total += std::exp((b.logit - max) * inverse);
  }
  double kept = 0;
  size_t n = 0;
  while (n < best.size() && (n == 0 || kept < s.top_p * total)) kept += std::exp((best[n++].logit - max) * inverse);
  double left = u * kept;
  for (size_t i = 0; i < n; ++i) {
    left -= std::exp((best[i].logit - max) * inverse);
    if (left < 0) return best[i].id;
  }
  return best[n - 1].id;
}

}  // namespace

double log_sum_exp(const LogitColumn &column) {
  const double max = top(column);
  double sum = 0;
  for (int c = 0; c < column.chunks(); ++c) sum += column.chunk(c).sum * std::exp(column.chunk(c).max - max);
  return max + std::log(sum);
}

Drawn draw(const LogitColumn &column, const Sampling &sampling, uint64_t index) {
  return draw_at(column, sampling, sampling.temperature > 0 ? uniform(sampling.seed, index) : 0);
}

Drawn draw_at(const LogitColumn &column, const Sampling &sampling, double u) {
  int32_t token;
  if (sampling.temperature <= 0) {
    token = greedy(column);
  } else {
    token = sampling.top_k == 0 && sampling.top_p >= 1 ? from_all(column, sampling.inverse_temperature(), u)
                                                       : from_best(column, sampling, u);
  }
  return {token, static_cast<float>(column.at(token) - log_sum_exp(column))};
}

}  // namespace gcop::guide_torch
