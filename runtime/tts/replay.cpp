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
  if (actions_) actions_->clear();
}

// A number of 7 bits a byte, the last without the high bit: the branch, and the action in its two low bits.
void Replay::append(Action action, int64_t branch) {
  auto rest = static_cast<uint32_t>(branch) << 2 | static_cast<uint32_t>(action);
  for (; rest >= 0x80; rest >>= 7) actions_->push_back(static_cast<char>(rest | 0x80));
  actions_->push_back(static_cast<char>(rest));
}

Result<> Replay::repeat(std::string_view actions) {
  for (size_t at = 0; at < actions.size();) {
    uint32_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
      if (at == actions.size() || shift > 14) return invalid("the list of actions is broken");
      const auto byte = static_cast<uint8_t>(actions[at++]);
      value |= uint32_t{byte & 0x7fu} << shift;
      if (byte < 0x80) break;
    }
    const int64_t branch = value >> 2;
    switch (static_cast<Action>(value & 3)) {
      case Action::open:
        if (auto done = open(); !done) return done.error();
        break;
      case Action::advance:
        if (auto done = advance(branch); !done) return done.error();
        break;
      case Action::read:
        if (auto done = read(branch); !done) return done.error();
        break;
      case Action::abandon:
        if (auto done = abandon(branch); !done) return done.error();
        break;
    }
  }
  return Unit{};
}

Result<uint32_t> Replay::open() {
  if (opened() == limit())
    return invalid(fmt::format("there is no branch {}: all {} are open; env:limit() says how many there are",
                               limit() + 1, limit()));
  opened_.emplace_back();
  note(Action::open, 0);
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
  note(Action::advance, branch);
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
  note(Action::read, branch);
  return finish(branch, **found);
}

Result<> Replay::abandon(int64_t branch) {
  auto found = usable(branch, "abandoned");
  if (!found) return found.error();
  (*found)->abandoned = true;
  note(Action::abandon, branch);
  return Unit{};
}

Result<bool> Replay::knows(int64_t branch, int64_t times) {
  auto found = usable(branch, times ? "advanced" : "read");
  if (!found) return found.error();
  const Branch &trace = recorded(branch);
  return trace.tokens != kNotEnded || (times && times <= int64_t{trace.probes} - (*found)->next);
}

}  // namespace gcop::tts
