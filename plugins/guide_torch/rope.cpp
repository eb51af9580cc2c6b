#include "rope.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace gcop::guide_torch {
namespace {

// The pair whose angle makes `turns` full turns over the original context (YaRN, arXiv 2309.00071, eq. 17 ff.).
double pair_of(double turns, const Rope &rope, double dim) {
  return dim * std::log(static_cast<double>(rope.original_context) / (turns * 2 * std::numbers::pi)) /
         (2 * std::log(rope.theta));
}

}  // namespace

Result<> check_rope(const Rope &rope) {
  const auto bad = [](const std::string &name, double value, const char *wanted) {
    return invalid("rotary positions: " + name + " is " + std::to_string(value) + "; " + wanted);
  };
  if (!(rope.theta > 1) || !std::isfinite(rope.theta)) return bad("rope_theta", rope.theta, "it must be above 1");
  if (rope.type == "default") return Unit{};
  if (rope.type != "linear" && rope.type != "llama3" && rope.type != "yarn")
    return Error{
        Code::unsupported,
        "rotary positions of type '" + rope.type + "' are not supported; gcop runs default, linear, llama3 and yarn",
        {}};
  if (!(rope.factor >= 1) || !std::isfinite(rope.factor)) return bad("factor", rope.factor, "it must be at least 1");
  if (rope.type == "linear") return Unit{};
  if (rope.original_context < 1)
    return bad("original_max_position_embeddings", static_cast<double>(rope.original_context), "it must be positive");
  if (rope.type == "llama3" && !(rope.low_freq_factor > 0 && rope.high_freq_factor > rope.low_freq_factor))
    return bad("high_freq_factor", rope.high_freq_factor, "it must be above low_freq_factor, and that above 0");
  if (rope.type == "yarn" && !(rope.beta_slow > 0 && rope.beta_fast >= rope.beta_slow))
    return bad("beta_fast", rope.beta_fast, "it must not be below beta_slow, and that above 0");
  if (!(rope.attention_factor >= 0)) return bad("attention_factor", rope.attention_factor, "it must be positive");
  return Unit{};
}

std::vector<float> rope_frequencies(const Rope &rope, int64_t head_dim) {
  const double dim = static_cast<double>(head_dim), context = static_cast<double>(rope.original_context);
  double low = 0, high = 0;
  if (rope.type == "yarn") {
    low = std::max(std::floor(pair_of(rope.beta_fast, rope, dim)), 0.0);
    high = std::min(std::ceil(pair_of(rope.beta_slow, rope, dim)), dim - 1);
    if (low == high) high += 0.001;
  }
  std::vector<float> out(static_cast<size_t>(head_dim / 2));
  for (size_t i = 0; i < out.size(); ++i) {
    const double plain = 1 / std::pow(rope.theta, 2 * static_cast<double>(i) / dim), stretched = plain / rope.factor;
    double f = plain;
    if (rope.type == "linear") f = stretched;
    if (rope.type == "llama3") {
      const double turns = context * plain / (2 * std::numbers::pi);  // over the original context
      const double smooth =
          std::clamp((turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor), 0.0, 1.0);
      f = (1 - smooth) * stretched + smooth * plain;
    }
    if (rope.type == "yarn") {
      const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
      f = ramp * stretched + (1 - ramp) * plain;
    }
    out[i] = static_cast<float>(f);
  }
  return out;
}

float rope_scale(const Rope &rope) {
  if (rope.type != "yarn") return 1;
  return static_cast<float>(rope.attention_factor > 0 ? rope.attention_factor : 0.1 * std::log(rope.factor) + 1);
}

Result<Rope> rope_from_divisors(const Rope &plain, const std::vector<float> &divisors) {
  const int64_t head_dim = static_cast<int64_t>(2 * divisors.size());
  const std::vector<float> base = rope_frequencies(plain, head_dim);
  Rope rope = plain;
  rope.type = "llama3";
  rope.original_context = 8192;  // of Llama 3, and of what grew from it
  rope.factor = divisors.empty() ? 0 : std::round(*std::max_element(divisors.begin(), divisors.end()));
  if (rope.factor >= 1) {
    const std::vector<float> want = rope_frequencies(rope, head_dim);
    bool same = true;
    for (size_t i = 0; i < divisors.size(); ++i)
      same = same && std::abs(base[i] / divisors[i] - want[i]) <= 1e-5f * want[i];
    if (same) return rope;
  }
  return Error{Code::unsupported, "the rotary divisors (rope_freqs.weight) are not those of Llama 3's scaling", {}};
}

}  // namespace gcop::guide_torch
