#include <doctest/doctest.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include "base/loop.hpp"

using namespace gcop;
using namespace std::chrono_literals;

TEST_CASE("posts from many threads run on the strand, one at a time") {
  Loop loop(4);
  int plain = 0;  // no atomic: the strand is the lock
  bool always_on_strand = true;
  for (int i = 0; i < 1000; ++i)
    loop.work([&] {
      loop.post([&] {
        always_on_strand &= loop.on_strand();
        if (++plain == 1000) loop.stop();
      });
    });
  loop.run();
  CHECK(plain == 1000);
  CHECK(always_on_strand);
}

TEST_CASE("the maker is the strand until another thread runs the loop") {
  Loop loop(1);
  CHECK(loop.on_strand());
  std::thread other([&] {
    loop.post([&] { loop.stop(); });
    loop.run();
  });
  other.join();
  CHECK_FALSE(loop.on_strand());
}

TEST_CASE("timers fire in order of their time; a cancelled one does not") {
  Loop loop(1);
  std::vector<int> fired;
  loop.after(20ms, [&] {
    fired.push_back(2);
    loop.stop();
  });
  loop.after(1ms, [&] { fired.push_back(1); });
  const auto id = loop.after(5ms, [&] { fired.push_back(99); });
  loop.cancel_timer(id);
  loop.cancel_timer(id);
  loop.run();
  CHECK(fired == std::vector<int>{1, 2});
}

TEST_CASE("a timer cancelled after it expired but before its turn does not fire") {
  Loop loop(1);
  bool fired = false;
  const auto id = loop.after(0ms, [&] { fired = true; });
  loop.post([&] {
    std::this_thread::sleep_for(5ms);
    loop.cancel_timer(id);
    loop.after(5ms, [&] { loop.stop(); });
  });
  loop.run();
  CHECK_FALSE(fired);
}

TEST_CASE("run can be called again, also after a function threw out of it") {
  Loop loop(1);
  int ran = 0;
  loop.post([&] {
    ++ran;
    loop.stop();
  });
  loop.post([&] {
    ++ran;
    throw std::runtime_error("bug");
  });
  loop.post([&] {
    ++ran;
    loop.stop();
  });
  loop.run();
  CHECK(ran == 1);
  CHECK_THROWS_WITH(loop.run(), "bug");
  loop.run();
  CHECK(ran == 3);
}

TEST_CASE("a poster that outlives its loop drops what it is given") {
  std::unique_ptr<Loop> loop = std::make_unique<Loop>(1);
  const Loop::Poster poster = loop->poster();
  auto held = std::make_shared<int>(1);
  loop->post([held] {});  // queued, never run
  loop.reset();
  CHECK(held.use_count() == 1);
  poster.post([held] { FAIL("ran after the loop"); });
  poster.work([held] { FAIL("ran after the loop"); });
  CHECK(held.use_count() == 1);
}

TEST_CASE("the clock of a loop can be replaced") {
  struct Still final : Clock {
    uint64_t steady_ns() const override { return 42; }
    double unix_seconds() const override { return 1.5; }
  } still;
  Loop loop(1, still);
  CHECK(loop.clock().steady_ns() == 42);
  CHECK(real_clock().steady_ns() > 0);
}
