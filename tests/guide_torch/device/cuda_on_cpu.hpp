// Enough of CUDA to run the .cu files of guide_torch on the host, for tests of their arithmetic: blocks one after
// another, a block's threads as fibers that give way at __syncthreads and shuffles. Fibers take turns forwards in one
// round and backwards in the next, so that a missing barrier shows as a wrong number; a barrier that some threads never
// reach ends the process. What it cannot show: memory models, alignment, limits of registers and launches, speed.
#pragma once
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(n)

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x_, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}  // NOLINT: converts, as CUDA's does
};

namespace on_cpu {

struct Barrier {
  unsigned arrived = 0, round = 0;
};

struct Fiber {
  ucontext_t context;
  std::vector<char> stack = std::vector<char>(128 << 10);
  bool done = false;
};

struct Block {
  dim3 thread{0}, block{0}, threads{1}, grid{1};
  Barrier all;
  Barrier warps[32];
  uint64_t values[2][1024];  // of shuffles, in turn
  std::vector<Fiber> fibers;
  ucontext_t scheduler;
  unsigned current = 0;
  uint64_t progress = 0;
  const std::function<void()> *body = nullptr;
};
inline Block g;

inline void give_way() { swapcontext(&g.fibers[g.current].context, &g.scheduler); }
inline void wait_at(Barrier &b, unsigned count) {
  ++g.progress;
  const unsigned round = b.round;
  if (++b.arrived == count) {
    b.arrived = 0;
    ++b.round;
  }
  while (b.round == round) give_way();
}
inline unsigned wait_for_warp() {
  Barrier &b = g.warps[g.current / 32];
  const unsigned round = b.round;
  wait_at(b, 32);
  return round;
}
inline void start() {
  (*g.body)();
  g.fibers[g.current].done = true;
  ++g.progress;
  give_way();
}

// By itself, because nothing may lie in a register over getcontext().
inline void prepare(Fiber &f) {
  f.done = false;
  getcontext(&f.context);
  f.context.uc_stack.ss_sp = f.stack.data();
  f.context.uc_stack.ss_size = f.stack.size();
  f.context.uc_link = nullptr;
  makecontext(&f.context, start, 0);
}

inline void run_block() {
  const unsigned n = g.threads.x;
  g.all = {};
  for (Barrier &b : g.warps) b = {};
  for (unsigned i = 0; i < n; ++i) prepare(g.fibers[i]);
  for (unsigned round = 0, left = n; left > 0; ++round) {
    const uint64_t before = g.progress;
    left = 0;
    for (unsigned i = 0; i < n; ++i) {
      g.current = round % 2 ? n - 1 - i : i;
      if (g.fibers[g.current].done) continue;
      g.thread.x = g.current;
      swapcontext(&g.scheduler, &g.fibers[g.current].context);
      left += !g.fibers[g.current].done;
    }
    if (left > 0 && g.progress == before) {
      std::fputs("cuda_on_cpu: threads wait at a barrier that the others never reach\n", stderr);
      std::abort();
    }
  }
}

inline void launch(dim3 grid, dim3 threads, const std::function<void()> &body) {
  if (g.fibers.size() < threads.x) g.fibers.resize(threads.x);
  g.threads = threads;
  g.grid = grid;
  g.body = &body;
  for (unsigned y = 0; y < grid.y; ++y)
    for (unsigned x = 0; x < grid.x; ++x) {
      g.block = dim3(x, y);
      run_block();
    }
}

template <class V>
V shuffle(V v, unsigned from) {
  static_assert(sizeof(V) <= 8);
  const unsigned turn = g.warps[g.current / 32].round % 2;
  std::memcpy(&g.values[turn][g.current], &v, sizeof v);
  wait_for_warp();
  std::memcpy(&v, &g.values[turn][g.current / 32 * 32 + from], sizeof v);
  return v;
}

}  // namespace on_cpu

#define threadIdx (on_cpu::g.thread)
#define blockIdx (on_cpu::g.block)
#define blockDim (on_cpu::g.threads)
#define gridDim (on_cpu::g.grid)

inline void __syncthreads() { on_cpu::wait_at(on_cpu::g.all, on_cpu::g.threads.x); }
template <class V>
V __shfl_xor_sync(unsigned, V v, int other) {
  return on_cpu::shuffle(v, on_cpu::g.current % 32 ^ static_cast<unsigned>(other));
}
template <class V>
V __shfl_sync(unsigned, V v, int from) {
  return on_cpu::shuffle(v, static_cast<unsigned>(from));
}
inline float __fadd_rn(float a, float b) { return a + b; }  // the host's compiler fuses nothing here
inline float __fmul_rn(float a, float b) { return a * b; }
template <class V>
V atomicAdd(V *at, V v) {
  const V before = *at;
  *at += v;
  return before;
}

#define GCOP_LAUNCH(kernel, grid, threads, stream, ...) \
  ((void)(stream), on_cpu::launch(grid, threads, [&] { kernel(__VA_ARGS__); }))
