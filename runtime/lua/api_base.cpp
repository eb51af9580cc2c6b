// gcop.option, log, progress, json, sha256, random numbers, clock, files.
#include <cmath>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "base/hash.hpp"
#include "base/random.hpp"
#include "base/secret.hpp"
#include "lua/api.hpp"
#include "lua/bind.hpp"
#include "lua/host.hpp"

namespace gcop::lua {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

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

// "--set name=text" as a value of the default's type.
Result<json> typed(const std::string &text, const json &like) {
  if (like.is_string()) return json(text);
  if (like.is_boolean()) {
    if (text == "true" || text == "1") return json(true);
    if (text == "false" || text == "0") return json(false);
    return invalid("true or false");
  }
  if (like.is_number()) {
    auto value = json::parse(text, nullptr, false);
    if (!value.is_number()) return invalid(like.is_number_integer() ? "an integer" : "a number");
    if (!like.is_number_integer()) return value;
    double v = value.get<double>();
    if (v != std::floor(v)) return invalid("an integer");
    return json(static_cast<int64_t>(v));
  }
  if (like.is_array()) {
    json list = json::array();
    size_t start = 0;
    while (start <= text.size() && !text.empty()) {
      auto comma = std::min(text.find(',', start), text.size());
      auto item = typed(text.substr(start, comma - start), like.empty() ? json("") : like[0]);
      if (!item) return invalid("a list of such, separated by commas: " + item.error().message);
      list.push_back(*item);
      start = comma + 1;
    }
    return list;
  }
  auto value = json::parse(text, nullptr, false);
  if (value.is_discarded()) return invalid("JSON");
  return value;
}

int option(lua_State *L) {
  Host &host = host_of(L);
  OptionRow row{std::string(view(L, 1)), std::string(view(L, 3)), {}, to_json(L, 2)};
  if (row.otherwise.is_null()) raise(L, fmt::format("gcop.option: '{}' needs a default; its type is the option's type", row.name));
  if (is_profile_table(row.otherwise)) row.otherwise = of_profile(row.otherwise, host.settings().profile);
  row.value = row.otherwise;
  auto set = host.settings().set.find(row.name);
  if (set != host.settings().set.end()) {
    auto value = typed(set->second, row.otherwise);
    if (!value) raise(L, fmt::format("--set {}={}: must be {} ({})", row.name, set->second, value.error().message, row.doc));
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
  for (auto [key, value] : {std::pair{"calls", &row.calls}, {"tokens_in", &row.tokens_in}, {"tokens_out", &row.tokens_out}, {"usd", &row.usd}, {"seconds", &row.seconds}})
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

// --- values

int json_encode(lua_State *L) {
  push(L, dump_json(to_json(L, 1), lua_toboolean(L, 2) ? 2 : -1));
  return 1;
}

int json_decode(lua_State *L) {
  auto text = view(L, 1);
  try {
    push_json(L, json::parse(text));
    return 1;
  } catch (const json::parse_error &e) {
    return fail(L, invalid(fmt::format("not JSON, at byte {} of {}: {}", e.byte, text.size(), e.what())));
  }
}

int json_array(lua_State *L) {
  lua_settop(L, 1);
  if (lua_isnil(L, 1)) {
    lua_settop(L, 0);
    lua_newtable(L);
  }
  mark_array(L, 1);
  return 1;
}

int sha(lua_State *L) {
  push(L, sha256(view(L, 1)));
  return 1;
}

// --- random numbers: a draw is a function of (seed, label, what follows), never of what was drawn before.

struct Place {
  std::string label;
  std::vector<uint64_t> indices;
};

Place place(lua_State *L, int first) {
  Place out{std::string(view(L, first)), {}};
  for (int i = first + 1, n = lua_gettop(L); i <= n; ++i) {
    if (lua_isinteger(L, i))
      out.indices.push_back(static_cast<uint64_t>(lua_tointeger(L, i)));
    else if (lua_type(L, i) == LUA_TSTRING)
      out.label += "\x1f" + fmt::format("{}", out.indices.size()) + ":" + std::string(view(L, i));
    else
      raise(L, fmt::format("a random number's place is made of strings and integers, got {}", luaL_typename(L, i)));
  }
  return out;
}

int random(lua_State *L) {
  auto at = place(L, 1);
  lua_pushnumber(L, draw_unit(host_of(L).settings().seed, at.label, at.indices));
  return 1;
}

int seed_for(lua_State *L) {
  auto at = place(L, 1);   // 53 bits: survives every JSON on the way
  lua_pushinteger(L, static_cast<lua_Integer>(draw(host_of(L).settings().seed, "seed:" + at.label, at.indices) >> 11));
  return 1;
}

int shuffle(lua_State *L) {
  auto at = place(L, 2);
  auto n = static_cast<lua_Integer>(lua_rawlen(L, 1));
  lua_createtable(L, static_cast<int>(n), 0);
  for (lua_Integer i = 1; i <= n; ++i) {
    lua_rawgeti(L, 1, i);
    lua_rawseti(L, -2, i);
  }
  at.indices.push_back(0);
  for (lua_Integer i = n; i > 1; --i) {
    at.indices.back() = static_cast<uint64_t>(i);
    auto j = static_cast<lua_Integer>(draw_below(static_cast<uint64_t>(i), host_of(L).settings().seed, "shuffle:" + at.label, at.indices)) + 1;
    lua_rawgeti(L, -1, i);
    lua_rawgeti(L, -2, j);
    lua_rawseti(L, -3, i);
    lua_rawseti(L, -2, j);
  }
  return 1;
}

int clock(lua_State *L) {
  lua_pushnumber(L, static_cast<double>(host_of(L).loop().clock().steady_ns()) * 1e-9);
  return 1;
}

// --- files of the run's folder

std::string checked_path(lua_State *L) {
  auto path = host_of(L).out_path(std::string(view(L, 1)));
  if (!path) raise(L, path.error());
  return *path;
}

int files_write(lua_State *L) {
  fs::path path = checked_path(L), partial = path.string() + ".part";
  std::error_code ec;
  fs::create_directories(path.parent_path(), ec);
  {
    std::ofstream out(partial, std::ios::binary);
    out << redact(std::string(view(L, 2)));
    out.flush();
    if (!out) raise(L, Error{Code::exhausted, fmt::format("cannot write '{}': {}", path.string(), std::strerror(errno)), {}});
  }
  fs::rename(partial, path, ec);
  if (ec) raise(L, Error{Code::internal, fmt::format("cannot write '{}': {}", path.string(), ec.message()), {}});
  return 0;
}

int files_remove(lua_State *L) {
  std::error_code ec;
  auto path = checked_path(L);
  if (path == host_of(L).settings().out_dir)
    raise(L, "gcop.files.remove: that is the run's folder itself");
  fs::remove_all(path, ec);
  if (ec) raise(L, Error{Code::internal, fmt::format("cannot remove '{}': {}", path, ec.message()), {}});
  return 0;
}

int files_read(lua_State *L) {
  auto path = checked_path(L);
  std::ifstream in(path, std::ios::binary);
  if (!in) return fail(L, invalid(fmt::format("cannot read '{}': {}", path, std::strerror(errno))));
  push(L, std::string(std::istreambuf_iterator<char>(in), {}));
  return 1;
}

}  // namespace

extern const Module base_module;
const Module base_module = {
    "base", "The run", "What a recipe declares and tells, and the small things it needs on the way.",
    {{"gcop.Error", "An expected failure, as the second result after nil. tostring gives its text.",
      {{"code", "\"cancelled\"|\"timeout\"|\"invalid\"|\"unavailable\"|\"unsupported\"|\"internal\"|\"denied\"|\"exhausted\"", "what kind; exhausted: memory, disk or the budget ran out"},
       {"message", "string", "names the thing, the value and the remedy"},
       {"retryable", "boolean", "another try may help (timeout, unavailable)"},
       {"where", "string?", "file:line"},
       {"traceback", "string?", "of the task that failed"}}},
     {"gcop.Progress", "A step's progress: one line, rewritten on a terminal, repeated every 5 s elsewhere, with rate and time left.", {}}},
    {{"gcop.args", "string[]", "arguments after the recipe's name"},
     {"gcop.profile", "\"quick\"|\"standard\"|\"full\"", "as chosen by --profile"},
     {"gcop.seed", "integer", "as chosen by --seed"},
     {"gcop.device", "string", "what the run computes on"},
     {"gcop.out_dir", "string", "the run's folder; empty under --check and --plan"},
     {"gcop.planning", "boolean", "true under --plan: nothing is called, the first call that waits ends the run"},
     {"gcop.checking", "boolean", "true under --check: likewise"}},
    {{"gcop.option", option, Waits::no,
      "Declares an option that --set name=value overrides. The value has the default's type; a list is written a,b,c.",
      {{"name", "string", ""}, {"default", "any", "a value, or { quick =, standard =, full = }; a missing profile takes the nearest smaller one's"}, {"doc", "string?", "one line"}},
      {}, {{"value", "any", ""}}, "Raises when --set gives a value of another type. Unknown --set keys end the run with exit code 2.",
      "local m = gcop.option(\"m\", { quick = 4, standard = 8 }, \"executions that decide\")"},
     {"gcop.options", options, Waits::no, "The options declared so far.", {}, {}, {{"values", "table<string, any>", "name to value"}}, "", "local all = gcop.options()"},
     {"gcop.plan", plan, Waits::no, "A line of what --plan prints at the end: what a step expects to call and to cost. Without --plan it is kept and not shown.",
      {{"options", "table", ""}},
      {{"stage", "string", ""}, {"role", "string?", "who is called: \"core\", \"teacher\", \"guide\", ..."}, {"calls", "number?", ""}, {"tokens_in", "number?", ""},
       {"tokens_out", "number?", ""}, {"usd", "number?", ""}, {"seconds", "number?", ""}},
      {}, "", "if gcop.planning then gcop.plan { stage = \"accept\", role = \"core\", calls = 4 * #tasks.train } end"},
     {"gcop.log", log_line, Waits::no, "One line for people; kept as an event of the run.", {{"text", "string", ""}}, {}, {}, "", "gcop.log(\"accepted \" .. n)"},
     {"gcop.warn", warn, Waits::no, "A warning, also shown under --quiet.", {{"text", "string", ""}}, {}, {}, "", "gcop.warn(\"no strategy was kept\")"},
     {"gcop.progress", progress, Waits::no, "Starts the progress of a step.", {{"label", "string", ""}, {"total", "integer?", "its length, if known"}}, {},
      {{"bar", "gcop.Progress", ""}}, "", "local bar = gcop.progress(\"evaluation\", #tasks.test)"},
     {"gcop.Progress:add", bar_add, Waits::no, "Some more is done.", {{"n", "integer?", "default 1"}, {"text", "string?", "shown at the end of the line"}}, {}, {}, "", "bar:add(1, \"loss 0.31\")"},
     {"gcop.Progress:done", bar_done, Waits::no, "The step is over; the line stays.", {}, {}, {}, "", "bar:done()"},
     {"gcop.json.encode", json_encode, Waits::no, "JSON text with sorted keys. NaN and infinities become null, an empty table {} unless gcop.json.array marked it.",
      {{"value", "any", "nil, booleans, numbers, strings, lists and tables with string keys"}, {"pretty", "boolean?", "indented"}}, {}, {{"text", "string", ""}},
      "Raises for functions, userdata, mixed tables and tables that hold themselves.", "local text = gcop.json.encode { a = 1 }"},
     {"gcop.json.decode", json_decode, Waits::no, "The value of a JSON text; null becomes nil.", {{"text", "string", ""}}, {}, {{"value", "any", ""}, {"err", "gcop.Error?", "when it is not JSON"}}, "", "local value, err = gcop.json.decode(reply.text)"},
     {"gcop.json.array", json_array, Waits::no, "Marks a table as a list, so that it is [] in JSON when empty.", {{"list", "table?", "default: a new table"}}, {}, {{"list", "table", "the same table"}}, "", "report.stages = gcop.json.array()"},
     {"gcop.sha256", sha, Waits::no, "SHA-256 of a text.", {{"text", "string", ""}}, {}, {{"hex", "string", "64 lower-case digits"}}, "", "local key = gcop.sha256(strategy):sub(1, 16)"},
     {"gcop.random", random, Waits::no, "A number in [0, 1) that depends on the run's seed, the label and what follows, and on nothing else: not on what was drawn before.",
      {{"label", "string", "what it is for"}, {"...", "string|integer", "which draw"}}, {}, {{"value", "number", ""}}, "", "if gcop.random(\"mix\", step, task.id) < 0.1 then end"},
     {"gcop.seed_for", seed_for, Waits::no, "A seed for a model's sampling, by the same rule.", {{"label", "string", ""}, {"...", "string|integer", ""}}, {}, {{"seed", "integer", "53 bits"}}, "", "seed = gcop.seed_for(\"grpo\", step, task.id)"},
     {"gcop.shuffle", shuffle, Waits::no, "A new list in an order that depends on the run's seed, the label and what follows.",
      {{"list", "any[]", ""}, {"label", "string", ""}, {"...", "string|integer", ""}}, {}, {{"list", "any[]", "a new list"}}, "", "local order = gcop.shuffle(tasks.train, \"epoch\", epoch)"},
     {"gcop.clock", clock, Waits::no, "Seconds on a clock that only goes forward, for durations.", {}, {}, {{"seconds", "number", ""}}, "", "local started = gcop.clock()"},
     {"gcop.files.write", files_write, Waits::no, "Writes a file of the run's folder; folders are made.", {{"path", "string", "relative"}, {"text", "string", ""}}, {}, {}, "Raises when the path leads out of the folder or cannot be written.", "gcop.files.write(\"policy/policy.json\", text)"},
     {"gcop.files.read", files_read, Waits::no, "Reads a file of the run's folder.", {{"path", "string", "relative"}}, {}, {{"text", "string?", ""}, {"err", "gcop.Error?", ""}}, "", "local text = gcop.files.read(\"policy/policy.json\")"},
     {"gcop.files.remove", files_remove, Waits::no, "Removes a file or folder of the run's folder, if it is there.", {{"path", "string", "relative"}}, {}, {}, "", "gcop.files.remove(\"weights/old\")"}}};

}  // namespace gcop::lua
