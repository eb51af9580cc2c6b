// From what a recipe calls a model to a plugin and its configuration, and on to an instance. Inside the running task.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/result.hpp"
#include "lua/bind.hpp"
#include "plugin/plugin.hpp"

namespace gcop::lua {

struct ModelPlugin {
  std::string name;    // as in reports
  std::string plugin;  // name or path
  nlohmann::json config;
  std::string model;  // to be resolved into config["model"]: a local model's name or path; or empty
  bool free = true;
  uint32_t max_in_flight = 16, timeout_ms = 600'000;
};

// model = "local:NAME", "openai:NAME", "http(s)://...#MODEL", "replay:FILE"; or plugin = and config =.
// Errors: a form that is not known, a key that is not set, a file that is not there.
Result<ModelPlugin> read_core_model(lua_State *L, const Options &o);

enum class Load { unless_planning, always };

// Fetches the model if there is one and makes the instance, or finds a shared one: waits. Then `ready` says what to
// push. Under --plan nothing is loaded, under --check what need not be fetched first; else `ready` gets no instance.
int make_instance(lua_State *L, const ModelPlugin &model, std::function<Push(std::shared_ptr<plugin::Instance>)> ready,
                  Load load = Load::unless_planning);

// (role, content) of a list of messages; raises with the place of a wrong one.
std::vector<std::pair<std::string, std::string>> read_messages(lua_State *L, int index, const char *function);

}  // namespace gcop::lua
