// The flow, in order, as plain values. Read this first.
//
//   task -> guide -> strategy -> core -> validator -> reward -> trainer
//
//   Task      a problem with a prompt and a check             runtime/task/
//   Rollout   tokens that the guide sampled for it            runtime/guide/
//   strategy  the text inside <strategy>...</strategy>        runtime/strategy/
//   Reply     what the black-box core made of it              runtime/core/
//   Verdict   what the validator found                        runtime/validator/
//   reward    one number with its parts                       runtime/reward/, scripts/gcop/reward.lua
//   batch     token ids, masks, advantages                    runtime/trainer/
//
// Stages hand each other these structs. Each stage's folder has a handle to its plugin interface; what orders the
// stages (accept, sft, grpo, evaluate) is Lua in scripts/gcop/, so that people can change it.
// Every id is global and every random draw is a function of (seed, stage, task, step, sample), never of arrival order.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace gcop {

// One row of a task file. `row` is the whole row as JSON: it is what validators get.
struct Task {
  std::string id;
  std::string family;   // convention or topic; the unit of the grouped interval. Empty: a family of its own
  std::string slice;    // "house", "plain", or ""
  std::string split;    // "train", "dev", "test"
  bool unseen = false;  // its family has no row in train
  std::string prompt;
  std::string entry_point;
  std::vector<std::string> tests;
  std::string answer;              // where a number is asked for; such a task needs no tests
  std::vector<std::string> notes;  // expert notes, train rows only
  std::string row;                 // JSON
  std::string where;               // file:line
};

// What was said by whom. An episode is a list of turns, so that advisors, revision and tools need no new type.
struct Turn {
  std::string role;  // "system", "user", "assistant"; in an episode also "guide", "core"
  std::string text;
  std::vector<int32_t> tokens;  // empty where the speaker is a black box
  std::vector<float> logprobs;  // parallel to tokens
  std::vector<uint8_t> mask;    // parallel to tokens: 1 = trained on
  uint64_t weights_version = 0;
};

struct Rollout {
  std::string text;
  std::vector<int32_t> prompt;
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;  // nats, temperature 1
  uint64_t weights_version = 0;
  bool truncated = false;  // ended by max_tokens
  uint32_t reused = 0;     // prompt tokens whose keys and values were shared
};

// Disjoint classes of tokens, so that nothing is billed twice.
struct Usage {
  uint64_t input = 0, cache_read = 0, cache_write = 0, output = 0, reasoning = 0;
  bool known = true;
  uint64_t in() const { return input + cache_read + cache_write; }
  uint64_t out() const { return output + reasoning; }
};

struct Reply {
  std::string text;
  std::string finish;  // "stop", "length", ...
  std::string model;   // as served
  Usage usage;
  double cost_usd = 0;   // 0 for a hit
  double price_usd = 0;  // what such a call costs, hit or not
  double latency_s = 0;
  uint32_t attempts = 0;
  bool cached = false;  // answered by the store: nothing was sent or paid
};

struct Verdict {
  double score = 0;  // [0, 1]
  uint32_t passed = 0, total = 0;
  std::string feedback;
  std::string detail;  // JSON or empty
  bool cached = false;
};

// How rewards become advantages: centred in the group, and divided by nothing, the group's or the batch's deviation.
enum class Scaling { none, group, batch };

struct Sampling {
  uint32_t max_tokens = 0;
  float temperature = 1, top_p = 1;
  uint32_t top_k = 0;
  uint64_t seed = 0;
  std::vector<std::string> stop;
};

}  // namespace gcop
