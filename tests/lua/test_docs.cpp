// The generated files are the committed ones, and what they say holds.
#include <fstream>
#include <set>
#include <sstream>

#include <doctest/doctest.h>

#include "lua/api.hpp"
#include "recipe.hpp"

namespace {

std::string committed(const std::string &path) {
  std::ifstream in(std::string(GCOP_SOURCE_DIR) + "/" + path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace

TEST_CASE("sdk/lua and sdk/docs/lua.md are what gcop-run emits") {
  for (auto *module : gcop::lua::modules()) {
    std::string path = std::string("sdk/lua/gcop/") + module->name + ".lua";
    INFO("run: gcop-run --emit-lua-meta sdk/lua/gcop --emit-lua-manual sdk/docs/lua.md");
    CHECK_MESSAGE(committed(path) == gcop::lua::meta_file(*module), path);
  }
  CHECK(committed("sdk/docs/lua.md") == gcop::lua::manual());
}

TEST_CASE("every function is documented, and its example compiles") {
  std::set<std::string> names;
  for (auto *module : gcop::lua::modules())
    for (const auto &f : module->functions) {
      INFO(f.name);
      CHECK(names.insert(f.name).second);
      CHECK(std::string(f.doc).size() > 8);
      CHECK(std::string(f.example).size() > 4);
      bool takes_options = false;
      for (const auto &p : f.params) takes_options = takes_options || std::string(p.name) == "options";
      CHECK(takes_options == !f.options.empty());
      for (const auto &o : f.options) CHECK(std::string(o.type).size() > 2);
      lua_State *L = luaL_newstate();
      std::string example = f.example;
      bool field = example.starts_with("seed = ");  // shown as an option inside a call
      std::string chunk = field ? "local t = {" + example + "}" : example;
      CHECK_MESSAGE(luaL_loadstring(L, chunk.c_str()) == LUA_OK, example);
      lua_close(L);
    }
  CHECK(names.size() > 60);
}

TEST_CASE("the meta files are Lua") {
  for (auto *module : gcop::lua::modules()) {
    lua_State *L = luaL_newstate();
    CHECK_MESSAGE(luaL_loadstring(L, gcop::lua::meta_file(*module).c_str()) == LUA_OK, module->name);
    lua_close(L);
  }
}
