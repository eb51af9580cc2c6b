#include "lua/bind.hpp"

#include <cmath>

#include <fmt/format.h>

namespace gcop::lua {

void raise(lua_State *L, const std::string &message) {
  luaL_where(L, 1);
  push(L, message);
  lua_concat(L, 2);
  lua_error(L);
  std::abort();  // lua_error does not return
}

void raise(lua_State *L, const Error &error) {
  Error placed = error;
  if (placed.where.empty()) {
    luaL_where(L, 1);
    placed.where = view(L, -1);
    lua_pop(L, 1);
    if (placed.where.size() > 2) placed.where.resize(placed.where.size() - 2);  // "file:line: "
  }
  push_error(L, placed);
  lua_error(L);
  std::abort();
}

namespace {

int error_tostring(lua_State *L) {
  lua_getfield(L, 1, "where");
  std::string where(view(L, -1));
  lua_getfield(L, 1, "message");
  std::string text = (where.empty() ? "" : where + ": ") + std::string(view(L, -1));
  lua_getfield(L, 1, "traceback");
  if (lua_isstring(L, -1)) text += "\n" + std::string(view(L, -1));
  push(L, text);
  return 1;
}

int error_concat(lua_State *L) {
  luaL_tolstring(L, 1, nullptr);
  luaL_tolstring(L, 2, nullptr);
  lua_concat(L, 2);
  return 1;
}

int protected_text(lua_State *L) {
  luaL_tolstring(L, 1, nullptr);
  return 1;
}

}  // namespace

void make_error_metatable(lua_State *L) {
  luaL_newmetatable(L, "gcop.error");
  lua_pushcfunction(L, error_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pushcfunction(L, error_concat);
  lua_setfield(L, -2, "__concat");
  lua_pushboolean(L, false);
  lua_setfield(L, -2, "__metatable");
  lua_pop(L, 1);
}

void push_error(lua_State *L, const Error &error) {
  lua_createtable(L, 0, 4);
  set(L, "code", std::string_view(code_name(error.code)));
  set(L, "message", error.message);
  set(L, "retryable", error.retryable());
  if (!error.where.empty()) set(L, "where", error.where);
  luaL_setmetatable(L, "gcop.error");
}

int fail(lua_State *L, const Error &error) {
  lua_pushnil(L);
  push_error(L, error);
  return 2;
}

std::string error_text(lua_State *L, int index) {
  index = lua_absindex(L, index);
  if (lua_type(L, index) == LUA_TSTRING) return std::string(view(L, index));
  lua_pushcfunction(L, protected_text);
  lua_pushvalue(L, index);
  if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
    lua_pop(L, 1);
    return fmt::format("an error value of type {}", luaL_typename(L, index));
  }
  std::string text(view(L, -1));
  lua_pop(L, 1);
  return text;
}

std::optional<Error> to_error(lua_State *L, int index) {
  index = lua_absindex(L, index);
  if (!lua_istable(L, index) || !lua_getmetatable(L, index)) return {};
  luaL_getmetatable(L, "gcop.error");
  bool ours = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  if (!ours) return {};
  Error error;
  lua_getfield(L, index, "code");
  auto code = view(L, -1);
  for (int c = GCOP_CANCELLED; c <= GCOP_EXHAUSTED; ++c)
    if (code == code_name(static_cast<Code>(c))) error.code = static_cast<Code>(c);
  lua_getfield(L, index, "message");
  error.message = view(L, -1);
  lua_getfield(L, index, "where");
  error.where = view(L, -1);
  lua_pop(L, 3);
  return error;
}

void push_tokens(lua_State *L, const std::vector<int32_t> &tokens) {
  lua_createtable(L, static_cast<int>(tokens.size()), 0);
  for (size_t i = 0; i < tokens.size(); ++i) {
    lua_pushinteger(L, tokens[i]);
    lua_rawseti(L, -2, static_cast<lua_Integer>(i + 1));
  }
}

void push_floats(lua_State *L, const std::vector<float> &values) {
  lua_createtable(L, static_cast<int>(values.size()), 0);
  for (size_t i = 0; i < values.size(); ++i) {
    lua_pushnumber(L, values[i]);
    lua_rawseti(L, -2, static_cast<lua_Integer>(i + 1));
  }
}

namespace {

template <class Fn>
void each(lua_State *L, int index, const char *what, Fn &&fn) {
  index = lua_absindex(L, index);
  if (!lua_istable(L, index)) raise(L, fmt::format("{} must be a list, got {}", what, luaL_typename(L, index)));
  auto n = lua_rawlen(L, index);
  for (lua_Unsigned i = 1; i <= n; ++i) {
    lua_rawgeti(L, index, static_cast<lua_Integer>(i));
    if (!fn(i)) raise(L, fmt::format("{}[{}] is {} {}", what, i, luaL_typename(L, -1), error_text(L, -1)));
    lua_pop(L, 1);
  }
}

}  // namespace

std::vector<int32_t> to_tokens(lua_State *L, int index, const char *what) {
  std::vector<int32_t> out;
  each(L, index, what, [&](lua_Unsigned) {
    int ok = 0;
    auto v = lua_tointegerx(L, -1, &ok);
    out.push_back(static_cast<int32_t>(v));
    return ok && lua_type(L, -1) == LUA_TNUMBER && v >= INT32_MIN && v <= INT32_MAX;
  });
  return out;
}

std::vector<double> to_numbers(lua_State *L, int index, const char *what) {
  std::vector<double> out;
  each(L, index, what, [&](lua_Unsigned) {
    out.push_back(lua_tonumber(L, -1));
    return lua_type(L, -1) == LUA_TNUMBER;
  });
  return out;
}

std::vector<std::string> to_strings(lua_State *L, int index, const char *what) {
  std::vector<std::string> out;
  each(L, index, what, [&](lua_Unsigned) {
    if (lua_type(L, -1) != LUA_TSTRING) return false;
    out.emplace_back(view(L, -1));
    return true;
  });
  return out;
}

int Options::push(const char *key) const {
  if (!lua_istable(L_, index_)) {
    lua_pushnil(L_);
    return LUA_TNIL;
  }
  return lua_getfield(L_, index_, key);
}

bool Options::has(const char *key) const {
  bool there = push(key) != LUA_TNIL;
  lua_pop(L_, 1);
  return there;
}

void Options::refuse(const char *key, const std::string &why) const {
  raise(L_, fmt::format("{}: {} {}", function_, key, why));
}

std::string Options::str(const char *key, std::string otherwise) const {
  if (push(key) == LUA_TSTRING) otherwise = view(L_, -1);
  lua_pop(L_, 1);
  return otherwise;
}

double Options::num(const char *key, double otherwise, double low, double high) const {
  if (push(key) == LUA_TNUMBER) {
    otherwise = lua_tonumber(L_, -1);
    if (!(otherwise >= low && otherwise <= high))
      refuse(key, fmt::format("is {}, allowed are {} to {}", otherwise, low, high));
  }
  lua_pop(L_, 1);
  return otherwise;
}

int64_t Options::integer(const char *key, int64_t otherwise, int64_t low, int64_t high) const {
  if (push(key) == LUA_TNUMBER) {
    otherwise = lua_tointeger(L_, -1);
    if (otherwise < low || otherwise > high)
      refuse(key, fmt::format("is {}, allowed are {} to {}", otherwise, low, high));
  }
  lua_pop(L_, 1);
  return otherwise;
}

bool Options::boolean(const char *key, bool otherwise) const {
  if (push(key) != LUA_TNIL) otherwise = lua_toboolean(L_, -1);
  lua_pop(L_, 1);
  return otherwise;
}

std::vector<std::string> Options::strings(const char *key) const {
  std::vector<std::string> out;
  int type = push(key);
  if (type == LUA_TSTRING)
    out.emplace_back(view(L_, -1));
  else if (type != LUA_TNIL)
    out = to_strings(L_, -1, (function_ + ": " + key).c_str());
  lua_pop(L_, 1);
  return out;
}

nlohmann::json Options::json(const char *key) const {
  push(key);
  auto value = to_json(L_, -1);
  lua_pop(L_, 1);
  return value;
}

Options Options::table(const char *key) const {
  push(key);
  return Options(L_, -1, function_ + ": " + key);
}

std::shared_ptr<void> object_at(lua_State *L, int index, const char *cls) {
  void *p = luaL_testudata(L, index, cls);
  if (!p) raise(L, fmt::format("expected a {}, got {}", cls, luaL_typename(L, index)));
  return *static_cast<std::shared_ptr<void> *>(p);
}

}  // namespace gcop::lua
