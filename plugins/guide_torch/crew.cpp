#include "crew.hpp"

#include <immintrin.h>
#include <sched.h>

namespace gcop::guide_torch {

namespace {
// About 20 us: longer than the gap between two parallel parts of a step, short enough to leave the core to others.
constexpr int kSpins = 600;
}  // namespace

Crew::Crew(int threads) {
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { loop(i); });
}

Crew::~Crew() {
  stop_ = true;
  round_.fetch_add(1);
  round_.notify_all();
  for (std::thread &worker : workers_) worker.join();
}

void Crew::start(Entry entry, void *what, size_t chunks) {
  const uint32_t round = round_.load(std::memory_order_relaxed) + 1;
  // Between rounds no chunk is left, so these may be written while a late worker reads them: its exchange on next_
  // fails, because the round differs.
  next_.store(static_cast<uint64_t>(round) << 32 | 0xffffffffu, std::memory_order_release);
  entry_.store(entry, std::memory_order_relaxed);
  what_.store(what, std::memory_order_relaxed);
  chunks_.store(static_cast<uint32_t>(chunks), std::memory_order_relaxed);
  finished_.store(0, std::memory_order_relaxed);
  next_.store(static_cast<uint64_t>(round) << 32, std::memory_order_release);
  round_.store(round, std::memory_order_release);
  round_.notify_all();
  take_chunks(round, 0);
  for (int spins = 0; finished_.load(std::memory_order_acquire) != chunks;)
    if (++spins < kSpins)
      _mm_pause();
    else
      sched_yield();
}

void Crew::take_chunks(uint32_t round, int worker) {
  uint64_t seen = next_.load(std::memory_order_acquire);
  for (;;) {
    const uint32_t chunk = static_cast<uint32_t>(seen);
    if (seen >> 32 != round || chunk == 0xffffffffu) return;
    const Entry entry = entry_.load(std::memory_order_relaxed);
    void *const what = what_.load(std::memory_order_relaxed);
    if (chunk >= chunks_.load(std::memory_order_relaxed)) return;
    if (!next_.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
    entry(what, chunk, worker);
    finished_.fetch_add(1, std::memory_order_acq_rel);
    seen = next_.load(std::memory_order_acquire);
  }
}

void Crew::loop(int worker) {
  uint32_t seen = 0;
  while (!stop_.load(std::memory_order_acquire)) {
    uint32_t round = round_.load(std::memory_order_acquire);
    for (int spins = 0; round == seen && spins < kSpins; ++spins) {
      _mm_pause();
      round = round_.load(std::memory_order_acquire);
    }
    if (round == seen) {
      round_.wait(seen, std::memory_order_acquire);
      continue;
    }
    seen = round;
    take_chunks(round, worker);
  }
}

}  // namespace gcop::guide_torch
