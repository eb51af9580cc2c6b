#include "base/random.hpp"

#include "base/hash.hpp"

namespace gcop {

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> c, std::array<uint32_t, 2> k) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * c[0], b = uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<uint32_t>(b >> 32) ^ c[1] ^ k[0], static_cast<uint32_t>(b),
         static_cast<uint32_t>(a >> 32) ^ c[3] ^ k[1], static_cast<uint32_t>(a)};
    k = {k[0] + 0x9E3779B9u, k[1] + 0xBB67AE85u};
  }
  return c;
}

uint64_t draw(uint64_t seed, std::string_view label, std::span<const uint64_t> indices) {
  Sha256 hash;
  hash.update(label.data(), label.size());
  hash.update("", 1);
  for (const uint64_t index : indices) {
    uint8_t bytes[8];
    for (int i = 0; i < 8; ++i) bytes[i] = static_cast<uint8_t>(index >> (8 * i));
    hash.update(bytes, sizeof bytes);
  }
  const auto digest = hash.bytes();
  std::array<uint32_t, 4> counter{};
  for (size_t i = 0; i < 16; ++i) counter[i / 4] |= uint32_t{digest[i]} << (8 * (i % 4));
  const auto out = philox4x32(counter, {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
  return uint64_t{out[0]} | uint64_t{out[1]} << 32;
}

double draw_unit(uint64_t seed, std::string_view label, std::span<const uint64_t> indices) {
  return static_cast<double>(draw(seed, label, indices) >> 11) * 0x1p-53;
}

uint64_t draw_below(uint64_t bound, uint64_t seed, std::string_view label, std::span<const uint64_t> indices) {
  // High half of a 64x64-bit product; the bias is at most bound / 2^64.
  __extension__ using Wide = unsigned __int128;
  return static_cast<uint64_t>(Wide{draw(seed, label, indices)} * bound >> 64);
}

}  // namespace gcop
