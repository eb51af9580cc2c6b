// gcop.option, plan, log, progress: what a recipe declares and tells.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "lua/api.hpp"
#include "lua/bind.hpp"
#include "lua/host.hpp"
#include "lua/option_value.hpp"

namespace gcop::lua {
namespace {

using nlohmann::json;

// --- options

bool is_profile_table(const json &value) {
  if (!value.is_object() || value.empty()) return false;
  for (const auto &[key, unused] : value.items())
    if (key != "quick" && key != "standard" && key != "full") return false;
  return true;
}

// The profile's own default, else that of the nearest smaller profile, else of the nearest larger one.
json of_profile(const json &table, const std::string &profile) {
  static const std::vector<std::string> order = {"quick", "standard", "full"};
  auto at = std::find(order.begin(), order.end(), profile);
  for (auto it = at;; --it) {
    if (table.contains(*it)) return table[*it];
    if (it == order.begin()) break;
  }
  return table[*std::find_if(at, order.end(), [&](const auto &name) { return table.contains(name); })];
}

int option(lua_State *L) {
  Host &host = host_of(L);
  OptionRow row{std::string(view(L, 1)), std::string(view(L, 3)), {}, to_json(L, 2)};
  if (row.otherwise.is_null())
    raise(L, fmt::format("gcop.option: '{}' needs a default; its type is the option's type", row.name));
  if (is_profile_table(row.otherwise)) row.otherwise = of_profile(row.otherwise, host.settings().profile);
  row.value = row.otherwise;
  auto set = host.settings().set.find(row.name);
  if (set != host.settings().set.end()) {
    auto value = option_value(set->second, row.otherwise);
    if (!value)
      raise(L, fmt::format("--set {}={}: must be {} ({})", row.name, set->second, value.error().message, row.doc));
    row.value = *value;
  }
  for (const auto &other : host.options())
    if (other.name == row.name && other.otherwise != row.otherwise)
      raise(L, fmt::format("gcop.option: '{}' is declared twice with different defaults: {} and {}", row.name,
                           dump_json(other.otherwise), dump_json(row.otherwise)));
  push_json(L, row.value);
  if (std::none_of(host.options().begin(), host.options().end(), [&](const auto &o) { return o.name == row.name; }))
    host.options().push_back(std::move(row));
  return 1;
}

int options(lua_State *L) {
  lua_newtable(L);
  for (const auto &row : host_of(L).options()) {
    push_json(L, row.value);
    lua_setfield(L, -2, row.name.c_str());
  }
  return 1;
}

int plan(lua_State *L) {
  Options o(L, 1, "gcop.plan");
  PlanRow row{o.str("stage"), o.str("role")};
  for (auto [key, value] : {std::pair{"calls", &row.calls},
                            {"tokens_in", &row.tokens_in},
                            {"tokens_out", &row.tokens_out},
                            {"usd", &row.usd},
                            {"seconds", &row.seconds}})
    *value = o.num(key, 0, 0, 1e18);
  host_of(L).plan().push_back(std::move(row));
  return 0;
}

// --- telling

int tell(lua_State *L, Level level, const char *name) {
  std::string text(view(L, 1));
  log(level, text);
  if (auto *store = host_of(L).store())
    if (auto kept = store->event(name, text); !kept) raise(L, kept.error());
  return 0;
}

int manual_part(lua_State *L) {
  const std::string text = manual_of(view(L, 1));
  if (text.empty()) raise(L, fmt::format("gcop.manual: the manual has no '{}'", view(L, 1)));
  push(L, text);
  return 1;
}

int log_line(lua_State *L) { return tell(L, Level::info, "info"); }
int warn(lua_State *L) { return tell(L, Level::warn, "warn"); }

int progress(lua_State *L) {
  push_object(L, "gcop.Progress",
              std::make_shared<Console::Bar>(host_of(L).console(), std::string(view(L, 1)),
                                             static_cast<uint64_t>(std::max<lua_Integer>(0, lua_tointeger(L, 2)))));
  return 1;
}

int bar_add(lua_State *L) {
  auto n = luaL_optinteger(L, 2, 1);
  if (n < 0) raise(L, "gcop.Progress:add: n is negative");
  object<Console::Bar>(L, 1, "gcop.Progress")->add(static_cast<uint64_t>(n), std::string(view(L, 3)));
  return 0;
}

int bar_done(lua_State *L) {
  object<Console::Bar>(L, 1, "gcop.Progress")->done();
  return 0;
}

}  // namespace

extern const Module base_module;
const Module base_module = {
    "base",
    "The run",
    "What a recipe declares and tells.",
    {{"gcop.Error",
      "An expected failure, as the second result after nil. tostring gives its text.",
      {{"code",
        "\"cancelled\"|\"timeout\"|\"invalid\"|\"unavailable\"|\"unsupported\"|\"internal\"|\"denied\"|\"exhausted\"",
        "what kind; exhausted: memory, disk or the budget ran out"},
       {"message", "string", "names the thing, the value and the remedy"},
       {"retryable", "boolean", "another try may help (timeout, unavailable)"},
       {"where", "string?", "file:line"},
       {"traceback", "string?", "of the task that failed"}}},
     {"gcop.Progress",
      "A step's progress: one line, rewritten on a terminal, repeated every 5 s elsewhere, with rate and time left.",
      {}}},
    {{"gcop.args", "string[]", "arguments after the recipe's name"},
     {"gcop.profile", "\"quick\"|\"standard\"|\"full\"", "as chosen by --profile"},
     {"gcop.seed", "integer", "as chosen by --seed"},
     {"gcop.device", "string", "what the run computes on"},
     {"gcop.out_dir", "string", "the run's folder; empty under --check and --plan"},
     {"gcop.planning", "boolean", "true under --plan: nothing is called, the first call that waits ends the run"},
     {"gcop.checking", "boolean", "true under --check: likewise"}},
    {{"gcop.option",
      option,
      Waits::no,
      "Declares an option that --set name=value overrides. The value has the default's type; a list is written a,b,c. "
      "Declare all of them before the first call that waits: there the names given with --set are checked.",
      {{"name", "string", ""},
       {"default", "any",
        "a value, or { quick =, standard =, full = }; a missing profile takes the nearest smaller one's"},
       {"doc", "string?", "one line"}},
      {},
      {{"value", "any", ""}},
      "Raises when --set gives a value of another type. Unknown --set keys end the run with exit code 2.",
      "local m = gcop.option(\"m\", { quick = 4, standard = 8 }, \"executions that decide\")"},
     {"gcop.options",
      options,
      Waits::no,
      "The options declared so far.",
      {},
      {},
      {{"values", "table<string, any>", "name to value"}},
      "",
      "local all = gcop.options()"},
     {"gcop.plan",
      plan,
      Waits::no,
      "A line of what --plan prints at the end: what a step expects to call and to cost. Without --plan it is kept and "
      "not shown.",
      {{"options", "table", ""}},
      {{"stage", "string", ""},
       {"role", "string?", "who is called: \"core\", \"teacher\", \"guide\", ..."},
       {"calls", "number?", ""},
       {"tokens_in", "number?", ""},
       {"tokens_out", "number?", ""},
       {"usd", "number?", ""},
       {"seconds", "number?", ""}},
      {},
      "",
      "if gcop.planning then gcop.plan { stage = \"accept\", role = \"core\", calls = 4 * #tasks.train } end"},
     {"gcop.manual",
      manual_part,
      Waits::no,
      "What the manual says of a function, or of a class and its methods: for a model that is to write Lua.",
      {{"name", "string", ""}},
      {},
      {{"text", "string", "Markdown, as in sdk/docs/lua.md"}},
      "Raises when the manual has no such name.",
      "local api = gcop.manual \"gcop.Env\""},
     {"gcop.log",
      log_line,
      Waits::no,
      "One line for people; kept as an event of the run.",
      {{"text", "string", ""}},
      {},
      {},
      "",
      "gcop.log(\"accepted \" .. n)"},
     {"gcop.warn",
      warn,
      Waits::no,
      "A warning, also shown under --quiet.",
      {{"text", "string", ""}},
      {},
      {},
      "",
      "gcop.warn(\"no strategy was kept\")"},
     {"gcop.progress",
      progress,
      Waits::no,
      "Starts the progress of a step.",
      {{"label", "string", ""}, {"total", "integer?", "its length, if known"}},
      {},
      {{"bar", "gcop.Progress", ""}},
      "",
      "local bar = gcop.progress(\"evaluation\", #tasks.test)"},
     {"gcop.Progress:add",
      bar_add,
      Waits::no,
      "Some more is done.",
      {{"n", "integer?", "default 1"}, {"text", "string?", "shown at the end of the line"}},
      {},
      {},
      "",
      "bar:add(1, \"loss 0.31\")"},
     {"gcop.Progress:done", bar_done, Waits::no, "The step is over; the line stays.", {}, {}, {}, "", "bar:done()"}}};

}  // namespace gcop::lua
