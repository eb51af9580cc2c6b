// gcop.map, spawn, all, race, sleep, finish: tasks that run side by side.
#include <fmt/format.h>

#include "lua/api.hpp"
#include "lua/bind.hpp"
#include "lua/host.hpp"

namespace gcop::lua {
namespace {

using On = Scheduler::On;

// Raises what a task failed with, in the task that waits: code and traceback are kept, `prefix` says which it was.
int raise_failure(lua_State *L, const Fiber &task, const std::string &prefix) {
  task.push_failure(L);
  auto error = to_error(L, -1);
  std::string traceback = task.failure().traceback;
  if (error && lua_getfield(L, -1, "traceback") == LUA_TSTRING) traceback = view(L, -1);  // where it really began
  if (!error) error = Error{Code::internal, task.failure().text, {}};
  if (error->code != Code::exhausted) error->message = prefix + error->message;
  push_error(L, *error);
  set(L, "traceback", traceback);
  return lua_error(L);
}

// Items that are worked on by child tasks, at most `limit` at a time. Lives until its last child has ended.
struct Batch : std::enable_shared_from_this<Batch> {
  enum class Until { all, first } until = Until::all;
  std::string name;  // of an item in messages: "map item"
  Host &host;
  lua_State *main;
  int items, fn = LUA_NOREF, results, others;  // registry references; no fn: the items are functions
  lua_Integer n, limit, next = 1, running = 0, ended = 0;
  std::vector<std::shared_ptr<Fiber>> children;
  std::optional<Wake> wake;
  bool over = false;

  Batch(lua_State *L, int items_index, int fn_index, lua_Integer limit_)
      : host(host_of(L)),
        main(host.state().get()),
        n(static_cast<lua_Integer>(lua_rawlen(L, items_index))),
        limit(limit_) {
    lua_pushvalue(L, items_index);
    items = luaL_ref(L, LUA_REGISTRYINDEX);
    if (fn_index) {
      lua_pushvalue(L, fn_index);
      fn = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_createtable(L, static_cast<int>(n), 0);
    results = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_newtable(L);
    others = luaL_ref(L, LUA_REGISTRYINDEX);
    children.resize(static_cast<size_t>(n));
  }

  void release() {
    if (!host.scheduler().open()) return;
    for (int *ref : {&items, &fn, &results, &others}) {
      luaL_unref(main, LUA_REGISTRYINDEX, *ref);
      *ref = LUA_NOREF;
    }
  }
  ~Batch() { release(); }

  void start_child(lua_Integer i) {
    lua_rawgeti(main, LUA_REGISTRYINDEX, items);
    lua_rawgeti(main, -1, i);
    int nargs = 0;
    if (fn != LUA_NOREF) {
      lua_rawgeti(main, LUA_REGISTRYINDEX, fn);
      lua_insert(main, -2);
      lua_pushinteger(main, i);
      nargs = 2;
    }
    auto child = host.scheduler().start(main, nargs);
    lua_pop(main, 1);
    child->observed = true;
    children[static_cast<size_t>(i - 1)] = child;
    ++running;
    std::weak_ptr<Fiber> weak = child;
    child->on_end([self = shared_from_this(), weak, i] { self->child_ended(*weak.lock(), i); });
  }

  void fill() {
    while (!over && running < limit && next <= n) start_child(next++);
  }

  void child_ended(Fiber &child, lua_Integer i) {
    --running;
    if (over) return;
    children[static_cast<size_t>(i - 1)] = nullptr;
    if (child.state() == Fiber::State::failed) {
      auto failed = child.shared_from_this();
      return finish([failed, prefix = fmt::format("{} {}: ", name, i)](lua_State *L) {
        return raise_failure(L, *failed, prefix);
      });
    }
    ++ended;
    keep(child, i);
    if (until == Until::first)
      finish([self = shared_from_this(), i](lua_State *L) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, self->results);
        lua_rawgeti(L, -1, i);
        lua_pushinteger(L, i);
        return 2;
      });
    else if (ended == n)
      finish_all();
    else
      fill();
  }

  // The first result into the list; a second one (an err) into the other list.
  void keep(Fiber &child, lua_Integer i) {
    int top = lua_gettop(main), count = child.push_results(main);
    for (int k = 0; k < std::min(count, 2); ++k) {
      lua_rawgeti(main, LUA_REGISTRYINDEX, k == 0 ? results : others);
      lua_pushvalue(main, top + 1 + k);
      lua_rawseti(main, -2, i);
      lua_pop(main, 1);
    }
    lua_settop(main, top);
  }

  void finish_all() {
    finish([self = shared_from_this()](lua_State *L) {
      lua_rawgeti(L, LUA_REGISTRYINDEX, self->results);
      lua_rawgeti(L, LUA_REGISTRYINDEX, self->others);
      return 2;
    });
  }

  void finish(Push push) {
    cancel();
    (*wake)(std::move(push));
  }

  void cancel() {
    over = true;
    auto rest = std::move(children);
    children.clear();
    for (auto &child : rest)
      if (child && !child->ended()) host.scheduler().cancel(*child);
  }
};

int run_batch(lua_State *L, std::shared_ptr<Batch> batch) {
  return scheduler_of(L).wait(L, On::tasks, [batch](Wake wake) -> Scheduler::Cancel {
    batch->wake = wake;
    if (batch->n == 0)
      batch->finish_all();
    else
      batch->fill();
    return [batch] { batch->cancel(); };
  });
}

int map(lua_State *L) {
  auto limit = Options(L, 2, "gcop.map").integer("limit", 64, 0, 1 << 20);
  auto batch = std::make_shared<Batch>(L, 1, 3, std::max<lua_Integer>(limit, 1));
  batch->name = "map item";
  return run_batch(L, batch);
}

std::shared_ptr<Batch> functions(lua_State *L, const char *name) {
  for (lua_Integer i = 1, n = static_cast<lua_Integer>(lua_rawlen(L, 1)); i <= n; ++i) {
    if (lua_rawgeti(L, 1, i) != LUA_TFUNCTION)
      raise(L, fmt::format("{}: item {} is a {}, not a function", name, i, luaL_typename(L, -1)));
    lua_pop(L, 1);
  }
  return std::make_shared<Batch>(L, 1, 0, INT32_MAX);
}

int all(lua_State *L) {
  auto batch = functions(L, "gcop.all");
  batch->name = "all: function";
  return run_batch(L, batch);
}

int race(lua_State *L) {
  auto batch = functions(L, "gcop.race");
  if (batch->n == 0) raise(L, "gcop.race: the list of functions is empty, so nobody can win");
  batch->name = "race: function";
  batch->until = Batch::Until::first;
  return run_batch(L, batch);
}

int spawn(lua_State *L) {
  Host &host = host_of(L);
  auto task = host.scheduler().start(L, lua_gettop(L) - 1);
  std::weak_ptr<Fiber> weak = task;
  task->on_end([&host, weak] {
    auto ended = weak.lock();
    if (ended->state() == Fiber::State::failed && !ended->observed) host.unobserved(ended);
  });
  push_object<Fiber>(L, "gcop.Job", task);
  return 1;
}

int job_wait(lua_State *L) {
  auto task = object<Fiber>(L, 1, "gcop.Job");
  if (task.get() == scheduler_of(L).running()) raise(L, "gcop.Job:wait: a task cannot wait for itself");
  task->observed = true;
  return scheduler_of(L).wait(L, On::tasks, [task](Wake wake) -> Scheduler::Cancel {
    std::weak_ptr<Fiber> weak = task;  // its own list of callbacks must not keep it
    task->on_end([weak, wake] {
      auto ended = weak.lock();
      wake([ended](lua_State *waiting) {
        if (ended->state() == Fiber::State::done) return ended->push_results(waiting);
        if (ended->state() == Fiber::State::cancelled)
          return fail(waiting, {Code::cancelled, "the task was cancelled", {}});
        return raise_failure(waiting, *ended, "");
      });
    });
    return {};
  });
}

int job_cancel(lua_State *L) {
  auto task = object<Fiber>(L, 1, "gcop.Job");
  if (task.get() == scheduler_of(L).running()) raise(L, "gcop.Job:cancel: a task cannot cancel itself; return instead");
  scheduler_of(L).cancel(*task);
  return 0;
}

int job_ended(lua_State *L) {
  lua_pushboolean(L, object<Fiber>(L, 1, "gcop.Job")->ended());
  return 1;
}

int sleep(lua_State *L) {
  double seconds = lua_tonumber(L, 1);
  if (!(seconds >= 0 && seconds <= 1e6))
    raise(L, fmt::format("gcop.sleep: seconds is {}, allowed are 0 to 1000000", seconds));
  Loop &loop = host_of(L).loop();
  return scheduler_of(L).wait(L, On::host, [&loop, seconds](Wake wake) -> Scheduler::Cancel {
    auto nothing = [](lua_State *) { return 0; };
    auto id =
        loop.after(std::chrono::milliseconds(static_cast<int64_t>(seconds * 1e3)), [wake, nothing] { wake(nothing); });
    return [&loop, id, wake, nothing] {
      loop.cancel_timer(id);
      wake(nothing);
    };
  });
}

int finish(lua_State *L) {
  Host &host = host_of(L);
  std::string message(view(L, 1));
  if (message.empty() && host.settings().checking) message = "check: ok";
  if (host.settle()) host.end({Outcome::done, message});
  return host.scheduler().leave(L);
}

}  // namespace

extern const Module flow_module;
const Module flow_module = {
    "flow",
    "Side by side",
    "Waiting is invisible: a call that waits lets other tasks run. Tasks never run at the same time, they take turns; "
    "no locks are needed between two waiting calls. Everywhere the order is items, options, function.",
    {{"gcop.Job", "A task started by gcop.spawn.", {}}},
    {},
    {{"gcop.map",
      map,
      Waits::yes,
      "Calls fn(item, index) for each item, at most `limit` side by side, and gives the first results in the items' "
      "order.",
      {{"items", "any[]", "a list"},
       {"options", "table", ""},
       {"fn", "fun(item: any, index: integer): any, any", "runs as a task of its own"}},
      {{"limit", "integer?", "how many run side by side; default 64"}},
      {{"results", "any[]", "results[i] is fn's first result for items[i]"},
       {"others", "any[]", "others[i] is its second result, such as an err"}},
      "An error in one item cancels the others and is raised here with the item's index and traceback.",
      "local replies, errors = gcop.map(tasks.dev, { limit = 16 }, function(task)\n  return core:complete { prompt = "
      "task.prompt }\nend)"},
     {"gcop.all",
      all,
      Waits::yes,
      "Runs functions side by side and waits for all of them.",
      {{"functions", "function[]", "a list of functions without arguments"}},
      {},
      {{"results", "any[]", "first results, in order"}, {"others", "any[]", "second results"}},
      "As for gcop.map.",
      "local both = gcop.all { function() return core:complete { prompt = a } end, function() return core:complete { "
      "prompt = b } end }"},
     {"gcop.race",
      race,
      Waits::yes,
      "Runs functions side by side until the first one ends; the others are cancelled.",
      {{"functions", "function[]", "a list of functions without arguments"}},
      {},
      {{"result", "any", "the winner's first result"}, {"index", "integer", "the winner's place in the list"}},
      "If the first to end ends with an error, that error is raised.",
      "local reply = gcop.race {\n  function() return core:complete { prompt = p } end,\n  function() gcop.sleep(10) "
      "return nil end,\n}"},
     {"gcop.spawn",
      spawn,
      Waits::no,
      "Starts fn(...) as a task and goes on. The run ends when all tasks have ended.",
      {{"fn", "function", "the task"}, {"...", "any", "its arguments"}},
      {},
      {{"job", "gcop.Job", "to wait for it or to cancel it"}},
      "An error that nobody waits for is shown at once and fails the run at its end.",
      "local job = gcop.spawn(function() return guide:score { sequences = batch } end)\n-- ...\nlocal scores = "
      "job:wait()"},
     {"gcop.Job:wait",
      job_wait,
      Waits::yes,
      "Waits until the task has ended.",
      {},
      {},
      {{"...", "any", "what its function returned; nil and an err if it was cancelled"}},
      "Raises the task's error.",
      "local result = job:wait()"},
     {"gcop.Job:cancel",
      job_cancel,
      Waits::no,
      "Ends the task where it waits. Its pending call is cancelled.",
      {},
      {},
      {},
      "",
      "job:cancel()"},
     {"gcop.Job:ended",
      job_ended,
      Waits::no,
      "Whether the task has ended.",
      {},
      {},
      {{"ended", "boolean", ""}},
      "",
      "if job:ended() then print(job:wait()) end"},
     {"gcop.sleep",
      sleep,
      Waits::yes,
      "Waits some time.",
      {{"seconds", "number", "0 lets other tasks run"}},
      {},
      {},
      "",
      "gcop.sleep(0.5)"},
     {"gcop.finish",
      finish,
      Waits::setup,
      "Ends the run here, successfully (exit code 0). Nothing after it runs.",
      {{"message", "string?", "shown at the end"}},
      {},
      {},
      "",
      "if gcop.checking then gcop.finish(\"check: ok\") end"}}};

}  // namespace gcop::lua
