// A task in Lua is a plain table; this reads it back. Inside the running task.
#pragma once
#include <lua.hpp>

#include "flow.hpp"

namespace gcop::lua {

Task to_task(lua_State *L, int index);  // raises when there is no id

}  // namespace gcop::lua
