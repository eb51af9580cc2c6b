#include "lua/state.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fmt/format.h>

#include "lua/bind.hpp"
#include "lua/host.hpp"

namespace gcop::lua {
namespace fs = std::filesystem;
namespace {

constexpr const char *kLoaded = "gcop.loaded";
char loading;  // its address marks a module that is being loaded

int print(lua_State *L) {
  std::string text;
  for (int i = 1, n = lua_gettop(L); i <= n; ++i) {
    size_t size = 0;
    const char *s = luaL_tolstring(L, i, &size);
    if (i > 1) text += '\t';
    text.append(s, size);
    lua_pop(L, 1);
  }
  if (auto &sink = state_of(L).on_print) sink(text);
  return 0;
}

int module_ran(lua_State *L, int, lua_KContext) {
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_pushboolean(L, true);
  }
  luaL_getsubtable(L, LUA_REGISTRYINDEX, kLoaded);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, -3);
  lua_settable(L, -3);
  lua_pop(L, 1);
  return 1;
}

// require "gcop.reward": text of <folder>/gcop/reward.lua from the recipe's folder, recipes/ or scripts/. The module
// may wait while it loads; a second require of it then waits for nobody and is refused as a circle.
int require(lua_State *L) {
  std::string name = luaL_checkstring(L, 1);
  lua_settop(L, 1);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, kLoaded);
  if (lua_getfield(L, 2, name.c_str()) != LUA_TNIL) {
    if (lua_touserdata(L, 3) == &loading)
      raise(L, fmt::format("require '{}': it is still being loaded (a circle?)", name));
    return 1;
  }
  lua_settop(L, 2);
  auto &state = state_of(L);
  std::string path = state.find_module(name);
  if (path.empty())
    raise(L, fmt::format("require '{}': no such module in the recipe's folder, recipes/ or scripts/", name));
  auto loaded = state.load_file(L, path);
  if (!loaded) raise(L, loaded.error());
  lua_pushlightuserdata(L, &loading);
  lua_setfield(L, 2, name.c_str());
  lua_remove(L, 2);
  push(L, name);
  lua_callk(L, 1, 1, 0, module_ran);
  return module_ran(L, LUA_OK, 0);
}

void remove_fields(lua_State *L, const char *table, std::initializer_list<const char *> names) {
  lua_getglobal(L, table);
  for (auto *name : names) {
    lua_pushnil(L);
    lua_setfield(L, -2, name);
  }
  lua_pop(L, 1);
}

}  // namespace

State &state_of(lua_State *L) { return host_of(L).state(); }

void *State::allocate(void *ud, void *p, size_t old_size, size_t new_size) {
  auto &self = *static_cast<State *>(ud);
  if (!p) old_size = 0;  // then it names the type of the new object
  if (new_size == 0) {
    self.used_ -= old_size;
    std::free(p);
    return nullptr;
  }
  if (self.capped_ && new_size > old_size && self.used_ + new_size - old_size > self.options_.memory_cap)
    return nullptr;
  void *grown = std::realloc(p, new_size);
  if (grown) self.used_ += new_size - old_size;
  return grown;
}

State::State(StateOptions options, Host *host) : options_(std::move(options)) {
  L_ = lua_newstate(allocate, this);
  if (!L_) throw std::bad_alloc();
  *static_cast<Host **>(lua_getextraspace(L_)) = host;
  open_libraries();
}

State::~State() { close(); }

void State::close() {
  if (L_) lua_close(L_);
  L_ = nullptr;
}

// One by one, never luaL_openlibs: no io, no debug (it could lift hooks), no package, no coroutine (a wait inside a
// recipe's own coroutine would reach the recipe instead of the scheduler).
void State::open_libraries() {
  for (const luaL_Reg &lib : {luaL_Reg{LUA_GNAME, luaopen_base},
                              {LUA_STRLIBNAME, luaopen_string},
                              {LUA_TABLIBNAME, luaopen_table},
                              {LUA_MATHLIBNAME, luaopen_math},
                              {LUA_UTF8LIBNAME, luaopen_utf8},
                              {LUA_OSLIBNAME, luaopen_os}}) {
    luaL_requiref(L_, lib.name, lib.func, 1);
    lua_pop(L_, 1);
  }
  remove_fields(L_, LUA_GNAME, {"load", "loadfile", "dofile", "collectgarbage", "warn"});
  remove_fields(L_, LUA_STRLIBNAME, {"dump"});
  remove_fields(L_, LUA_OSLIBNAME,
                {"execute", "exit", "getenv", "remove", "rename", "setlocale", "tmpname", "difftime"});
  lua_getglobal(L_, LUA_MATHLIBNAME);  // math.random of equal runs gives equal numbers
  lua_getfield(L_, -1, "randomseed");
  lua_pushinteger(L_, static_cast<lua_Integer>(options_.seed));
  lua_call(L_, 1, 0);
  lua_pop(L_, 1);
  remove_fields(L_, LUA_MATHLIBNAME, {"randomseed"});
  lua_register(L_, "print", print);
  lua_register(L_, "require", require);
  // The metatable of strings would let a recipe change string methods for everyone.
  lua_pushliteral(L_, "");
  lua_getmetatable(L_, -1);
  lua_pushboolean(L_, false);
  lua_setfield(L_, -2, "__metatable");
  lua_pop(L_, 2);
}

std::string State::chunk_name(const std::string &path) const {
  std::error_code ec;
  auto absolute = fs::weakly_canonical(path, ec);
  for (const auto &base : {options_.root, fs::current_path(ec).string()}) {
    if (base.empty()) continue;
    auto relative = absolute.lexically_relative(fs::weakly_canonical(base, ec));
    if (!relative.empty() && *relative.begin() != "..") return "@" + relative.string();
  }
  return "@" + path;
}

std::string State::find_module(const std::string &name) const {
  if (name.empty() || name.front() == '.' || name.back() == '.' || name.find("..") != std::string::npos) return {};
  std::string file;
  for (char c : name) {
    if (!isalnum(static_cast<unsigned char>(c)) && c != '_' && c != '-' && c != '.') return {};
    file += c == '.' ? '/' : c;
  }
  for (const auto &folder : options_.folders) {
    auto path = fs::path(folder) / (file + ".lua");
    std::error_code ec;
    if (fs::is_regular_file(path, ec)) return path.string();
  }
  return {};
}

Result<> State::load_file(lua_State *L, const std::string &path) {
  std::error_code ec;
  if (fs::is_directory(path, ec)) return invalid(fmt::format("'{}' is a folder, not a Lua file", path));
  std::ifstream in(path, std::ios::binary);
  if (!in) return invalid(fmt::format("cannot read '{}': {}", path, std::strerror(errno)));
  std::stringstream buffer;
  buffer << in.rdbuf();
  std::string text = buffer.str();
  if (on_load) on_load(path, text);
  std::string_view code = text;
  if (code.starts_with("#")) {  // a script's first line; keep the line count
    auto end = code.find('\n');
    code.remove_prefix(end == std::string_view::npos ? code.size() : end);
  }
  if (luaL_loadbufferx(L, code.data(), code.size(), chunk_name(path).c_str(), "t") != LUA_OK) {
    Error error = invalid(error_text(L, -1));
    auto name = chunk_name(path).substr(1);
    if (error.message.find(name) == std::string::npos) error.message = name + ": " + error.message;
    lua_pop(L, 1);
    return error;
  }
  return Unit{};
}

}  // namespace gcop::lua
