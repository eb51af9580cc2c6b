// The Lua API as data: one row per function. From the rows come the registration, the checks of arguments, the LuaLS
// meta files (sdk/lua/gcop/) and the manual (sdk/docs/lua.md), so that they cannot disagree.
// Types in rows are LuaLS types: string number integer boolean table function any, names of classes ("gcop.Core"),
// T[], "a"|"b", T|U, {a:T}, table<K,V>, fun(...). A trailing '?' makes a parameter or field optional.
#pragma once
#include <string>
#include <vector>

#include <lua.hpp>

namespace gcop::lua {

enum class Waits {
  no,
  setup,  // makes something (loads a model, starts a plugin): may wait, and still runs under --check
  yes     // the first call of this kind ends a run under --check or --plan
};

struct Field {
  const char *name, *type, *doc;
};

struct Function {
  const char *name;    // "gcop.map", "gcop.json.encode", "gcop.Core:complete"
  lua_CFunction call;  // null: written in Lua, scripts/gcop/
  Waits waits;
  const char *doc;
  std::vector<Field> params;  // by position; one named "options" is a table whose keys are `options`; "..." ends
  std::vector<Field> options;
  std::vector<Field> returns;
  const char *errors = "";  // what can go wrong at run time
  const char *example = "";
  const char *since = "0.1";
};

// A userdata class (its methods are rows named "gcop.Class:method") or the shape of a table.
struct Class {
  const char *name, *doc;
  std::vector<Field> fields;
  bool closed = false;  // as an argument it may have these fields only
};

struct Value {  // a plain field of the gcop table
  const char *name, *type, *doc;
};

struct Module {
  const char *name, *title, *doc;
  std::vector<Class> classes;
  std::vector<Value> values;
  std::vector<Function> functions;
};

const std::vector<const Module *> &modules();  // in the manual's order

void register_api(lua_State *L);        // fills the global table gcop
void register_checked(lua_State *L);    // adds gcop.checked(name, fn) -> fn behind the row's checks; for init.lua only
std::string meta_file(const Module &);  // text of sdk/lua/gcop/<name>.lua
std::string manual();                   // text of sdk/docs/lua.md
std::string manual_of(std::string_view name);  // its part on a function, or on a class or table and all it has; or ""

// Raises, with the recipe's file:line, when the arguments on L's stack do not fit the row.
void check_arguments(lua_State *L, const Function &row);

}  // namespace gcop::lua
