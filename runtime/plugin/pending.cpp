#include "plugin/pending.hpp"

#include <algorithm>
#include <atomic>
#include <deque>
#include <mutex>
#include <vector>

#include "base/log.hpp"
#include "base/secret.hpp"

namespace gcop::plugin {
namespace {

enum State : int { kWaiting, kAnswered, kAbandoned };
constexpr uint64_t kCancelWaitMs = 60'000;

uint64_t grace_ms(uint32_t timeout_ms) { return std::clamp<uint64_t>(timeout_ms / 4, 250, 10'000); }

}  // namespace

struct Calls::Slot {
  gcop_op op{};  // first member: plugins hand this pointer back
  std::atomic<int> state{kWaiting};
  std::atomic<bool> cancelled{false};
  std::string name;  // "plugin 'x', complete": stays readable while the slot rests
  Loop::Poster poster;
  std::unique_ptr<Body> body;  // of whoever won `state`
  explicit Slot(Loop::Poster p) : poster(std::move(p)) {}
};

// All slots of the process; never destroyed, because plugins' threads may outlive main(). [any]
struct Calls::Slots {
  std::mutex mutex;
  std::vector<Slot *> every;   // abandoned ones too: leaked on purpose, but known
  std::deque<Slot *> resting;  // answered, oldest first
  std::atomic<uint64_t> next_id{1};
};

Calls::Slots &Calls::slots() {
  static Slots *all = new Slots;
  return *all;
}

Calls::Calls(Loop &loop, std::shared_ptr<Instance> instance, Cancel hint, uint32_t timeout_ms)
    : loop_(loop), instance_(std::move(instance)), cancel_(hint), timeout_ms_(timeout_ms) {}

int32_t Calls::is_cancelled(const gcop_op *op) { return reinterpret_cast<const Slot *>(op)->cancelled.load() ? 1 : 0; }

Calls::Body *Calls::claim(const gcop_op *op) noexcept {
  auto *slot = reinterpret_cast<Slot *>(const_cast<gcop_op *>(op));
  int expected = kWaiting;
  if (slot->state.compare_exchange_strong(expected, kAnswered)) return slot->body.get();
  if (expected == kAbandoned)
    log_warn(slot->name + ": answered after the host had given up; the answer is dropped");
  else
    log_error(slot->name + ": answered twice; the second answer is ignored. done() must be called exactly once per op");
  return nullptr;
}

void Calls::hand_over(const gcop_op *op) noexcept {
  auto *slot = reinterpret_cast<Slot *>(const_cast<gcop_op *>(op));
  slot->poster.post([slot] { slot->body->calls->finish(slot); });
}

uint64_t Calls::launch(const char *call, std::shared_ptr<void> inputs, const Begin &begin, std::unique_ptr<Body> body) {
  Slots &all = slots();
  Slot *slot = nullptr;
  {
    const std::lock_guard lock(all.mutex);
    if (all.resting.size() >= kResting) {
      slot = all.resting.front();
      all.resting.pop_front();
    }
  }
  if (!slot) {
    slot = new Slot(loop_.poster());
    const std::lock_guard lock(all.mutex);
    all.every.push_back(slot);
  }
  slot->op = {sizeof(gcop_op), 0, all.next_id++, 0, is_cancelled};
  if (timeout_ms_ > 0) slot->op.deadline_ns = real_clock().steady_ns() + uint64_t{timeout_ms_} * 1'000'000;
  slot->cancelled = false;
  slot->name = name() + ", " + call;
  slot->poster = loop_.poster();
  slot->body = std::move(body);
  slot->body->calls = shared_from_this();
  slot->body->inputs = std::move(inputs);
  slot->body->call = call;
  slot->state = kWaiting;
  const uint64_t id = slot->op.id;
  active_.emplace(id, slot);
  if (timeout_ms_ > 0) watch(slot, timeout_ms_ + grace_ms(timeout_ms_));
  std::string thrown;
  try {
    begin(instance_->raw(), &slot->op);
    return id;
  } catch (const std::exception &e) {
    thrown = e.what();
  } catch (...) {
    thrown = "an exception that is no std::exception";
  }
  int expected = kWaiting;
  if (slot->state.compare_exchange_strong(expected, kAbandoned)) {  // unless it answered before it threw
    loop_.post([self = shared_from_this(), slot, thrown] {
      self->give_up(slot,
                    {Code::internal, slot->name + ": threw '" + thrown + "' at the ABI, where nothing may throw", {}});
    });
  }
  return id;
}

void Calls::watch(Slot *slot, uint64_t wait_ms) {
  slot->body->timer = loop_.after(std::chrono::milliseconds(wait_ms), [self = shared_from_this(), slot, wait_ms] {
    int expected = kWaiting;
    if (!slot->state.compare_exchange_strong(expected, kAbandoned)) return;  // its answer is queued behind us
    slot->cancelled = true;                                                  // a plugin that polls stops
    self->give_up(slot, {Code::timeout,
                         slot->name + ": no answer after " + std::to_string(wait_ms) +
                             " ms (deadline and grace); the call is given up",
                         {}});
  });
}

// The slot is abandoned: neither it nor its body is ever freed or used again.
void Calls::give_up(Slot *slot, Error error) {
  loop_.cancel_timer(slot->body->timer);
  active_.erase(slot->op.id);
  slot->body->fail(redact(std::move(error)));
}

void Calls::finish(Slot *slot) {
  std::unique_ptr<Body> body = std::move(slot->body);
  loop_.cancel_timer(body->timer);
  active_.erase(slot->op.id);
  body->inputs.reset();
  {
    const std::lock_guard lock(slots().mutex);
    slots().resting.push_back(slot);
  }
  body->deliver();
}

void Calls::cancel(uint64_t id) {
  const auto found = active_.find(id);
  if (found == active_.end()) return;
  Slot *slot = found->second;
  if (slot->cancelled.exchange(true) || slot->state != kWaiting) return;
  if (timeout_ms_ == 0) watch(slot, kCancelWaitMs);
  if (!cancel_) return;
  try {
    cancel_(instance_->raw(), &slot->op);
  } catch (...) {
    log_error(slot->name + ": threw in cancel()");
  }
}

Error plugin_error(const std::string &call, gcop_status status, gcop_str message) {
  const bool known = status >= GCOP_CANCELLED && status <= GCOP_EXHAUSTED;
  std::string said = text(message);
  if (said.empty()) said = known ? code_name(static_cast<Code>(status)) : "unknown status " + std::to_string(status);
  return redact(
      Error{known ? static_cast<Code>(status) : Code::internal, call.empty() ? said : call + ": " + said, {}});
}

}  // namespace gcop::plugin
