// The 7-bit arithmetic: the kernels alone against plain loops, and a core that computes with them.
#include <random>

#include "kernels.hpp"
#include "plugged.hpp"

using namespace plugged;
using gcop::guide_torch::Int8Rows;
using gcop::guide_torch::Kernels;

namespace {

std::vector<const Kernels *> tables() {
  std::vector<const Kernels *> all{gcop::guide_torch::kernels_avx2()};
  if (gcop::guide_torch::pick_kernels() == gcop::guide_torch::kernels_avx512())
    all.push_back(gcop::guide_torch::kernels_avx512());
  return all;
}

struct Embedded : Pending {
  std::vector<float> out;
};

std::vector<float> embed(const Model &m, const std::vector<std::string> &texts) {
  Embedded p;
  std::vector<gcop_str> views;
  for (const std::string &t : texts) views.push_back(view(t));
  m.embedder->embed(m.raw, views.data(), views.size(), &p.op,
                    [](const gcop_op *op, gcop_status, gcop_str, const float *v, size_t n) {
                      auto &me = static_cast<Embedded &>(Pending::of(op));
                      me.out.assign(v, v + n);
                      me.answered();
                    });
  p.wait();
  return p.out;
}

std::string refusal(const std::string &config) {
  try {
    const Model m(config);
    return {};
  } catch (const std::runtime_error &e) {
    return e.what();
  }
}

// The smallest dot product of normed embeddings in fp32 and in `compute`, over 21 texts; alone they are what they are
// in the batch.
double least_agreement(const std::string &sizes, const std::string &compute) {
  const Model exact(sizes + "fp32\"}"), small(sizes + compute + "\"}");
  std::vector<std::string> texts;
  for (int i = 0; i < 21; ++i) texts.push_back("text number " + std::to_string(i * 7919) + std::string(i, 'x'));
  const std::vector<float> a = embed(exact, texts), b = embed(small, texts);
  const size_t dim = a.size() / texts.size();
  double least = 1;
  for (size_t t = 0; t < texts.size(); ++t) {
    double dot = 0;
    for (size_t i = 0; i < dim; ++i) dot += a[t * dim + i] * b[t * dim + i];
    least = std::min(least, dot);
    const std::vector<float> alone = embed(small, {texts[t]});
    CHECK(std::equal(alone.begin(), alone.end(), b.begin() + static_cast<long>(t * dim)));
  }
  return least;
}

}  // namespace

TEST_CASE("7-bit products equal plain loops over the same integers, at the ends of the range too") {
  for (const Kernels *kernels : tables())
    for (const bool extreme : {false, true}) {
      INFO(kernels->name << (extreme ? ", extreme" : ""));
      const int lanes = kernels->lanes, k = 608, groups = k / 32, n = 37, panels = 3;  // groups: 8, 8 and 3
      std::mt19937 random(7);
      std::normal_distribution<float> normal;
      std::vector<float> x(static_cast<size_t>(panels) * k * lanes), bias(n), w_scales(n * groups);
      for (float &v : x) v = extreme ? (random() % 2 ? 3.f : -3.f) : normal(random);
      for (int i = 0; i < 32; ++i) x[static_cast<size_t>(i) * lanes] = 0;  // a group of zeros in lane 0
      for (float &v : bias) v = normal(random);
      for (float &v : w_scales) v = 0.01f + 0.01f * std::fabs(normal(random));
      std::vector<int8_t> values(static_cast<size_t>(n) * k);
      std::vector<int32_t> offsets(n * groups);
      for (size_t i = 0; i < values.size(); ++i) {
        values[i] = static_cast<int8_t>(extreme ? (random() % 2 ? 63 : -63) : static_cast<int>(random() % 127) - 63);
        offsets[i / 32] -= 64 * values[i];
      }

      std::vector<uint8_t> bytes(x.size());
      std::vector<float> scales(x.size() / 32), y(static_cast<size_t>(panels) * n * lanes);
      for (int p = 0; p < panels; ++p)
        kernels->quantize(x.data() + static_cast<size_t>(p) * k * lanes,
                          bytes.data() + static_cast<size_t>(p) * k * lanes,
                          scales.data() + static_cast<size_t>(p) * groups * lanes, k);
      const Int8Rows rows{values.data(), w_scales.data(), offsets.data()};
      kernels->gemm_int8(rows, bias.data(), bytes.data(), scales.data(), y.data(), static_cast<size_t>(n) * lanes, k,
                         panels, 0, 17);
      kernels->gemm_int8(rows, bias.data(), bytes.data(), scales.data(), y.data(), static_cast<size_t>(n) * lanes, k,
                         panels, 17, n);

      double worst_step = 0, worst = 0;
      for (int p = 0; p < panels; ++p)
        for (int l = 0; l < lanes; ++l) {
          const auto scale = [&](int i) { return scales[(static_cast<size_t>(p) * groups + i / 32) * lanes + l]; };
          const auto stored = [&](int i) {
            return int{bytes[static_cast<size_t>(p) * k * lanes + static_cast<size_t>(i / 4) * lanes * 4 + l * 4 +
                             i % 4]} -
                   64;
          };
          for (int i = 0; i < k; ++i) {
            const float v = x[(static_cast<size_t>(p) * k + i) * lanes + l];
            CHECK(std::abs(stored(i)) <= 63);
            if (scale(i) > 0) worst_step = std::max(worst_step, std::fabs(double{v} / scale(i) - stored(i)));
          }
          for (int r = 0; r < n; ++r) {
            double want = bias[r], size = std::fabs(want);
            for (int i = 0; i < k; ++i) {
              const double term = double{scale(i)} * stored(i) * w_scales[r * groups + i / 32] * values[r * k + i];
              want += term, size += std::fabs(term);
            }
            worst = std::max(worst, std::fabs(y[(static_cast<size_t>(p) * n + r) * lanes + l] - want) / size);
          }
        }
      CHECK(worst_step <= 0.5001);  // to the nearest
      CHECK(worst < 1e-6);

      for (int tokens = 1; tokens <= gcop::guide_torch::kFewTokens; ++tokens) {
        INFO(tokens << " tokens");
        const size_t row = static_cast<size_t>(n) + 3;
        std::vector<uint8_t> few(static_cast<size_t>(tokens) * k);
        std::vector<float> few_scales(static_cast<size_t>(tokens) * groups), token(k), out(tokens * row, -1.f);
        size_t different = 0;
        for (int t = 0; t < tokens; ++t) {
          for (int i = 0; i < k; ++i) token[i] = x[static_cast<size_t>(i) * lanes + t];
          kernels->quantize_row(token.data(), few.data() + static_cast<size_t>(t) * k,
                                few_scales.data() + static_cast<size_t>(t) * groups, k);
          for (int i = 0; i < k; ++i) {
            const size_t at = static_cast<size_t>(i / 4) * lanes * 4 + t * 4 + i % 4;
            different += few[static_cast<size_t>(t) * k + i] != bytes[at];
            different += few_scales[t * groups + i / 32] != scales[static_cast<size_t>(i / 32) * lanes + t];
          }
        }
        for (const auto &[begin, end] : {std::pair{0, 17}, std::pair{17, 20}, std::pair{20, n}})
          kernels->gemv_int8(rows, bias.data(), few.data(), few_scales.data(), out.data(), row, k, tokens, begin, end);
        for (int t = 0; t < tokens; ++t)
          for (size_t r = 0; r < row; ++r)
            different +=
                out[t * row + r] != (r < static_cast<size_t>(n) ? y[r * static_cast<size_t>(lanes) + t] : -1.f);
        CHECK(different == 0);
      }
    }
}

TEST_CASE("a core with rounded weights is close to fp32, and the same alone and in a batch") {
  const std::string sizes =
      R"({"random":{"layers":3,"hidden":80,"heads":5,"kv_heads":5,"intermediate":168},"role":"core","name":"t","compute":")";
  const double least = least_agreement(sizes, "bf16");
  CHECK(least > 0.9999);
  CHECK(least < 0.999999999);  // it did compute otherwise
  CHECK(refusal(R"({"random":{},"compute":"bf16"})").find("is for cores") != std::string::npos);
  CHECK(refusal(R"({"random":{},"role":"core","compute":"fp16"})").find("fp32, bf16 or int8") != std::string::npos);
}

TEST_CASE("a core in 7 bits is close to fp32, the same alone and in a batch, and only for cores") {
  const std::string sizes =
      R"({"random":{"layers":3,"hidden":96,"heads":6,"kv_heads":2,"intermediate":160},"role":"core","name":"t","compute":")";
  const double least = least_agreement(sizes, "int8");
  CHECK(least > 0.999);
  CHECK(least < 0.9999999);  // it did compute otherwise

  CHECK(refusal(R"({"random":{},"compute":"int8"})").find("is for cores") != std::string::npos);
  CHECK(refusal(R"({"random":{"hidden":80,"heads":5,"kv_heads":5},"role":"core","compute":"int8"})")
            .find("multiples of 32") != std::string::npos);
}
