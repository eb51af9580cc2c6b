// gcop.validator and Validator:check.
#include <algorithm>
#include <thread>

#include <fmt/format.h>

#include "base/log.hpp"
#include "lua/api.hpp"
#include "lua/bind.hpp"
#include "lua/core_model.hpp"
#include "lua/core_script.hpp"
#include "lua/host.hpp"
#include "lua/task_table.hpp"
#include "lua/validator_script.hpp"
#include "validator/validator.hpp"

namespace gcop::lua {
namespace {

constexpr const char *kClass = "gcop.Validator";
using Handle = validator::Validator;

// "python" is the plugin validator_python; a path, or the name of a plugin that is there, is itself.
std::string plugin_name(const std::string &kind, const plugin::Registry &registry) {
  const auto names = registry.available();
  const bool itself = kind.find('/') != std::string::npos || kind.starts_with("validator_") ||
                      std::find(names.begin(), names.end(), kind) != names.end();
  return itself ? kind : "validator_" + kind;
}

void push_validator(lua_State *L, std::shared_ptr<Handle> handle) {
  lua_createtable(L, 0, 1);
  set(L, "name", handle->name());
  push_object<Handle>(L, kClass, std::move(handle));
  lua_insert(L, -2);
  lua_setiuservalue(L, -2, 1);
}

// { function(task, answer) ... end, name =, version = }: the function is on top of the stack.
int new_script(lua_State *L, const Options &o, uint32_t timeout) {
  Host &host = host_of(L);
  for (const char *key : {"cpu_ms", "wall_ms", "mem_mb", "isolation", "config"})
    if (o.has(key)) o.refuse(key, "is for validators that are plugins, not for a function");
  const auto name = o.str("name", "lua");
  const auto identity = script_identity(L, lua_gettop(L), name + ":" + o.str("version"));
  const auto in_flight = static_cast<uint32_t>(o.integer("max_in_flight", 64, 1, 4096));
  push_validator(L, std::make_shared<Handle>(host.loop(), host.store(), make_validator_script(L, lua_gettop(L)),
                                             identity, name, in_flight, timeout));
  return 1;
}

int new_validator(lua_State *L) {
  Host &host = host_of(L);
  Options o(L, 1, "gcop.validator");
  auto timeout = static_cast<uint32_t>(o.integer("timeout_ms", 120'000, 1, 24 * 3600 * 1000));
  if (lua_rawgeti(L, 1, 1) == LUA_TFUNCTION) return new_script(L, o, timeout);
  for (const char *key : {"name", "version"})
    if (o.has(key)) o.refuse(key, "is for a function; a plugin has a name and an identity of its own");
  std::string kind(view(L, -1));
  lua_pop(L, 1);
  ModelPlugin model{kind, plugin_name(kind, host.registry()), nlohmann::json::object(), ""};
  if (o.has("cpu_ms")) model.config["cpu_ms"] = o.integer("cpu_ms", 0, 1, 3'600'000);
  if (o.has("wall_ms")) model.config["wall_ms"] = o.integer("wall_ms", 0, 1, 3'600'000);
  if (o.has("mem_mb")) model.config["mem_bytes"] = o.integer("mem_mb", 0, 32, 1 << 20) << 20;
  if (o.has("isolation")) model.config["isolation"] = o.str("isolation");
  if (o.has("config")) model.config.update(o.json("config"));
  if (model.config.value("isolation", nlohmann::json("jail")) == "process") {
    log_warn("validator '" + kind + "': isolation = \"process\": what a model wrote runs without a jail");
    host.weaken("process");
  }
  auto in_flight =
      static_cast<uint32_t>(o.integer("max_in_flight", std::max(2u, std::thread::hardware_concurrency()), 1, 4096));
  // A validator starts in milliseconds, so it is started even under --check.
  return make_instance(
      L, model,
      [&host, kind, in_flight, timeout](std::shared_ptr<plugin::Instance> instance) {
        return [&host, kind, in_flight, timeout, instance](lua_State *waiting) {
          if (!instance->interface(GCOP_VALIDATOR))
            raise(waiting, fmt::format("gcop.validator: plugin '{}' offers no validator (gcop.validator/1)",
                                       instance->plugin().path));
          push_validator(waiting,
                         std::make_shared<Handle>(host.loop(), host.store(), instance, kind, in_flight, timeout));
          return 1;
        };
      },
      Load::always);
}

int check(lua_State *L) {
  auto validator = object<Handle>(L, 1, kClass);
  auto task = to_task(L, 2);
  std::string candidate(view(L, 3));
  Host &host = host_of(L);
  return scheduler_of(L).wait(L, Scheduler::On::host,
                              [&host, validator, task, candidate](Wake wake) -> Scheduler::Cancel {
                                auto id = validator->check(task, candidate, [&host, wake](Result<Verdict> result) {
                                  if (!result || !result->cached) host.count_call(result ? nullptr : &result.error());
                                  wake([result = std::move(result)](lua_State *waiting) {
                                    if (!result) return fail(waiting, result.error());
                                    lua_createtable(waiting, 0, 6);
                                    set(waiting, "score", result->score);
                                    set(waiting, "passed", result->passed);
                                    set(waiting, "total", result->total);
                                    set(waiting, "feedback", result->feedback);
                                    set(waiting, "cached", result->cached);
                                    if (!result->detail.empty()) {
                                      push_json(waiting, nlohmann::json::parse(result->detail, nullptr, false));
                                      lua_setfield(waiting, -2, "detail");
                                    }
                                    return 1;
                                  });
                                });
                                return [validator, id] { validator->cancel(id); };
                              });
}

}  // namespace

extern const Module validator_module;
const Module validator_module = {
    "validator",
    "Validators",
    "What says whether an answer is right. A failure of infrastructure is an err, never a score.",
    {{"gcop.Validator", "A validator. Field: name.", {{"name", "string", ""}}},
     {"gcop.Verdict",
      "What a check found.",
      {{"score", "number", "0 to 1"},
       {"passed", "integer", "assertions that held"},
       {"total", "integer", "assertions there are"},
       {"feedback", "string", "for a teacher or a person; empty when all passed"},
       {"detail", "table?", "for reports"},
       {"cached", "boolean", "answered by the store"}}}},
    {},
    {{"gcop.validator",
      new_validator,
      Waits::setup,
      "Starts a validator. What \"python\" runs is in a task's row: tests, test_list or test, the first that is there, "
      "a "
      "list of statements with asserts (MBPP) or the text of one test file: with check(candidate) (HumanEval, needs "
      "entry_point), or test functions and classes as pytest and unittest run them, which take the answer's names by "
      "`from solution import f`. test_setup_code runs before them. The program is the last fenced block of an answer "
      "that "
      "defines the entry point. Plain data, dates and named tuples cross between it and the tests; what it does to "
      "lists, dicts and sets that it was passed is seen where it returns None; its own objects can be called and asked "
      "for attributes, but a test that compares them fails. Of pytest there are raises, approx, fail, param, "
      "mark.parametrize and plain fixtures; anything else of it is an err.",
      {{"options", "table", ""}},
      {{"[1]", "string|(fun(task: gcop.Task, answer: string): number|boolean|table, string?)",
        "\"python\": unit tests in a sandbox; \"math\": the number of tasks with an answer, its config grade = "
        "\"strict\" counts marked answers only; another plugin's name or path; or a function. It gets the task with "
        "all "
        "fields of its row and the core's output, may wait and call cores, and returns a score from 0 to 1 or a "
        "boolean, "
        "then perhaps a feedback; or a table { score =, feedback =, passed =, total =, detail = }; or nil and an err: "
        "no verdict. What else it does is an err, never a score"},
       {"name", "string?", "of a function, in messages; default \"lua\""},
       {"version", "string?",
        "of a function: with its place and its file's text it says which verdicts of the store are its own; change it "
        "when something else that the function reads changes"},
       {"cpu_ms", "integer?", "CPU time of a check"},
       {"wall_ms", "integer?", "wall time of a check"},
       {"mem_mb", "integer?", "memory of a check, 32 or more"},
       {"isolation", "string?",
        "python: \"jail\" (default), or \"process\": no jail, only limits on time and memory; verdicts and the report "
        "say "
        "so"},
       {"max_in_flight", "integer?", "checks at the same time; default: CPU cores, 64 for a function"},
       {"timeout_ms", "integer?", "for the verdict; default 120000"},
       {"config", "table?", "added to the plugin's configuration"}},
      {{"validator", "gcop.Validator", ""}},
      "Raises when the plugin or its sandbox does not start.",
      "local tests = gcop.validator { \"python\", cpu_ms = 2000, mem_mb = 256 }\n"
      "local exact = gcop.validator { function(task, answer) return answer == task.answer, \"expected \" .. "
      "task.answer "
      "end, name = \"exact\" }"},
     {"gcop.Validator:check",
      check,
      Waits::yes,
      "Checks a candidate answer of a task. The same check is not done twice.",
      {{"task", "gcop.Task", ""},
       {"candidate", "string", "the core's output, whole: the validator extracts what it checks"}},
      {},
      {{"verdict", "gcop.Verdict?", ""}, {"err", "gcop.Error?", "the check could not run"}},
      "",
      "local verdict, err = tests:check(task, reply.text)\nif verdict and verdict.score == 1 then kept = kept + 1 "
      "end"}}};

}  // namespace gcop::lua
