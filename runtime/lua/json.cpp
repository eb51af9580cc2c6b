// Lua values to JSON and back. A table with keys 1..n is an array; an empty table is an object unless gcop.json.array
// or gcop.json.decode marked it.
#include <cmath>

#include <fmt/format.h>

#include "lua/bind.hpp"

namespace gcop::lua {
namespace {

constexpr int kMaxDepth = 100;
using nlohmann::json;

bool marked_array(lua_State *L, int index) {
  if (!lua_getmetatable(L, index)) return false;
  luaL_getmetatable(L, "gcop.array");
  bool same = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return same;
}

json convert(lua_State *L, int index, int depth, const std::string &path);

json convert_table(lua_State *L, int index, int depth, const std::string &path) {
  if (depth > kMaxDepth)
    raise(L, fmt::format("json: {} is nested deeper than {}; a table that holds itself?", path, kMaxDepth));
  luaL_checkstack(L, 8, "json");
  auto n = lua_rawlen(L, index);
  if (n > 0 || marked_array(L, index)) {
    json out = json::array();
    for (lua_Unsigned i = 1; i <= n; ++i) {
      lua_rawgeti(L, index, static_cast<lua_Integer>(i));
      out.push_back(convert(L, lua_gettop(L), depth + 1, depth < 3 ? fmt::format("{}[{}]", path, i) : path));
      lua_pop(L, 1);
    }
    lua_pushnil(L);
    while (lua_next(L, index)) {
      lua_pop(L, 1);
      if (!lua_isinteger(L, -1)) raise(L, fmt::format("json: {} mixes list items and named fields", path));
    }
    return out;
  }
  json out = json::object();
  lua_pushnil(L);
  while (lua_next(L, index)) {
    std::string key;
    if (lua_type(L, -2) == LUA_TSTRING)
      key = view(L, -2);
    else if (lua_isinteger(L, -2))
      key = std::to_string(lua_tointeger(L, -2));
    else
      raise(L, fmt::format("json: {} has a key of type {}", path, luaL_typename(L, -2)));
    out[key] = convert(L, lua_gettop(L), depth + 1, path + "." + key);
    lua_pop(L, 1);
  }
  return out;
}

json convert(lua_State *L, int index, int depth, const std::string &path) {
  switch (lua_type(L, index)) {
    case LUA_TNIL: return nullptr;
    case LUA_TBOOLEAN: return static_cast<bool>(lua_toboolean(L, index));
    case LUA_TSTRING: return std::string(view(L, index));
    case LUA_TNUMBER: {
      if (lua_isinteger(L, index)) return static_cast<int64_t>(lua_tointeger(L, index));
      double v = lua_tonumber(L, index);
      return std::isfinite(v) ? json(v) : json(nullptr);
    }
    case LUA_TTABLE: return convert_table(L, index, depth, path);
    default: raise(L, fmt::format("json: {} is a {}", path, luaL_typename(L, index)));
  }
}

}  // namespace

json to_json(lua_State *L, int index) { return convert(L, lua_absindex(L, index), 0, "value"); }

std::string dump_json(const json &value, int indent) {
  return value.dump(indent, ' ', false, json::error_handler_t::replace);
}

void make_array_metatable(lua_State *L) {
  luaL_newmetatable(L, "gcop.array");
  lua_pop(L, 1);
}

void mark_array(lua_State *L, int index) {
  index = lua_absindex(L, index);
  luaL_getmetatable(L, "gcop.array");
  lua_setmetatable(L, index);
}

void push_json(lua_State *L, const json &value) {
  luaL_checkstack(L, 8, "json");
  switch (value.type()) {
    case json::value_t::boolean: lua_pushboolean(L, value.get<bool>()); return;
    case json::value_t::number_integer: lua_pushinteger(L, value.get<int64_t>()); return;
    case json::value_t::number_unsigned: lua_pushinteger(L, static_cast<lua_Integer>(value.get<uint64_t>())); return;
    case json::value_t::number_float: lua_pushnumber(L, value.get<double>()); return;
    case json::value_t::string: push(L, value.get_ref<const std::string &>()); return;
    case json::value_t::array: {
      lua_createtable(L, static_cast<int>(value.size()), 0);
      if (value.empty()) mark_array(L, -1);
      lua_Integer i = 0;
      for (const auto &item : value) {
        push_json(L, item);
        lua_rawseti(L, -2, ++i);
      }
      return;
    }
    case json::value_t::object:
      lua_createtable(L, 0, static_cast<int>(value.size()));
      for (const auto &[key, item] : value.items()) {
        push(L, key);
        push_json(L, item);
        lua_rawset(L, -3);
      }
      return;
    default: lua_pushnil(L); return;
  }
}

}  // namespace gcop::lua
