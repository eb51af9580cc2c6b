// Random operands of the device's kernels in one Type, and how results are compared.
#pragma once
#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <random>
#include <vector>

#include "cuda_on_cpu.hpp"

#include "device/block.hpp"

namespace operands {

using namespace gcop::guide_torch;
using namespace gcop::guide_torch::device;

inline std::mt19937 g_random(7);
inline float normal() { return std::normal_distribution<float>()(g_random); }

// Memory of one Type.
struct Data {
  Data(Type t, size_t n) : type(t), bytes(n * (t == Type::f32 ? 4 : 2)) {}
  Data(Type t, const std::vector<float> &values) : Data(t, values.size()) {
    for (size_t i = 0; i < values.size(); ++i) set(i, values[i]);
  }
  static Data random(Type t, size_t n, float scale = 1, float shift = 0) {
    Data out(t, n);
    for (size_t i = 0; i < n; ++i) out.set(i, normal() * scale + shift);
    return out;
  }
  size_t size() const { return bytes.size() / (type == Type::f32 ? 4 : 2); }
  void set(size_t i, float x) {
    if (type == Type::f32)
      reinterpret_cast<float *>(bytes.data())[i] = x;
    else
      reinterpret_cast<bf16 *>(bytes.data())[i] = narrow<bf16>(x);
  }
  float at(size_t i) const {
    return type == Type::f32 ? reinterpret_cast<const float *>(bytes.data())[i]
                             : widen(reinterpret_cast<const bf16 *>(bytes.data())[i]);
  }
  operator void *() { return bytes.data(); }
  Type type;
  std::vector<char> bytes;
};

inline std::vector<float> normals(size_t n, float scale = 1) {
  std::vector<float> out(n);
  for (float &x : out) x = normal() * scale;
  return out;
}

// Both within fp32 sums of each other, and within one rounding of bf16.
inline void same(const Data &a, const Data &b) {
  REQUIRE(a.size() == b.size());
  const double rounding = a.type == Type::f32 ? 0 : 1.0 / 128;
  for (size_t i = 0; i < a.size(); ++i) {
    const double x = a.at(i), y = b.at(i);
    if (!(std::abs(x - y) <= 2e-5 + (2e-5 + rounding) * std::abs(x))) FAIL("element " << i << ": " << x << ", " << y);
  }
}
inline void same(const std::vector<float> &a, const std::vector<float> &b, double error = 2e-5) {
  REQUIRE(a.size() == b.size());
  for (size_t i = 0; i < a.size(); ++i)
    if (!(std::abs(a[i] - b[i]) <= error * (1 + std::abs(a[i])))) FAIL("element " << i << ": " << a[i] << ", " << b[i]);
}

inline void each_type(const std::function<void(Type)> &body) {
  for (const Type type : {Type::f32, Type::bf16}) {
    CAPTURE(static_cast<int>(type));
    body(type);
  }
}

inline const KernelTable &ref() { return reference_kernels(); }

}  // namespace operands
