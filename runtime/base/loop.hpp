// The run strand: one thread that owns all state of a run, Lua included. Stage code needs no mutex because it only
// runs here; plugin callbacks come from any thread and post() to it. Also the worker pool for blocking calls.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

namespace gcop {

class Loop {
 public:
  explicit Loop(unsigned workers = 4);
  ~Loop();  // [run] after stop(); joins the workers
  Loop(const Loop &) = delete;
  Loop &operator=(const Loop &) = delete;

  void post(std::function<void()> fn);                                         // [any] fn runs on the strand
  void work(std::function<void()> fn);                                         // [any] fn runs on a worker thread
  uint64_t after(std::chrono::milliseconds delay, std::function<void()> fn);   // [run] returns a timer id
  void cancel_timer(uint64_t id);                                              // [run] unknown ids are ignored
  void run();      // the calling thread becomes the strand until stop()
  void stop();     // [any]
  bool on_strand() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gcop
