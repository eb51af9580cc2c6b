// Tasks: the coroutines in which all recipe code runs. One resume function continues them, on the run strand only.
// A binding that waits calls wait(): it starts its work, yields, and is continued when the work calls the Wake.
// The state owner (lua/state.hpp) makes and closes it; tasks and wakes keep it alive, a closed one ignores them.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

struct lua_State;

namespace gcop::lua {

class Scheduler;
using Push = std::function<int(lua_State *)>;  // pushes the results of a wait, or raises; runs inside the task

struct Failure {
  std::string text;       // tostring of the error value
  std::string traceback;  // of the task that failed
  int value = -2;         // registry reference of the error value itself (LUA_NOREF)
};

// One coroutine, a task of the recipe (Fiber, because gcop::Task is a problem to solve). Ends once: done, failed or
// cancelled.
class Fiber : public std::enable_shared_from_this<Fiber> {
 public:
  enum class State { ready, running, waiting, done, failed, cancelled };
  Fiber(std::shared_ptr<Scheduler>, lua_State *thread, int anchor);
  ~Fiber();
  State state() const { return state_; }
  bool ended() const { return state_ >= State::done; }
  const Failure &failure() const { return failure_; }
  int push_results(lua_State *L) const;   // pushes what the function returned; the count
  void push_failure(lua_State *L) const;  // pushes the error value
  void on_end(std::function<void()> fn);  // called once, at once if it has ended
  bool observed = false;                  // somebody waits for it, so that its error reaches a recipe

 private:
  friend class Scheduler;
  friend class Wake;
  std::shared_ptr<Scheduler> scheduler_;
  lua_State *thread_;
  int anchor_;
  State state_ = State::ready;
  int args_ = 0;
  uint64_t wait_id_ = 0;
  Push deliver_;
  std::function<void()> cancel_;
  std::vector<std::function<void()>> on_end_;
  std::vector<int> results_;  // registry references
  Failure failure_;
};

// Ends one wait. Copies share the wait; the first call counts. On the run strand, also from inside start().
class Wake {
 public:
  void operator()(Push push) const;

 private:
  friend class Scheduler;
  struct Once;
  std::shared_ptr<Once> once_;
};

class Scheduler : public std::enable_shared_from_this<Scheduler> {
 public:
  using Cancel = std::function<void()>;
  using Start = std::function<Cancel(Wake)>;
  enum class On { host, tasks };  // what a wait is for: work of the host, or other tasks

  // post runs a function later on the run strand; in_recipe tells when recipe code begins and ends to run.
  Scheduler(lua_State *main, std::function<void(std::function<void()>)> post, std::function<void(bool)> in_recipe);
  // The function and its nargs arguments on top of L become a task; they are popped.
  std::shared_ptr<Fiber> start(lua_State *L, int nargs);
  // Yields the running task until the Wake is called, then pushes what it brought. start() must not raise.
  int wait(lua_State *L, On on, const Start &start);
  // Yields the running task for good: the run is ending.
  int leave(lua_State *L);
  void cancel(Fiber &task);         // not the running task
  void stop() { stopped_ = true; }  // nothing is resumed any more
  void cancel_all();                // asks every pending call to end
  void close();                     // before the state closes
  Fiber *running() const { return running_; }
  bool open() const { return main_ != nullptr; }
  size_t pending() const { return pending_; }  // calls to the host that have not been answered
  size_t live() const { return tasks_.size(); }
  std::string positions() const;                                     // "file:line" of some waiting tasks, for messages
  void on_idle(std::function<void()> fn) { idle_ = std::move(fn); }  // nothing is ready and nothing is pending

 private:
  friend class Fiber;
  friend class Wake;
  void ready(const std::shared_ptr<Fiber> &task);
  void pump();
  void resume(Fiber &task);
  void finish(Fiber &task, int status, int nresults);
  void end(Fiber &task, Fiber::State state);
  static int continued(lua_State *L, int status, intptr_t ctx);

  lua_State *main_;
  std::function<void(std::function<void()>)> post_;
  std::function<void(bool)> in_recipe_;
  std::function<void()> idle_;
  std::set<std::shared_ptr<Fiber>> tasks_;
  std::deque<std::shared_ptr<Fiber>> ready_;
  Fiber *running_ = nullptr;
  size_t pending_ = 0;
  bool pump_posted_ = false, stopped_ = false;
};

}  // namespace gcop::lua
