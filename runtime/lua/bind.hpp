// The typed layer between C++ and Lua: errors, option tables, userdata, values. Used by the bindings only, inside the
// running task. Lua is the C++ build: raising unwinds C++ frames, so locals with destructors are safe everywhere.
// Arguments have been checked against the function's row (lua/api.hpp) before a binding runs.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <lua.hpp>
#include <nlohmann/json.hpp>

#include "base/result.hpp"
#include "lua/scheduler.hpp"

namespace gcop::lua {

class Host;
Host &host_of(lua_State *L);
Scheduler &scheduler_of(lua_State *L);

// --- errors
[[noreturn]] void raise(lua_State *L, const std::string &message);  // "file:line: message", line of the caller
[[noreturn]] void raise(lua_State *L, const Error &error);          // an err table whose text carries file:line
void push_error(lua_State *L, const Error &error);                  // err table {code, message, retryable}
int fail(lua_State *L, const Error &error);                         // nil, err
std::string error_text(lua_State *L, int index);                    // of any error value
std::optional<Error> to_error(lua_State *L, int index);             // of an err table
void make_error_metatable(lua_State *L);

// Runs fn; a C++ exception becomes a Lua error. Lua's own errors pass through.
template <class Fn>
int guarded(lua_State *L, Fn &&fn) {
  std::string text;
  try {
    return fn();
  } catch (const std::exception &e) {
    text = e.what();
  }
  raise(L, Error{Code::internal, text, {}});
}

// --- values
inline std::string_view view(lua_State *L, int index) {
  size_t n = 0;
  const char *s = lua_tolstring(L, index, &n);
  return s ? std::string_view(s, n) : std::string_view();
}
inline void push(lua_State *L, std::string_view s) { lua_pushlstring(L, s.data(), s.size()); }
void push_json(lua_State *L, const nlohmann::json &value);
nlohmann::json to_json(lua_State *L, int index);                      // raises for functions and cycles
std::string dump_json(const nlohmann::json &value, int indent = -1);  // broken UTF-8 becomes U+FFFD
void make_array_metatable(lua_State *L);
void mark_array(lua_State *L, int index);  // an empty table that is [] in JSON

void push_tokens(lua_State *L, const std::vector<int32_t> &tokens);
void push_floats(lua_State *L, const std::vector<float> &values);
std::vector<int32_t> to_tokens(lua_State *L, int index, const char *what);
std::vector<double> to_numbers(lua_State *L, int index, const char *what);
std::vector<std::string> to_strings(lua_State *L, int index, const char *what);

template <class T>
void set(lua_State *L, const char *key, const T &value) {  // t[key] = value, t on top
  if constexpr (std::is_same_v<T, bool>)
    lua_pushboolean(L, value);
  else if constexpr (std::is_integral_v<T>)
    lua_pushinteger(L, static_cast<lua_Integer>(value));
  else if constexpr (std::is_floating_point_v<T>)
    lua_pushnumber(L, value);
  else
    push(L, std::string_view(value));
  lua_setfield(L, -2, key);
}

// --- the options table at a position. Reading leaves the stack as it was.
class Options {
 public:
  Options(lua_State *L, int index, std::string function)
      : L_(L), index_(lua_absindex(L, index)), function_(std::move(function)) {}
  bool has(const char *key) const;
  std::string str(const char *key, std::string otherwise = {}) const;
  double num(const char *key, double otherwise, double low, double high) const;
  int64_t integer(const char *key, int64_t otherwise, int64_t low, int64_t high) const;
  bool boolean(const char *key, bool otherwise) const;
  std::vector<std::string> strings(const char *key) const;  // a string counts as a list of one
  nlohmann::json json(const char *key) const;
  int push(const char *key) const;       // pushes the value; its type
  Options table(const char *key) const;  // leaves the table on the stack
  [[noreturn]] void refuse(const char *key, const std::string &why) const;
  int index() const { return index_; }

 private:
  lua_State *L_;
  int index_;
  std::string function_;
};

// --- userdata that holds a shared_ptr. Metatables are made by register_api from the rows "gcop.Class:method".
template <class T>
void push_object(lua_State *L, const char *cls, std::shared_ptr<T> object) {
  void *memory = lua_newuserdatauv(L, sizeof(std::shared_ptr<void>), 1);
  new (memory) std::shared_ptr<void>(std::move(object));
  luaL_setmetatable(L, cls);
}
std::shared_ptr<void> object_at(lua_State *L, int index, const char *cls);
template <class T>
std::shared_ptr<T> object(lua_State *L, int index, const char *cls) {
  return std::static_pointer_cast<T>(object_at(L, index, cls));
}

}  // namespace gcop::lua
