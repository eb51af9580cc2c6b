// gcop.json, sha256, random numbers, clock, files.
#include <cerrno>
#include <cstring>
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

// --- values

int json_encode(lua_State *L) {
  push(L, dump_json(to_json(L, 1), lua_toboolean(L, 2) ? 2 : -1));
  return 1;
}

int json_decode(lua_State *L) {
  auto text = view(L, 1);
  constexpr int kDepth = 100;  // as json.encode; a model's answer must not be able to overflow the stack
  bool deep = false;
  json value;
  try {
    value = json::parse(text, [&deep](int depth, json::parse_event_t, json &) {
      deep = deep || depth > kDepth;
      return depth <= kDepth;
    });
  } catch (const json::parse_error &e) {
    return fail(L, invalid(fmt::format("not JSON, at byte {} of {}: {}", e.byte, text.size(), e.what())));
  } catch (const json::exception &e) {
    return fail(L, invalid(fmt::format("JSON that cannot be held: {}", e.what())));
  }
  if (deep) return fail(L, invalid(fmt::format("JSON nested deeper than {}", kDepth)));
  push_json(L, value);
  return 1;
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
  auto at = place(L, 1);  // 53 bits: survives every JSON on the way
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
    auto j = static_cast<lua_Integer>(
                 draw_below(static_cast<uint64_t>(i), host_of(L).settings().seed, "shuffle:" + at.label, at.indices)) +
             1;
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
    if (!out)
      raise(L, Error{Code::exhausted, fmt::format("cannot write '{}': {}", path.string(), std::strerror(errno)), {}});
  }
  fs::rename(partial, path, ec);
  if (ec) raise(L, Error{Code::internal, fmt::format("cannot write '{}': {}", path.string(), ec.message()), {}});
  return 0;
}

int files_remove(lua_State *L) {
  std::error_code ec;
  auto path = checked_path(L);
  if (path == host_of(L).settings().out_dir) raise(L, "gcop.files.remove: that is the run's folder itself");
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

extern const Module values_module;
const Module values_module = {
    "values",
    "Values and files",
    "JSON, hashes, repeatable random numbers, and files of the run's folder.",
    {},
    {},
    {{"gcop.json.encode",
      json_encode,
      Waits::no,
      "JSON text with sorted keys. NaN and infinities become null, an empty table {} unless gcop.json.array marked it.",
      {{"value", "any", "nil, booleans, numbers, strings, lists and tables with string keys"},
       {"pretty", "boolean?", "indented"}},
      {},
      {{"text", "string", ""}},
      "Raises for functions, userdata, mixed tables and tables that hold themselves.",
      "local text = gcop.json.encode { a = 1 }"},
     {"gcop.json.decode",
      json_decode,
      Waits::no,
      "The value of a JSON text; null becomes nil.",
      {{"text", "string", ""}},
      {},
      {{"value", "any", ""}, {"err", "gcop.Error?", "when it is not JSON"}},
      "",
      "local value, err = gcop.json.decode(reply.text)"},
     {"gcop.json.array",
      json_array,
      Waits::no,
      "Marks a table as a list, so that it is [] in JSON when empty.",
      {{"list", "table?", "default: a new table"}},
      {},
      {{"list", "table", "the same table"}},
      "",
      "report.stages = gcop.json.array()"},
     {"gcop.sha256",
      sha,
      Waits::no,
      "SHA-256 of a text.",
      {{"text", "string", ""}},
      {},
      {{"hex", "string", "64 lower-case digits"}},
      "",
      "local key = gcop.sha256(strategy):sub(1, 16)"},
     {"gcop.random",
      random,
      Waits::no,
      "A number in [0, 1) that depends on the run's seed, the label and what follows, and on nothing else: not on what "
      "was drawn before.",
      {{"label", "string", "what it is for"}, {"...", "string|integer", "which draw"}},
      {},
      {{"value", "number", ""}},
      "",
      "if gcop.random(\"mix\", step, task.id) < 0.1 then end"},
     {"gcop.seed_for",
      seed_for,
      Waits::no,
      "A seed for a model's sampling, by the same rule.",
      {{"label", "string", ""}, {"...", "string|integer", ""}},
      {},
      {{"seed", "integer", "53 bits"}},
      "",
      "seed = gcop.seed_for(\"grpo\", step, task.id)"},
     {"gcop.shuffle",
      shuffle,
      Waits::no,
      "A new list in an order that depends on the run's seed, the label and what follows.",
      {{"list", "any[]", ""}, {"label", "string", ""}, {"...", "string|integer", ""}},
      {},
      {{"list", "any[]", "a new list"}},
      "",
      "local order = gcop.shuffle(tasks.train, \"epoch\", epoch)"},
     {"gcop.clock",
      clock,
      Waits::no,
      "Seconds on a clock that only goes forward, for durations.",
      {},
      {},
      {{"seconds", "number", ""}},
      "",
      "local started = gcop.clock()"},
     {"gcop.files.write",
      files_write,
      Waits::no,
      "Writes a file of the run's folder; folders are made.",
      {{"path", "string", "relative"}, {"text", "string", ""}},
      {},
      {},
      "Raises when the path leads out of the folder or cannot be written.",
      "gcop.files.write(\"policy/policy.json\", text)"},
     {"gcop.files.read",
      files_read,
      Waits::no,
      "Reads a file of the run's folder.",
      {{"path", "string", "relative"}},
      {},
      {{"text", "string?", ""}, {"err", "gcop.Error?", ""}},
      "",
      "local text = gcop.files.read(\"policy/policy.json\")"},
     {"gcop.files.remove",
      files_remove,
      Waits::no,
      "Removes a file or folder of the run's folder, if it is there.",
      {{"path", "string", "relative"}},
      {},
      {},
      "",
      "gcop.files.remove(\"weights/old\")"}}};

}  // namespace gcop::lua
