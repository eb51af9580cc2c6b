#include "lua/scheduler.hpp"

#include <stdexcept>

#include "lua/api.hpp"
#include "lua/bind.hpp"

namespace gcop::lua {
namespace {

// A slice is some milliseconds of Lua: then others get their turn, so that a runaway loop starves nobody. Yielding
// here, unlike raising, cannot be swallowed by a pcall. Inside a sort comparator it has to wait.
constexpr int kSlice = 200'000;

void slice_ended(lua_State *L, lua_Debug *) {
  if (lua_isyieldable(L)) lua_yield(L, 0);
}

}  // namespace

struct Wake::Once {
  std::shared_ptr<Fiber> task;
  uint64_t wait_id;
  bool counted, fired = false;
};

void Wake::operator()(Push push) const {
  if (once_->fired) return;
  once_->fired = true;
  auto task = std::move(once_->task);
  Scheduler &scheduler = *task->scheduler_;
  if (once_->counted) --scheduler.pending_;
  if (!scheduler.main_) return;
  if (task->wait_id_ == once_->wait_id && task->state_ == Fiber::State::waiting) {
    task->deliver_ = std::move(push);
    task->cancel_ = nullptr;
    scheduler.ready(task);
  } else if (scheduler.ready_.empty()) {
    scheduler.ready(nullptr);  // the answer of a cancelled call may have been the last thing pending
  }
}

Fiber::Fiber(std::shared_ptr<Scheduler> scheduler, lua_State *thread, int anchor)
    : scheduler_(std::move(scheduler)), thread_(thread), anchor_(anchor) {}

Fiber::~Fiber() {
  lua_State *L = scheduler_->main_;
  if (!L) return;
  luaL_unref(L, LUA_REGISTRYINDEX, anchor_);
  luaL_unref(L, LUA_REGISTRYINDEX, failure_.value);
  for (int ref : results_) luaL_unref(L, LUA_REGISTRYINDEX, ref);
}

int Fiber::push_results(lua_State *L) const {
  luaL_checkstack(L, static_cast<int>(results_.size()) + 4, "results of a task");
  for (int ref : results_) lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
  return static_cast<int>(results_.size());
}

void Fiber::push_failure(lua_State *L) const { lua_rawgeti(L, LUA_REGISTRYINDEX, failure_.value); }

void Fiber::on_end(std::function<void()> fn) {
  if (ended())
    fn();
  else
    on_end_.push_back(std::move(fn));
}

Scheduler::Scheduler(lua_State *main, std::function<void(std::function<void()>)> post,
                     std::function<void(bool)> in_recipe)
    : main_(main), post_(std::move(post)), in_recipe_(std::move(in_recipe)) {}

std::shared_ptr<Fiber> Scheduler::start(lua_State *L, int nargs) {
  lua_State *thread = lua_newthread(L);
  lua_sethook(thread, slice_ended, LUA_MASKCOUNT, kSlice);
  int anchor = luaL_ref(L, LUA_REGISTRYINDEX);
  luaL_checkstack(thread, nargs + 4, "arguments of a task");
  lua_xmove(L, thread, nargs + 1);
  auto task = std::make_shared<Fiber>(shared_from_this(), thread, anchor);
  task->args_ = nargs;
  tasks_.insert(task);
  ready(task);
  return task;
}

void Scheduler::ready(const std::shared_ptr<Fiber> &task) {
  if (task) {
    task->state_ = Fiber::State::ready;
    ready_.push_back(task);
  }
  if (pump_posted_) return;
  pump_posted_ = true;
  post_([self = shared_from_this()] { self->pump(); });
}

// Runs each task that is ready now for one slice, then lets the strand do other things.
void Scheduler::pump() {
  pump_posted_ = false;
  std::deque<std::shared_ptr<Fiber>> turn;
  turn.swap(ready_);
  for (auto &task : turn) {
    if (stopped_ || !main_) return;
    if (task->state_ == Fiber::State::ready) resume(*task);
  }
  if (stopped_ || !main_) return;
  if (!ready_.empty())
    ready(nullptr);
  else if (pending_ == 0 && idle_)
    idle_();
}

// The only place that continues a coroutine.
void Scheduler::resume(Fiber &task) {
  auto keep = task.shared_from_this();
  task.state_ = Fiber::State::running;
  running_ = &task;
  int nargs = std::exchange(task.args_, 0), nresults = 0;
  in_recipe_(true);
  int status = lua_resume(task.thread_, main_, nargs, &nresults);
  in_recipe_(false);
  running_ = nullptr;
  if (status != LUA_YIELD) return finish(task, status, nresults);
  lua_pop(task.thread_, nresults);
  if (task.state_ == Fiber::State::running) ready(keep);  // its slice ended
}

void Scheduler::finish(Fiber &task, int status, int nresults) {
  lua_State *co = task.thread_;
  if (status == LUA_OK) {
    task.results_.resize(nresults);
    for (int i = nresults; i-- > 0;) task.results_[i] = luaL_ref(co, LUA_REGISTRYINDEX);
    return end(task, Fiber::State::done);
  }
  luaL_traceback(main_, co, nullptr, 0);
  task.failure_.traceback = lua_tostring(main_, -1);
  lua_pop(main_, 1);
  luaL_checkstack(co, 4, "an error value");
  lua_pushvalue(co, -1);
  task.failure_.value = luaL_ref(co, LUA_REGISTRYINDEX);
  lua_rawgeti(main_, LUA_REGISTRYINDEX, task.failure_.value);
  task.failure_.text = error_text(main_, -1);
  lua_pop(main_, 1);
  end(task, Fiber::State::failed);
}

void Scheduler::end(Fiber &task, Fiber::State state) {
  auto keep = task.shared_from_this();
  lua_resetthread(task.thread_);  // runs pending to-be-closed variables
  luaL_unref(main_, LUA_REGISTRYINDEX, task.anchor_);
  task.anchor_ = LUA_NOREF;
  task.thread_ = nullptr;
  task.deliver_ = nullptr;
  task.cancel_ = nullptr;
  task.state_ = state;
  tasks_.erase(keep);
  auto callbacks = std::move(task.on_end_);
  task.on_end_.clear();
  for (auto &fn : callbacks) fn();
}

int Scheduler::wait(lua_State *L, On on, const Start &start) {
  Fiber &task = *running_;
  if (task.thread_ != L || !lua_isyieldable(L)) raise(L, "waiting is not possible here");
  task.state_ = Fiber::State::waiting;
  Wake wake;
  wake.once_ = std::make_shared<Wake::Once>(Wake::Once{task.shared_from_this(), ++task.wait_id_, on == On::host});
  if (on == On::host) ++pending_;
  Cancel cancel;
  try {
    cancel = start(wake);
  } catch (const std::exception &) {  // nothing was started
    wake.once_->fired = true;
    if (on == On::host) --pending_;
    task.state_ = Fiber::State::running;
    throw;
  }
  if (task.state_ == Fiber::State::waiting) task.cancel_ = std::move(cancel);
  return lua_yieldk(L, 0, 0, continued);
}

int Scheduler::leave(lua_State *L) {
  running_->state_ = Fiber::State::waiting;
  ++running_->wait_id_;
  return lua_yieldk(L, 0, 0, continued);
}

int Scheduler::continued(lua_State *L, int, intptr_t) {
  auto push = std::move(scheduler_of(L).running_->deliver_);
  scheduler_of(L).running_->deliver_ = nullptr;
  return guarded(L, [&] { return push(L); });
}

void Scheduler::cancel(Fiber &task) {
  if (task.ended() || &task == running_) return;
  auto keep = task.shared_from_this();
  auto cancel = std::move(task.cancel_);
  ++task.wait_id_;
  end(task, Fiber::State::cancelled);
  if (cancel) cancel();
}

void Scheduler::cancel_all() {
  auto all = tasks_;
  for (auto &task : all)
    if (task->cancel_) std::exchange(task->cancel_, nullptr)();
}

std::string Scheduler::positions() const {
  std::string out;
  int shown = 0;
  for (const auto &task : tasks_) {
    lua_Debug at{};
    for (int level = 0; lua_getstack(task->thread_, level, &at); ++level) {
      lua_getinfo(task->thread_, "Sl", &at);
      if (at.currentline <= 0) continue;
      if (++shown > 5) return out + ", ...";
      out += (out.empty() ? "" : ", ") + std::string(at.short_src) + ":" + std::to_string(at.currentline);
      break;
    }
  }
  return out;
}

void Scheduler::close() {
  stopped_ = true;
  auto all = std::move(tasks_);
  tasks_.clear();
  ready_.clear();
  for (auto &task : all) {
    task->deliver_ = nullptr;
    task->cancel_ = nullptr;
    task->on_end_.clear();
  }
  idle_ = nullptr;
  main_ = nullptr;
}

}  // namespace gcop::lua
