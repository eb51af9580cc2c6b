// What the engine is asked for and what it answers, and one sequence's state in between.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <gcop/plugin.h>

#include "draw.hpp"
#include "weights.hpp"

namespace gcop::guide_torch {

struct SampleResult {
  gcop_status status = GCOP_OK;
  std::string error;
  std::vector<int32_t> tokens;         // sampled ones
  std::vector<float> logprobs;         // parallel
  std::string text;                    // decoded, without special tokens; whole also where a stop string ended it
  size_t stop_at = std::string::npos;  // where in text the stop string begins that ended it
  uint64_t weights_version = 0;
  bool stopped = false;  // by an end token or a stop string; else by length
  uint32_t reused = 0;   // prompt tokens whose keys and values were there already
};

struct SampleRequest {
  const gcop_op *op = nullptr;
  std::string weights = "current";
  std::vector<int32_t> prompt;
  uint32_t max_tokens = 0;
  Sampling sampling;
  std::vector<std::string> stop;
  bool partial = false;                           // on cancel, the answer carries what there is
  std::function<void(const std::string &)> part;  // new text, or empty
  std::function<void(SampleResult &&)> done;      // exactly once, on the engine thread
};

// One sequence in flight. `computed` of its tokens have their keys and values in `blocks`.
struct Sequence {
  uint64_t ticket = 0;
  SampleRequest request;
  SampleResult result;
  std::vector<int32_t> tokens;  // prompt and sampled
  std::vector<int32_t> blocks;
  int32_t computed = 0;
  size_t streamed = 0;  // bytes of text handed to part()
  int32_t prompt() const { return static_cast<int32_t>(request.prompt.size()); }
  int32_t pending() const { return static_cast<int32_t>(tokens.size()) - computed; }
};

// A finished sequence whose keys and values are kept while there is room.
struct Remembered {
  std::string weights;
  uint64_t version;
  std::vector<int32_t> tokens;  // the computed ones
  std::vector<int32_t> blocks;
};

}  // namespace gcop::guide_torch
