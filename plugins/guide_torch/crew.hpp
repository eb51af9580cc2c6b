// The threads that one engine computes with. Work is cut into chunks that are taken from a counter, so that a thread
// which loses its core to another process holds up one chunk, not a fixed share of the whole.
// run() is called by the engine thread only; the workers are owned here and joined by the destructor.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

namespace gcop::guide_torch {

class Crew {
 public:
  explicit Crew(int threads);  // the caller counts as one of them
  ~Crew();
  Crew(const Crew &) = delete;
  Crew &operator=(const Crew &) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  // work(chunk, worker) for every chunk in [0, chunks), worker in [0, size()). Returns when all are done. No nesting,
  // no exceptions.
  template <class Work>
  void run(size_t chunks, Work &&work) {
    if (chunks == 0) return;
    if (chunks == 1 || workers_.empty()) {
      for (size_t i = 0; i < chunks; ++i) work(i, 0);
      return;
    }
    using Callable = std::remove_reference_t<Work>;
    start([](void *what, size_t chunk, int worker) { (*static_cast<Callable *>(what))(chunk, worker); },
          const_cast<void *>(static_cast<const void *>(&work)), chunks);
  }

 private:
  using Entry = void (*)(void *, size_t, int);
  void start(Entry entry, void *what, size_t chunks);
  void take_chunks(uint32_t round, int worker);
  void loop(int worker);

  std::vector<std::thread> workers_;
  // Round number in the high half, next chunk in the low one: a worker that comes late cannot take a chunk of a round
  // whose entry and argument it has not read.
  std::atomic<uint64_t> next_{0};
  std::atomic<uint32_t> round_{0};
  std::atomic<Entry> entry_{nullptr};
  std::atomic<void *> what_{nullptr};
  std::atomic<uint32_t> chunks_{0};
  std::atomic<uint32_t> finished_{0};
  std::atomic<bool> stop_{false};
};

}  // namespace gcop::guide_torch
