// gcop.Env of a question, replayed or live: what a controller calls.
#include <algorithm>

#include <fmt/format.h>

#include "lua/bind.hpp"
#include "lua/controller.hpp"

namespace gcop::lua {

using tts::Replay;

// Each function has the Controller as its first upvalue, the Env as its second, then the names of a branch's fields.

struct Controller::Calls {
  static Controller &self(lua_State *L, const char *name) {
    auto &controller = *static_cast<Controller *>(lua_touserdata(L, lua_upvalueindex(1)));
    if (lua_touserdata(L, 1) == nullptr || lua_touserdata(L, 1) != lua_touserdata(L, lua_upvalueindex(2)))
      raise(L, fmt::format("gcop.Env:{}: call it with a colon, env:{}(...)", name, name));
    return controller;
  }

  template <class T>
  static T &checked(lua_State *L, Result<T> &result, const char *name) {
    if (!result) raise(L, fmt::format("gcop.Env:{}: {}", name, result.error().message));
    return *result;
  }

  // Fields of branches go by interned names, upvalues.
  enum Name { kId = 3, kAnswer, kFinished };
  static int get(lua_State *L, int table, Name name) {
    lua_pushvalue(L, lua_upvalueindex(name));
    return lua_rawget(L, table);
  }
  static void set(lua_State *L, int table, Name name, lua_Integer value) {
    lua_pushvalue(L, lua_upvalueindex(name));
    lua_pushinteger(L, value);
    lua_rawset(L, table);
  }
  static void finished(lua_State *L, int table, bool is) {
    lua_pushvalue(L, lua_upvalueindex(kFinished));
    lua_pushboolean(L, is);
    lua_rawset(L, table);
  }

  // fn(n, branch, id) for each branch of the list at 2, or for the one that stands there alone: its place in the list,
  // where it is on the stack, its id.
  template <class Fn>
  static void each_branch(lua_State *L, const char *name, Fn fn) {
    const int top = lua_gettop(L);
    const auto refuse = [&](int index) {
      raise(L, fmt::format("gcop.Env:{}: takes a branch that env:open() gave, or a list of such; got {}", name,
                           luaL_typename(L, index)));
    };
    int ok = 0;
    if (!lua_istable(L, 2)) refuse(2);
    if (get(L, 2, kId) != LUA_TNIL) {
      const lua_Integer id = lua_tointegerx(L, -1, &ok);
      if (!ok) refuse(2);
      fn(lua_Integer{1}, 2, id);
      lua_settop(L, top);
      return;
    }
    const auto n = static_cast<lua_Integer>(lua_rawlen(L, 2));
    for (lua_Integer i = 1; i <= n; ++i) {
      lua_settop(L, top);
      if (lua_rawgeti(L, 2, i) != LUA_TTABLE) refuse(top + 1);
      get(L, top + 1, kId);
      const lua_Integer id = lua_tointegerx(L, -1, &ok);
      if (!ok) refuse(top + 1);
      fn(i, top + 1, id);
    }
  }

  static void show(lua_State *L, int branch, Replay::Step step) {
    set(L, branch, kAnswer, step.answer);
    if (step.finished) finished(L, branch, true);
  }

  static int open(lua_State *L) {
    auto id = self(L, "open").replay_->open();
    lua_createtable(L, 0, 8);
    const int branch = lua_gettop(L);
    set(L, branch, kId, checked(L, id, "open"));
    finished(L, branch, false);
    return 1;
  }

  static lua_Integer times_of(lua_State *L, lua_Integer n, bool list) {  // may leave a value on the stack
    if (list) lua_rawgeti(L, 3, n);
    int ok = 0;
    const lua_Integer times = lua_tointegerx(L, list ? -1 : 3, &ok);
    if (!ok || times < 1)
      raise(L, "gcop.Env:advance: times must be a whole number, 1 or more, or a list of such, one for each branch");
    return times;
  }

  // A live branch can only go as far as the core has come. Notes what is needed for it, ...
  static void need(Controller &c, int64_t branch, int64_t times) {
    auto &needs = c.turn_.needs;
    times = std::min(times, kFar);
    for (Need &noted : needs)
      if (noted.branch == branch) return void(noted.times = std::min(noted.times + times, kFar));
    needs.push_back({branch, times});
  }
  static constexpr int64_t kFar = int64_t{1} << 40;  // no branch has so many intervals

  // ... and yields if any of it is not there yet; once it is, the call is made again.
  static bool lacking(lua_State *L, Controller &c, const char *name) {
    auto &needs = c.turn_.needs;
    std::erase_if(needs, [&](const Need &noted) {
      auto known = c.replay_->knows(noted.branch, noted.times);
      return checked(L, known, name);
    });
    if (!needs.empty() && !lua_isyieldable(L))
      raise(L, fmt::format("gcop.Env:{}: waits for a live core, which is not possible inside a table.sort comparator; "
                           "call it before",
                           name));
    return !needs.empty();
  }
  template <int (*call)(lua_State *)>
  static int again(lua_State *L, int, lua_KContext) {
    return call(L);
  }

  static int advance(lua_State *L) {
    Controller &c = self(L, "advance");
    lua_settop(L, 3);
    const bool once = lua_isnil(L, 3), list = lua_istable(L, 3);
    if (c.thread_) {
      each_branch(L, "advance",
                  [&](lua_Integer n, int, lua_Integer id) { need(c, id, once ? 1 : times_of(L, n, list)); });
      lua_settop(L, 3);
      if (lacking(L, c, "advance")) return lua_yieldk(L, 0, 0, again<advance>);
    }
    lua_Integer ended = 0;
    each_branch(L, "advance", [&](lua_Integer n, int branch, lua_Integer id) {
      const lua_Integer times = once ? 1 : times_of(L, n, list);
      Replay::Step last{};
      for (lua_Integer done = 0; done < times && !last.finished; ++done) {
        auto step = c.replay_->advance(id);
        last = checked(L, step, "advance");
      }
      ended += last.finished;
      show(L, branch, last);
    });
    lua_pushinteger(L, ended);
    return 1;
  }

  static int read(lua_State *L) {
    Controller &c = self(L, "read");
    lua_settop(L, 2);
    if (c.thread_) {
      each_branch(L, "read", [&](lua_Integer, int, lua_Integer id) { need(c, id, 0); });
      lua_settop(L, 2);
      if (lacking(L, c, "read")) return lua_yieldk(L, 0, 0, again<read>);
    }
    each_branch(L, "read", [&](lua_Integer, int branch, lua_Integer id) {
      auto step = c.replay_->read(id);
      show(L, branch, checked(L, step, "read"));
    });
    return 0;
  }

  static int abandon(lua_State *L) {
    Controller &c = self(L, "abandon");
    lua_settop(L, 2);
    each_branch(L, "abandon", [&](lua_Integer, int, lua_Integer id) {
      auto done = c.replay_->abandon(id);
      checked(L, done, "abandon");
      if (c.thread_) c.turn_.abandoned.push_back(id);
    });
    return 0;
  }

  static int vote(lua_State *L) {
    Controller &c = self(L, "vote");
    lua_settop(L, 2);
    if (!lua_istable(L, 2))
      raise(L, fmt::format("gcop.Env:vote: takes a list of branches or answers, got {}", luaL_typename(L, 2)));
    const auto n = static_cast<lua_Integer>(lua_rawlen(L, 2));
    for (lua_Integer i = 1; i <= n; ++i) {
      lua_settop(L, 2);
      if (lua_rawgeti(L, 2, i) == LUA_TTABLE) get(L, 3, kAnswer);
      int ok = 0;
      const lua_Integer answer = lua_tointegerx(L, -1, &ok);
      if (!ok || answer < 1 || answer > lua_Integer{c.replay_->answers()}) {
        (void)c.tally_.count();
        raise(L, fmt::format("gcop.Env:vote: item {} has no answer ({}); advance or read the branch first", i,
                             error_text(L, -1)));
      }
      c.tally_.add(static_cast<uint32_t>(answer));
    }
    const tts::Vote vote = c.tally_.count();
    if (vote.first)
      lua_pushinteger(L, vote.winner);
    else
      lua_pushnil(L);
    lua_pushinteger(L, vote.first);
    lua_pushinteger(L, vote.second);
    return 3;
  }

  static int confidence(lua_State *L) {
    self(L, "confidence");
    const lua_Integer v1 = luaL_checkinteger(L, 2), v2 = luaL_checkinteger(L, 3);
    if (v1 < 0 || v2 < 0 || v1 > tts::kMostVotes || v2 > tts::kMostVotes || v1 + v2 >= tts::kMostVotes)
      raise(L, fmt::format("gcop.Env:confidence: {} and {} are no counts of votes", v1, v2));
    lua_pushnumber(L, tts::confidence(static_cast<uint32_t>(v1), static_cast<uint32_t>(v2)));
    return 1;
  }

  static int limit(lua_State *L) {
    lua_pushinteger(L, self(L, "limit").replay_->limit());
    return 1;
  }

  static int opened(lua_State *L) {
    lua_pushinteger(L, self(L, "opened").replay_->opened());
    return 1;
  }

  static int cost(lua_State *L) {
    lua_pushinteger(L, self(L, "cost").replay_->cost());
    return 1;
  }

  static int trace(lua_State *L) {
    Controller &c = self(L, "trace");
    if (!c.tracing_ || c.traced_ > kMostTrace) return 0;
    if (lua_type(L, 2) != LUA_TSTRING || lua_gettop(L) % 2 != 0)
      raise(L, "gcop.Env:trace: takes the event's name, then names and values in turn");
    nlohmann::json event = {{"event", std::string(view(L, 2))}};
    for (int i = 3; i < lua_gettop(L); i += 2) event[error_text(L, i)] = to_json(L, i + 1);
    c.traced_ += dump_json(event).size();
    if (c.traced_ > kMostTrace) event = {{"event", "the trace is cut off here"}};
    c.events_.push_back(std::move(event));
    return 0;
  }
};

void Controller::push_env(lua_State *L) {
  lua_newuserdatauv(L, 0, 0);
  lua_newtable(L);
  lua_newtable(L);
  const luaL_Reg calls[] = {{"open", Calls::open},       {"advance", Calls::advance}, {"read", Calls::read},
                            {"abandon", Calls::abandon}, {"vote", Calls::vote},       {"confidence", Calls::confidence},
                            {"limit", Calls::limit},     {"opened", Calls::opened},   {"cost", Calls::cost},
                            {"trace", Calls::trace}};
  for (const auto &call : calls) {
    lua_pushlightuserdata(L, this);
    lua_pushlightuserdata(L, lua_touserdata(L, -4));
    for (const char *field : {"id", "answer", "finished"}) lua_pushstring(L, field);
    lua_pushcclosure(L, call.func, 5);
    lua_setfield(L, -2, call.name);
  }
  lua_setfield(L, -2, "__index");
  lua_pushliteral(L, "gcop.Env");
  lua_setfield(L, -2, "__name");
  lua_pushboolean(L, false);
  lua_setfield(L, -2, "__metatable");
  lua_setmetatable(L, -2);
}

}  // namespace gcop::lua
