// gcop.store: what a run remembers.
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "lua/api.hpp"
#include "lua/bind.hpp"
#include "lua/host.hpp"

namespace gcop::lua {
namespace {

int put(lua_State *L) {
  auto json = dump_json(to_json(L, 3));
  if (auto *store = host_of(L).store())
    if (auto kept = store->put(std::string(view(L, 1)), std::string(view(L, 2)), json); !kept) raise(L, kept.error());
  return 0;
}

void push_row(lua_State *L, const std::string &text) { push_json(L, nlohmann::json::parse(text, nullptr, false)); }

int get(lua_State *L) {
  auto *store = host_of(L).store();
  auto row = store ? store->get(std::string(view(L, 1)), std::string(view(L, 2))) : std::nullopt;
  if (!row)
    lua_pushnil(L);
  else
    push_row(L, *row);
  return 1;
}

int list(lua_State *L) {
  auto *store = host_of(L).store();
  lua_newtable(L);
  if (!store) return 1;
  lua_Integer i = 0;
  for (const auto &[key, text] : store->list(std::string(view(L, 1)), std::string(view(L, 2)))) {
    lua_createtable(L, 0, 2);
    set(L, "key", key);
    push_row(L, text);
    lua_setfield(L, -2, "value");
    lua_rawseti(L, -2, ++i);
  }
  return 1;
}

int costs(lua_State *L) {
  auto *store = host_of(L).store();
  lua_newtable(L);
  if (!store) return 1;
  lua_Integer i = 0;
  for (const auto &row : store->costs()) {
    lua_createtable(L, 0, 9);
    set(L, "role", row.role);
    set(L, "usd", row.usd);
    set(L, "possible_usd", row.possible_usd);
    set(L, "calls", row.calls);
    set(L, "failed", row.failed);
    set(L, "hits", row.hits);
    set(L, "unknown", row.unknown);
    set(L, "tokens_in", row.usage.in());
    set(L, "tokens_out", row.usage.out());
    lua_rawseti(L, -2, ++i);
  }
  return 1;
}

int spent(lua_State *L) {
  auto *store = host_of(L).store();
  lua_pushnumber(L, store ? store->spent() : 0);
  return 1;
}

int set_budget(lua_State *L) {
  double usd = lua_tonumber(L, 1);
  if (!(usd >= 0)) raise(L, fmt::format("gcop.store.set_budget: usd is {}; 0 forbids every paid call", usd));
  if (auto *store = host_of(L).store()) store->set_budget(usd, std::string(view(L, 2)));
  return 0;
}

int unknown_calls(lua_State *L) {
  auto *store = host_of(L).store();
  lua_newtable(L);
  if (!store) return 1;
  lua_Integer i = 0;
  for (const auto &call : store->unknown_calls()) {
    lua_createtable(L, 0, 4);
    set(L, "role", call.role);
    set(L, "model", call.model);
    set(L, "stage", call.stage);
    set(L, "possible_usd", call.possible_usd);
    lua_rawseti(L, -2, ++i);
  }
  return 1;
}

int record(lua_State *L) {
  Host &host = host_of(L);
  const std::string run = host.input_path(std::string(view(L, 1)));
  std::error_code ec;
  if (!std::filesystem::exists(run + "/run.db", ec))
    raise(L, fmt::format("gcop.store.record: there is no run in '{}' (no run.db)", view(L, 1)));
  auto path = host.out_path(std::string(view(L, 2)));
  if (!path) raise(L, path.error());
  auto store = store::Store::open(run);
  if (!store) raise(L, store.error());
  std::ofstream file(*path, std::ios::binary);
  lua_Integer n = 0;
  auto done = (*store)->each_recorded([&](const std::string &line) { file << line << '\n', ++n; });
  if (!done) raise(L, done.error());
  if (!file.flush()) raise(L, fmt::format("gcop.store.record: cannot write {}; is the disk full?", *path));
  lua_pushinteger(L, n);
  return 1;
}

}  // namespace

extern const Module store_module;
const Module store_module = {
    "store",
    "The store",
    "One SQLite file per run (run.db). Calls and checks are kept by themselves; stages keep their progress here. Under "
    "--check and --plan nothing is kept.",
    {{"gcop.Cost",
      "What a role spent, earlier processes of the run included.",
      {{"role", "string", ""},
       {"usd", "number", ""},
       {"possible_usd", "number", "held for calls whose outcome nobody knows"},
       {"calls", "integer", ""},
       {"failed", "integer", ""},
       {"hits", "integer", "answered from the store by this process"},
       {"unknown", "integer", "begun and never answered"},
       {"tokens_in", "integer", ""},
       {"tokens_out", "integer", ""}}},
     {"gcop.UnknownCall",
      "A call whose outcome nobody knows.",
      {{"role", "string", ""},
       {"model", "string", ""},
       {"stage", "string", ""},
       {"possible_usd", "number", "what it may have cost at most"}}}},
    {},
    {{"gcop.store.put",
      put,
      Waits::no,
      "Keeps a row; overwrites.",
      {{"kind", "string", "a table-like name: \"strategy\", \"step\", ..."},
       {"key", "string", "unique within its kind"},
       {"value", "any", "as gcop.json.encode takes it"}},
      {},
      {},
      "Raises when the disk is full.",
      "gcop.store.put(\"stage\", \"sft\", { steps = 40 })"},
     {"gcop.store.get",
      get,
      Waits::no,
      "A kept row.",
      {{"kind", "string", ""}, {"key", "string", ""}},
      {},
      {{"value", "any", "nil if there is none"}},
      "",
      "local done = gcop.store.get(\"stage\", \"sft\")"},
     {"gcop.store.list",
      list,
      Waits::no,
      "Rows of a kind in the order of their keys.",
      {{"kind", "string", ""}, {"prefix", "string?", "of the keys"}},
      {},
      {{"rows", "{key: string, value: any}[]", ""}},
      "",
      "for _, row in ipairs(gcop.store.list(\"step\", \"grpo/\")) do print(row.key, row.value.reward) end"},
     {"gcop.store.costs",
      costs,
      Waits::no,
      "Costs by role.",
      {},
      {},
      {{"costs", "gcop.Cost[]", ""}},
      "",
      "for _, row in ipairs(gcop.store.costs()) do print(row.role, row.usd) end"},
     {"gcop.store.spent",
      spent,
      Waits::no,
      "USD spent by the run so far.",
      {},
      {},
      {{"usd", "number", ""}},
      "",
      "print(gcop.store.spent())"},
     {"gcop.store.set_budget",
      set_budget,
      Waits::no,
      "A hard cap on what the run, or one role in it, may spend, earlier processes included. A call that does not fit "
      "is refused, and the run ends with exit code 3, also when the recipe goes on without it; a recipe that calls "
      "gcop.finish() after a refusal says that it is done, and ends with 0.",
      {{"usd", "number", "0 forbids every paid call"}, {"role", "string?", "\"teacher\", \"core\", \"judge\", ..."}},
      {},
      {},
      "",
      "gcop.store.set_budget(5)\ngcop.store.set_budget(1, \"teacher\")"},
     {"gcop.store.unknown_calls",
      unknown_calls,
      Waits::no,
      "Calls that were sent and whose outcome nobody knows: the process was killed, or the call was cancelled, timed "
      "out or cut off. They may have been billed, so that a budget holds what they cost at most.",
      {},
      {},
      {{"calls", "gcop.UnknownCall[]", "in the order they began"}},
      "",
      "for _, call in ipairs(gcop.store.unknown_calls()) do print(call.role, call.model, call.possible_usd) end"},
     {"gcop.store.record",
      record,
      Waits::no,
      "Writes the settled calls of a finished run as JSON lines, which model = \"replay:FILE\" answers from.",
      {{"run", "string", "its folder"}, {"file", "string", "in this run's folder"}},
      {},
      {{"calls", "integer", "how many there were"}},
      "Raises when there is no run, or another process uses it.",
      "gcop.store.record(\"runs/first\", \"calls.jsonl\")"}}};

}  // namespace gcop::lua
