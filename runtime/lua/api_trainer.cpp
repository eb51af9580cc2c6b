// gcop.trainer.advantages and gcop.reward.check.
#include <fmt/format.h>

#include "lua/api.hpp"
#include "lua/bind.hpp"
#include "reward/order.hpp"
#include "trainer/advantages.hpp"

namespace gcop::lua {
namespace {

int advantages(lua_State *L) {
  std::vector<std::optional<double>> rewards;
  auto groups_in = to_numbers(L, 2, "gcop.trainer.advantages: groups");
  for (size_t i = 1; i <= groups_in.size(); ++i) {  // a missing reward is false or nil, so the groups give the length
    int type = lua_rawgeti(L, 1, static_cast<lua_Integer>(i));
    if (type == LUA_TNUMBER)
      rewards.emplace_back(lua_tonumber(L, -1));
    else if (!lua_toboolean(L, -1))
      rewards.emplace_back();
    else
      raise(L, fmt::format("gcop.trainer.advantages: rewards[{}] is a {}; a number, or false for a missing one", i,
                           luaL_typename(L, -1)));
    lua_pop(L, 1);
  }
  if (lua_rawlen(L, 1) > groups_in.size())
    raise(L, fmt::format("gcop.trainer.advantages: {} rewards but {} groups", lua_rawlen(L, 1), groups_in.size()));
  std::vector<int64_t> groups;
  for (double g : groups_in) groups.push_back(static_cast<int64_t>(g));
  auto scaling = trainer::scaling_from(lua_isnoneornil(L, 3) ? "none" : std::string(view(L, 3)));
  if (!scaling) raise(L, "gcop.trainer.advantages: " + scaling.error().message);
  auto result = trainer::advantages(rewards, groups, *scaling);
  if (!result) raise(L, "gcop.trainer.advantages: " + result.error().message);
  lua_createtable(L, static_cast<int>(result->values.size()), 0);
  for (size_t i = 0; i < result->values.size(); ++i) {
    lua_pushnumber(L, result->values[i]);
    lua_rawseti(L, -2, static_cast<lua_Integer>(i + 1));
  }
  lua_createtable(L, 0, 3);
  set(L, "groups", result->groups);
  set(L, "dead_groups", result->dead_groups);
  set(L, "missing", result->missing);
  return 2;
}

int reward_check(lua_State *L) {
  Options o(L, 1, "gcop.reward.check");
  reward::Constants c;
  for (auto [key, value] : {std::pair{"malformed", &c.malformed},
                            {"leak", &c.leak},
                            {"c_valid", &c.c_valid},
                            {"w_judge", &c.w_judge},
                            {"w_harm", &c.w_harm},
                            {"judge_min", &c.judge_min},
                            {"judge_max", &c.judge_max},
                            {"lambda", &c.lambda},
                            {"cost_max", &c.cost_max}})
    *value = o.num(key, *value, -1e9, 1e9);
  c.binary = o.boolean("binary", c.binary);
  c.valid_varies = o.boolean("valid_varies", c.valid_varies);
  auto scaling = trainer::scaling_from(o.str("scaling", "none"));
  if (!scaling) raise(L, "gcop.reward.check: " + scaling.error().message);
  c.scaling = *scaling;
  auto order = reward::check(c);
  if (!order) return fail(L, order.error());
  lua_createtable(L, 0, 2);
  lua_createtable(L, static_cast<int>(order->outcomes.size()), 0);
  for (size_t i = 0; i < order->outcomes.size(); ++i) {
    lua_createtable(L, 0, 3);
    set(L, "outcome", order->outcomes[i].outcome);
    set(L, "low", order->outcomes[i].low);
    set(L, "high", order->outcomes[i].high);
    lua_rawseti(L, -2, static_cast<lua_Integer>(i + 1));
  }
  lua_setfield(L, -2, "outcomes");
  lua_createtable(L, static_cast<int>(order->terms.size()), 0);
  for (size_t i = 0; i < order->terms.size(); ++i) {
    lua_createtable(L, 0, 3);
    set(L, "name", order->terms[i].name);
    set(L, "acts", order->terms[i].acts);
    set(L, "why", order->terms[i].why);
    lua_rawseti(L, -2, static_cast<lua_Integer>(i + 1));
  }
  lua_setfield(L, -2, "terms");
  return 1;
}

}  // namespace

extern const Module trainer_module;
const Module trainer_module = {
    "trainer",
    "Rewards and advantages",
    "The reward's formula is Lua (scripts/gcop/reward.lua); what is here is its check and GRPO's advantages.",
    {{"gcop.RewardOrder",
      "The reward's constants, checked.",
      {{"outcomes", "{outcome: string, low: number, high: number}[]", "lowest first"},
       {"terms", "{name: string, acts: boolean, why: string}[]", "which terms can move an advantage, and how"}}}},
    {},
    {{"gcop.trainer.advantages",
      advantages,
      Waits::no,
      "Group-relative advantages (GRPO). A missing reward leaves its group.",
      {{"rewards", "(number|false)[]", "false: missing"},
       {"groups", "integer[]", "parallel: a number that the samples of one prompt share"},
       {"scaling", "\"none\"|\"group\"|\"batch\"|nil",
        "default \"none\": with binary rewards std scaling erases the harm term"}},
      {},
      {{"advantages", "number[]", "0 where missing"},
       {"stats", "{groups: integer, dead_groups: integer, missing: integer}", ""}},
      "Raises when the lists do not fit.",
      "local advantages = gcop.trainer.advantages(rewards, groups)"},
     {"gcop.reward.check",
      reward_check,
      Waits::no,
      "Checks the constants of R = I [ r + c_valid + w_judge J - w_harm max(0, -delta) - lambda C ]: malformed < leak "
      "< every honest failure < every honest success.",
      {{"options", "table", ""}},
      {{"malformed", "number?", "default -1"},
       {"leak", "number?", "default -0.5"},
       {"c_valid", "number?", "default 0.1"},
       {"w_judge", "number?", "default 0.2"},
       {"w_harm", "number?", "default 0.5"},
       {"judge_min", "number?", "J's scale; default 0"},
       {"judge_max", "number?", "default 1; equal to judge_min: no judge"},
       {"lambda", "number?", "reward per USD; default 0"},
       {"cost_max", "number?", "the dearest execution, USD; default 0"},
       {"scaling", "\"none\"|\"group\"|\"batch\"|nil", "as for the advantages"},
       {"binary", "boolean?", "r is 0 or 1; default true"},
       {"valid_varies", "boolean?", "malformed or leaking samples occur; default true"}},
      {{"order", "gcop.RewardOrder?", ""},
       {"err", "gcop.Error?", "names the pair that is out of order and the constant to change"}},
      "",
      "local order, err = gcop.reward.check { c_valid = 0.1, w_harm = 0.5 }"}}};

}  // namespace gcop::lua
