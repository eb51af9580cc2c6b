#include <doctest/doctest.h>

#include <cmath>
#include <random>

#include "report/stats.hpp"

using namespace gcop::report;
using doctest::Approx;

TEST_CASE("t interval: 1..5 by hand") {
  const auto e = mean_ci({1, 2, 3, 4, 5});
  CHECK(e.mean == 3);
  CHECK(e.high - e.mean == Approx(2.776445 * std::sqrt(2.5) / std::sqrt(5)).epsilon(1e-6));  // t(4, .975)
  CHECK(e.n == 5);
  CHECK(std::isnan(mean_ci({1}).low));
  CHECK(std::isnan(mean_ci({}).mean));
  CHECK(mean_ci({2, 2, 2}).low == 2);
}

TEST_CASE("families weigh the same, whatever their size") {
  const auto e = family_ci({1, 1, 1, 1, 0, 0.5}, {"a", "a", "a", "a", "b", "c"});
  REQUIRE(e);
  CHECK(e->mean == Approx(0.5));
  CHECK(e->n == 3);
  CHECK(e->high - e->mean == Approx(4.302653 * 0.5 / std::sqrt(3)).epsilon(1e-6));  // t(2, .975)
  const auto alone = family_ci({1, 0, 1}, {"", "", ""});
  CHECK(alone->n == 3);
  CHECK(std::isnan(family_ci({1, 1}, {"a", "a"})->low));
  CHECK_FALSE(family_ci({1}, {"a", "b"}));
}

TEST_CASE("pooling averages a family over seeds; seeds are no new families") {
  const std::vector<std::string> f{"a", "a", "b"};
  const auto e = pooled_family_ci({{{1, 0, 0.2}, f}, {{0, 0, 0.4}, f}});
  REQUIRE(e);
  CHECK(e->n == 2);
  CHECK(e->mean == Approx((0.25 + 0.3) / 2));
  const auto missing = pooled_family_ci({{{1, 0, 0.2}, f}, {{0, 0}, {"a", "a"}}});
  REQUIRE_FALSE(missing);
  CHECK(missing.error().message.find("'b'") != std::string::npos);
}

TEST_CASE("Clopper-Pearson, Wilson: the facts' figures and the textbook's") {
  CHECK(clopper_pearson(8, 8, 0.90).low == Approx(0.688).epsilon(0.001));  // one-sided 95 %
  CHECK(clopper_pearson(16, 16, 0.90).low == Approx(0.829).epsilon(0.001));
  CHECK(clopper_pearson(1, 1, 0.90).low == Approx(0.05));
  CHECK(clopper_pearson(60, 200, 0.90).low == Approx(0.247).epsilon(0.002));
  CHECK(clopper_pearson(0, 10).low == 0);
  CHECK(clopper_pearson(0, 10).high == Approx(0.30850).epsilon(1e-4));
  CHECK(clopper_pearson(10, 10).high == 1);
  CHECK(wilson(8, 10).low == Approx(0.49016).epsilon(1e-4));
  CHECK(wilson(8, 10).high == Approx(0.94332).epsilon(1e-4));
  CHECK(wilson(0, 10).low == 0);
  CHECK(std::isnan(clopper_pearson(0, 0).mean));
}

TEST_CASE("slope and its interval") {
  const auto e = slope_ci({1, 2, 3, 4, 5}, {2.1, 3.9, 6.2, 7.8, 10.1});
  REQUIRE(e);
  CHECK(e->mean == Approx(1.99));
  CHECK(e->high - e->mean == Approx(3.182446 * std::sqrt(0.107 / 3 / 10)).epsilon(1e-3));  // t(3, .975)
  CHECK(slope_ci({1, 2, 3}, {5, 5, 5})->mean == 0);
  CHECK(std::isnan(slope_ci({1, 2}, {0, 1})->low));
  CHECK_FALSE(slope_ci({1, 1}, {0, 1}));
  CHECK_FALSE(slope_ci({1, 2}, {0}));
}

TEST_CASE("bootstrap: the same bits for a seed, near the t interval for many values") {
  std::vector<double> values;
  std::mt19937 draw(1);
  for (int i = 0; i < 400; ++i) values.push_back(double(draw() % 1000) / 1000 - 0.4);
  const auto a = bootstrap_ci(values, 7), b = bootstrap_ci(values, 7), c = bootstrap_ci(values, 8), t = mean_ci(values);
  CHECK(a.low == b.low);
  CHECK(a.high == b.high);
  CHECK(a.low != c.low);
  CHECK(a.low == Approx(t.low).epsilon(0.05));
  CHECK(a.high == Approx(t.high).epsilon(0.05));
}

TEST_CASE("intervals cover the truth as often as they say") {
  std::mt19937_64 draw(42);
  std::normal_distribution<double> normal;
  int t_covers = 0, family_covers = 0, exact_covers = 0, wilson_covers = 0;
  const int rounds = 2000;
  for (int r = 0; r < rounds; ++r) {
    std::vector<double> values, grouped;
    std::vector<std::string> families;
    for (int i = 0; i < 8; ++i) values.push_back(normal(draw));
    for (int f = 0; f < 6; ++f) {
      const double shift = normal(draw);
      for (int i = 0; i <= f; ++i) {
        grouped.push_back(0.3 + shift + 0.5 * normal(draw));
        families.push_back(std::to_string(f));
      }
    }
    std::binomial_distribution<int> binomial(30, 0.3);
    const auto x = uint64_t(binomial(draw));
    const auto t = mean_ci(values), f = family_ci(grouped, families).value(), cp = clopper_pearson(x, 30),
               w = wilson(x, 30);
    t_covers += t.low < 0 && 0 < t.high;
    family_covers += f.low < 0.3 && 0.3 < f.high;
    exact_covers += cp.low < 0.3 && 0.3 < cp.high;
    wilson_covers += w.low < 0.3 && 0.3 < w.high;
  }
  CHECK(t_covers == Approx(rounds * 0.95).epsilon(0.02));
  CHECK(family_covers == Approx(rounds * 0.95).epsilon(0.02));
  CHECK(exact_covers >= rounds * 0.945);
  CHECK(wilson_covers >= rounds * 0.92);
}

TEST_CASE("p values and Holm") {
  CHECK(t_test_p({1, 2, 3, 4, 5}) == Approx(0.013290).epsilon(1e-3));  // t = 4.2426, 4 degrees
  CHECK(t_test_p({1, -1}) == Approx(1));
  CHECK(std::isnan(t_test_p({1})));
  CHECK(holm({0.01, 0.04, 0.03, 0.005}) == std::vector<double>{0.03, 0.06, 0.06, 0.02});
  CHECK(holm({0.9, 0.8}) == std::vector<double>{1, 1});
  CHECK(holm({}).empty());
}
