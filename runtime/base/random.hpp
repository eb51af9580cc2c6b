// Counter-based random numbers: a draw is a pure function of (seed, label, indices), never of how many draws came
// before. Stable forever: results in stores and reports depend on it. Any thread.
//
// Definition: counter = first 16 bytes of SHA-256(label, one zero byte, each index as 8 bytes little-endian), read as
// four little-endian words; key = seed, low word first; Philox4x32 with 10 rounds (Salmon et al., SC 2011); the draw is
// the first two output words, low word first.
#pragma once
#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

namespace gcop {

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

uint64_t draw(uint64_t seed, std::string_view label, std::span<const uint64_t> indices);
double draw_unit(uint64_t seed, std::string_view label, std::span<const uint64_t> indices);  // [0, 1), 53 bits
uint64_t draw_below(uint64_t bound, uint64_t seed, std::string_view label,
                    std::span<const uint64_t> indices);  // [0, bound)

inline uint64_t draw(uint64_t seed, std::string_view label, std::initializer_list<uint64_t> indices) {
  return draw(seed, label, std::span(indices.begin(), indices.size()));
}
inline double draw_unit(uint64_t seed, std::string_view label, std::initializer_list<uint64_t> indices) {
  return draw_unit(seed, label, std::span(indices.begin(), indices.size()));
}
inline uint64_t draw_below(uint64_t bound, uint64_t seed, std::string_view label,
                           std::initializer_list<uint64_t> indices) {
  return draw_below(bound, seed, label, std::span(indices.begin(), indices.size()));
}

}  // namespace gcop
