// Calls into a plugin that are not answered yet. One Calls object per handle; all methods [run].
//
// The host owns each gcop_op. done() claims it (exactly once), copies the result while the plugin's memory is valid,
// and posts to the strand; only there is the call forgotten and its handler run. Rules this file keeps for plugins
// that break theirs:
//   - a second done() is logged with the plugin's name and ignored. So that it is harmless, an op's memory is never
//     given back: answered ops rest for the next kResting answers before their slot is used again;
//   - a call that is not answered by deadline + grace becomes Code::timeout, naming plugin and call. Its op, its inputs
//     and its reference to the instance are leaked on purpose: the plugin may still read them and may answer late;
//   - an exception that leaves the starting call becomes Code::internal.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>

#include <gcop/plugin.h>

#include "base/loop.hpp"
#include "base/result.hpp"
#include "plugin/plugin.hpp"

namespace gcop::plugin {

class Calls : public std::enable_shared_from_this<Calls> {
 public:
  using Cancel = void (*)(gcop_instance *, const gcop_op *);
  using Begin = std::function<void(gcop_instance *, const gcop_op *)>;

  static constexpr size_t kResting = 16'384;

  // timeout_ms: each call's deadline, 0 = none. hint: the interface's cancel function, may be null.
  Calls(Loop &, std::shared_ptr<Instance>, Cancel hint, uint32_t timeout_ms);

  // Starts one call. `inputs` owns everything the request points to. `done` comes on the strand, never from inside
  // start(). Returns an id for cancel().
  template <class Value>
  uint64_t start(const char *call, std::shared_ptr<void> inputs, const Begin &begin,
                 std::function<void(Result<Value>)> done) {
    auto body = std::make_unique<TypedBody<Value>>();
    body->done = std::move(done);
    return launch(call, std::move(inputs), begin, std::move(body));
  }

  // For the extern "C" done functions: claims op, then runs convert() -> Result<Value> while the outputs are valid.
  template <class Value, class Convert>
  static void answer(const gcop_op *op, const Convert &convert) noexcept {
    Body *body = claim(op);
    if (!body) return;
    auto *typed = static_cast<TypedBody<Value> *>(body);
    try {
      typed->result = std::make_unique<Result<Value>>(convert());
    } catch (...) {
      typed->result.reset();  // deliver() says that the answer could not be taken over
    }
    hand_over(op);
  }

  // A hint to the plugin; done still comes. A call without a deadline gets one: 60 s from now.
  void cancel(uint64_t id);
  size_t active() const { return active_.size(); }
  const Instance &instance() const { return *instance_; }
  std::string name() const { return who(instance_->plugin()); }

 private:
  struct Body {
    std::shared_ptr<Calls> calls;
    std::shared_ptr<void> inputs;
    std::string call;
    uint64_t timer = 0;
    virtual ~Body() = default;
    virtual void deliver() = 0;  // runs the handler with the answer
    virtual void fail(Error error) = 0;
  };
  template <class Value>
  struct TypedBody final : Body {
    std::unique_ptr<Result<Value>> result;
    std::function<void(Result<Value>)> done;
    void deliver() override {
      if (!result)
        return fail({Code::internal, calls->name() + " answered " + call + " with something unreadable", {}});
      done(std::move(*result));
    }
    void fail(Error error) override {  // the body may live on for ever: let go of what the handler holds
      const auto handler = std::move(done);
      done = nullptr;
      handler(std::move(error));
    }
  };
  struct Slot;
  struct Slots;

  static Slots &slots();
  static int32_t is_cancelled(const gcop_op *);
  static Body *claim(const gcop_op *) noexcept;
  static void hand_over(const gcop_op *) noexcept;
  uint64_t launch(const char *call, std::shared_ptr<void> inputs, const Begin &, std::unique_ptr<Body>);
  void watch(Slot *, uint64_t wait_ms);
  void give_up(Slot *, Error);
  void finish(Slot *);

  Loop &loop_;
  std::shared_ptr<Instance> instance_;
  Cancel cancel_;
  uint32_t timeout_ms_;
  std::map<uint64_t, Slot *> active_;
};

// The Error of a plugin's status, redacted. `call` comes before the message; empty where the handle adds its own name.
// For status != GCOP_OK.
Error plugin_error(const std::string &call, gcop_status status, gcop_str message);

}  // namespace gcop::plugin
