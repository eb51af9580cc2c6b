// Bounds how many calls are at a plugin and lets equal calls share one: further ones wait in order, and a call whose
// key is already waiting or in flight joins it. Used by the core and validator handles; all methods [run].
#pragma once
#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/loop.hpp"
#include "base/result.hpp"

namespace gcop::plugin {

template <class Value>
class CallQueue : public std::enable_shared_from_this<CallQueue<Value>> {
 public:
  using Answer = std::function<void(Result<Value>)>;
  using Begin = std::function<void(Answer)>;                     // starts the call; answers later, never at once
  using Done = std::function<void(Result<Value>, bool shared)>;  // shared: another caller's call answered this one
  using Abort = std::function<void(const std::string &key)>;     // nobody waits for this started call any more

  CallQueue(Loop &loop, uint32_t limit, Abort abort) : loop_(loop), limit_(limit), abort_(std::move(abort)) {}

  uint64_t add(const std::string &key, Begin begin, Done done) {
    const uint64_t id = take_id();
    keys_[id] = key;
    auto &flight = flights_[key];
    if (!flight) {
      flight = std::make_shared<Flight>();
      flight->begin = std::move(begin);
      waiting_.push_back(key);
    }
    flight->waiters.push_back({id, std::move(done)});
    pump();
    return id;
  }

  // done comes with Code::cancelled. The call itself is aborted when its last caller has gone; its answer is still
  // taken (and stored by whoever began it).
  void cancel(uint64_t id, const std::string &name) {
    const auto found = keys_.find(id);
    if (found == keys_.end()) return;
    const std::string key = found->second;
    keys_.erase(found);
    const auto flight = flights_.at(key);
    auto &waiters = flight->waiters;
    const auto at = std::find_if(waiters.begin(), waiters.end(), [&](const Waiter &w) { return w.id == id; });
    loop_.post([done = std::move(at->done), name] { done(Error{Code::cancelled, name + ": cancelled", {}}, false); });
    waiters.erase(at);
    if (!waiters.empty()) return;
    if (flight->started) {
      abort_(key);
    } else {
      waiting_.erase(std::find(waiting_.begin(), waiting_.end(), key));
      flights_.erase(key);
    }
  }

  void cancel_all(const std::string &name) {
    while (!keys_.empty()) cancel(keys_.begin()->first, name);
  }

  uint64_t take_id() { return next_id_++; }  // for a call that is answered without a flight
  uint32_t in_flight() const { return in_flight_; }

 private:
  struct Waiter {
    uint64_t id;
    Done done;
  };
  struct Flight {
    Begin begin;
    std::vector<Waiter> waiters;
    bool started = false;
  };

  void pump() {
    while (in_flight_ < limit_ && !waiting_.empty()) {
      const std::string key = waiting_.front();
      waiting_.pop_front();
      const auto flight = flights_.at(key);
      flight->started = true;
      ++in_flight_;
      const Begin begin = std::move(flight->begin);
      begin([self = this->shared_from_this(), key](Result<Value> result) { self->ended(key, std::move(result)); });
    }
  }

  void ended(const std::string &key, Result<Value> result) {
    const auto flight = flights_.at(key);
    flights_.erase(key);
    --in_flight_;
    for (const Waiter &waiter : flight->waiters) keys_.erase(waiter.id);
    pump();  // before the callers run: the plugin need not wait for them
    for (size_t i = 0; i < flight->waiters.size(); ++i) flight->waiters[i].done(result, i > 0);
  }

  Loop &loop_;
  uint32_t limit_;
  Abort abort_;
  uint32_t in_flight_ = 0;
  uint64_t next_id_ = 1;
  std::map<uint64_t, std::string> keys_;  // of calls that still wait
  std::map<std::string, std::shared_ptr<Flight>> flights_;
  std::deque<std::string> waiting_;
};

}  // namespace gcop::plugin
