#include "lua/validator_script.hpp"

#include <fmt/format.h>

#include "lua/bind.hpp"
#include "lua/function_ref.hpp"
#include "lua/host.hpp"
#include "lua/task_table.hpp"

namespace gcop::lua {
namespace {

// The verdict from the values that the function returned, which are the arguments; the last one is the Verdict to fill.
// Runs protected: what is wrong is raised.
int read_verdict(lua_State *L) {
  auto &verdict = *static_cast<Verdict *>(lua_touserdata(L, -1));
  lua_pop(L, 1);
  lua_settop(L, 2);
  auto wrong = [&](const std::string &what) {
    raise(L, fmt::format("returned {}; it must return a score from 0 to 1 or a boolean, then perhaps a feedback; or a "
                         "table with score; or nil and an err",
                         what));
  };
  auto shown = [&](int index) {
    return lua_type(L, index) == LUA_TNUMBER ? "the score " + error_text(L, index)
                                             : "a score that is a " + std::string(luaL_typename(L, index));
  };
  if (lua_isnil(L, 1)) wrong(lua_type(L, 2) == LUA_TSTRING ? fmt::format("nil, '{}'", view(L, 2)) : "nil");
  if (lua_istable(L, 1)) {
    Options o(L, 1, "the verdict");
    lua_pushnil(L);
    while (lua_next(L, 1)) {
      lua_pop(L, 1);
      const std::string key = lua_type(L, -1) == LUA_TSTRING ? std::string(view(L, -1)) : error_text(L, -1);
      if (key != "score" && key != "feedback" && key != "passed" && key != "total" && key != "detail")
        raise(L, fmt::format("returned a table with a field '{}'; a verdict has score, feedback, passed, total, detail",
                             key));
    }
    verdict.total = static_cast<uint32_t>(o.integer("total", 0, 0, 1 << 30));
    verdict.passed = static_cast<uint32_t>(o.integer("passed", 0, 0, 1 << 30));
    if (verdict.passed > verdict.total)
      raise(L, fmt::format("returned passed = {} of total = {}", verdict.passed, verdict.total));
    if (o.has("detail")) verdict.detail = dump_json(o.json("detail"));
    o.push("score");
    o.push("feedback");
    lua_replace(L, 2);
    lua_replace(L, 1);
  }
  if (lua_isboolean(L, 1))
    verdict.score = lua_toboolean(L, 1);
  else if (lua_type(L, 1) == LUA_TNUMBER)
    verdict.score = lua_tonumber(L, 1);
  else
    wrong(shown(1));
  if (!(verdict.score >= 0 && verdict.score <= 1)) wrong(shown(1));  // also NaN
  if (!lua_isnil(L, 2) && lua_type(L, 2) != LUA_TSTRING)
    wrong(fmt::format("a feedback that is a {}", luaL_typename(L, 2)));
  verdict.feedback = view(L, 2);
  if (verdict.total == 0) {
    verdict.total = 1;
    verdict.passed = verdict.score >= 1;
  }
  return 0;
}

Result<Verdict> verdict_of(lua_State *L, const Fiber &task) {
  const int top = lua_gettop(L);
  luaL_checkstack(L, 4, "a verdict");
  lua_pushcfunction(L, read_verdict);
  const int count = task.push_results(L);
  if (count >= 2 && lua_isnil(L, top + 2))
    if (auto error = to_error(L, top + 3)) {
      lua_settop(L, top);
      return *error;
    }
  Verdict verdict;
  if (count < 2) lua_settop(L, top + 3);
  lua_pushlightuserdata(L, &verdict);
  const int status = lua_pcall(L, std::max(count, 2) + 1, 0, 0);
  std::string why = status == LUA_OK ? "" : error_text(L, -1);
  lua_settop(L, top);
  if (status != LUA_OK) return invalid(why.starts_with("returned ") ? why : "returned no verdict: " + why);
  return verdict;
}

// The task as gcop.tasks gives it, with the further fields of its row.
void push_whole(lua_State *L, const Task &task) {
  push_task(L, task);
  const auto row = nlohmann::json::parse(task.row, nullptr, false);
  if (!row.is_object()) return;
  for (const auto &[key, value] : row.items()) {
    if (lua_getfield(L, -1, key.c_str()) == LUA_TNIL) {
      push_json(L, value);
      lua_setfield(L, -3, key.c_str());
    }
    lua_pop(L, 1);
  }
}

}  // namespace

validator::Script make_validator_script(lua_State *state, int index) {
  auto fn = std::make_shared<FunctionRef>(state, index);
  lua_Debug at{};
  lua_pushvalue(state, index);
  lua_getinfo(state, ">S", &at);
  const std::string place = fmt::format("the function at {}:{} ", at.short_src, at.linedefined);
  return [fn, place](const Task &what, const std::string &candidate, validator::Done done) -> std::function<void()> {
    lua_State *L = fn->host.state().get();
    lua_rawgeti(L, LUA_REGISTRYINDEX, fn->ref);
    push_whole(L, what);
    push(L, candidate);
    auto task = fn->host.scheduler().start(L, 2);
    task->observed = true;
    std::weak_ptr<Fiber> weak = task;
    task->on_end([weak, fn, place, done = std::move(done)] {
      auto ended = weak.lock();
      lua_State *main = fn->host.state().get();
      if (ended->state() == Fiber::State::cancelled) return done(Error{Code::cancelled, place + "was ended", {}});
      auto result = Result<Verdict>(Verdict{});
      if (ended->state() == Fiber::State::done) {
        result = verdict_of(main, *ended);
        if (!result) result.error().message = place + result.error().message;
      } else {
        ended->push_failure(main);
        auto raised = to_error(main, -1);  // an err keeps its code: an empty budget must stay one
        lua_pop(main, 1);
        result = Error{raised ? raised->code : Code::invalid,
                       place + "failed: " + ended->failure().text + "\n" + ended->failure().traceback,
                       {}};
      }
      done(std::move(result));
    });
    return [weak, fn] {
      if (auto running = weak.lock(); running && fn->host.scheduler().open()) fn->host.scheduler().cancel(*running);
    };
  };
}

}  // namespace gcop::lua
