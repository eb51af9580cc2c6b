// gcop.strategy: reading strategies, the literal leak check, the acceptance plan.
#include <fmt/format.h>

#include "lua/api.hpp"
#include "lua/bind.hpp"
#include "lua/host.hpp"
#include "lua/task_table.hpp"
#include "strategy/acceptance.hpp"
#include "strategy/leak.hpp"
#include "strategy/parse.hpp"

namespace gcop::lua {
namespace {

using strategy::Decision;
using strategy::Plan;
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

int plan(lua_State *L) {
  Options o(L, 1, "gcop.strategy.plan");
  auto made = Plan::make(o.num("tau", 0.8, -1e9, 1e9), o.num("epsilon", 0.2, -1e9, 1e9),
                         static_cast<uint32_t>(o.integer("m", 16, 0, UINT32_MAX)));
  if (!made) raise(L, "gcop.strategy.plan: " + made.error().message);
  push_object<Plan>(L, kPlan, std::make_shared<Plan>(*made));
  lua_createtable(L, 0, 5);
  set(L, "tau", made->tau);
  set(L, "epsilon", made->epsilon);
  set(L, "m", made->m);
  set(L, "need", made->need);
  set(L, "beta_fa", made->beta_fa);
  lua_setiuservalue(L, -2, 1);
  return 1;
}

int plan_decide(lua_State *L) {
  auto p = object<Plan>(L, 1, kPlan);
  auto successes = lua_tointeger(L, 2), trials = lua_tointeger(L, 3);
  if (successes < 0 || successes > trials || trials > p->m)
    raise(L, fmt::format("gcop.Plan:decide: {} successes in {} trials do not fit a plan of m = {}", successes, trials,
                         p->m));
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

int plan_certify(lua_State *L) {
  auto p = object<Plan>(L, 1, kPlan);
  auto tested = lua_tointeger(L, 2), kept = lua_tointeger(L, 3);
  if (kept < 0 || kept > tested)
    raise(L, fmt::format("gcop.Plan:certify: {} kept of {} tested strategies cannot be", kept, tested));
  auto k = static_cast<uint64_t>(kept), rejected = static_cast<uint64_t>(tested - kept);
  lua_createtable(L, 0, 2);
  set(L, "expected_bad", strategy::expected_bad(p->beta_fa, k, rejected));
  set(L, "certified_bad_95", strategy::certified_bad(p->beta_fa, k, rejected));
  return 1;
}

}  // namespace

extern const Module strategy_module;
const Module strategy_module = {
    "strategy",
    "Strategies",
    "What a guide or teacher wrote, and whether the core can execute it.",
    {{"gcop.Plan",
      "An acceptance plan: keep when at least `need` of `m` executions succeed.",
      {{"tau", "number", ""},
       {"epsilon", "number", ""},
       {"m", "integer", ""},
       {"need", "integer", "ceil(tau m)"},
       {"beta_fa", "number", "the chance that a strategy with executability tau - epsilon or less is kept; exact"}}},
     {"gcop.Certificate",
      "What the data support, over all tested strategies, refinement rounds counted.",
      {{"expected_bad", "number", "kept ones with executability tau - epsilon or less, in expectation"},
       {"certified_bad_95", "integer", "with 95 % confidence no more than this"}}}},
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
      "An acceptance plan.",
      {{"options", "table", ""}},
      {{"tau", "number?", "default 0.8"}, {"epsilon", "number?", "default 0.2"}, {"m", "integer?", "default 16"}},
      {{"plan", "gcop.Plan", ""}},
      "Raises unless 0 < tau <= 1, 0 < epsilon < tau, 1 <= m.",
      "local plan = gcop.strategy.plan { tau = 0.8, epsilon = 0.2, m = 8 }"},
     {"gcop.Plan:decide",
      plan_decide,
      Waits::no,
      "The decision as soon as it is certain.",
      {{"successes", "integer", ""}, {"trials", "integer", "at most m; failures of infrastructure are no trials"}},
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
     {"gcop.Plan:certify",
      plan_certify,
      Waits::no,
      "How many of the kept strategies may be bad.",
      {{"tested", "integer", "every refinement counted"}, {"kept", "integer", ""}},
      {},
      {{"certificate", "gcop.Certificate", ""}},
      "",
      "local c = plan:certify(counts.tested, counts.kept)"}}};

}  // namespace gcop::lua
