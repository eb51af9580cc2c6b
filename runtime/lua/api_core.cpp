// gcop.core and Core:complete: an LLM behind a plugin, or a Lua function.
#include <fmt/format.h>

#include "base/secret.hpp"
#include "core/core.hpp"
#include "lua/api.hpp"
#include "lua/bind.hpp"
#include "lua/core_model.hpp"
#include "lua/core_price.hpp"
#include "lua/core_script.hpp"
#include "lua/host.hpp"

namespace gcop::lua {
namespace {

using On = Scheduler::On;

struct Defaults {
  double temperature = -1, top_p = 1;
  int64_t max_tokens = 512;
  std::vector<std::string> stop;
  std::string extra_json;
};

struct CoreHandle {
  std::shared_ptr<core::Core> core;
  Defaults defaults;
  core::Price price;
  bool continues = true;  // an answer from a given prefix
};

Defaults read_defaults(const Options &o) {
  Defaults d;
  d.temperature = o.num("temperature", 0, 0, 10);
  d.top_p = o.num("top_p", 1, 1e-6, 1);
  d.max_tokens = o.integer("max_tokens", 512, 1, 1 << 20);
  d.stop = o.strings("stop");
  if (o.has("extra")) d.extra_json = dump_json(o.json("extra"));
  return d;
}

void push_core(lua_State *L, std::shared_ptr<CoreHandle> handle) {
  lua_createtable(L, 0, 5);
  set(L, "name", handle->core->name());
  set(L, "identity", handle->core->identity());
  set(L, "continues", handle->continues);
  set(L, "max_tokens", handle->defaults.max_tokens);
  push_price(L, handle->price);
  lua_setfield(L, -2, "price");
  push_object<CoreHandle>(L, "gcop.Core", std::move(handle));
  lua_insert(L, -2);
  lua_setiuservalue(L, -2, 1);
}

int new_core(lua_State *L) {
  Host &host = host_of(L);
  Options o(L, 1, "gcop.core");
  int ways = o.has("model") + o.has("script") + o.has("plugin");
  if (ways != 1)
    raise(L, "gcop.core: give one of model = \"local:NAME\", script = function(request) ... end, plugin = \"NAME\"");
  if (o.has("price") && o.boolean("free", false))
    raise(L, "gcop.core: give either price = { input =, output = } or free = true");
  auto handle = std::make_shared<CoreHandle>();
  handle->defaults = read_defaults(o);
  if (o.has("script")) {
    const auto price = handle->price = read_price(L, o, nullptr);
    o.push("script");
    auto name = o.str("name", "script");
    auto identity = script_identity(L, lua_gettop(L), name);
    auto script = make_script(L, -1);
    lua_pop(L, 1);
    handle->core = std::make_shared<core::Core>(host.loop(), host.store(), script, identity, name, price);
    push_core(L, handle);
    return 1;
  }
  auto model = read_core_model(L, o);
  if (!model) raise(L, model.error());
  const auto price = handle->price = read_price(L, o, &*model);
  auto in_flight = static_cast<uint32_t>(o.integer("max_in_flight", model->max_in_flight, 1, 4096));
  auto timeout = static_cast<uint32_t>(o.integer("timeout_ms", model->timeout_ms, 1, 24 * 3600 * 1000));
  return make_instance(
      L, *model,
      [&host, handle, name = model->name, price, in_flight, timeout,
       continues = model->plugin != "core_http"](std::shared_ptr<plugin::Instance> instance) {
        return [&host, handle, name, price, in_flight, timeout, continues, instance](lua_State *waiting) {
          if (instance && !instance->interface(GCOP_CORE))
            raise(waiting, fmt::format("gcop.core: plugin '{}' offers no core (gcop.core/1)", instance->plugin().path));
          if (instance)
            handle->core =
                std::make_shared<core::Core>(host.loop(), host.store(), instance, name, price, in_flight, timeout);
          else  // --check, --plan: nothing is loaded, and the first call ends the run
            handle->core = std::make_shared<core::Core>(host.loop(), host.store(), core::Script{}, name, name, price);
          handle->continues = instance ? handle->core->capabilities() & GCOP_CORE_PREFIX : continues;
          push_core(waiting, handle);
          return 1;
        };
      });
}

// --- calls

void push_reply(lua_State *L, const Reply &reply) {
  lua_createtable(L, 0, 10);
  set(L, "text", reply.text);
  set(L, "finish", reply.finish);
  set(L, "model", reply.model);
  set(L, "tokens_in", reply.usage.in());
  set(L, "tokens_out", reply.usage.out());
  set(L, "cost_usd", reply.cost_usd);
  set(L, "price_usd", reply.price_usd);
  set(L, "latency_s", reply.latency_s);
  set(L, "cached", reply.cached);
}

core::Request read_request(lua_State *L, const Options &o, const Defaults &d) {
  core::Request r;
  if (o.has("messages") == o.has("prompt"))
    raise(L, "gcop.Core:complete: give either messages = { { role =, content = }, ... } or prompt = \"...\"");
  if (o.has("prompt")) {
    r.messages.push_back({"user", o.str("prompt")});
  } else {
    o.push("messages");
    for (auto &m : read_messages(L, -1, "gcop.Core:complete")) r.messages.push_back({m.first, m.second});
    lua_pop(L, 1);
  }
  r.sample = static_cast<uint64_t>(o.integer("sample", 0, 0, INT64_MAX));
  r.role = o.str("role", "core");
  r.stage = o.str("stage");
  r.max_tokens = static_cast<uint32_t>(o.integer("max_tokens", d.max_tokens, 1, 1 << 20));
  r.temperature = o.num("temperature", d.temperature, 0, 10);
  r.top_p = o.num("top_p", d.top_p, 1e-6, 1);
  r.stop = o.has("stop") ? o.strings("stop") : d.stop;
  r.prefix = o.str("prefix");
  r.extra_json = d.extra_json;
  r.seed = core::request_seed(host_of(L).settings().seed, r);
  return r;
}

// The budget holds what calls in flight may cost at most. A call that does not fit beside them waits until they have
// cost what they cost; only then is it refused.
struct Call : std::enable_shared_from_this<Call> {
  Host &host;
  std::shared_ptr<core::Core> core;
  core::Request request;
  std::optional<Wake> wake;
  uint64_t id = 0, timer = 0;
  bool over = false;

  Call(Host &h, std::shared_ptr<core::Core> c, core::Request r) : host(h), core(std::move(c)), request(std::move(r)) {}
  void send() {
    id = core->complete(request,
                        [self = shared_from_this()](Result<Reply> result) { self->answered(std::move(result)); });
  }
  void answered(Result<Reply> result) {
    const Error *error = result ? nullptr : &result.error();
    if (error && error->code == Code::exhausted && host.store() && host.store()->over_budget() &&
        !host.store()->failed()) {
      if (!over && host.store()->reserved() > 0) {
        timer = host.loop().after(std::chrono::milliseconds(50),
                                  [self = shared_from_this()] { self->timer = 0, self->send(); });
        return;
      }
      host.budget_refused(error->text());
    } else if (!result || !result->cached) {
      host.count_call(error);
    }
    (*wake)([result = std::move(result)](lua_State *L) {
      if (!result) return fail(L, result.error());
      push_reply(L, *result);
      return 1;
    });
  }
  void cancel() {
    over = true;
    if (timer) {
      host.loop().cancel_timer(timer);
      (*wake)([](lua_State *) { return 0; });
    } else {
      core->cancel(id);
    }
  }
};

int complete(lua_State *L) {
  auto handle = object<CoreHandle>(L, 1, "gcop.Core");
  auto call = std::make_shared<Call>(host_of(L), handle->core,
                                     read_request(L, Options(L, 2, "gcop.Core:complete"), handle->defaults));
  return scheduler_of(L).wait(L, On::host, [call](Wake wake) -> Scheduler::Cancel {
    call->wake = wake;
    call->send();
    return [call] { call->cancel(); };
  });
}

const char *const kModelDoc =
    "\"local:NAME\" (a model of recipes/models.toml, a Hugging Face directory or a .gguf file, run here), "
    "\"openai:NAME\", "
    "\"http://host:port/v1#MODEL\" (any server that speaks the OpenAI API), \"replay:FILE\" (recorded calls)";

}  // namespace

extern const Module core_module;
const Module core_module = {
    "core",
    "Cores",
    "The black box that carries strategies out; teachers and judges are cores too. Calls are answered from the run's "
    "store "
    "if they were answered before: same core, messages, parameters and sample index.",
    {{"gcop.Core",
      "A core.",
      {{"name", "string", ""},
       {"identity", "string", "part of the cache key"},
       {"continues", "boolean", "it can go on from the start of an answer (`prefix`); of a Lua function it is assumed"},
       {"max_tokens", "integer", "of an answer, where a call does not say"},
       {"price", "gcop.Price", "zeros if it is free"}}},
     {"gcop.Message",
      "One turn of a conversation.",
      {{"role", "\"system\"|\"user\"|\"assistant\"", ""}, {"content", "string", ""}}},
     {"gcop.Price",
      "USD per million tokens, by class; each token is in one class.",
      {{"input", "number?", ""},
       {"output", "number?", "reasoning included"},
       {"cache_read", "number?", "default: as input"},
       {"cache_write", "number?", "default: as input"},
       {"tiers", "gcop.PriceTier[]?", "rates of longer prompts"},
       {"hour", "number?",
        "USD for an hour in which the machine works on this core's calls; calls at the same time share it"},
       {"read", "string?", "of a listed price: the day it was read off the provider's page"}},
      true},
     {"gcop.PriceTier",
      "Rates of a call whose prompt has more tokens than `above`, cached ones included.",
      {{"above", "integer", ""},
       {"input", "number?", ""},
       {"output", "number?", ""},
       {"cache_read", "number?", ""},
       {"cache_write", "number?", ""}},
      true},
     {"gcop.Request",
      "What a core written in Lua gets.",
      {{"messages", "gcop.Message[]", ""},
       {"prompt", "string", "the last user message"},
       {"prefix", "string", "start of the answer, or \"\""},
       {"max_tokens", "integer", ""},
       {"temperature", "number", ""},
       {"top_p", "number", ""},
       {"seed", "integer", "a function of the run's seed, the request and the sample"},
       {"sample", "integer", ""},
       {"role", "string", ""}}},
     {"gcop.Reply",
      "A core's answer.",
      {{"text", "string", ""},
       {"finish", "string", "\"stop\", \"length\", ..."},
       {"model", "string", "as served"},
       {"tokens_in", "integer", "all input classes"},
       {"tokens_out", "integer", "reasoning included"},
       {"cost_usd", "number", "0 for a cached answer"},
       {"price_usd", "number", "what such a call costs, cached or not"},
       {"latency_s", "number", ""},
       {"cached", "boolean", "answered by the store: nothing was sent or paid"}}}},
    {},
    {{"gcop.core",
      new_core,
      Waits::setup,
      "Makes a core. Cores of the same model and configuration share one instance.",
      {{"options", "table", ""}},
      {{"model", "string?", kModelDoc},
       {"script", "(fun(request: gcop.Request): string|table)?",
        "a core in Lua: returns the text, or { text =, usage = { input =, output = }, finish = }; it may wait, and "
        "ends "
        "when its call is cancelled"},
       {"plugin", "string?", "another plugin, by name or path"},
       {"config", "table?", "the plugin's configuration; with model, added to it"},
       {"template", "table<string, boolean|string>?",
        "of a local model: variables that its chat template reads, as for gcop.guide"},
       {"name", "string?", "for reports and errors"},
       {"temperature", "number?", "default 0: greedy"},
       {"top_p", "number?", "default 1"},
       {"max_tokens", "integer?", "default 512"},
       {"stop", "string|string[]?", "where the answer ends; not part of it"},
       {"extra", "table?", "provider parameters, sent as they are"},
       {"max_in_flight", "integer?",
        "calls at the same time, further ones wait in order; default 32 for a local model, else 16"},
       {"timeout_ms", "integer?", "for a call; default 600000"},
       {"base_url", "string?", "of an OpenAI-compatible API"},
       {"key_env", "string?", "environment variable with the key; default OPENAI_API_KEY for openai:"},
       {"price", "gcop.Price?",
        "default: that of recipes/prices.toml; a model that is in no list needs one, or free = true"},
       {"batch", "boolean?", "its calls go to a batch API: the listed share of the listed price"},
       {"free", "boolean?",
        "calls cost nothing; default for local models, servers on this machine, replay and scripts"}},
      {{"core", "gcop.Core", ""}},
      "Raises when the model is unknown or has no price, a file or the key is missing, or the plugin does not start.",
      "local core = gcop.core { model = \"local:qwen2.5-coder-0.5b-instruct\", temperature = 0.2, max_tokens = 192 }\n"
      "local parrot = gcop.core { script = function(request) return request.prompt end }"},
     {"gcop.Core:complete",
      complete,
      Waits::yes,
      "Asks the core. The same request with the same `sample` is never paid twice.",
      {{"options", "table", ""}},
      {{"messages", "gcop.Message[]?", "the conversation, or"},
       {"prompt", "string?", "one user message"},
       {"sample", "integer?", "tells repeated draws of one request apart; default 0"},
       {"role", "string?", "who pays: \"core\" (default), \"teacher\", \"judge\", ..."},
       {"stage", "string?", "what for: \"accept\", \"grpo\", ..., for the report"},
       {"max_tokens", "integer?", "default: the core's"},
       {"temperature", "number?", "likewise"},
       {"top_p", "number?", "likewise"},
       {"stop", "string|string[]?", "likewise"},
       {"prefix", "string?", "start of the answer to go on from, if the core can"}},
      {{"reply", "gcop.Reply?", ""},
       {"err", "gcop.Error?", "when reply is nil; code \"exhausted\": the budget, memory or disk ran out"}},
      "When more than 10 of the last 100 calls failed, the run ends (exit code 1).",
      "local reply, err = core:complete { prompt = task.prompt, sample = 3 }\nif not reply then gcop.warn(err.message) "
      "end"}}};

}  // namespace gcop::lua
