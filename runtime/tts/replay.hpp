// One question as a controller meets it: branches in the order of one shuffle, opened, advanced and paid for. One
// thread at a time; the question and the order must outlive it.
//
// Costs are tokens, exactly as recorded. An advance goes on to the branch's next probe and costs probe_freq; the one
// behind its last probe brings the final answer, costs what the branch took beyond that (nothing, if it took less), and
// only then is the branch known to have finished. A branch read to its end at once costs its tokens.
//
// A call that makes no sense (a branch that was never opened, or has finished or been abandoned; more branches than
// there are) is an error and changes nothing. So nothing is ever read unpaid, nor paid twice.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "tts/store.hpp"

namespace gcop::tts {

class Replay {
 public:
  // An answer is a number: 1, 2, ... in the order in which this replay first gave them. Only equality means anything.
  using Answer = uint32_t;
  struct Step {
    Answer answer;
    bool finished;
  };

  Replay(const Question &question, std::span<const uint32_t> order);
  void restart();  // as it was made

  // Every call that succeeds is appended to `actions`, which must outlive this; repeat() makes the same calls of a
  // fresh replay. What a process that nobody trusts says it did is thus done again by one that knows the costs.
  void record(std::string *actions) { actions_ = actions; }
  Result<> repeat(std::string_view actions);

  Result<uint32_t> open();               // the next branch: 1, 2, ...; costs nothing
  Result<Step> advance(int64_t branch);  // by one probe
  Result<Step> read(int64_t branch);     // to its end
  Result<> abandon(int64_t branch);      // it is not needed any more; a live run stops its request here

  // Whether `times` advances, or with 0 a read, can be answered: a live question (live.hpp) may have to grow first.
  // Errors as theirs.
  Result<bool> knows(int64_t branch, int64_t times);
  uint32_t probed(int64_t branch) const { return opened_[size_t(branch - 1)].next; }  // of an open one

  uint32_t limit() const { return static_cast<uint32_t>(order_.size()); }
  uint32_t opened() const { return static_cast<uint32_t>(opened_.size()); }
  int64_t cost() const { return cost_; }
  uint32_t answers() const { return static_cast<uint32_t>(given_.size()); }  // given so far
  const std::string &text(Answer answer) const { return question_.answers[given_[answer - 1]]; }
  Question::Grade grade(Answer answer) const { return question_.grades[given_[answer - 1]]; }

 private:
  struct Opened {
    uint32_t next = 0;  // probe
    int64_t paid = 0;
    bool finished = false, abandoned = false;
  };
  enum class Action : uint8_t { open, advance, read, abandon };
  void note(Action action, int64_t branch) {
    if (actions_) append(action, branch);
  }
  void append(Action action, int64_t branch);
  Result<Opened *> usable(int64_t branch, const char *what);
  const Branch &recorded(int64_t branch) const { return question_.branches[order_[size_t(branch - 1)]]; }
  Answer give(uint32_t stored);
  Step finish(int64_t branch, Opened &at);

  const Question &question_;
  std::span<const uint32_t> order_;
  std::vector<Opened> opened_;
  std::vector<uint32_t> number_;  // of a stored answer, 0: not given yet
  std::vector<uint32_t> given_;   // stored answers by number - 1
  int64_t cost_ = 0;
  std::string *actions_ = nullptr;
};

}  // namespace gcop::tts
