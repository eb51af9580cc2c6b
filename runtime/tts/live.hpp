// A question that a live core answers while a controller solves it: a record that grows. A Replay on it numbers, counts
// and refuses as on a stored one; Replay::knows says what has to come first. One thread at a time.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "tts/store.hpp"

namespace gcop::tts {

class LiveQuestion {
 public:
  LiveQuestion(uint32_t branches, int64_t interval);
  const Question &question() const { return question_; }
  std::span<const uint32_t> order() const { return order_; }  // branch 1 first

  // What a branch says after its next interval; and how it ended, after which nothing more comes of it. Errors name the
  // branch (from 1).
  Result<> probe(int64_t branch, std::string_view answer);
  Result<> finish(int64_t branch, int64_t tokens, std::string_view answer);

 private:
  Result<Branch *> running(int64_t branch);
  uint32_t intern(std::string_view answer);

  Question question_;
  std::vector<uint32_t> order_, room_;  // room_: for how many probes a branch has a place
};

}  // namespace gcop::tts
