#include "lua/controller.hpp"

#include <cstdlib>

#include <fmt/format.h>

#include "lua/bind.hpp"

namespace gcop::lua {

using tts::Replay;

Controller::Controller(std::string name, nlohmann::json params, const std::atomic<bool> &cancelled, Traces *traces)
    : name_(std::move(name)), params_(std::move(params)), cancelled_(cancelled), traces_(traces) {}

Controller::~Controller() {
  if (L_) lua_close(L_);
}

void *Controller::allocate(void *ud, void *p, size_t old_size, size_t new_size) {
  auto &self = *static_cast<Controller *>(ud);
  if (!p) old_size = 0;
  if (new_size == 0) {
    self.used_ -= old_size;
    std::free(p);
    return nullptr;
  }
  if (new_size > old_size && self.used_ + new_size - old_size > kMostControllerMemory) return nullptr;
  void *grown = std::realloc(p, new_size);
  if (grown) self.used_ = self.used_ - old_size + new_size;
  return grown;
}

void Controller::count_steps(lua_State *L, lua_Debug *at) {
  auto &self = **static_cast<Controller **>(lua_getextraspace(L));
  self.steps_ += kHookEvery;
  std::string why;
  if (self.cancelled_)
    why = "cancelled";
  else if (self.steps_ > kMostSteps)
    why = fmt::format("more than {} steps for one question; does it loop for ever?", kMostSteps);
  if (why.empty()) {
    if (lua_isyieldable(L)) lua_yield(L, 0);  // a live one: others of its thread get their turn
    return;
  }
  lua_getinfo(L, "Sl", at);
  push(L, at->currentline > 0 ? fmt::format("{}:{}: {}", at->short_src, at->currentline, why) : why);
  lua_error(L);
}

void Controller::leave(lua_State *L, lua_Debug *) {
  (*static_cast<Controller **>(lua_getextraspace(L)))->left_ = true;
  lua_pushnil(L);
  lua_error(L);
}

void Controller::too_long(lua_State *L, lua_Debug *at) {
  const auto &self = **static_cast<Controller **>(lua_getextraspace(L));
  lua_getinfo(L, "Sl", at);
  push(L,
       fmt::format("{}:{}: {}", at->short_src, at->currentline,
                   self.cancelled_ ? std::string("cancelled")
                                   : fmt::format("more than {} s of CPU time for one question; does it loop for ever?",
                                                 kMostTicks / 100)));
  lua_error(L);
}

void Controller::tick(void *self) {  // in a signal handler, on the controller's thread
  auto &c = *static_cast<Controller *>(self);
  if (!c.replay_) return;
  c.ticked_ = c.ticked_ + 1;
  if (c.trying_) {
    if (c.ticked_ >= 2) lua_sethook(c.L_, leave, LUA_MASKCOUNT, 1);
  } else if (c.ticked_ >= kMostTicks || c.cancelled_) {  // few steps can be long ones: functions of the library
    lua_sethook(c.L_, too_long, LUA_MASKCOUNT, 1);
  }
}

int Controller::run(lua_State *L) {
  lua_settop(L, 0);
  lua_rawgetp(L, LUA_REGISTRYINDEX, text_key());
  lua_callk(L, 0, 1, 0, loaded);
  return loaded(L, LUA_OK, 0);
}

int Controller::loaded(lua_State *L, int, lua_KContext) {
  const Controller &self = **static_cast<Controller **>(lua_getextraspace(L));
  if (!lua_isfunction(L, 1)) {
    push(L, fmt::format("{}: must end with 'return function(env, params) ... end'; it returned {}", self.name_,
                        luaL_typename(L, 1)));
    return lua_error(L);
  }
  lua_pushvalue(L, 1);
  lua_rawgetp(L, LUA_REGISTRYINDEX, env_key());
  push_json(L, self.params_);
  lua_callk(L, 2, 1, 0, ran);
  return ran(L, LUA_OK, 0);
}

int Controller::ran(lua_State *L, int, lua_KContext) {
  const Controller &self = **static_cast<Controller **>(lua_getextraspace(L));
  int ok = 0;
  const lua_Integer answer = lua_tointegerx(L, 2, &ok);
  if (ok && lua_type(L, 2) == LUA_TNUMBER && answer >= 1 && answer <= lua_Integer{self.replay_->answers()}) return 1;
  lua_Debug at{};
  lua_pushvalue(L, 1);
  lua_getinfo(L, ">S", &at);
  push(L, fmt::format("{}:{}: the function returned {}; it must return an answer that a branch gave", at.short_src,
                      at.linedefined, lua_isnil(L, 2) ? "nothing" : error_text(L, 2)));
  return lua_error(L);
}

std::string Controller::failure(lua_State *L, int status) {
  std::string text = lua_type(L, -1) == LUA_TSTRING || lua_type(L, -1) == LUA_TNUMBER
                         ? error_text(L, -1)
                         : fmt::format("{}: raised a {}; raise a text", name_, luaL_typename(L, -1));
  if (status == LUA_ERRMEM)
    text = fmt::format("{}: holds more than {} MiB of memory", name_, kMostControllerMemory >> 20);
  lua_settop(L, 0);
  if (text.size() > 2000) text = text.substr(0, 2000) + "...";
  return text;
}

Result<std::unique_ptr<Controller>> Controller::make(const std::string &text, const std::string &name,
                                                     nlohmann::json params, const std::atomic<bool> &cancelled,
                                                     Traces *traces) {
  if (text.size() > kMostControllerText)
    return invalid(
        fmt::format("{}: the text has {} bytes; at most {} are read", name, text.size(), kMostControllerText));
  std::unique_ptr<Controller> made(new Controller(name, std::move(params), cancelled, traces));
  made->L_ = lua_newstate(allocate, made.get());
  if (!made->L_) return Error{Code::exhausted, "no memory for a Lua state", {}};
  *static_cast<Controller **>(lua_getextraspace(made->L_)) = made.get();
  lua_State *L = made->L_;
  lua_pushcfunction(L, prepare);
  lua_pushlightuserdata(L, made.get());
  lua_pushlightuserdata(L, const_cast<std::string *>(&text));
  if (const int status = lua_pcall(L, 2, 0, 0); status != LUA_OK) {
    std::string why = made->failure(L, status);
    return invalid(why.find(name) == std::string::npos ? name + ": " + why : why);
  }
  lua_gc(L, LUA_GCINC, 1000, 0, 0);  // little lives from one question to the next: collect seldom
  return made;
}

void Controller::begin(Replay &replay) {
  replay_ = &replay;
  steps_ = 0;
  traced_ = 0;
  events_ = nlohmann::json::array();
}

int Controller::call(Replay &replay) {
  begin(replay);
  lua_pushcfunction(L_, run);
  const int status = lua_pcall(L_, 0, 1, 0);
  replay_ = nullptr;
  return status;
}

Result<Replay::Answer> Controller::solve(Replay &replay, uint64_t seed, uint32_t question) {
  tracing_ = traces_ && seed < traces_->below;
  left_ = true;
  int status = LUA_OK;
  if (!ticks_) ticks_ = std::make_unique<CpuTicks>(tick, this);
  if (ticks_->running()) {
    left_ = false;
    ticked_ = 0;
    lua_sethook(L_, nullptr, 0, 0);
    trying_ = 1;
    status = call(replay);
    trying_ = 0;
  }
  if (left_) {
    lua_settop(L_, 0);
    replay.restart();
    ticked_ = 0;
    lua_sethook(L_, count_steps, LUA_MASKCOUNT, kHookEvery);
    status = call(replay);
  }
  if (status != LUA_OK) return invalid(failure(L_, status));
  const auto answer = static_cast<Replay::Answer>(lua_tointeger(L_, -1));
  lua_settop(L_, 0);
  if (tracing_) {
    const std::lock_guard lock(traces_->mutex);
    traces_->rows[{seed, question}] = {{"seed", seed},
                                       {"question", question + 1},
                                       {"correct", replay.grade(answer).correct},
                                       {"cost", replay.cost()},
                                       {"events", std::move(events_)}};
  }
  return answer;
}

}  // namespace gcop::lua
