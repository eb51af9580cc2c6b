#include "base/loop.hpp"

#include <atomic>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include <boost/asio/error.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/log.hpp"

namespace gcop {
namespace asio = boost::asio;

namespace {

using Guard = asio::executor_work_guard<asio::io_context::executor_type>;

// The workers' own context and threads. Shared with each thread, so that one stuck in foreign code can be left
// behind at the end without touching freed memory.
struct Pool {
  asio::io_context io;
  Guard guard{asio::make_work_guard(io)};
  std::mutex mutex;
  std::condition_variable changed;
  unsigned alive = 0;
};

void work_until_stopped(const std::shared_ptr<Pool> &pool) {
  try {
    pool->io.run();
  } catch (const std::exception &e) {
    log_error(std::string("a worker's function threw '") + e.what() + "'; this is a bug, please report it");
    std::terminate();
  }
  const std::lock_guard lock(pool->mutex);
  --pool->alive;
  pool->changed.notify_all();
}

}  // namespace

// What outlives the Loop: a mutex and two pointers that ~Loop clears.
struct Loop::Poster::Gate {
  std::mutex mutex;
  asio::io_context *strand = nullptr;
  std::shared_ptr<Pool> pool;
};

struct Loop::Impl {
  const Clock &clock;
  std::unique_ptr<asio::io_context> io = std::make_unique<asio::io_context>(1);
  std::unique_ptr<Guard> guard = std::make_unique<Guard>(asio::make_work_guard(*io));
  std::map<uint64_t, asio::steady_timer> timers;
  uint64_t next_timer = 1;
  std::atomic<std::thread::id> strand{std::this_thread::get_id()};
  std::shared_ptr<Pool> pool = std::make_shared<Pool>();
  std::vector<std::thread> threads;
  Poster poster;
};

void Loop::Poster::post(std::function<void()> fn) const {
  const std::lock_guard lock(gate_->mutex);
  if (gate_->strand) asio::post(*gate_->strand, std::move(fn));
}

void Loop::Poster::work(std::function<void()> fn) const {
  const std::lock_guard lock(gate_->mutex);
  if (gate_->pool) asio::post(gate_->pool->io, std::move(fn));
}

Loop::Loop(unsigned workers, const Clock &clock) : impl_(new Impl{clock}) {
  impl_->poster.gate_ = std::make_shared<Poster::Gate>();
  impl_->poster.gate_->strand = impl_->io.get();
  impl_->poster.gate_->pool = impl_->pool;
  impl_->pool->alive = workers > 0 ? workers : 1;
  for (unsigned i = 0; i < impl_->pool->alive; ++i)
    impl_->threads.emplace_back([pool = impl_->pool] { work_until_stopped(pool); });
}

Loop::~Loop() {
  {
    const std::lock_guard lock(impl_->poster.gate_->mutex);
    impl_->poster.gate_->strand = nullptr;
    impl_->poster.gate_->pool.reset();
  }
  Pool &pool = *impl_->pool;
  pool.io.stop();
  bool all_ended;
  {
    std::unique_lock lock(pool.mutex);
    all_ended = pool.changed.wait_for(lock, std::chrono::seconds(5), [&] { return pool.alive == 0; });
  }
  if (!all_ended) log_warn("a worker thread hangs in a plugin's blocking call and is left behind");
  for (std::thread &thread : impl_->threads) {
    if (all_ended)
      thread.join();
    else
      thread.detach();
  }
  impl_->timers.clear();
  impl_->guard.reset();
  impl_->io.reset();  // drops what is still queued; functions that post from their destructors find the gate shut
}

void Loop::post(std::function<void()> fn) { impl_->poster.post(std::move(fn)); }
void Loop::work(std::function<void()> fn) { impl_->poster.work(std::move(fn)); }
Loop::Poster Loop::poster() const { return impl_->poster; }

uint64_t Loop::after(std::chrono::milliseconds delay, std::function<void()> fn) {
  const uint64_t id = impl_->next_timer++;
  auto [timer, _] = impl_->timers.emplace(id, asio::steady_timer(*impl_->io, delay));
  timer->second.async_wait([impl = impl_.get(), id, fn = std::move(fn)](const boost::system::error_code &error) {
    // A timer cancelled after it expired has its handler queued without an error: the map knows better.
    if (error == asio::error::operation_aborted || impl->timers.erase(id) == 0) return;
    fn();
  });
  return id;
}

void Loop::cancel_timer(uint64_t id) { impl_->timers.erase(id); }

void Loop::run() {
  impl_->strand = std::this_thread::get_id();
  struct Restart {  // also when a function throws out of run()
    asio::io_context &io;
    ~Restart() {
      if (io.stopped()) io.restart();
    }
  } restart{*impl_->io};
  impl_->io->run();
}

void Loop::stop() {
  const std::lock_guard lock(impl_->poster.gate_->mutex);
  impl_->io->stop();
}

bool Loop::on_strand() const { return impl_->strand.load() == std::this_thread::get_id(); }
const Clock &Loop::clock() const { return impl_->clock; }

}  // namespace gcop
