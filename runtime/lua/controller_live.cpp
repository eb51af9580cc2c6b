// A controller before a live core: a coroutine that yields where it has to wait.
#include "lua/bind.hpp"
#include "lua/controller.hpp"

namespace gcop::lua {

Result<Controller::Turn> Controller::step(tts::Replay &replay, bool tracing) {
  turn_ = {};
  if (!thread_) {
    begin(replay);
    tracing_ = tracing;
    lua_pushcfunction(L_, [](lua_State *L) {  // memory may run out
      lua_State *thread = lua_newthread(L);
      lua_rawsetp(L, LUA_REGISTRYINDEX, thread);  // it lives as long as the state
      lua_pushlightuserdata(L, thread);
      return 1;
    });
    if (const int status = lua_pcall(L_, 0, 1, 0); status != LUA_OK) return invalid(failure(L_, status));
    thread_ = static_cast<lua_State *>(lua_touserdata(L_, -1));
    lua_settop(L_, 0);
    // Nothing can be begun anew here, so steps are counted from the start.
    lua_sethook(thread_, count_steps, LUA_MASKCOUNT, kHookEvery);
    lua_pushcfunction(thread_, run);
  }
  int results = 0;
  const int status = lua_resume(thread_, L_, 0, &results);
  if (status == LUA_YIELD) {
    lua_pop(thread_, results);
    return std::exchange(turn_, {});
  }
  if (status != LUA_OK) return invalid(failure(thread_, status));
  turn_.needs.clear();
  turn_.answer = static_cast<tts::Replay::Answer>(lua_tointeger(thread_, -1));
  return std::exchange(turn_, {});
}

}  // namespace gcop::lua
