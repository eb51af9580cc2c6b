// Guide:train and Guide:score.
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "lua/api.hpp"
#include "lua/guide_handle.hpp"
#include "lua/host.hpp"

namespace gcop::lua {
namespace {

std::vector<float> floats(lua_State *L, const Options &o, const char *key, size_t n, size_t sequence) {
  std::vector<float> out;
  if (o.push(key) != LUA_TNIL) {
    for (double v : to_numbers(L, -1, key)) out.push_back(static_cast<float>(v));
    if (out.size() != n)
      raise(L, fmt::format("gcop.Guide:train: sequences[{}].{} has {} values for {} tokens", sequence, key, out.size(),
                           n));
  }
  lua_pop(L, 1);
  return out;
}

// A misspelt field would otherwise train on something else without a word.
void check_fields(lua_State *L, int row, lua_Unsigned sequence) {
  constexpr std::pair<std::string_view, int> kFields[] = {
      {"tokens", LUA_TTABLE},       {"mask", LUA_TTABLE},       {"old_logprobs", LUA_TTABLE},
      {"ref_logprobs", LUA_TTABLE}, {"advantage", LUA_TNUMBER}, {"weights_version", LUA_TNUMBER}};
  lua_pushnil(L);
  for (; lua_next(L, row); lua_pop(L, 1)) {
    const std::string name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : luaL_typename(L, -2);
    const auto field =
        std::find_if(std::begin(kFields), std::end(kFields), [&](const auto &f) { return f.first == name; });
    if (field == std::end(kFields))
      raise(L, fmt::format("gcop.Guide:train: sequences[{}] has a field '{}'; a gcop.Sequence has tokens, mask, "
                           "old_logprobs, ref_logprobs, advantage, weights_version",
                           sequence, name));
    if (lua_type(L, -1) != field->second || (name == "weights_version" && !lua_isinteger(L, -1)))
      raise(L, fmt::format("gcop.Guide:train: sequences[{}].{} is a {}; {} is wanted", sequence, name,
                           luaL_typename(L, -1),
                           name == "weights_version" ? "a whole number"
                           : name == "advantage"     ? "a number"
                                                     : "a list"));
  }
}

// `expected`: the version that the samples must come from. 0: any, but all from one, which it becomes.
std::vector<guide::Sequence> read_sequences(lua_State *L, const Options &o, bool policy, uint64_t &expected) {
  std::vector<guide::Sequence> out;
  o.push("sequences");
  int list = lua_gettop(L);
  auto count = lua_rawlen(L, list);
  if (count == 0) raise(L, "gcop.Guide:train: sequences is empty");
  for (lua_Unsigned i = 1; i <= count; ++i) {
    if (lua_rawgeti(L, list, static_cast<lua_Integer>(i)) != LUA_TTABLE)
      raise(L, fmt::format("gcop.Guide:train: sequences[{}] is a {}", i, luaL_typename(L, -1)));
    check_fields(L, lua_gettop(L), i);
    Options row(L, -1, fmt::format("gcop.Guide:train: sequences[{}]", i));
    guide::Sequence s;
    row.push("tokens");
    s.tokens = to_tokens(L, -1, "gcop.Guide:train: tokens");
    row.push("mask");
    for (double m : to_numbers(L, -1, "gcop.Guide:train: mask")) {
      if (m != 0 && m != 1)
        raise(L, fmt::format("gcop.Guide:train: sequences[{}].mask holds {}; it is of 0 and 1", i, m));
      s.mask.push_back(m != 0);
    }
    lua_pop(L, 2);
    if (s.mask.size() != s.tokens.size())
      raise(L, fmt::format("gcop.Guide:train: sequences[{}].mask has {} values for {} tokens", i, s.mask.size(),
                           s.tokens.size()));
    s.old_logprobs = floats(L, row, "old_logprobs", s.tokens.size(), i);
    s.ref_logprobs = floats(L, row, "ref_logprobs", s.tokens.size(), i);
    if (policy && !row.has("advantage"))
      raise(L,
            fmt::format("gcop.Guide:train: sequences[{}].advantage is missing; objective \"policy\" weighs by it", i));
    s.advantage = static_cast<float>(row.num("advantage", 0, -1e9, 1e9));
    if (const auto version = static_cast<uint64_t>(row.integer("weights_version", 0, 0, INT64_MAX)); version != 0) {
      if (expected == 0) expected = version;
      if (version != expected)
        raise(L,
              fmt::format("gcop.Guide:train: sequences[{}] was drawn from version {} of the weights, not from {} as {}",
                          i, version, expected, o.has("expect_version") ? "expect_version says" : "those before it"));
    }
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
  if (loss.clip_delta > 0 && loss.clip_delta <= 1 + loss.clip_high)
    raise(L, fmt::format("gcop.Guide:train: loss.clip_delta is {}; it caps ratios above the clip range, so it must be "
                         "more than 1 + clip_high = {}",
                         loss.clip_delta, 1 + loss.clip_high));
  if (loss.policy && loss.reduction == "dr_grpo" && loss.max_len == 0)
    raise(L,
          "gcop.Guide:train: loss.max_len is missing: reduction dr_grpo divides by it; give the longest completion's "
          "length");
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
// What a training step failed on, for inspection; a number that is not finite is null.
std::string batch_json(const std::vector<guide::Sequence> &sequences, const guide::Loss &loss,
                       const guide::Optimizer &optimizer, const std::string &error) {
  nlohmann::json rows = nlohmann::json::array();
  for (const guide::Sequence &s : sequences)
    rows.push_back({{"tokens", s.tokens},
                    {"mask", s.mask},
                    {"advantage", s.advantage},
                    {"old_logprobs", s.old_logprobs},
                    {"ref_logprobs", s.ref_logprobs}});
  const nlohmann::json all = {{"error", error},
                              {"loss",
                               {{"objective", loss.policy ? "policy" : "nll"},
                                {"reduction", loss.reduction},
                                {"ratio", loss.ratio},
                                {"clip_low", loss.clip_low},
                                {"clip_high", loss.clip_high},
                                {"clip_delta", loss.clip_delta},
                                {"kl_beta", loss.kl_beta},
                                {"max_len", loss.max_len}}},
                              {"optimizer",
                               {{"lr", optimizer.lr},
                                {"beta1", optimizer.beta1},
                                {"beta2", optimizer.beta2},
                                {"eps", optimizer.eps},
                                {"weight_decay", optimizer.weight_decay},
                                {"max_grad_norm", optimizer.max_grad_norm}}},
                              {"sequences", std::move(rows)}};
  return all.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

constexpr const char *kFailedBatch = "failed-batch.json";

// Keeps the batch in the run's folder; the error then says where.
void keep_batch(const Host &host, const std::vector<guide::Sequence> &sequences, const guide::Loss &loss,
                const guide::Optimizer &optimizer, Error &error) {
  if (error.code == Code::cancelled || error.code == Code::timeout) return;
  auto path = host.out_path(kFailedBatch);
  if (!path) return;
  std::ofstream out(*path, std::ios::binary);
  out << batch_json(sequences, loss, optimizer, error.message);
  if (out.flush())
    error.message += "; the batch is in '" + *path + "'";
  else
    error.message += "; the batch could not be written to '" + *path + "'";
}

int train(lua_State *L) {
  auto guide = guide_at(L);
  Options o(L, 2, "gcop.Guide:train");
  auto expect = static_cast<uint64_t>(o.integer("expect_version", 0, 0, INT64_MAX));
  auto loss = read_loss(L, o);
  auto sequences = std::make_shared<std::vector<guide::Sequence>>(read_sequences(L, o, loss.policy, expect));
  auto optimizer = read_optimizer(L, o);
  const Host &host = host_of(L);
  return wait_or_raise<guide::TrainStats>(
      L,
      [=, &host](auto done) {
        guide->train(*sequences, loss, optimizer, expect, [=, &host](Result<guide::TrainStats> result) {
          if (!result) keep_batch(host, *sequences, loss, optimizer, result.error());
          done(std::move(result));
        });
      },
      [](lua_State *waiting, const guide::TrainStats &s) {
        lua_createtable(waiting, 0, 8);
        for (auto [key, value] : {std::pair{"loss", s.loss},
                                  {"kl", s.kl},
                                  {"entropy", s.entropy},
                                  {"clip_frac", s.clip_frac},
                                  {"ratio_max", s.ratio_max},
                                  {"grad_norm", s.grad_norm}})
          set(waiting, key, value);
        set(waiting, "n_tokens", s.n_tokens);
        set(waiting, "weights_version", s.weights_version);
        return 1;
      });
}

int score(lua_State *L) {
  auto guide = guide_at(L);
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
}  // namespace

extern const Module training_module;
const Module training_module = {
    "training",
    "Training the guide",
    "Token ids in, numbers out; what the engine cannot do is raised.",
    {{"gcop.Sequence",
      "One training sequence; lists run parallel to tokens.",
      {{"tokens", "integer[]", ""},
       {"mask", "(0|1)[]", "1: this token is predicted and counts"},
       {"old_logprobs", "number[]?", "of the samples; absent: on policy"},
       {"ref_logprobs", "number[]?", "for the KL; absent: none"},
       {"advantage", "number?", "needed for objective \"policy\""},
       {"weights_version", "integer?", "of its sample; refused unless it is that of all others and of \"current\""}},
      true},
     {"gcop.Loss",
      "See gcop_loss_options in gcop/plugin.h for the formulas.",
      {{"objective", "\"nll\"|\"policy\"|nil", "default \"nll\": mean over masked tokens"},
       {"reduction", "\"dr_grpo\"|\"dapo\"|\"grpo\"|nil", "default \"dr_grpo\""},
       {"ratio", "\"token\"|\"sequence\"|nil", "default \"token\""},
       {"clip_low", "number?", "default 0.2"},
       {"clip_high", "number?", "default 0.28"},
       {"clip_delta", "number?", "two-sided clip; 0 (default): off"},
       {"kl_beta", "number?", "0 (default): off"},
       {"max_len", "integer?", "dr_grpo's constant length, needed for it: the most tokens a completion may have"}},
      true},
     {"gcop.Optimizer",
      "AdamW; weight decay applies to matrices only.",
      {{"lr", "number?", "default 1e-5"},
       {"beta1", "number?", "default 0.9"},
       {"beta2", "number?", "default 0.999"},
       {"eps", "number?", "default 1e-8"},
       {"weight_decay", "number?", "default 0"},
       {"max_grad_norm", "number?", "default 1; 0: off"}},
      true},
     {"gcop.TrainStats",
      "What one step did.",
      {{"loss", "number", ""},
       {"kl", "number", "mean k3 against ref_logprobs, nats"},
       {"entropy", "number", "nats"},
       {"clip_frac", "number", ""},
       {"ratio_max", "number", ""},
       {"grad_norm", "number", "before clipping"},
       {"n_tokens", "integer", "masked ones"},
       {"weights_version", "integer", ""}}}},
    {},
    {{"gcop.Guide:score",
      score,
      Waits::yes,
      "Log-probability of every token given those before it; 0 for the first.",
      {{"options", "table", ""}},
      {{"sequences", "integer[][]", ""}, {"weights", "string?", "default \"current\""}},
      {{"logprobs", "number[][]", "nats, parallel to sequences"}},
      "Raises what the engine says.",
      "local reference = guide:score { weights = \"sft\", sequences = lists }"},
     {"gcop.Guide:train",
      train,
      Waits::yes,
      "One optimizer step on the weights \"current\".",
      {{"options", "table", ""}},
      {{"sequences", "gcop.Sequence[]", ""},
       {"loss", "gcop.Loss?", "default: NLL"},
       {"optimizer", "gcop.Optimizer?", ""},
       {"expect_version", "integer?", "weights_version of the samples; refused if it is another"}},
      {{"stats", "gcop.TrainStats", ""}},
      "Raises what the engine says; the weights are then as they were, and the batch is in failed-batch.json in the "
      "run's folder.",
      "local stats = guide:train { sequences = batch, optimizer = { lr = 1e-4 } }"}}};

}  // namespace gcop::lua
