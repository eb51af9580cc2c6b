#include "tts/live.hpp"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

namespace gcop::tts {

LiveQuestion::LiveQuestion(uint32_t branches, int64_t interval) : order_(branches), room_(branches, 0) {
  std::iota(order_.begin(), order_.end(), 0u);
  question_.probe_freq = interval;
  question_.branches.resize(branches, Branch{0, 0, kNotEnded, 0});
}

Result<Branch *> LiveQuestion::running(int64_t branch) {
  if (branch < 1 || branch > static_cast<int64_t>(order_.size()))
    return invalid(fmt::format("there is no branch {}; there are 1 to {}", branch, order_.size()));
  Branch &at = question_.branches[static_cast<size_t>(branch - 1)];
  if (at.tokens != kNotEnded) return invalid(fmt::format("branch {} has ended already", branch));
  return &at;
}

uint32_t LiveQuestion::intern(std::string_view answer) {
  const auto found = std::find(question_.answers.begin(), question_.answers.end(), answer);
  const auto id = static_cast<uint32_t>(found - question_.answers.begin());
  if (found == question_.answers.end()) {
    question_.answers.emplace_back(answer);
    question_.grades.push_back({false, false});  // nobody knows
  }
  return id;
}

Result<> LiveQuestion::probe(int64_t branch, std::string_view answer) {
  auto found = running(branch);
  if (!found) return found.error();
  Branch &at = **found;
  std::vector<uint32_t> &probes = question_.probes;
  uint32_t &room = room_[static_cast<size_t>(branch - 1)];
  if (at.probes == room) {  // a branch's probes lie side by side: it moves to where there is place for as many again
    room = std::max(8u, 2 * room);
    const auto moved = static_cast<uint32_t>(probes.size());
    probes.resize(probes.size() + room);
    std::copy_n(probes.begin() + at.first, at.probes, probes.begin() + moved);
    at.first = moved;
  }
  probes[at.first + at.probes++] = intern(answer);
  return Unit{};
}

Result<> LiveQuestion::finish(int64_t branch, int64_t tokens, std::string_view answer) {
  auto found = running(branch);
  if (!found) return found.error();
  if (tokens < 0) return invalid(fmt::format("branch {} cannot have {} tokens", branch, tokens));
  (*found)->final_answer = intern(answer);
  (*found)->tokens = tokens;
  return Unit{};
}

}  // namespace gcop::tts
