// One run as the bindings see it: settings, the Lua state and its tasks, what the recipe declared, how the run ends.
// Made by gcop-run (or an embedder) on the run strand, and used there only; outlives every binding.
#pragma once
#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/loop.hpp"
#include "base/result.hpp"
#include "lua/console.hpp"
#include "lua/scheduler.hpp"
#include "lua/state.hpp"
#include "plugin/plugin.hpp"
#include "store/store.hpp"
#include "strategy/leak.hpp"

namespace gcop::lua {

struct Settings {
  std::string recipe;  // path as given
  std::vector<std::string> args;
  std::string profile = "quick";           // quick, standard, full
  std::map<std::string, std::string> set;  // --set key=value
  std::string out_dir;                     // empty under --check and --plan
  std::string root;                        // holds scripts/ and recipes/
  std::string device = "cpu";
  uint64_t seed = 1;
  uint64_t resumed = 0;  // how often the run was, this time included
  bool planning = false, checking = false, offline = false;
  size_t memory_cap = size_t{2} << 30;
};

// How a run ended; the code is the process's exit code.
struct Outcome {
  enum Code { done = 0, failed = 1, wrong = 2, budget = 3, interrupted = 130 };
  int code = done;
  std::string message;
};

// What a recipe expects of one of its steps: a line of --plan.
struct PlanRow {
  std::string stage, role;
  double calls = 0, tokens_in = 0, tokens_out = 0, usd = 0, seconds = 0;
};

struct OptionRow {
  std::string name, doc;
  nlohmann::json value, otherwise;
};

class Host {
 public:
  Host(Loop &, plugin::Registry &, Console &, Settings);
  ~Host();
  Host(const Host &) = delete;
  Host &operator=(const Host &) = delete;

  Result<> load();  // compiles the recipe: syntax errors
  // Runs scripts/gcop/init.lua, then the recipe. No store: nothing is kept (--check, --plan). done comes once.
  void start(std::shared_ptr<store::Store> store, std::function<void(Outcome)> done);
  void end(Outcome outcome);  // the first call counts; nothing is resumed after it
  void out_dir(const std::string &dir) { settings_.out_dir = dir; }  // once it is made, before start()
  void interrupt() { end({Outcome::interrupted, "interrupted"}); }

  Loop &loop() { return loop_; }
  plugin::Registry &registry() { return registry_; }
  Console &console() { return console_; }
  store::Store *store() { return store_.get(); }
  const Settings &settings() const { return settings_; }
  Scheduler &scheduler() { return *scheduler_; }
  State &state() { return *state_; }
  strategy::LiteralIndex &literals() { return literals_; }

  // Called before the first call that waits, and at the end: --set keys that nobody declared are an error (exit 2).
  bool settle();
  bool settled() const { return settled_; }
  std::vector<OptionRow> &options() { return options_; }
  std::vector<PlanRow> &plan() { return plan_; }
  void remember_input(const std::string &path);  // a data file: a resumed run must read the same
  const std::map<std::string, std::string> &sources() const { return sources_; }  // loaded file -> SHA-256

  // The last calls to cores and validators: too many failures of infrastructure end the run.
  void count_call(const Error *error);
  // The recipe chose a weaker isolation than the jail: the report says so.
  void weaken(const std::string &isolation) { isolation_ = isolation; }
  const std::string &isolation() const { return isolation_; }
  void budget_refused(const std::string &message) { refused_ = message; }

  // A spawned task failed while nobody waited for it: a warning now, a failed run if nobody ever asks.
  void unobserved(std::shared_ptr<Fiber> task);

  // Instances are shared by those who ask for the same plugin with the same config.
  using Made = std::function<void(Result<std::shared_ptr<plugin::Instance>>)>;
  void instance(const std::string &plugin, const std::string &config_json, Made done);

  // A local model's path; downloads with a progress line. Under --check and --plan only what can be said without.
  void resolve_model(const std::string &name, std::function<void(Result<std::string>)> done);
  int count_of(const std::string &place) { return ++places_[place]; }  // 1, 2, ... for equal places

  // A file that a recipe reads: as given if it is there, else below the source tree.
  std::string input_path(const std::string &path) const;

  // The file inside the output folder, or an error when the name leads out of it. A relative name without an output
  // folder (--check) is an error too.
  Result<std::string> out_path(const std::string &relative) const;

 private:
  void start_main();
  void idle();
  void finish();
  void await_pending(int rounds);
  void remember_source(const std::string &path, const std::string &text);
  void save_meta();
  std::string plan_table() const;
  Outcome outcome_of(const Fiber &task) const;

  Loop &loop_;
  plugin::Registry &registry_;
  Console &console_;
  Settings settings_;
  std::shared_ptr<store::Store> store_;
  std::unique_ptr<State> state_;
  std::shared_ptr<Scheduler> scheduler_;
  std::shared_ptr<Fiber> main_;
  std::function<void(Outcome)> done_;
  std::vector<OptionRow> options_;
  std::vector<PlanRow> plan_;
  std::map<std::string, std::string> sources_;
  strategy::LiteralIndex literals_;
  std::map<std::string, std::string> plugins_;      // opened plugin file -> SHA-256
  std::vector<std::shared_ptr<Fiber>> unobserved_;  // spawned tasks that failed with nobody waiting
  std::map<std::string, int> places_;
  std::map<std::string, std::vector<std::function<void(Result<std::string>)>>> resolving_;
  std::shared_ptr<std::atomic<bool>> ending_ = std::make_shared<std::atomic<bool>>(false);
  struct Shared;
  std::map<std::string, std::shared_ptr<Shared>> instances_;
  std::deque<bool> calls_;
  size_t failed_calls_ = 0, all_calls_ = 0;
  std::string last_failure_, refused_, isolation_;
  std::optional<Outcome> outcome_;
  bool settled_ = false;
};

// The row's function, wrapped: checks arguments, ends a --check at the first call that waits, turns C++ exceptions
// into Lua errors. The row is the closure's first upvalue.
int call_row(lua_State *L);

}  // namespace gcop::lua
