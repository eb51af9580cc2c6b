// A controller's Lua text in a state of its own, for the thread that made it: what solves a replayed question
// (tts/evaluation.hpp), or a live one step by step.
//
// The state has plain Lua and gcop.Env (lua/api_tts.cpp documents it); nothing in it knows the host, a file, the time,
// the gold answers, or an earlier question: globals are read-only and the text is run anew for each question. Loops,
// memory and the text's size are bounded. What could run on unseen by the hook that bounds loops is left out: patterns,
// metatables (finalizers), table.move, pcall (it would catch the bound).
#pragma once
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <lua.hpp>
#include <nlohmann/json.hpp>

#include "lua/cpu_ticks.hpp"
#include "tts/evaluation.hpp"
#include "tts/live.hpp"
#include "tts/vote.hpp"

namespace gcop::lua {

class Host;
// The text of a controller and its name in messages: a file as given, or below the source tree, or a module as require
// finds it. A resumed run must read the same.
Result<std::pair<std::string, std::string>> controller_text(Host &host, const std::string &given);

constexpr size_t kMostControllerText = 256 << 10;
constexpr int64_t kMostSteps = 50'000'000;  // VM instructions for one question
constexpr int kHookEvery = 100'000;         // of which the bound is looked at; some milliseconds
constexpr int kMostTicks = 2'000;           // of 10 ms of CPU time, for one question
constexpr size_t kMostControllerMemory = 64 << 20;
constexpr size_t kMostTrace = 1 << 20;  // bytes of JSON for one question

// What controllers traced, by (seed, question): {seed, question, correct, cost, events [{event, ...}]}. Any thread.
struct Traces {
  uint64_t below;  // seeds that are traced
  std::mutex mutex;
  std::map<std::pair<uint64_t, uint32_t>, nlohmann::json> rows;
};

class Controller final : public tts::Solver {
 public:
  // The text must compile and return function(env, params). `name`: the file, for messages.
  static Result<std::unique_ptr<Controller>> make(const std::string &text, const std::string &name,
                                                  nlohmann::json params, const std::atomic<bool> &cancelled,
                                                  Traces *traces = nullptr);
  ~Controller() override;
  Result<tts::Replay::Answer> solve(tts::Replay &replay, uint64_t seed, uint32_t question) override;

  // A live question: what the controller waits for. Nothing, and no answer: it used up its time slice.
  struct Need {
    int64_t branch;
    int64_t times;  // intervals from the one it has reached; 0: to its end
  };
  struct Turn {
    std::vector<Need> needs;
    std::vector<int64_t> abandoned;             // since the last turn
    std::optional<tts::Replay::Answer> answer;  // it has returned
  };
  // Goes on until the controller waits or returns; the first call begins it. `replay` is on a tts::LiveQuestion, which
  // grows by what was needed before the next call. After an answer or an error it is over. Events: events().
  Result<Turn> step(tts::Replay &replay, bool tracing);
  nlohmann::json &events() { return events_; }

 private:
  struct Calls;  // gcop.Env: controller_env.cpp
  void push_env(lua_State *L);
  static const void *text_key(), *env_key();  // of the registry
  Controller(std::string name, nlohmann::json params, const std::atomic<bool> &cancelled, Traces *traces);
  static void *allocate(void *ud, void *p, size_t old_size, size_t new_size);
  static void count_steps(lua_State *L, lua_Debug *);
  static void leave(lua_State *L, lua_Debug *);
  static void too_long(lua_State *L, lua_Debug *);
  static void tick(void *self);
  void begin(tts::Replay &replay);
  int call(tts::Replay &replay);
  static int prepare(lua_State *L);  // controller_state.cpp
  static int run(lua_State *L);
  static int loaded(lua_State *L, int, lua_KContext);
  static int ran(lua_State *L, int, lua_KContext);
  std::string failure(lua_State *L, int status);

  const std::string name_;
  const nlohmann::json params_;
  const std::atomic<bool> &cancelled_;
  Traces *const traces_;
  lua_State *L_ = nullptr;
  size_t used_ = 0;
  // Counting steps would make each of them cost a third more. So a question is first tried without; one that is still
  // at it after two ticks, which leave no time for kMostSteps, is begun anew and counted. Results are the same.
  std::unique_ptr<CpuTicks> ticks_;
  volatile sig_atomic_t ticked_ = 0, trying_ = 0;
  bool left_ = false;
  int64_t steps_ = 0;
  tts::Replay *replay_ = nullptr;  // while it is being solved
  lua_State *thread_ = nullptr;    // of a live question
  Turn turn_;
  tts::Tally tally_;
  bool tracing_ = false;
  size_t traced_ = 0;  // bytes
  nlohmann::json events_;
};

}  // namespace gcop::lua
