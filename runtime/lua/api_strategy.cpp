// gcop.strategy: reading strategies, the literal leak check, the acceptance plan.
#include <algorithm>

#include <fmt/format.h>

#include "lua/api.hpp"
#include "lua/bind.hpp"
#include "lua/host.hpp"
#include "lua/task_table.hpp"
#include "strategy/acceptance.hpp"
#include "strategy/certificate.hpp"
#include "strategy/leak.hpp"
#include "strategy/parse.hpp"

namespace gcop::lua {
namespace {

using strategy::Decision;
using strategy::Plan;
using strategy::Rule;
constexpr const char *kPlan = "gcop.Plan";

int parse(lua_State *L) {
  auto max_tokens = luaL_optinteger(L, 2, strategy::kDefaultMaxTokens);
  if (max_tokens < 0) raise(L, "gcop.strategy.parse: max_tokens is negative; 0 means no bound");
  auto found = strategy::parse(view(L, 1), static_cast<size_t>(max_tokens));
  if (!found) {
    lua_pushnil(L);
    push(L, found.error().message);
    return 2;
  }
  push(L, *found);
  return 1;
}

int count_tokens(lua_State *L) {
  lua_pushinteger(L, static_cast<lua_Integer>(strategy::count_tokens(view(L, 1))));
  return 1;
}

int leaks(lua_State *L) {
  auto why = strategy::literal_leak(std::string(view(L, 1)), to_task(L, 2), &host_of(L).literals());
  if (!why) {
    lua_pushnil(L);
    return 1;
  }
  push(L, *why);
  return 1;
}

int code_blocks(lua_State *L) {
  Task task;
  if (lua_istable(L, 2))
    task = to_task(L, 2);
  else
    task.entry_point = view(L, 2);
  auto blocks = strategy::code_blocks(std::string(view(L, 1)), task);
  lua_createtable(L, static_cast<int>(blocks.size()), 0);
  for (size_t i = 0; i < blocks.size(); ++i) {
    push(L, blocks[i]);
    lua_rawseti(L, -2, static_cast<lua_Integer>(i + 1));
  }
  return 1;
}

constexpr std::pair<const char *, Rule> kRules[] = {
    {"sprt", Rule::sprt}, {"curtailed", Rule::curtailed}, {"fixed", Rule::fixed}};

int plan(lua_State *L) {
  Options o(L, 1, "gcop.strategy.plan");
  strategy::PlanOptions options;
  options.tau = o.num("tau", options.tau, -1e9, 1e9);
  options.epsilon = o.num("epsilon", options.epsilon, -1e9, 1e9);
  options.m = static_cast<uint32_t>(o.integer("m", options.m, 0, UINT32_MAX));
  options.p1 = o.num("p1", options.p1, -1e9, 1e9);
  options.rounds_of = static_cast<uint32_t>(o.integer("rounds_of", options.rounds_of, 0, UINT32_MAX));
  const std::string rule = o.str("rule", "sprt");
  const auto known = std::find_if(std::begin(kRules), std::end(kRules), [&](auto &r) { return r.first == rule; });
  if (known == std::end(kRules)) o.refuse("rule", "is '" + rule + "'; it is sprt, curtailed or fixed");
  options.rule = known->second;
  auto made = Plan::make(options);
  if (!made) raise(L, "gcop.strategy.plan: " + made.error().message);
  push_object<Plan>(L, kPlan, std::make_shared<Plan>(*made));
  lua_createtable(L, 0, 10);
  set(L, "tau", made->options.tau);
  set(L, "epsilon", made->options.epsilon);
  set(L, "m", made->options.m);
  set(L, "rule", rule);
  set(L, "p1", made->options.p1);
  set(L, "rounds_of", made->options.rounds_of);
  set(L, "need", made->need);
  set(L, "cap", made->cap());
  set(L, "beta_fa", made->beta_fa);
  set(L, "power_at_p1", made->power_at_p1);
  lua_setiuservalue(L, -2, 1);
  return 1;
}

int smallest_m(lua_State *L) {
  Options o(L, 1, "gcop.strategy.smallest_m");
  strategy::Wanted w;
  for (const auto &[key, value] : {std::pair{"tau", &w.tau},
                                   {"epsilon", &w.epsilon},
                                   {"p1", &w.p1},
                                   {"rho", &w.rho},
                                   {"bad_share", &w.bad_share},
                                   {"power", &w.power}})
    *value = o.num(key, *value, -1e9, 1e9);
  auto m = strategy::smallest_m(w);
  if (!m) raise(L, "gcop.strategy.smallest_m: " + m.error().message);
  lua_pushinteger(L, *m);
  return 1;
}

int plan_decide(lua_State *L) {
  auto p = object<Plan>(L, 1, kPlan);
  auto successes = lua_tointeger(L, 2), trials = lua_tointeger(L, 3);
  if (successes < 0 || successes > trials || trials > p->cap())
    raise(L, fmt::format("gcop.Plan:decide: {} successes in {} trials do not fit a plan of at most {} trials",
                         successes, trials, p->cap()));
  auto decision = p->decide(static_cast<uint32_t>(successes), static_cast<uint32_t>(trials));
  if (decision == Decision::go_on)
    lua_pushnil(L);
  else
    lua_pushstring(L, decision == Decision::keep ? "keep" : "drop");
  return 1;
}

double probability(lua_State *L, const char *name) {
  double p = lua_tonumber(L, 2);
  if (!(p >= 0 && p <= 1)) raise(L, fmt::format("{}: p is {}, allowed are 0 to 1", name, p));
  return p;
}

int plan_power(lua_State *L) {
  lua_pushnumber(L, object<Plan>(L, 1, kPlan)->power(probability(L, "gcop.Plan:power")));
  return 1;
}

int plan_expected(lua_State *L) {
  lua_pushnumber(L, object<Plan>(L, 1, kPlan)->expected_trials(probability(L, "gcop.Plan:expected_trials")));
  return 1;
}

int plan_lower_bound(lua_State *L) {
  auto p = object<Plan>(L, 1, kPlan);
  const lua_Integer successes = lua_tointeger(L, 2), trials = lua_tointeger(L, 3);
  const double alpha = luaL_optnumber(L, 4, 0.05);
  if (successes < 0 || successes > trials || trials > p->cap() ||
      p->decide(static_cast<uint32_t>(successes), static_cast<uint32_t>(trials)) != Decision::keep)
    raise(L, fmt::format("gcop.Plan:lower_bound: {} successes in {} trials is not where this plan keeps a strategy",
                         successes, trials));
  if (!(alpha > 0 && alpha < 1))
    raise(L, fmt::format("gcop.Plan:lower_bound: alpha is {}, allowed is what lies between 0 and 1", alpha));
  lua_pushnumber(L, p->lower_bound(static_cast<uint32_t>(successes), static_cast<uint32_t>(trials), alpha));
  return 1;
}

int plan_certify(lua_State *L) {
  auto p = object<Plan>(L, 1, kPlan);
  Options o(L, 2, "gcop.Plan:certify");
  const int64_t tested = o.integer("tested", 0, 0, INT64_MAX), kept = o.integer("kept", 0, 0, INT64_MAX);
  if (kept > tested)
    raise(L, fmt::format("gcop.Plan:certify: {} kept of {} tested strategies cannot be", kept, tested));
  const auto k = static_cast<uint64_t>(kept), rejected = static_cast<uint64_t>(tested - kept);
  lua_createtable(L, 0, 4);
  set(L, "expected_bad", strategy::expected_bad(p->beta_fa, k, rejected));
  if (kept > 0) set(L, "bad_share", strategy::bad_share(p->beta_fa, double(kept) / double(tested)));
  set(L, "certified_bad_95", strategy::certified_bad(p->beta_fa, k, rejected));
  if (o.boolean("single_round", false))
    set(L, "good_share_95", strategy::single_round_good_share(p->beta_fa, k, rejected));
  return 1;
}

}  // namespace

extern const Module strategy_module;
const Module strategy_module = {
    "strategy",
    "Strategies",
    "What a guide or teacher wrote, and whether the core can execute it.",
    {{"gcop.Plan",
      "An acceptance plan: after which successes in how many executions a strategy is kept or dropped.",
      {{"tau", "number", ""},
       {"epsilon", "number", ""},
       {"m", "integer", "executions of the fixed test whose promise the plan keeps"},
       {"rule", "string", ""},
       {"p1", "number", ""},
       {"rounds_of", "integer", ""},
       {"need", "integer", "ceil(tau m), what the fixed test asks for"},
       {"cap", "integer", "executions of one strategy, at most"},
       {"beta_fa", "number", "the chance that a strategy with executability tau - epsilon or less is kept; exact"},
       {"power_at_p1", "number", "the chance that one with executability p1 is kept; exact"}}},
     {"gcop.Certificate",
      "What the data support, over all tested strategies, refinement rounds counted.",
      {{"expected_bad", "number",
        "how many kept ones have executability tau - epsilon or less: an estimate from the rejected, on average not "
        "too low, which may be 0 by chance; certified_bad_95 is the bound"},
       {"bad_share", "number?", "the same estimate as a share of the kept"},
       {"certified_bad_95", "integer", "with 95 % confidence no more than this"},
       {"good_share_95", "number?", "of a single round: with 95 % confidence at least this share is good"}}}},
    {},
    {{"gcop.strategy.parse",
      parse,
      Waits::no,
      "The text inside <strategy> and </strategy>. A <thinking> block before it is dropped.",
      {{"text", "string", ""}, {"max_tokens", "integer?", "default 400, counted as by count_tokens; 0: no bound"}},
      {},
      {{"strategy", "string?", ""}, {"reason", "string?", "why there is none"}},
      "",
      "local strategy, why = gcop.strategy.parse(rollout.text)"},
     {"gcop.strategy.count_tokens",
      count_tokens,
      Waits::no,
      "Tokens by a count that belongs to no model, so that one bound means the same for all.",
      {{"text", "string", ""}},
      {},
      {{"n", "integer", ""}},
      "",
      "if gcop.strategy.count_tokens(note) > 80 then end"},
     {"gcop.strategy.leaks",
      leaks,
      Waits::no,
      "Whether a strategy holds literals that occur in this task's tests only. The tasks of gcop.tasks are the others.",
      {{"strategy", "string", ""}, {"task", "gcop.Task", ""}},
      {},
      {{"reason", "string?", "nil: it does not leak"}},
      "",
      "local why = gcop.strategy.leaks(strategy, task)"},
     {"gcop.strategy.code_blocks",
      code_blocks,
      Waits::no,
      "The programs a strategy could be hiding. If one passes the task's tests, the strategy leaks.",
      {{"strategy", "string", ""}, {"task", "gcop.Task|string", "the task, or only its entry point"}},
      {},
      {{"programs", "string[]", "longest first"}},
      "",
      "for _, code in ipairs(gcop.strategy.code_blocks(strategy, task)) do tests:check(task, code) end"},
     {"gcop.strategy.plan",
      plan,
      Waits::no,
      "An acceptance plan. All rules promise what the fixed test of m executions does: no more than its chance of "
      "keeping "
      "a strategy at tau - epsilon, no less than its chance of keeping one at p1.",
      {{"options", "table", ""}},
      {{"tau", "number?", "the share of executions a strategy should win; default 0.8"},
       {"epsilon", "number?", "tau - epsilon and less is bad; default 0.2"},
       {"m", "integer?", "default 16"},
       {"rule", "\"sprt\"|\"curtailed\"|\"fixed\"|nil",
        "sprt (default): the test with the fewest executions; curtailed: the fixed test's decisions, as soon as they "
        "are certain; fixed: always m executions"},
       {"p1", "number?", "the executability that should be kept; default (1 + tau) / 2"},
       {"rounds_of", "integer?", "executions that start together, as batch APIs want; default 1"}},
      {{"plan", "gcop.Plan", ""}},
      "Raises unless 0 < tau <= 1, 0 < epsilon < tau, tau - epsilon < p1 <= 1, 1 <= m <= 1000 (sprt: 128), 1 <= "
      "rounds_of <= m.",
      "local plan = gcop.strategy.plan { tau = 0.8, epsilon = 0.2, m = 8 }"},
     {"gcop.strategy.smallest_m",
      smallest_m,
      Waits::no,
      "The smallest m that promises what is wanted of the kept strategies.",
      {{"options", "table", ""}},
      {{"tau", "number?", "default 0.8"},
       {"epsilon", "number?", "default 0.2"},
       {"p1", "number?", "default (1 + tau) / 2"},
       {"rho", "number?", "the share of tested strategies that will be kept; default 0.5"},
       {"bad_share", "number?", "bad ones among the kept, at most; default 0.05"},
       {"power", "number?", "the chance that one at p1 is kept, at least; default 0.9"}},
      {{"m", "integer", ""}},
      "Raises where m = 1000 does not do.",
      "local m = gcop.strategy.smallest_m { rho = 0.3, bad_share = 0.1 }"},
     {"gcop.Plan:decide",
      plan_decide,
      Waits::no,
      "The decision as soon as it is certain.",
      {{"successes", "integer", ""}, {"trials", "integer", "at most cap; failures of infrastructure are no trials"}},
      {},
      {{"decision", "\"keep\"|\"drop\"|nil", "nil: go on"}},
      "",
      "local decision = plan:decide(successes, trials)"},
     {"gcop.Plan:power",
      plan_power,
      Waits::no,
      "The chance that a strategy of executability p is kept.",
      {{"p", "number", ""}},
      {},
      {{"power", "number", ""}},
      "",
      "print(plan:power(0.9))"},
     {"gcop.Plan:expected_trials",
      plan_expected,
      Waits::no,
      "Executions until the decision, for executability p.",
      {{"p", "number", ""}},
      {},
      {{"trials", "number", ""}},
      "",
      "print(plan:expected_trials(0.3))"},
     {"gcop.Plan:lower_bound",
      plan_lower_bound,
      Waits::no,
      "A lower confidence bound of a kept strategy's executability, early stopping taken into account.",
      {{"successes", "integer", "when it was kept"},
       {"trials", "integer", ""},
       {"alpha", "number?", "the chance that it is too high; default 0.05. For all kept ones: 0.05 * kept / tested"}},
      {},
      {{"p", "number", ""}},
      "",
      "local p = plan:lower_bound(row.successes, row.trials, 0.05 * #kept / tested)"},
     {"gcop.Plan:certify",
      plan_certify,
      Waits::no,
      "How many of the kept strategies may be bad. True whatever was proposed after what outcome, but good_share_95.",
      {{"options", "table", ""}},
      {{"tested", "integer", "every refinement counted"},
       {"kept", "integer", ""},
       {"single_round", "boolean?", "every strategy was proposed before any outcome was known"}},
      {{"certificate", "gcop.Certificate", ""}},
      "",
      "local c = plan:certify { tested = counts.tested, kept = counts.kept }"}}};

}  // namespace gcop::lua
