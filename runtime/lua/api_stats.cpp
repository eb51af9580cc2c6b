// gcop.stats: the statistics of reports.
#include <cmath>

#include <fmt/format.h>

#include "lua/api.hpp"
#include "lua/bind.hpp"
#include "lua/host.hpp"
#include "report/stats.hpp"

namespace gcop::lua {
namespace {

using report::Estimate;

int push_estimate(lua_State *L, const Estimate &e, const char *mean = "mean") {
  lua_createtable(L, 0, 4);
  set(L, mean, e.mean);
  set(L, "n", e.n);
  set(L, "method", e.method);
  lua_createtable(L, 2, 0);
  lua_pushnumber(L, e.low);
  lua_rawseti(L, -2, 1);
  lua_pushnumber(L, e.high);
  lua_rawseti(L, -2, 2);
  lua_setfield(L, -2, "ci95");
  return 1;
}

// Statistics of NaN or infinity would look like figures.
std::vector<double> finite(lua_State *L, int index, const char *what) {
  auto values = to_numbers(L, index, what);
  for (size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i])) raise(L, fmt::format("{}[{}] is {}, not a finite number", what, i + 1, values[i]));
  return values;
}

int push_result(lua_State *L, const char *name, const Result<Estimate> &e, const char *mean = "mean") {
  if (!e) raise(L, fmt::format("{}: {}", name, e.error().message));
  return push_estimate(L, *e, mean);
}

int mean_ci(lua_State *L) { return push_estimate(L, report::mean_ci(finite(L, 1, "gcop.stats.mean_ci: values"))); }

int family(lua_State *L) {
  return push_result(
      L, "gcop.stats.family",
      report::family_ci(finite(L, 1, "gcop.stats.family: values"), to_strings(L, 2, "gcop.stats.family: families")));
}

int pooled(lua_State *L) {
  std::vector<report::SeedValues> seeds;
  for (lua_Unsigned i = 1, n = lua_rawlen(L, 1); i <= n; ++i) {
    if (lua_rawgeti(L, 1, static_cast<lua_Integer>(i)) != LUA_TTABLE)
      raise(L, fmt::format("gcop.stats.pooled: seeds[{}] is a {}", i, luaL_typename(L, -1)));
    report::SeedValues seed;
    lua_getfield(L, -1, "values");
    seed.values = finite(L, -1, "gcop.stats.pooled: values");
    lua_getfield(L, -2, "families");
    seed.families = to_strings(L, -1, "gcop.stats.pooled: families");
    lua_pop(L, 3);
    seeds.push_back(std::move(seed));
  }
  return push_result(L, "gcop.stats.pooled", report::pooled_family_ci(seeds));
}

int bootstrap(lua_State *L) {
  return push_estimate(L,
                       report::bootstrap_ci(finite(L, 1, "gcop.stats.bootstrap: values"), host_of(L).settings().seed));
}

int slope(lua_State *L) {
  return push_result(L, "gcop.stats.slope",
                     report::slope_ci(finite(L, 1, "gcop.stats.slope: x"), finite(L, 2, "gcop.stats.slope: y")),
                     "slope");
}

int clopper_pearson(lua_State *L) {
  auto successes = lua_tointeger(L, 1), trials = lua_tointeger(L, 2);
  if (successes < 0 || successes > trials)
    raise(L, fmt::format("gcop.stats.clopper_pearson: {} successes in {} trials cannot be", successes, trials));
  return push_estimate(L, report::clopper_pearson(static_cast<uint64_t>(successes), static_cast<uint64_t>(trials)));
}

int t_test(lua_State *L) {
  lua_pushnumber(L, report::t_test_p(finite(L, 1, "gcop.stats.t_test: values")));
  return 1;
}

int holm(lua_State *L) {
  auto p = finite(L, 1, "gcop.stats.holm: p");
  for (size_t i = 0; i < p.size(); ++i)
    if (p[i] < 0 || p[i] > 1) raise(L, fmt::format("gcop.stats.holm: p[{}] is {}, allowed are 0 to 1", i + 1, p[i]));
  auto adjusted = report::holm(p);
  lua_createtable(L, static_cast<int>(adjusted.size()), 0);
  for (size_t i = 0; i < adjusted.size(); ++i) {
    lua_pushnumber(L, adjusted[i]);
    lua_rawseti(L, -2, static_cast<lua_Integer>(i + 1));
  }
  return 1;
}

}  // namespace

extern const Module stats_module;
const Module stats_module = {
    "stats",
    "Statistics",
    "Intervals are 95 %. One that the data cannot give (one value, one family) is NaN, which JSON writes as null.",
    {{"gcop.Estimate",
      "A mean and its interval.",
      {{"mean", "number", ""},
       {"ci95", "number[]", "{low, high}"},
       {"n", "integer", "units that the interval counts: values, families, tasks"},
       {"method", "string", ""}}},
     {"gcop.Slope",
      "A slope and its interval.",
      {{"slope", "number", ""}, {"ci95", "number[]", ""}, {"n", "integer", ""}, {"method", "string", ""}}}},
    {},
    {{"gcop.stats.mean_ci",
      mean_ci,
      Waits::no,
      "Mean and t interval of independent values.",
      {{"values", "number[]", ""}},
      {},
      {{"estimate", "gcop.Estimate", ""}},
      "",
      "local all = gcop.stats.mean_ci(scores)"},
     {"gcop.stats.family",
      family,
      Waits::no,
      "Mean of the family means and its t interval: the primary interval for grouped tasks.",
      {{"values", "number[]", ""}, {"families", "string[]", "parallel; an empty name is a family of its own"}},
      {},
      {{"estimate", "gcop.Estimate", ""}},
      "Raises when the lengths differ.",
      "local e = gcop.stats.family(differences, families)"},
     {"gcop.stats.pooled",
      pooled,
      Waits::no,
      "The same over several training seeds: a family's mean is averaged over the seeds first.",
      {{"seeds", "{values: number[], families: string[]}[]", ""}},
      {},
      {{"estimate", "gcop.Estimate", ""}},
      "Raises when a family is missing in a seed.",
      "local e = gcop.stats.pooled { { values = v1, families = f }, { values = v2, families = f } }"},
     {"gcop.stats.bootstrap",
      bootstrap,
      Waits::no,
      "Mean and percentile bootstrap over tasks, drawn from the run's seed. Secondary: it takes tasks for independent.",
      {{"values", "number[]", "paired differences"}},
      {},
      {{"estimate", "gcop.Estimate", ""}},
      "",
      "local e = gcop.stats.bootstrap(differences)"},
     {"gcop.stats.slope",
      slope,
      Waits::no,
      "Least-squares slope of y over x and its t interval.",
      {{"x", "number[]", ""}, {"y", "number[]", ""}},
      {},
      {{"slope", "gcop.Slope", ""}},
      "Raises when the lengths differ or all x are equal.",
      "local s = gcop.stats.slope(steps, rewards)"},
     {"gcop.stats.clopper_pearson",
      clopper_pearson,
      Waits::no,
      "Exact interval of a success probability.",
      {{"successes", "integer", ""}, {"trials", "integer", ""}},
      {},
      {{"estimate", "gcop.Estimate", ""}},
      "",
      "local e = gcop.stats.clopper_pearson(8, 8)   -- from 0.63"},
     {"gcop.stats.t_test",
      t_test,
      Waits::no,
      "Two-sided p value of mean 0.",
      {{"values", "number[]", ""}},
      {},
      {{"p", "number", ""}},
      "",
      "local p = gcop.stats.t_test(family_means)"},
     {"gcop.stats.holm",
      holm,
      Waits::no,
      "Holm's step-down: adjusted p values.",
      {{"p", "number[]", ""}},
      {},
      {{"adjusted", "number[]", "parallel"}},
      "",
      "local adjusted = gcop.stats.holm { 0.01, 0.04 }"}}};

}  // namespace gcop::lua
