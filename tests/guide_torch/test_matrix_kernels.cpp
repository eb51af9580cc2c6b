// The fp32 and bf16 products of the CPU's kernels: each form gives the same bits, for every shape and number of tokens.
#include <doctest/doctest.h>

#include <cstring>
#include <random>
#include <vector>

#include "kernels.hpp"
#include "quants.hpp"

using namespace gcop::guide_torch;

namespace {

std::vector<const Kernels *> tables() {
  std::vector<const Kernels *> all{kernels_avx2()};
  if (pick_kernels() == kernels_avx512()) all.push_back(kernels_avx512());
  return all;
}

struct Shape {
  int inputs, outputs;
};

}  // namespace

TEST_CASE("a matrix gives the same bits for one token and for many, in fp32 and in bf16") {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (const Kernels *kernels : tables())
    for (const Shape shape : {Shape{576, 1536}, Shape{1536, 576}, Shape{1100, 50}, Shape{37, 7}, Shape{64, 24}})
      for (const bool biased : {false, true}) {
        INFO(kernels->name << " " << shape.inputs << " to " << shape.outputs << (biased ? ", with bias" : ""));
        const int lanes = kernels->lanes, k = shape.inputs, n = shape.outputs, panels = 3;
        std::vector<float> rounded(static_cast<size_t>(n) * k), x(static_cast<size_t>(panels) * k * lanes), bias(n);
        std::vector<uint16_t> half(rounded.size());
        for (size_t i = 0; i < half.size(); ++i) {
          half[i] = float_to_bf16(normal(random));
          const uint32_t wide = static_cast<uint32_t>(half[i]) << 16;
          std::memcpy(&rounded[i], &wide, 4);
        }
        for (float &v : x) v = normal(random);
        for (float &v : bias) v = normal(random);
        const float *const b = biased ? bias.data() : nullptr;
        const size_t x_stride = static_cast<size_t>(k) * lanes, y_stride = static_cast<size_t>(n) * lanes;
        std::vector<float> want(panels * y_stride), got(panels * y_stride);
        kernels->gemm(rounded.data(), b, x.data(), x_stride, want.data(), y_stride, k, panels, 0, n);

        double worst = 0;
        for (int p = 0; p < panels; ++p)
          for (int l = 0; l < lanes; ++l)
            for (int r = 0; r < n; ++r) {
              double sum = biased ? static_cast<double>(bias[r]) : 0, size = std::fabs(sum);
              for (int i = 0; i < k; ++i) {
                const double term = static_cast<double>(rounded[static_cast<size_t>(r) * k + i]) *
                                    static_cast<double>(x[p * x_stride + static_cast<size_t>(i) * lanes + l]);
                sum += term;
                size += std::fabs(term);
              }
              worst = std::max(
                  worst,
                  std::fabs(static_cast<double>(want[p * y_stride + static_cast<size_t>(r) * lanes + l]) - sum) / size);
            }
        CHECK(worst < 1e-6);

        const int cut = n / 3;  // in two parts, as threads take them
        kernels->gemm_bf16(half.data(), b, x.data(), x_stride, got.data(), y_stride, k, panels, 0, cut);
        kernels->gemm_bf16(half.data(), b, x.data(), x_stride, got.data(), y_stride, k, panels, cut, n);
        CHECK(got == want);
        for (int tokens = 1; tokens <= kFewLanes; ++tokens)
          for (const bool bf16 : {false, true}) {
            INFO(tokens << " tokens, " << (bf16 ? "bf16" : "fp32"));
            std::fill(got.begin(), got.end(), -1.f);
            for (const auto &[begin, end] : {std::pair{0, cut}, std::pair{cut, n}})
              if (bf16)
                kernels->gemv_bf16(half.data(), b, x.data(), got.data(), k, tokens, begin, end);
              else
                kernels->gemv(rounded.data(), b, x.data(), got.data(), k, tokens, begin, end);
            size_t different = 0;
            for (int r = 0; r < n; ++r)
              for (int l = 0; l < lanes; ++l) {
                const float v = got[static_cast<size_t>(r) * lanes + l];
                different += v != (l < tokens ? want[static_cast<size_t>(r) * lanes + l] : -1.f);
              }
            CHECK(different == 0);
          }
      }
}
