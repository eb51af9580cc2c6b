// What the bindings of the guide share: the userdata and the wait for calls that must not fail. Inside the running
// task.
#pragma once
#include <memory>
#include <utility>

#include "guide/guide.hpp"
#include "lua/bind.hpp"

namespace gcop::lua {

inline constexpr const char *kGuideClass = "gcop.Guide";

struct GuideHandle {
  std::shared_ptr<guide::Guide> guide;  // none under --check and --plan
};

// The guide at index 1; raises when it is not loaded.
inline std::shared_ptr<guide::Guide> guide_at(lua_State *L) {
  auto guide = object<GuideHandle>(L, 1, kGuideClass)->guide;
  if (!guide)
    raise(L, Error{Code::unsupported,
                   "the guide is not loaded under --check and --plan; test gcop.checking and gcop.planning before",
                   {}});
  return guide;
}

template <class T>
T &checked(lua_State *L, Result<T> &result) {
  if (!result) raise(L, result.error());
  return *result;
}

// Waits for a call whose failure is no expected one: it is raised.
template <class T, class StartFn, class PushFn>
int wait_or_raise(lua_State *L, StartFn start, PushFn push_value) {
  return scheduler_of(L).wait(L, Scheduler::On::host, [start, push_value](Wake wake) -> Scheduler::Cancel {
    start([wake, push_value](Result<T> result) {
      wake([result = std::move(result), push_value](lua_State *waiting) -> int {
        if (!result) raise(waiting, result.error());
        return push_value(waiting, *result);
      });
    });
    return {};
  });
}

}  // namespace gcop::lua
