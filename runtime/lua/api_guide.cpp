// gcop.guide and its methods: the small trainable model.
#include <cmath>
#include <filesystem>

#include <fmt/format.h>

#include "guide/guide.hpp"
#include "lua/api.hpp"
#include "lua/bind.hpp"
#include "lua/core_model.hpp"
#include "lua/host.hpp"

namespace gcop::lua {
namespace {

using guide::Guide;
using On = Scheduler::On;
constexpr const char *kClass = "gcop.Guide";

struct GuideHandle {
  std::shared_ptr<Guide> guide;   // none under --check and --plan
};

std::shared_ptr<Guide> self(lua_State *L) {
  auto guide = object<GuideHandle>(L, 1, kClass)->guide;
  if (!guide) raise(L, Error{Code::unsupported, "the guide is not loaded under --check and --plan; test gcop.checking and gcop.planning before", {}});
  return guide;
}

int new_guide(lua_State *L) {
  Host &host = host_of(L);
  Options o(L, 1, "gcop.guide");
  if (o.has("model") == o.has("random")) raise(L, "gcop.guide: give either model = NAME, DIRECTORY or FILE.gguf, or random = { layers =, hidden =, heads = }");
  ModelPlugin model{o.str("name", o.str("model", "random")), o.str("plugin", "guide_torch"), {{"role", "guide"}}, o.str("model")};
  model.config["name"] = model.name;
  if (o.has("random")) model.config["random"] = o.json("random");
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

template <class T>
T &checked(lua_State *L, Result<T> &result) {
  if (!result) raise(L, result.error());
  return *result;
}

int render(lua_State *L) {
  auto tokens = self(L)->render(messages_json(L, 2, "gcop.Guide:render"));
  push_tokens(L, checked(L, tokens));
  return 1;
}

int encode(lua_State *L) {
  auto tokens = self(L)->encode(std::string(view(L, 2)));
  push_tokens(L, checked(L, tokens));
  return 1;
}

int decode(lua_State *L) {
  auto text = self(L)->decode(to_tokens(L, 2, "gcop.Guide:decode: tokens"));
  push(L, checked(L, text));
  return 1;
}

int info(lua_State *L) {
  push_json(L, nlohmann::json::parse(self(L)->info(), nullptr, false));
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
      one.seed = sampling.seed + i * 0x9E3779B97F4A7C15u;   // draw 0 is what the seed alone gives
      ids.push_back(guide->sample(weights, prompt, one, [self = shared_from_this(), i](Result<Rollout> r) { self->one(i, std::move(r)); }));
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
  draws->guide = self(L);
  Options o(L, 2, "gcop.Guide:sample");
  if (o.has("prompt") == o.has("messages")) raise(L, "gcop.Guide:sample: give either prompt = tokens or messages = { { role =, content = }, ... }");
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
  s.seed = static_cast<uint64_t>(o.integer("seed", static_cast<int64_t>(host_of(L).settings().seed), INT64_MIN, INT64_MAX));
  s.stop = o.strings("stop");
  auto weights = o.str("weights", "current");
  auto n = static_cast<size_t>(o.integer("n", 1, 1, 4096));
  return scheduler_of(L).wait(L, On::host, [draws, weights, prompt, s, n](Wake wake) -> Scheduler::Cancel {
    draws->wake = wake;
    draws->start(weights, prompt, s, n);
    return [draws] { draws->cancel(); };
  });
}

// --- training

std::vector<float> floats(lua_State *L, const Options &o, const char *key, size_t n, size_t sequence) {
  std::vector<float> out;
  if (o.push(key) != LUA_TNIL) {
    for (double v : to_numbers(L, -1, key)) out.push_back(static_cast<float>(v));
    if (out.size() != n) raise(L, fmt::format("gcop.Guide:train: sequences[{}].{} has {} values for {} tokens", sequence, key, out.size(), n));
  }
  lua_pop(L, 1);
  return out;
}

std::vector<guide::Sequence> read_sequences(lua_State *L, const Options &o) {
  std::vector<guide::Sequence> out;
  o.push("sequences");
  int list = lua_gettop(L);
  auto count = lua_rawlen(L, list);
  if (count == 0) raise(L, "gcop.Guide:train: sequences is empty");
  for (lua_Unsigned i = 1; i <= count; ++i) {
    if (lua_rawgeti(L, list, static_cast<lua_Integer>(i)) != LUA_TTABLE) raise(L, fmt::format("gcop.Guide:train: sequences[{}] is a {}", i, luaL_typename(L, -1)));
    Options row(L, -1, fmt::format("gcop.Guide:train: sequences[{}]", i));
    guide::Sequence s;
    row.push("tokens");
    s.tokens = to_tokens(L, -1, "gcop.Guide:train: tokens");
    row.push("mask");
    for (double m : to_numbers(L, -1, "gcop.Guide:train: mask")) s.mask.push_back(m != 0);
    lua_pop(L, 2);
    if (s.mask.size() != s.tokens.size())
      raise(L, fmt::format("gcop.Guide:train: sequences[{}].mask has {} values for {} tokens", i, s.mask.size(), s.tokens.size()));
    s.old_logprobs = floats(L, row, "old_logprobs", s.tokens.size(), i);
    s.ref_logprobs = floats(L, row, "ref_logprobs", s.tokens.size(), i);
    s.advantage = static_cast<float>(row.num("advantage", 0, -1e9, 1e9));
    out.push_back(std::move(s));
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return out;
}

guide::Loss read_loss(lua_State *L, const Options &o) {
  guide::Loss loss;
  if (!o.has("loss")) return loss;
  auto t = o.table("loss");
  loss.policy = t.str("objective", "nll") == "policy";
  loss.reduction = t.str("reduction", loss.reduction);
  loss.ratio = t.str("ratio", loss.ratio);
  loss.clip_low = static_cast<float>(t.num("clip_low", loss.clip_low, 0, 1));
  loss.clip_high = static_cast<float>(t.num("clip_high", loss.clip_high, 0, 1e6));
  loss.clip_delta = static_cast<float>(t.num("clip_delta", loss.clip_delta, 0, 1e6));
  loss.kl_beta = static_cast<float>(t.num("kl_beta", loss.kl_beta, 0, 1e6));
  loss.max_len = static_cast<uint32_t>(t.integer("max_len", 0, 0, 1 << 24));
  lua_pop(L, 1);
  if (loss.policy && loss.reduction == "dr_grpo" && loss.max_len == 0)
    raise(L, "gcop.Guide:train: loss.max_len is missing: reduction dr_grpo divides by it; give the longest completion's length");
  return loss;
}

guide::Optimizer read_optimizer(lua_State *L, const Options &o) {
  guide::Optimizer out;
  if (!o.has("optimizer")) return out;
  auto t = o.table("optimizer");
  out.lr = static_cast<float>(t.num("lr", out.lr, 0, 1));
  out.beta1 = static_cast<float>(t.num("beta1", out.beta1, 0, 1));
  out.beta2 = static_cast<float>(t.num("beta2", out.beta2, 0, 1));
  out.eps = static_cast<float>(t.num("eps", out.eps, 0, 1));
  out.weight_decay = static_cast<float>(t.num("weight_decay", out.weight_decay, 0, 1));
  out.max_grad_norm = static_cast<float>(t.num("max_grad_norm", out.max_grad_norm, 0, 1e9));
  lua_pop(L, 1);
  return out;
}

// Waits for a call whose failure is no expected one: it is raised.
template <class T, class StartFn, class PushFn>
int wait_or_raise(lua_State *L, StartFn start, PushFn push_value) {
  return scheduler_of(L).wait(L, On::host, [start, push_value](Wake wake) -> Scheduler::Cancel {
    start([wake, push_value](Result<T> result) {
      wake([result = std::move(result), push_value](lua_State *waiting) -> int {
        if (!result) raise(waiting, result.error());
        return push_value(waiting, *result);
      });
    });
    return {};
  });
}

int train(lua_State *L) {
  auto guide = self(L);
  Options o(L, 2, "gcop.Guide:train");
  auto sequences = std::make_shared<std::vector<guide::Sequence>>(read_sequences(L, o));
  auto loss = read_loss(L, o);
  auto optimizer = read_optimizer(L, o);
  auto expect = static_cast<uint64_t>(o.integer("expect_version", 0, 0, INT64_MAX));
  return wait_or_raise<guide::TrainStats>(
      L, [=](auto done) { guide->train(std::move(*sequences), loss, optimizer, expect, done); },
      [](lua_State *waiting, const guide::TrainStats &s) {
        lua_createtable(waiting, 0, 8);
        for (auto [key, value] : {std::pair{"loss", s.loss}, {"kl", s.kl}, {"entropy", s.entropy}, {"clip_frac", s.clip_frac},
                                  {"ratio_max", s.ratio_max}, {"grad_norm", s.grad_norm}})
          set(waiting, key, value);
        set(waiting, "n_tokens", s.n_tokens);
        set(waiting, "weights_version", s.weights_version);
        return 1;
      });
}

int score(lua_State *L) {
  auto guide = self(L);
  Options o(L, 2, "gcop.Guide:score");
  auto sequences = std::make_shared<std::vector<std::vector<int32_t>>>();
  o.push("sequences");
  for (lua_Unsigned i = 1, n = lua_rawlen(L, -1); i <= n; ++i) {
    lua_rawgeti(L, -1, static_cast<lua_Integer>(i));
    sequences->push_back(to_tokens(L, -1, "gcop.Guide:score: sequences"));
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  auto weights = o.str("weights", "current");
  return wait_or_raise<std::vector<std::vector<float>>>(
      L, [=](auto done) { guide->score(weights, std::move(*sequences), done); },
      [](lua_State *waiting, const std::vector<std::vector<float>> &rows) {
        lua_createtable(waiting, static_cast<int>(rows.size()), 0);
        for (size_t i = 0; i < rows.size(); ++i) {
          push_floats(waiting, rows[i]);
          lua_rawseti(waiting, -2, static_cast<lua_Integer>(i + 1));
        }
        return 1;
      });
}

// --- weight versions

int nothing(lua_State *, const Unit &) { return 0; }

int copy(lua_State *L) {
  auto guide = self(L);
  std::string from(view(L, 2)), to(view(L, 3));
  return wait_or_raise<Unit>(L, [=](auto done) { guide->copy(from, to, done); }, nothing);
}

int drop(lua_State *L) {
  auto guide = self(L);
  std::string name(view(L, 2));
  return wait_or_raise<Unit>(L, [=](auto done) { guide->drop(name, done); }, nothing);
}

// Relative directories are inside the run's folder, so that --resume finds them there.
std::string directory(lua_State *L, int index) {
  std::string dir(view(L, index));
  if (std::filesystem::path(dir).is_absolute()) return dir;
  auto path = host_of(L).out_path(dir);
  return std::filesystem::absolute(checked(L, path)).string();
}

int save(lua_State *L) {
  auto guide = self(L);
  Options o(L, 3, "gcop.Guide:save");
  auto dir = directory(L, 2), weights = o.str("weights", "current");
  std::error_code ec;
  std::filesystem::create_directories(std::filesystem::path(dir).parent_path(), ec);
  bool optimizer = o.boolean("optimizer", false);
  return wait_or_raise<Unit>(L, [=](auto done) { guide->save(weights, dir, optimizer, done); }, nothing);
}

int load(lua_State *L) {
  auto guide = self(L);
  auto dir = directory(L, 2), weights = Options(L, 3, "gcop.Guide:load").str("weights", "current");
  return wait_or_raise<Unit>(L, [=](auto done) { guide->load(weights, dir, done); }, nothing);
}

}  // namespace

extern const Module guide_module;
const Module guide_module = {
    "guide", "The guide",
    "The small trainable model. Token ids are the truth: text is never rendered twice. Weight versions have names; "
    "\"current\" exists from the start and is the one that training changes. Failures of train, score, copy, drop, save "
    "and load are raised; those of sample are returned.",
    {{"gcop.Guide", "A guide. Field: name.", {{"name", "string", ""}}},
     {"gcop.RandomModel", "A small randomly initialised model, for tests and tries; further fields as the plugin takes them.",
      {{"layers", "integer?", ""}, {"hidden", "integer?", ""}, {"heads", "integer?", ""}}},
     {"gcop.Rollout", "What the guide sampled.",
      {{"text", "string", "without special tokens"}, {"tokens", "integer[]", "the end token included if there is one"},
       {"logprobs", "number[]", "nats, of each token under the sampling weights at temperature 1, untruncated"},
       {"truncated", "boolean", "ended by max_tokens"}, {"weights_version", "integer", "grows by one at each change of these weights"},
       {"reused", "integer", "prompt tokens whose keys and values were shared, not computed"}}},
     {"gcop.Sequence", "One training sequence; lists run parallel to tokens.",
      {{"tokens", "integer[]", ""}, {"mask", "(0|1)[]", "1: this token is predicted and counts"}, {"old_logprobs", "number[]?", "of the samples; absent: on policy"},
       {"ref_logprobs", "number[]?", "for the KL; absent: none"}, {"advantage", "number?", "for objective \"policy\""}}, true},
     {"gcop.Loss", "See gcop_loss_options in gcop/plugin.h for the formulas.",
      {{"objective", "\"nll\"|\"policy\"|nil", "default \"nll\": mean over masked tokens"}, {"reduction", "\"dr_grpo\"|\"dapo\"|\"grpo\"|nil", "default \"dr_grpo\""},
       {"ratio", "\"token\"|\"sequence\"|nil", "default \"token\""}, {"clip_low", "number?", "default 0.2"}, {"clip_high", "number?", "default 0.28"},
       {"clip_delta", "number?", "two-sided clip; 0 (default): off"}, {"kl_beta", "number?", "0 (default): off"}, {"max_len", "integer?", "dr_grpo's constant length"}}, true},
     {"gcop.Optimizer", "AdamW; weight decay applies to matrices only.",
      {{"lr", "number?", "default 1e-5"}, {"beta1", "number?", "default 0.9"}, {"beta2", "number?", "default 0.999"}, {"eps", "number?", "default 1e-8"},
       {"weight_decay", "number?", "default 0"}, {"max_grad_norm", "number?", "default 1; 0: off"}}, true},
     {"gcop.TrainStats", "What one step did.",
      {{"loss", "number", ""}, {"kl", "number", "mean k3 against ref_logprobs, nats"}, {"entropy", "number", "nats"}, {"clip_frac", "number", ""},
       {"ratio_max", "number", ""}, {"grad_norm", "number", "before clipping"}, {"n_tokens", "integer", "masked ones"}, {"weights_version", "integer", ""}}}},
    {},
    {{"gcop.guide", new_guide, Waits::setup, "Loads a guide. Guides of the same model and configuration share one instance.",
      {{"options", "table", ""}},
      {{"model", "string?", "a name of recipes/models.toml, a Hugging Face directory, or a .gguf file"}, {"random", "gcop.RandomModel?", "instead: random weights"},
       {"name", "string?", "for reports and errors"}, {"plugin", "string?", "default \"guide_torch\""}, {"config", "table?", "added to the plugin's configuration"},
       {"timeout_ms", "integer?", "for a call; default 1800000"}},
      {{"guide", "gcop.Guide", ""}}, "Raises when the model is unknown, damaged, or cannot be fetched.",
      "local guide = gcop.guide { model = \"smollm2-135m-instruct\" }"},
     {"gcop.Guide:render", render, Waits::no, "The model's chat template over messages, the start of its answer included.", {{"messages", "gcop.Message[]", ""}}, {}, {{"tokens", "integer[]", ""}}, "", "local prompt = guide:render { { role = \"user\", content = task.prompt } }"},
     {"gcop.Guide:encode", encode, Waits::no, "Tokens of a text, without special ones added.", {{"text", "string", ""}}, {}, {{"tokens", "integer[]", ""}}, "", "local tokens = guide:encode(strategy)"},
     {"gcop.Guide:decode", decode, Waits::no, "Text of tokens.", {{"tokens", "integer[]", ""}}, {}, {{"text", "string", ""}}, "", "print(guide:decode(rollout.tokens))"},
     {"gcop.Guide:info", info, Waits::no, "Architecture, parameters, context, vocabulary, eos, device, bytes.", {}, {}, {{"info", "table<string, any>", ""}}, "", "local stop = guide:info().eos"},
     {"gcop.Guide:sample", sample, Waits::yes, "Draws n answers of one prompt, which is computed once. Token t's draw is a function of the seed, n's index and t.",
      {{"options", "table", ""}},
      {{"prompt", "integer[]?", "tokens, or"}, {"messages", "gcop.Message[]?", "rendered by the chat template"}, {"n", "integer?", "default 1"}, {"max_tokens", "integer?", "default 128"},
       {"temperature", "number?", "default 1; 0: greedy"}, {"top_p", "number?", "default 1: off"}, {"top_k", "integer?", "default 0: off"}, {"seed", "integer?", "default: the run's; use gcop.seed_for"},
       {"stop", "string|string[]?", "kept in the text"}, {"weights", "string?", "default \"current\""}},
      {{"rollouts", "gcop.Rollout[]?", "n of them"}, {"err", "gcop.Error?", ""}}, "",
      "local rollouts, err = guide:sample { messages = prompts.guide(task), n = 8, max_tokens = 96, seed = gcop.seed_for(\"grpo\", step, task.id) }"},
     {"gcop.Guide:score", score, Waits::yes, "Log-probability of every token given those before it; 0 for the first.",
      {{"options", "table", ""}}, {{"sequences", "integer[][]", ""}, {"weights", "string?", "default \"current\""}},
      {{"logprobs", "number[][]", "nats, parallel to sequences"}}, "Raises what the engine says.", "local reference = guide:score { weights = \"sft\", sequences = lists }"},
     {"gcop.Guide:train", train, Waits::yes, "One optimizer step on the weights \"current\".",
      {{"options", "table", ""}},
      {{"sequences", "gcop.Sequence[]", ""}, {"loss", "gcop.Loss?", "default: NLL"}, {"optimizer", "gcop.Optimizer?", ""}, {"expect_version", "integer?", "weights_version of the samples; refused if it is another"}},
      {{"stats", "gcop.TrainStats", ""}}, "Raises what the engine says.",
      "local stats = guide:train { sequences = batch, optimizer = { lr = 1e-4 } }"},
     {"gcop.Guide:copy", copy, Waits::yes, "Weights `from` become the version `to` as well; a copy to \"current\" also clears the optimizer.", {{"from", "string", ""}, {"to", "string", ""}}, {}, {}, "Raises when there is no version `from`.", "guide:copy(\"current\", \"sft\")"},
     {"gcop.Guide:drop", drop, Waits::yes, "Forgets a version other than \"current\".", {{"name", "string", ""}}, {}, {}, "Raises when there is none.", "guide:drop(\"base\")"},
     {"gcop.Guide:save", save, Waits::yes, "Writes a Hugging Face directory (config.json, model.safetensors, tokenizer files).",
      {{"dir", "string", "relative: inside the run's folder"}, {"options", "table?", ""}}, {{"weights", "string?", "default \"current\""}, {"optimizer", "boolean?", "also its moments and step, to go on training"}}, {},
      "Raises when the disk is full or read-only.", "guide:save(\"weights/sft\", { weights = \"sft\" })"},
     {"gcop.Guide:load", load, Waits::yes, "Reads such a directory into a version; into \"current\" with the optimizer if it is there.",
      {{"dir", "string", "relative: inside the run's folder"}, {"options", "table?", ""}}, {{"weights", "string?", "default \"current\""}}, {}, "Raises when it is damaged or of another shape.", "guide:load(\"weights/sft\")"}}};

}  // namespace gcop::lua
