#include "quants.hpp"

#include <bit>
#include <cstring>

namespace gcop::guide_torch {
namespace {

// The files are little-endian, and so is every machine gcop runs on.
static_assert(std::endian::native == std::endian::little);

template <class T>
T load(const uint8_t *at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

float half_at(const uint8_t *at) { return half_to_float(load<uint16_t>(at)); }

void decode_f32(const uint8_t *in, float *out, size_t n) { std::memcpy(out, in, n * sizeof(float)); }

void decode_f16(const uint8_t *in, float *out, size_t n) {
  for (size_t i = 0; i < n; ++i) out[i] = half_at(in + 2 * i);
}

void decode_bf16(const uint8_t *in, float *out, size_t n) {
  for (size_t i = 0; i < n; ++i) out[i] = std::bit_cast<float>(uint32_t{load<uint16_t>(in + 2 * i)} << 16);
}

// Q4_0: fp16 scale, then 16 bytes; low nibbles are values 0..15, high nibbles 16..31, zero at 8.
void decode_q4_0(const uint8_t *in, float *out, size_t n) {
  for (size_t block = 0; block < n / 32; ++block, in += 18, out += 32) {
    float d = half_at(in);
    for (int i = 0; i < 16; ++i) {
      out[i] = static_cast<float>((in[2 + i] & 15) - 8) * d;
      out[i + 16] = static_cast<float>((in[2 + i] >> 4) - 8) * d;
    }
  }
}

// Q4_1: scale and minimum, then nibbles as in Q4_0.
void decode_q4_1(const uint8_t *in, float *out, size_t n) {
  for (size_t block = 0; block < n / 32; ++block, in += 20, out += 32) {
    float d = half_at(in), m = half_at(in + 2);
    for (int i = 0; i < 16; ++i) {
      out[i] = static_cast<float>(in[4 + i] & 15) * d + m;
      out[i + 16] = static_cast<float>(in[4 + i] >> 4) * d + m;
    }
  }
}

// Q5_0: scale, 32 fifth bits, nibbles; zero at 16.
void decode_q5_0(const uint8_t *in, float *out, size_t n) {
  for (size_t block = 0; block < n / 32; ++block, in += 22, out += 32) {
    float d = half_at(in);
    uint32_t high = load<uint32_t>(in + 2);
    for (int i = 0; i < 16; ++i) {
      int low = (in[6 + i] & 15) | static_cast<int>((high >> i & 1) << 4);
      int up = (in[6 + i] >> 4) | static_cast<int>((high >> (i + 16) & 1) << 4);
      out[i] = static_cast<float>(low - 16) * d;
      out[i + 16] = static_cast<float>(up - 16) * d;
    }
  }
}

// Q5_1: scale and minimum, then as in Q5_0.
void decode_q5_1(const uint8_t *in, float *out, size_t n) {
  for (size_t block = 0; block < n / 32; ++block, in += 24, out += 32) {
    float d = half_at(in), m = half_at(in + 2);
    uint32_t high = load<uint32_t>(in + 4);
    for (int i = 0; i < 16; ++i) {
      out[i] = static_cast<float>((in[8 + i] & 15) | (high >> i & 1) << 4) * d + m;
      out[i + 16] = static_cast<float>((in[8 + i] >> 4) | (high >> (i + 16) & 1) << 4) * d + m;
    }
  }
}

void decode_q8_0(const uint8_t *in, float *out, size_t n) {
  for (size_t block = 0; block < n / 32; ++block, in += 34, out += 32) {
    float d = half_at(in);
    for (int i = 0; i < 32; ++i) out[i] = static_cast<float>(static_cast<int8_t>(in[2 + i])) * d;
  }
}

// Q4_K and Q5_K: 8 groups of 32 share an fp16 scale and minimum; each group's 6-bit scale and minimum are packed in 12
// bytes: groups 0..3 in the low six bits of bytes 0..7, groups 4..7 in the nibbles of bytes 8..11 plus the spare top
// bits. Q5_K has 32 bytes more, of which byte i's bit g is the fifth bit of value i in group g.
template <bool kFifthBit>
void decode_45_k(const uint8_t *in, float *out, size_t n) {
  for (size_t block = 0; block < n / 256; ++block, in += kFifthBit ? 176 : 144) {
    float d = half_at(in), dmin = half_at(in + 2);
    const uint8_t *packed = in + 4, *fifth = in + 16, *nibbles = kFifthBit ? in + 48 : in + 16;
    for (int g = 0; g < 8; ++g, out += 32) {
      int scale, low;
      if (g < 4) {
        scale = packed[g] & 63;
        low = packed[g + 4] & 63;
      } else {
        scale = (packed[g + 4] & 15) | (packed[g - 4] >> 6) << 4;
        low = (packed[g + 4] >> 4) | (packed[g] >> 6) << 4;
      }
      float step = d * static_cast<float>(scale), base = dmin * static_cast<float>(low);
      const uint8_t *q = nibbles + 32 * (g / 2);
      for (int i = 0; i < 32; ++i) {
        int value = g % 2 ? q[i] >> 4 : q[i] & 15;
        if constexpr (kFifthBit) value |= (fifth[i] >> g & 1) << 4;
        out[i] = step * static_cast<float>(value) - base;
      }
    }
  }
}

// Q6_K: low nibbles in 128 bytes, upper two bits in 64, 16 signed scales, one fp16 scale; zero at 32. Each half of the
// block interleaves four runs of 32 values.
void decode_q6_k(const uint8_t *in, float *out, size_t n) {
  for (size_t block = 0; block < n / 256; ++block, in += 210, out += 256) {
    float d = half_at(in + 208);
    for (int half = 0; half < 2; ++half) {
      const uint8_t *low = in + 64 * half, *high = in + 128 + 32 * half;
      const uint8_t *scales = in + 192 + 8 * half;
      for (int run = 0; run < 4; ++run)
        for (int i = 0; i < 32; ++i) {
          int nibble = run < 2 ? low[i + 32 * run] & 15 : low[i + 32 * (run - 2)] >> 4;
          int value = (nibble | (high[i] >> (2 * run) & 3) << 4) - 32;
          float scale = d * static_cast<float>(static_cast<int8_t>(scales[2 * run + i / 16]));
          out[128 * half + 32 * run + i] = scale * static_cast<float>(value);
        }
    }
  }
}

constexpr Encoding kEncodings[] = {
    {0, "F32", 1, 4, decode_f32},
    {1, "F16", 1, 2, decode_f16},
    {30, "BF16", 1, 2, decode_bf16},
    {2, "Q4_0", 32, 18, decode_q4_0},
    {3, "Q4_1", 32, 20, decode_q4_1},
    {6, "Q5_0", 32, 22, decode_q5_0},
    {7, "Q5_1", 32, 24, decode_q5_1},
    {8, "Q8_0", 32, 34, decode_q8_0},
    {12, "Q4_K", 256, 144, decode_45_k<false>},
    {13, "Q5_K", 256, 176, decode_45_k<true>},
    {14, "Q6_K", 256, 210, decode_q6_k},
};

}  // namespace

const Encoding *find_encoding(uint32_t ggml_type) {
  for (const Encoding &encoding : kEncodings)
    if (encoding.ggml_type == ggml_type) return &encoding;
  return nullptr;
}

std::string encoding_names() {
  std::string names;
  for (const Encoding &encoding : kEncodings) names += (names.empty() ? "" : ", ") + std::string(encoding.name);
  return names;
}

const Encoding &f32_encoding() { return kEncodings[0]; }
const Encoding &f16_encoding() { return kEncodings[1]; }
const Encoding &bf16_encoding() { return kEncodings[2]; }

bool all_finite(const float *values, size_t n) {
  uint32_t any = 0;  // no branch in the loop: it goes over every weight that is loaded
  for (size_t i = 0; i < n; ++i) any |= (std::bit_cast<uint32_t>(values[i]) & 0x7f800000u) == 0x7f800000u;
  return any == 0;
}

// Normal halves are rebased by exponent arithmetic; subnormal ones fall out of one float subtraction.
float half_to_float(uint16_t bits) {
  uint32_t sign = uint32_t{bits & 0x8000u} << 16, rest = bits & 0x7fffu;
  if (rest >= 0x7c00) return std::bit_cast<float>(sign | 0x7f800000u | (rest & 0x3ffu) << 13);
  if (rest >= 0x0400) return std::bit_cast<float>(sign | ((rest << 13) + 0x38000000u));
  float small = std::bit_cast<float>(rest | 0x3f000000u) - 0.5f;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(small));
}

uint16_t float_to_bf16(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

}  // namespace gcop::guide_torch
