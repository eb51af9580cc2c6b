// gcop.guide and its methods: the small trainable model.
#include <cmath>
#include <filesystem>

#include <fmt/format.h>

#include "lua/api.hpp"
#include "lua/bind.hpp"
#include "lua/core_model.hpp"
#include "lua/guide_handle.hpp"
#include "lua/host.hpp"

namespace gcop::lua {
namespace {

using guide::Guide;
using On = Scheduler::On;
constexpr const char *kClass = kGuideClass;

int new_guide(lua_State *L) {
  Host &host = host_of(L);
  Options o(L, 1, "gcop.guide");
  if (o.has("model") == o.has("random"))
    raise(L,
          "gcop.guide: give either model = NAME, DIRECTORY or FILE.gguf, or random = { layers =, hidden =, heads = }");
  ModelPlugin model{
      o.str("name", o.str("model", "random")), o.str("plugin", "guide_torch"), {{"role", "guide"}}, o.str("model")};
  model.config["name"] = model.name;
  if (o.has("random")) model.config["random"] = o.json("random");
  if (o.has("lora")) model.config["lora"] = o.json("lora");
  if (o.has("template")) model.config["template"] = o.json("template");
  if (o.has("device")) model.config["device"] = o.str("device");
  if (o.has("config")) model.config.update(o.json("config"));
  auto timeout = static_cast<uint32_t>(o.integer("timeout_ms", 1'800'000, 1, 7 * 24 * 3600 * 1000));
  return make_instance(L, model, [&host, name = model.name, timeout](std::shared_ptr<plugin::Instance> instance) {
    return [&host, name, timeout, instance](lua_State *waiting) {
      if (instance && !instance->interface(GCOP_GUIDE))
        raise(waiting, fmt::format("gcop.guide: plugin '{}' offers no guide (gcop.guide/1)", instance->plugin().path));
      auto handle = std::make_shared<GuideHandle>();
      if (instance) handle->guide = std::make_shared<Guide>(host.loop(), instance, name, timeout);
      push_object<GuideHandle>(waiting, kClass, handle);
      lua_createtable(waiting, 0, 1);
      set(waiting, "name", name);
      lua_setiuservalue(waiting, -2, 1);
      return 1;
    };
  });
}

// --- text and tokens

std::string messages_json(lua_State *L, int index, const char *function) {
  nlohmann::json messages = nlohmann::json::array();
  for (auto &m : read_messages(L, index, function)) messages.push_back({{"role", m.first}, {"content", m.second}});
  return dump_json(messages);
}

int render(lua_State *L) {
  auto tokens = guide_at(L)->render(messages_json(L, 2, "gcop.Guide:render"));
  push_tokens(L, checked(L, tokens));
  return 1;
}

int encode(lua_State *L) {
  auto tokens = guide_at(L)->encode(std::string(view(L, 2)));
  push_tokens(L, checked(L, tokens));
  return 1;
}

int decode(lua_State *L) {
  auto text = guide_at(L)->decode(to_tokens(L, 2, "gcop.Guide:decode: tokens"));
  push(L, checked(L, text));
  return 1;
}

int info(lua_State *L) {
  push_json(L, nlohmann::json::parse(guide_at(L)->info(), nullptr, false));
  return 1;
}

// --- sampling

void push_rollout(lua_State *L, const Rollout &rollout) {
  lua_createtable(L, 0, 6);
  set(L, "text", rollout.text);
  set(L, "truncated", rollout.truncated);
  set(L, "weights_version", rollout.weights_version);
  set(L, "reused", rollout.reused);
  push_tokens(L, rollout.tokens);
  lua_setfield(L, -2, "tokens");
  push_floats(L, rollout.logprobs);
  lua_setfield(L, -2, "logprobs");
}

// n draws of one prompt, side by side; the first failure cancels the others.
struct Draws : std::enable_shared_from_this<Draws> {
  std::shared_ptr<Guide> guide;
  std::vector<Rollout> rollouts;
  std::vector<uint64_t> ids;
  size_t ended = 0;
  std::optional<Error> error;
  std::optional<Wake> wake;

  void start(const std::string &weights, const std::vector<int32_t> &prompt, Sampling sampling, size_t n) {
    rollouts.resize(n);
    for (size_t i = 0; i < n; ++i) {
      auto one = sampling;
      one.seed = sampling.seed + i * 0x9E3779B97F4A7C15u;  // draw 0 is what the seed alone gives
      ids.push_back(guide->sample(weights, prompt, one,
                                  [self = shared_from_this(), i](Result<Rollout> r) { self->one(i, std::move(r)); }));
    }
  }
  void one(size_t i, Result<Rollout> result) {
    ++ended;
    if (result)
      rollouts[i] = std::move(*result);
    else if (!error)
      error = result.error(), cancel();
    if (ended < rollouts.size()) return;
    (*wake)([self = shared_from_this()](lua_State *L) {
      if (self->error) return fail(L, *self->error);
      lua_createtable(L, static_cast<int>(self->rollouts.size()), 0);
      for (size_t k = 0; k < self->rollouts.size(); ++k) {
        push_rollout(L, self->rollouts[k]);
        lua_rawseti(L, -2, static_cast<lua_Integer>(k + 1));
      }
      return 1;
    });
  }
  void cancel() {
    for (auto id : ids) guide->cancel(id);
  }
};

int sample(lua_State *L) {
  auto draws = std::make_shared<Draws>();
  draws->guide = guide_at(L);
  Options o(L, 2, "gcop.Guide:sample");
  if (o.has("prompt") == o.has("messages"))
    raise(L, "gcop.Guide:sample: give either prompt = tokens or messages = { { role =, content = }, ... }");
  std::vector<int32_t> prompt;
  if (o.push(o.has("prompt") ? "prompt" : "messages"); o.has("prompt")) {
    prompt = to_tokens(L, -1, "gcop.Guide:sample: prompt");
  } else {
    auto tokens = draws->guide->render(messages_json(L, -1, "gcop.Guide:sample"));
    prompt = checked(L, tokens);
  }
  lua_pop(L, 1);
  Sampling s;
  s.max_tokens = static_cast<uint32_t>(o.integer("max_tokens", 128, 1, 1 << 20));
  s.temperature = static_cast<float>(o.num("temperature", 1, 0, 10));
  s.top_p = static_cast<float>(o.num("top_p", 1, 1e-6, 1));
  s.top_k = static_cast<uint32_t>(o.integer("top_k", 0, 0, 1 << 20));
  s.seed =
      static_cast<uint64_t>(o.integer("seed", static_cast<int64_t>(host_of(L).settings().seed), INT64_MIN, INT64_MAX));
  s.stop = o.strings("stop");
  auto weights = o.str("weights", "current");
  auto n = static_cast<size_t>(o.integer("n", 1, 1, 4096));
  return scheduler_of(L).wait(L, On::host, [draws, weights, prompt, s, n](Wake wake) -> Scheduler::Cancel {
    draws->wake = wake;
    draws->start(weights, prompt, s, n);
    return [draws] { draws->cancel(); };
  });
}

// --- weight versions

int nothing(lua_State *, const Unit &) { return 0; }

int copy(lua_State *L) {
  auto guide = guide_at(L);
  std::string from(view(L, 2)), to(view(L, 3));
  return wait_or_raise<Unit>(
      L, [=](auto done) { guide->copy(from, to, done); }, nothing);
}

int drop(lua_State *L) {
  auto guide = guide_at(L);
  std::string name(view(L, 2));
  return wait_or_raise<Unit>(
      L, [=](auto done) { guide->drop(name, done); }, nothing);
}

// Relative directories are inside the run's folder, so that --resume finds them there.
std::string directory(lua_State *L, int index) {
  std::string dir(view(L, index));
  if (std::filesystem::path(dir).is_absolute()) return dir;
  auto path = host_of(L).out_path(dir);
  return std::filesystem::absolute(checked(L, path)).string();
}

int save(lua_State *L) {
  auto guide = guide_at(L);
  Options o(L, 3, "gcop.Guide:save");
  auto dir = directory(L, 2), weights = o.str("weights", "current");
  std::error_code ec;
  std::filesystem::create_directories(std::filesystem::path(dir).parent_path(), ec);
  bool optimizer = o.boolean("optimizer", false);
  return wait_or_raise<Unit>(
      L, [=](auto done) { guide->save(weights, dir, optimizer, done); }, nothing);
}

int load(lua_State *L) {
  auto guide = guide_at(L);
  auto dir = directory(L, 2), weights = Options(L, 3, "gcop.Guide:load").str("weights", "current");
  return wait_or_raise<Unit>(
      L, [=](auto done) { guide->load(weights, dir, done); }, nothing);
}

}  // namespace

extern const Module guide_module;
const Module guide_module = {
    "guide",
    "The guide",
    "The small trainable model. Token ids are the truth: text is never rendered twice. Weight versions have names; "
    "\"current\" exists from the start and is the one that training changes. Failures of copy, drop, save "
    "and load are raised; those of sample are returned.",
    {{"gcop.Guide", "A guide. Field: name.", {{"name", "string", ""}}},
     {"gcop.RandomModel",
      "A small randomly initialised model over bytes, for tests and tries; further fields as the plugin takes them. "
      "Defaults as of guide_torch.",
      {{"layers", "integer?", "default 2"},
       {"hidden", "integer?", "default 64; a multiple of 16 heads"},
       {"heads", "integer?", "default 4"},
       {"kv_heads", "integer?", "default heads"},
       {"intermediate", "integer?", "default 128"},
       {"context", "integer?", "tokens; default 1024"}}},
     {"gcop.Lora",
      "A low-rank adapter (LoRA, arXiv 2106.09685): each target matrix W becomes W + alpha / rank * B A, and only A "
      "and "
      "B are trained. Sampling, scoring and training use the sum.",
      {{"rank", "integer", "1 to 1024"},
       {"alpha", "number?", "default 2 rank"},
       {"targets", "string[]?", "of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj; default all"}}},
     {"gcop.Rollout",
      "What the guide sampled.",
      {{"text", "string", "without special tokens"},
       {"tokens", "integer[]", "the end token included if there is one"},
       {"logprobs", "number[]", "nats, of each token under the sampling weights at temperature 1, untruncated"},
       {"truncated", "boolean", "ended by max_tokens"},
       {"weights_version", "integer", "which weights, of all names; a change gives the next number"},
       {"reused", "integer", "prompt tokens whose keys and values were shared, not computed"}}}},
    {},
    {{"gcop.guide",
      new_guide,
      Waits::setup,
      "Loads a guide. Guides of the same model and configuration share one instance.",
      {{"options", "table", ""}},
      {{"model", "string?", "a name of recipes/models.toml, a Hugging Face directory, or a .gguf file"},
       {"random", "gcop.RandomModel?", "instead: random weights"},
       {"lora", "gcop.Lora?", "train a low-rank adapter instead of all weights"},
       {"template", "table<string, boolean|string>?",
        "variables that the model's chat template reads: { enable_thinking = false } (Qwen3), { date_string = \"26 Jul "
        "2024\" } (Llama 3); one that it does not read is refused"},
       {"device", "string?", "cpu (default) or cuda, which has not been run on a device yet"},
       {"name", "string?", "for reports and errors"},
       {"plugin", "string?", "default \"guide_torch\""},
       {"config", "table?",
        "added to the plugin's: threads, max_batch, kv_bytes, context (less than the model's), training = false "
        "(memory for "
        "it is not asked for at the start), prefix_reuse"},
       {"timeout_ms", "integer?", "for a call; default 1800000"}},
      {{"guide", "gcop.Guide", ""}},
      "Raises when the model is unknown, damaged, or cannot be fetched.",
      "local guide = gcop.guide { model = \"smollm2-135m-instruct\" }"},
     {"gcop.Guide:render",
      render,
      Waits::no,
      "The model's chat template (ChatML's where it has none) over messages, the start of its answer included.",
      {{"messages", "gcop.Message[]", ""}},
      {},
      {{"tokens", "integer[]", ""}},
      "",
      "local prompt = guide:render { { role = \"user\", content = task.prompt } }"},
     {"gcop.Guide:encode",
      encode,
      Waits::no,
      "Tokens of a text, without special ones added.",
      {{"text", "string", ""}},
      {},
      {{"tokens", "integer[]", ""}},
      "",
      "local tokens = guide:encode(strategy)"},
     {"gcop.Guide:decode",
      decode,
      Waits::no,
      "Text of tokens.",
      {{"tokens", "integer[]", ""}},
      {},
      {{"text", "string", ""}},
      "",
      "print(guide:decode(rollout.tokens))"},
     {"gcop.Guide:info",
      info,
      Waits::no,
      "Architecture, parameters, context, vocabulary, eos, device, bytes.",
      {},
      {},
      {{"info", "table<string, any>", ""}},
      "",
      "local stop = guide:info().eos"},
     {"gcop.Guide:sample",
      sample,
      Waits::yes,
      "Draws n answers of one prompt, which is computed once. Token t's draw is a function of the seed, n's index and "
      "t.",
      {{"options", "table", ""}},
      {{"prompt", "integer[]?", "tokens, or"},
       {"messages", "gcop.Message[]?", "rendered by the chat template"},
       {"n", "integer?", "default 1"},
       {"max_tokens", "integer?", "default 128"},
       {"temperature", "number?", "default 1; 0: greedy"},
       {"top_p", "number?", "default 1: off"},
       {"top_k", "integer?", "default 0: off"},
       {"seed", "integer?", "default: the run's; use gcop.seed_for"},
       {"stop", "string|string[]?", "kept in the text"},
       {"weights", "string?", "default \"current\""}},
      {{"rollouts", "gcop.Rollout[]?", "n of them"}, {"err", "gcop.Error?", ""}},
      "",
      "local rollouts, err = guide:sample { messages = prompts.guide(task), n = 8, max_tokens = 96, seed = "
      "gcop.seed_for(\"grpo\", step, task.id) }"},
     {"gcop.Guide:copy",
      copy,
      Waits::yes,
      "Weights `from` become the version `to` as well; a copy to \"current\" also clears the optimizer.",
      {{"from", "string", ""}, {"to", "string", ""}},
      {},
      {},
      "Raises when there is no version `from`.",
      "guide:copy(\"current\", \"sft\")"},
     {"gcop.Guide:drop",
      drop,
      Waits::yes,
      "Forgets a version other than \"current\".",
      {{"name", "string", ""}},
      {},
      {},
      "Raises when there is none.",
      "guide:drop(\"base\")"},
     {"gcop.Guide:save",
      save,
      Waits::yes,
      "Writes a Hugging Face directory (config.json, model.safetensors, tokenizer files). A guide with a low-rank "
      "adapter "
      "writes the merged weights, and the adapter into DIR/adapter as PEFT reads it. A model saved there before is "
      "replaced, whole or not at all; a directory that holds anything else is refused.",
      {{"dir", "string", "relative: inside the run's folder"}, {"options", "table?", ""}},
      {{"weights", "string?", "default \"current\""},
       {"optimizer", "boolean?", "also its moments and step, to go on training"}},
      {},
      "Raises when the disk is full or read-only, or a weight is no finite number.",
      "guide:save(\"weights/sft\", { weights = \"sft\" })"},
     {"gcop.Guide:load",
      load,
      Waits::yes,
      "Reads such a directory into a version; into \"current\" with the optimizer, which begins anew if the directory "
      "has none. A guide with a "
      "low-rank "
      "adapter also reads a PEFT directory; weights without an adapter become its new base.",
      {{"dir", "string", "relative: inside the run's folder"}, {"options", "table?", ""}},
      {{"weights", "string?", "default \"current\""}},
      {},
      "Raises when it is damaged or of another shape.",
      "guide:load(\"weights/sft\")"}}};

}  // namespace gcop::lua
