// The state that a controller's text runs in: what it can reach, and in which order.
#include <algorithm>

#include <fmt/format.h>

#include "lua/bind.hpp"
#include "lua/controller.hpp"

namespace gcop::lua {
namespace {

int read_only(lua_State *L) {
  const auto name = lua_type(L, 2) == LUA_TSTRING ? std::string(view(L, 2)) : std::string("?");
  raise(L, fmt::format("'{}' would be global: a controller keeps nothing between questions; write 'local {}'", name,
                       name));
}

// The table on top becomes one that can be read and not changed.
void protect(lua_State *L) {
  lua_newtable(L);  // the one to be seen
  lua_createtable(L, 0, 3);
  lua_pushvalue(L, -3);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, read_only);
  lua_setfield(L, -2, "__newindex");
  lua_pushboolean(L, false);
  lua_setfield(L, -2, "__metatable");
  lua_setmetatable(L, -2);
  lua_remove(L, -2);
}

// pairs in an order that only depends on the table: numbers and strings sorted, others refused. Lua's own differs
// between states.
int next_sorted(lua_State *L) {  // upvalues: the table, its keys, how many were given
  for (lua_Integer at = lua_tointeger(L, lua_upvalueindex(3)) + 1;; ++at) {
    lua_settop(L, 0);
    if (lua_rawgeti(L, lua_upvalueindex(2), at) == LUA_TNIL) return 1;
    lua_pushvalue(L, -1);
    if (lua_rawget(L, lua_upvalueindex(1)) == LUA_TNIL) continue;  // taken away meanwhile
    lua_pushinteger(L, at);
    lua_replace(L, lua_upvalueindex(3));
    return 2;
  }
}

bool key_before(lua_State *L, int a, int b) {
  const int ta = lua_type(L, a), tb = lua_type(L, b);
  return ta == tb ? lua_compare(L, a, b, LUA_OPLT) : ta < tb;
}

int key_compare(lua_State *L) {
  lua_pushboolean(L, key_before(L, 1, 2));
  return 1;
}

int pairs(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_newtable(L);
  lua_Integer n = 0;
  bool sorted = true;
  for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) {
    const int type = lua_type(L, -2);
    if (type != LUA_TNUMBER && type != LUA_TSTRING)
      raise(L, fmt::format("pairs: the table has a key that is a {}; such keys have no order that stays the same",
                           lua_typename(L, type)));
    if (n > 0) {
      lua_rawgeti(L, 2, n);
      sorted = sorted && key_before(L, -1, -3);
      lua_pop(L, 1);
    }
    lua_pushvalue(L, -2);
    lua_rawseti(L, 2, ++n);
  }
  if (!sorted) {
    lua_getfield(L, LUA_REGISTRYINDEX, "gcop.sort");
    lua_pushvalue(L, 2);
    lua_pushcfunction(L, key_compare);
    lua_call(L, 2, 0);
  }
  lua_pushinteger(L, 0);
  lua_pushcclosure(L, next_sorted, 3);
  return 1;
}

// Values without a text of their own are named by their type: an address differs between processes.
bool has_text(lua_State *L, int index) {
  const int type = lua_type(L, index);
  return type == LUA_TNIL || type == LUA_TBOOLEAN || type == LUA_TNUMBER || type == LUA_TSTRING;
}

int tostring(lua_State *L) {
  luaL_checkany(L, 1);
  if (has_text(L, 1))
    luaL_tolstring(L, 1, nullptr);
  else
    lua_pushstring(L, luaL_typename(L, 1));
  return 1;
}

int format(lua_State *L) {  // upvalue: the library's
  const std::string_view pattern = lua_type(L, 1) == LUA_TSTRING ? view(L, 1) : std::string_view();
  for (size_t at = pattern.find('%'); at < pattern.size(); at = pattern.find('%', at + 2)) {
    const size_t kind = std::min(pattern.find_first_not_of("-+ #0123456789.", at + 1), pattern.size());
    if (pattern.substr(kind, 1) == "p")
      raise(L, "string.format: %p is not there; an address differs between processes");
  }
  const int n = lua_gettop(L);
  for (int i = 2; i <= n; ++i) {
    if (has_text(L, i)) continue;
    lua_pushstring(L, luaL_typename(L, i));
    lua_replace(L, i);
  }
  luaL_checkstack(L, n + 2, "string.format");
  lua_pushvalue(L, lua_upvalueindex(1));
  for (int i = 1; i <= n; ++i) lua_pushvalue(L, i);
  const int status = lua_pcall(L, n, 1, 0);
  if (status == LUA_ERRMEM) {  // again, for it must be known as that
    lua_settop(L, n);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, n, 1);
  } else if (status != LUA_OK) {  // the library does not know where in the text this was called, nor by which name
    const std::string why(view(L, -1));
    luaL_where(L, 1);
    luaL_gsub(L, why.c_str(), "to '?'", "to 'format'");
    lua_concat(L, 2);
    return lua_error(L);
  }
  return 1;
}

// Copies library functions by name into the table on top.
void take(lua_State *L, lua_CFunction open, std::initializer_list<const char *> names) {
  lua_pushcfunction(L, open);
  lua_call(L, 0, 1);
  for (const char *name : names) {
    lua_getfield(L, -1, name);
    lua_setfield(L, -3, name);
  }
  lua_pop(L, 1);
}

}  // namespace

// Registry keys by address.
const void *Controller::text_key() {
  static const char key = 0;
  return &key;
}
const void *Controller::env_key() {
  static const char key = 0;
  return &key;
}

int Controller::prepare(lua_State *L) {
  auto &self = *static_cast<Controller *>(lua_touserdata(L, 1));
  const auto &text = *static_cast<const std::string *>(lua_touserdata(L, 2));

  lua_pushcfunction(L, luaopen_table);
  lua_call(L, 0, 1);
  lua_getfield(L, -1, "sort");
  lua_setfield(L, LUA_REGISTRYINDEX, "gcop.sort");
  lua_settop(L, 0);

  luaL_requiref(L, LUA_GNAME, luaopen_base, 0);
  lua_newtable(L);
  for (const char *name : {"assert", "error", "ipairs", "select", "tonumber", "type"}) {
    lua_getfield(L, 1, name);
    lua_setfield(L, 2, name);
  }
  lua_pushcfunction(L, pairs);
  lua_setfield(L, 2, "pairs");
  lua_pushcfunction(L, tostring);
  lua_setfield(L, 2, "tostring");
  const struct {
    const char *name;
    lua_CFunction open;
    std::initializer_list<const char *> functions;
  } libraries[] = {{LUA_MATHLIBNAME,
                    luaopen_math,
                    {"abs", "ceil", "exp", "floor", "fmod", "huge", "log", "max", "maxinteger", "min", "mininteger",
                     "modf", "pi", "sqrt", "tointeger", "type", "ult"}},
                   {LUA_TABLIBNAME, luaopen_table, {"concat", "insert", "pack", "remove", "sort", "unpack"}},
                   {LUA_STRLIBNAME, luaopen_string, {"format", "sub", "len"}}};
  for (const auto &library : libraries) {
    lua_newtable(L);
    take(L, library.open, library.functions);
    if (lua_getfield(L, -1, "format") == LUA_TFUNCTION) {
      lua_pushcclosure(L, format, 1);
      lua_setfield(L, -2, "format");
    } else {
      lua_pop(L, 1);
    }
    protect(L);
    lua_setfield(L, 2, library.name);
  }
  lua_pushliteral(L, "");  // opening the library gave strings all its methods: theirs are the ones above
  lua_createtable(L, 0, 2);
  lua_getfield(L, 2, LUA_STRLIBNAME);
  lua_setfield(L, -2, "__index");
  lua_pushboolean(L, false);
  lua_setfield(L, -2, "__metatable");
  lua_setmetatable(L, -2);
  lua_pop(L, 1);
  protect(L);

  std::string_view code = text;
  if (luaL_loadbufferx(L, code.data(), code.size(), ("@" + self.name_).c_str(), "t") != LUA_OK) return lua_error(L);
  lua_pushvalue(L, -2);
  lua_setupvalue(L, -2, 1);  // _ENV: all that the text can reach
  lua_rawsetp(L, LUA_REGISTRYINDEX, text_key());
  lua_pushglobaltable(L);  // nothing else is reachable by accident, as through a function of the library
  for (lua_pushnil(L); lua_next(L, -2);) {
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_pushnil(L);
    lua_rawset(L, -4);
  }

  self.push_env(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, env_key());
  return 0;
}

}  // namespace gcop::lua
