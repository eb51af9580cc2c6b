#include "tts/replay.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace gcop::tts {

Replay::Replay(const Question &question, std::span<const uint32_t> order)
    : question_(question), order_(order), number_(question.answers.size(), 0) {
  opened_.reserve(order.size());
}

void Replay::restart() {
  opened_.clear();
  given_.clear();
  std::fill(number_.begin(), number_.end(), 0u);
  cost_ = 0;
}

Result<uint32_t> Replay::open() {
  if (opened() == limit())
    return invalid(fmt::format("there is no branch {}: all {} are open; env:limit() says how many there are",
                               limit() + 1, limit()));
  opened_.emplace_back();
  return opened();
}

Result<Replay::Opened *> Replay::usable(int64_t branch, const char *what) {
  if (branch < 1 || branch > int64_t{opened()})
    return invalid(
        fmt::format("branch {} cannot be {}: {}", branch, what,
                    opened() == 0 ? std::string("none is open yet") : fmt::format("open are 1 to {}", opened())));
  Opened &at = opened_[size_t(branch - 1)];
  if (at.finished || at.abandoned)
    return invalid(
        fmt::format("branch {} cannot be {}: it has {}", branch, what, at.finished ? "finished" : "been abandoned"));
  return &at;
}

Replay::Answer Replay::give(uint32_t stored) {
  if (stored >= number_.size()) number_.resize(question_.answers.size(), 0);  // a live question has grown
  if (!number_[stored]) {
    given_.push_back(stored);
    number_[stored] = answers();
  }
  return number_[stored];
}

Replay::Step Replay::finish(int64_t branch, Opened &at) {
  const Branch &trace = recorded(branch);
  cost_ += std::max<int64_t>(0, trace.tokens - at.paid);
  at.finished = true;
  return {give(trace.final_answer), true};
}

Result<Replay::Step> Replay::advance(int64_t branch) {
  auto found = usable(branch, "advanced");
  if (!found) return found.error();
  Opened &at = **found;
  const Branch &trace = recorded(branch);
  if (at.next == trace.probes) return finish(branch, at);
  at.paid += question_.probe_freq;
  cost_ += question_.probe_freq;
  return Step{give(question_.probes[trace.first + at.next++]), false};
}

Result<Replay::Step> Replay::read(int64_t branch) {
  auto found = usable(branch, "read");
  if (!found) return found.error();
  return finish(branch, **found);
}

Result<> Replay::abandon(int64_t branch) {
  auto found = usable(branch, "abandoned");
  if (!found) return found.error();
  (*found)->abandoned = true;
  return Unit{};
}

Result<bool> Replay::knows(int64_t branch, int64_t times) {
  auto found = usable(branch, times ? "advanced" : "read");
  if (!found) return found.error();
  const Branch &trace = recorded(branch);
  return trace.tokens != kNotEnded || (times && times <= int64_t{trace.probes} - (*found)->next);
}

}  // namespace gcop::tts
