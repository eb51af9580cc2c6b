// Cores written in Lua: each call runs the function as a task of its own. Inside the running task.
#pragma once
#include <string>

#include <lua.hpp>

#include "core/core.hpp"

namespace gcop::lua {

core::Script make_script(lua_State *state, int index);  // of the function at index

// Enters the cache key: where the function stands, what the file says, and which core of that place this is.
std::string script_identity(lua_State *L, int fn, const std::string &name);

}  // namespace gcop::lua
