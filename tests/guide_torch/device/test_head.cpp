// Cross-entropy and sampling: the .cu files run on the host beside the plain loops, and those beside the CPU's draw.
#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>

#include "draw.hpp"
#include "operands.hpp"

using namespace operands;

TEST_CASE("cross-entropy: .cu files against plain loops, and slopes against differences") {
  each_type([](Type type) {
    const int64_t rows = 3, vocab = 1303;
    std::vector<float> logits = normals(rows * vocab, 3), slopes = {0.5f, -2, 1};
    const std::vector<int32_t> targets = {0, 1302, 77};
    std::vector<float> la(rows), lb(rows), sa(rows), sb(rows), ea(rows), eb(rows);
    ref().loss({logits.data(), targets.data(), la.data(), sa.data(), ea.data(), rows, vocab}, type, nullptr);
    cuda::loss({logits.data(), targets.data(), lb.data(), sb.data(), eb.data(), rows, vocab}, type, nullptr);
    same(la, lb);
    same(sa, sb);
    same(ea, eb);
    Data da(type, rows * vocab), db(type, rows * vocab);
    ref().loss_slope({logits.data(), targets.data(), sa.data(), slopes.data(), da, rows, vocab}, type, nullptr);
    cuda::loss_slope({logits.data(), targets.data(), sb.data(), slopes.data(), db, rows, vocab}, type, nullptr);
    same(da, db);
    for (const int64_t v : {int64_t{0}, int64_t{5}}) {
      std::vector<float> up = logits, out(rows);
      up[v] += 0.01f;
      ref().loss({up.data(), targets.data(), out.data(), nullptr, nullptr, rows, vocab}, type, nullptr);
      CHECK(da.at(v) == doctest::Approx(slopes[0] * (out[0] - la[0]) / 0.01).epsilon(0.02));
    }
  });
}

TEST_CASE("the sampling kernel draws the CPU engine's tokens") {
  const int64_t vocab = 5000, rows = 40;
  int drawn = 0, other = 0;
  for (const auto &[temperature, top_k, top_p] : {std::tuple<float, uint32_t, float>{0, 0, 1},
                                                  {1, 0, 1},
                                                  {0.7f, 0, 1},
                                                  {1, 1, 1},
                                                  {1.3f, 20, 1},
                                                  {0.8f, 4000, 0.9f},
                                                  {1, 0, 0.9f},
                                                  {1, 0, 0.999f},
                                                  {1.5f, 0, 1e-6f},
                                                  {0.9f, 9999, 0.5f},
                                                  {40, 0, 0.97f}}) {
    CAPTURE(temperature);
    CAPTURE(top_k);
    CAPTURE(top_p);
    std::vector<float> logits = normals(rows * vocab, 4);
    for (size_t i = 0; i < logits.size(); i += 3) logits[i] = std::round(logits[i]);  // many equal ones
    std::vector<DrawParameters> parameters;
    for (int64_t r = 0; r < rows; ++r) parameters.push_back({uniform(3, r), temperature, top_p, top_k, 0});
    std::vector<DrawnToken> a(rows), b(rows);
    ref().sample({logits.data(), parameters.data(), a.data(), rows, vocab}, Type::f32, nullptr);
    cuda::sample({logits.data(), parameters.data(), b.data(), rows, vocab}, Type::f32, nullptr);
    for (int64_t r = 0; r < rows; ++r) {
      const float *row = logits.data() + r * vocab;
      ++drawn;
      if (a[r].token == b[r].token) {
        CHECK(a[r].logprob == doctest::Approx(b[r].logprob).epsilon(1e-5));
      } else {  // where the sums' rounding decides, its neighbour from best to worst
        ++other;
        std::vector<int32_t> order(static_cast<size_t>(vocab));
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [&](int32_t x, int32_t y) { return row[x] > row[y]; });
        const auto rank = [&](int32_t token) { return std::find(order.begin(), order.end(), token) - order.begin(); };
        CHECK(std::abs(rank(a[r].token) - rank(b[r].token)) == 1);
      }
      if (temperature == 0) CHECK(a[r].token == std::max_element(row, row + vocab) - row);
    }
  }
  CHECK(drawn == 440);
  CHECK(other <= 3);
  // Logits that are no numbers give a log-probability that says so, and a token that exists.
  std::vector<float> bad(vocab, NAN);
  const DrawParameters p{0.5, 1, 0.9f, 10, 0};
  DrawnToken none{};
  cuda::sample({bad.data(), &p, &none, 1, vocab}, Type::f32, nullptr);
  CHECK(none.token == 0);
  CHECK(!std::isfinite(none.logprob));
}
