#include "tts/evaluation.hpp"

#include <fmt/format.h>

#include "tts/shuffle.hpp"

namespace gcop::tts {

void Sum::add(const Solved &one) {
  correct += one.correct;
  normalised += one.normalised;
  cost += one.cost;
}

std::string place_of(uint32_t question, uint64_t seed) {
  return fmt::format(" (question {}, shuffle {})", question + 1, seed);
}

Evaluation::Evaluation(Shuffles shuffles, uint64_t at_once, MakePlayer make)
    : shuffles_(std::move(shuffles)),
      at_once_(at_once),
      make_(std::move(make)),
      done_(shuffles_.count * shuffles_.questions.size()),
      failed_at_(done_.size()) {}

void Evaluation::fail(uint64_t at, Error error) {
  const std::lock_guard lock(mutex_);
  if (at >= failed_at_) return;
  failed_at_ = at;
  error_ = std::move(error);
}

void Evaluation::work() {
  auto player = make_();
  if (!player) return fail(0, player.error());
  const uint64_t questions = shuffles_.questions.size();
  for (;;) {
    const uint64_t at = next_.fetch_add(at_once_);
    if (at >= shuffles_.count || at * questions >= failed_at_ || cancelled_) return;
    const uint64_t count = std::min(at_once_, shuffles_.count - at);
    std::optional<Error> failed;
    const auto solved = (*player)->play(shuffles_.first + at, count, failed);
    std::copy(solved.begin(), solved.end(), done_.begin() + static_cast<std::ptrdiff_t>(at * questions));
    if (failed) return fail(at * questions + solved.size(), std::move(*failed));
    if (on_played) on_played(count);
  }
}

Result<std::vector<Solved>> Evaluation::result() const {
  if (cancelled_) return Error{Code::cancelled, "the evaluation was cancelled", {}};
  if (failed_at_ < done_.size()) return error_;
  return done_;
}

LocalPlayer::LocalPlayer(std::shared_ptr<const Store> store, std::vector<uint32_t> questions,
                         std::unique_ptr<Solver> solver, const std::atomic<bool> &cancelled)
    : store_(std::move(store)), questions_(std::move(questions)), solver_(std::move(solver)), cancelled_(cancelled) {}

std::vector<Solved> LocalPlayer::play(uint64_t first, uint64_t count, std::optional<Error> &failed) {
  std::vector<Solved> solved;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    const auto order = shuffled(seed, store_->branches);
    for (const uint32_t q : questions_) {
      Replay replay(store_->questions[q], order);
      if (cancelled_) {
        failed = Error{Code::cancelled, "cancelled", {}};
        return solved;
      }
      auto answer = solver_->solve(replay, seed, q);
      if (!answer) {
        answer.error().message += place_of(q, seed);
        failed = std::move(answer.error());
        return solved;
      }
      const auto grade = replay.grade(*answer);
      solved.push_back({grade.correct, grade.normalised, replay.cost()});
    }
  }
  return solved;
}

}  // namespace gcop::tts
