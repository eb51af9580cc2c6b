// The run strand: one thread that owns all state of a run, Lua included. Stage code needs no mutex because it only
// runs here; plugin callbacks come from any thread and post() to it. Also the worker pool for blocking calls.
//
// The strand is the thread that made the Loop until run() is called, then the thread inside run(). run() may be
// called again after stop(): what was posted meanwhile runs then. An exception that leaves a posted function leaves
// run(); on a worker it is logged and ends the process, because nobody would ever be answered.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

#include "base/clock.hpp"

namespace gcop {

class Loop {
 public:
  explicit Loop(unsigned workers = 4, const Clock &clock = real_clock());
  ~Loop();  // [run] after run() returned. Joins the workers; one that hangs in foreign code is left behind after 5 s
  Loop(const Loop &) = delete;
  Loop &operator=(const Loop &) = delete;

  void post(std::function<void()> fn);                                        // [any] fn runs on the strand
  void work(std::function<void()> fn);                                        // [any] fn runs on a worker thread
  uint64_t after(std::chrono::milliseconds delay, std::function<void()> fn);  // [run] returns a timer id
  void cancel_timer(uint64_t id);                                             // [run] unknown ids are ignored
  void run();   // the calling thread becomes the strand until stop()
  void stop();  // [any]
  bool on_strand() const;
  const Clock &clock() const;

  // Posts that may come after the Loop is gone (a plugin's thread that answers late): then they are dropped.
  class Poster {
   public:
    void post(std::function<void()> fn) const;  // [any] to the strand
    void work(std::function<void()> fn) const;  // [any] to a worker

   private:
    friend class Loop;
    struct Gate;
    std::shared_ptr<Gate> gate_;
  };
  Poster poster() const;  // [any]

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gcop
