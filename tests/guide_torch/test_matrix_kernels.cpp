// The fp32 and bf16 products of the CPU's kernels and of the trainer: the same bits in each form, for every shape and
// number of tokens.
#include <doctest/doctest.h>

#include <cstring>
#include <random>
#include <vector>

#include "kernels.hpp"
#include "products.hpp"
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
        for (int tokens = 1; tokens <= kFewTokens; ++tokens)
          for (const bool bf16 : {false, true}) {
            INFO(tokens << " tokens, " << (bf16 ? "bf16" : "fp32"));
            const size_t row = static_cast<size_t>(n) + 3;
            std::vector<float> flat(static_cast<size_t>(tokens) * k), out(static_cast<size_t>(tokens) * row, -1.f);
            for (int t = 0; t < tokens; ++t)
              for (int i = 0; i < k; ++i) flat[static_cast<size_t>(t) * k + i] = x[static_cast<size_t>(i) * lanes + t];
            for (const auto &[begin, end] : {std::pair{0, cut}, std::pair{cut, n}})
              if (bf16)
                kernels->gemv_bf16(half.data(), b, flat.data(), out.data(), row, k, tokens, begin, end);
              else
                kernels->gemv(rounded.data(), b, flat.data(), out.data(), row, k, tokens, begin, end);
            size_t different = 0;
            for (int t = 0; t < tokens; ++t)
              for (size_t r = 0; r < row; ++r)
                different +=
                    out[t * row + r] != (r < static_cast<size_t>(n) ? want[r * static_cast<size_t>(lanes) + t] : -1.f);
            CHECK(different == 0);
          }
      }
}

TEST_CASE("the trainer's products have the sampler's bits, in every form, for every shape and number of threads") {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  const auto values = [&](int64_t n) {
    std::vector<float> out(static_cast<size_t>(n));
    for (float &v : out) v = normal(random);
    return out;
  };
  const auto turned = [](const std::vector<float> &in, int64_t rows, int64_t columns) {
    std::vector<float> out(in.size());
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < columns; ++c)
        out[static_cast<size_t>(c * rows + r)] = in[static_cast<size_t>(r * columns + c)];
    return out;
  };
  struct Sizes {
    int64_t m, n, k;
  };
  for (const Kernels *kernels : tables())
    for (const int threads : {1, 3}) {
      Crew crew(threads);
      Products products(*kernels, crew);
      for (const Sizes s : {Sizes{200, 1536, 576}, Sizes{97, 1100, 1030}, Sizes{1, 3, 5}, Sizes{13, 19, 37},
                            Sizes{100, 64, 16}, Sizes{5, 8, 513}}) {
        INFO(kernels->name << ", " << threads << " threads, " << s.m << " x " << s.n << " x " << s.k);
        const int64_t lanes = kernels->lanes, panels = (s.m + lanes - 1) / lanes;
        const std::vector<float> a = values(s.m * s.k), b = values(s.n * s.k), before = values(s.m * s.n),
                                 at = turned(a, s.m, s.k), bt = turned(b, s.n, s.k);
        // The sampler's: b is the weight, a the tokens in panels.
        std::vector<float> x(static_cast<size_t>(panels * s.k * lanes)), y(static_cast<size_t>(panels * s.n * lanes)),
            want(static_cast<size_t>(s.m * s.n));
        for (int64_t r = 0; r < s.m; ++r)
          for (int64_t i = 0; i < s.k; ++i)
            x[static_cast<size_t>((r / lanes * s.k + i) * lanes + r % lanes)] = a[static_cast<size_t>(r * s.k + i)];
        kernels->gemm(b.data(), nullptr, x.data(), static_cast<size_t>(s.k * lanes), y.data(),
                      static_cast<size_t>(s.n * lanes), static_cast<int>(s.k), static_cast<int>(panels), 0,
                      static_cast<int>(s.n));
        for (int64_t r = 0; r < s.m; ++r)
          for (int64_t i = 0; i < s.n; ++i)
            want[static_cast<size_t>(r * s.n + i)] = y[static_cast<size_t>((r / lanes * s.n + i) * lanes + r % lanes)];
        std::vector<float> added = before;
        for (int64_t r = 0; r < s.m; ++r)
          for (int64_t i = 0; i < s.n; ++i)
            for (int64_t j = 0; j < s.k; ++j)
              added[static_cast<size_t>(r * s.n + i)] =
                  std::fma(a[static_cast<size_t>(r * s.k + j)], b[static_cast<size_t>(i * s.k + j)],
                           added[static_cast<size_t>(r * s.n + i)]);
        for (const bool add : {false, true}) {
          const std::vector<float> &right = add ? added : want;
          std::vector<float> c = before;
          products.nt(s.m, s.n, s.k, {a.data(), s.k}, {b.data(), s.k}, add, {c.data(), s.n});
          CHECK(c == right);
          c = before;
          products.nn(s.m, s.n, s.k, {a.data(), s.k}, {bt.data(), s.n}, add, {c.data(), s.n});
          CHECK(c == right);
          c = before;
          products.tn(s.m, s.n, s.k, {at.data(), s.m}, {bt.data(), s.n}, add, {c.data(), s.n});
          CHECK(c == right);
        }
      }
    }
}
