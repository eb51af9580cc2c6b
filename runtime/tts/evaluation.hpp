// A controller's results over the shuffles of a store, shuffles side by side on as many threads as call work().
//
// Results do not depend on how many that is: a shuffle is solved by one thread, question after question, and where
// solving fails the reported failure is the first in that order.
#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "tts/replay.hpp"
#include "tts/store.hpp"

namespace gcop::tts {

struct Shuffles {
  std::vector<uint32_t> questions;  // from 0; which ones count
  uint64_t first = 0, count = 100;  // seeds of the shuffles: the same for every question
};

struct Solved {  // a question in a shuffle
  bool correct = false, normalised = false;
  int64_t cost = 0;  // tokens
};
struct Sum {  // of some of them
  uint32_t correct = 0, normalised = 0;
  int64_t cost = 0;
  void add(const Solved &one);
};

// What a thread solves with: one question after the other, or whole shuffles somewhere else.
class Player {
 public:
  virtual ~Player() = default;
  // Shuffles `first` to `first + count - 1`, each with all questions: their results in this order. Fewer if the next
  // one failed, which `failed` says.
  virtual std::vector<Solved> play(uint64_t first, uint64_t count, std::optional<Error> &failed) = 0;
};

class Evaluation {
 public:
  using MakePlayer = std::function<Result<std::unique_ptr<Player>>()>;  // [any], once per work()
  // `at_once`: shuffles that a player gets at a time.
  Evaluation(Shuffles shuffles, uint64_t at_once, MakePlayer make);
  std::function<void(uint64_t shuffles)> on_played;  // [any], after each play

  void work();  // [any] returns when no shuffle is left for this thread
  void cancel() { cancelled_ = true; }
  const std::atomic<bool> &cancelled() const { return cancelled_; }
  // After every work() has returned: by shuffle, then by question.
  Result<std::vector<Solved>> result() const;

 private:
  void fail(uint64_t at, Error error);

  const Shuffles shuffles_;
  const uint64_t at_once_;
  const MakePlayer make_;
  std::vector<Solved> done_;
  std::atomic<uint64_t> next_{0}, failed_at_;  // solves from the failed one on are not begun
  std::atomic<bool> cancelled_{false};
  std::mutex mutex_;
  Error error_;
};

// Solves questions here. An error's message begins with its place, if it has one.
class Solver {
 public:
  virtual ~Solver() = default;
  virtual Result<Replay::Answer> solve(Replay &replay, uint64_t seed, uint32_t question) = 0;
};

class LocalPlayer final : public Player {
 public:
  LocalPlayer(std::shared_ptr<const Store> store, std::vector<uint32_t> questions, std::unique_ptr<Solver> solver,
              const std::atomic<bool> &cancelled);
  std::vector<Solved> play(uint64_t first, uint64_t count, std::optional<Error> &failed) override;

 private:
  const std::shared_ptr<const Store> store_;
  const std::vector<uint32_t> questions_;
  const std::unique_ptr<Solver> solver_;
  const std::atomic<bool> &cancelled_;
};

std::string place_of(uint32_t question, uint64_t seed);  // " (question 1, shuffle 0)": the end of a failure's message

}  // namespace gcop::tts
