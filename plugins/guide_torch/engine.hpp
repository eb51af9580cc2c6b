// One model, one thread. Everything the plugin is asked for comes here from any thread and is answered from the engine
// thread: sampling step by step for all sequences in flight, everything else (score, train, copy, save, ...) as a job
// between two steps, in order. A job that changes weights waits for the sequences on them that were submitted before
// it, and those submitted after it wait for the job: arrival order decides what is drawn from which weights.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_set>
#include <vector>

#include "batch.hpp"
#include "crew.hpp"
#include "sequence.hpp"

namespace gcop::guide_torch {

struct Job {
  const gcop_op *op = nullptr;
  std::string writes;                                            // the weights it changes, or empty
  std::function<void()> run;                                     // answers the call; must not throw
  std::function<void(gcop_status, const std::string &)> refuse;  // answers it without running
  uint64_t ticket = 0;                                           // set by the engine
};

class Engine {
 public:
  struct Parts {  // moved in; the engine's from then on
    std::unique_ptr<Crew> crew;
    std::unique_ptr<Weights> weights;
    std::unique_ptr<Compute> compute;
    const Tokenizer *tokenizer = nullptr;  // outlives the engine
    BatchLimits limits;
  };
  explicit Engine(Parts parts);
  ~Engine();  // answers what is left as cancelled

  void sample(SampleRequest request);  // [any]
  void post(Job job);                  // [any]
  void cancel(const gcop_op *op);      // [any] a hint: look now

  // For jobs, on the engine thread.
  Weights &weights() { return *parts_.weights; }
  Crew &crew() { return *parts_.crew; }
  // Tells the batch that keys and values of these weights are stale.
  void weights_changed(const std::string &name) { batch_.forget(name); }
  // logprobs[j] = log p(tokens[j] | tokens before j of its sequence); 0 for the first of each. False: cancelled.
  bool score(const Version &weights, std::span<const std::span<const int32_t>> sequences, float *logprobs,
             const std::function<bool()> &cancelled);
  // Mean of the final hidden states, scaled to norm 1; hidden floats.
  void embed(const Version &weights, std::span<const int32_t> tokens, float *out);
  int64_t context() const { return parts_.limits.context; }

 private:
  void loop();
  bool run_job();
  // Runs tokens from `start` on; what lies before must be in the blocks.
  void forward_alone(const Version &weights, std::span<const int32_t> tokens, size_t start, KvBlocks &pool,
                     const std::vector<int32_t> &blocks, const std::function<void(int32_t from, int32_t n)> &after);

  Parts parts_;
  Batch batch_;
  std::deque<Job> jobs_;  // engine thread

  std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  std::vector<std::unique_ptr<Sequence>> new_sequences_;
  std::vector<Job> new_jobs_;
  uint64_t next_ticket_ = 1;
  bool poke_ = false, stop_ = false;
  std::thread thread_;  // last: starts when all else is there
};

// CLOCK_MONOTONIC in nanoseconds, as op deadlines are.
uint64_t monotonic_ns();
// Why an op should end now: GCOP_OK, GCOP_CANCELLED or GCOP_TIMEOUT, with a message.
std::pair<gcop_status, std::string> ended(const gcop_op *op);

}  // namespace gcop::guide_torch
