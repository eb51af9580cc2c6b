// bf16 as both compilers read it. Rounds to nearest, ties to even.
#pragma once
#include <cstdint>
#include <cstring>

#ifdef __CUDACC__
#define GCOP_BOTH __host__ __device__
#else
#define GCOP_BOTH
#endif

namespace gcop::guide_torch::device {

struct bf16 {
  uint16_t bits;
};

GCOP_BOTH inline float widen(float x) { return x; }
GCOP_BOTH inline float widen(bf16 x) {
  const uint32_t bits = static_cast<uint32_t>(x.bits) << 16;
  float out;
  memcpy(&out, &bits, 4);
  return out;
}

template <class T>
GCOP_BOTH inline T narrow(float x);
template <>
GCOP_BOTH inline float narrow<float>(float x) {
  return x;
}
template <>
GCOP_BOTH inline bf16 narrow<bf16>(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>(bits >> 16 | 0x40)};  // stays no number
  return {static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16)};
}

// Floats as unsigned numbers in the same order; -0 and 0 are one.
GCOP_BOTH inline uint32_t ordered(float x) {
  x += 0.0f;
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// exp(x), x <= 0, in units of 2^-40.
GCOP_BOTH inline uint64_t mass(double exponential) { return static_cast<uint64_t>(exponential * 1099511627776.0); }

}  // namespace gcop::guide_torch::device
