// gcop/plugin_instance.hpp - what GCOP_PLUGIN makes of a plugin type: the tables of the ABI and noexcept trampolines
// into the type's functions. Included by plugin.hpp; plugin authors need not read it.
#ifndef GCOP_PLUGIN_INSTANCE_HPP
#define GCOP_PLUGIN_INSTANCE_HPP

#include <gcop/plugin.hpp>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <new>
#include <type_traits>

namespace gcop::sdk::detail {

// Counts worker threads inside the plugin. Shared, because the last one still unlocks it when destroy() goes on.
class Gate {
 public:
  void enter() {
    std::lock_guard lock(mutex_);
    ++inside_;
  }
  void leave() {
    std::lock_guard lock(mutex_);
    if (--inside_ == 0) empty_.notify_all();
  }
  void wait_empty() {
    std::unique_lock lock(mutex_);
    empty_.wait(lock, [this] { return inside_ == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable empty_;
  size_t inside_ = 0;
};

template <class Value>
void fail_with_current_exception(Completion<Value> &completion) noexcept {
  try {
    throw;
  } catch (const Failure &failure) {
    completion.fail(failure.status(), failure.what());
  } catch (const std::bad_alloc &) {
    completion.fail(GCOP_EXHAUSTED, "the plugin ran out of memory");
  } catch (const std::exception &error) {
    completion.fail(GCOP_INTERNAL, error.what());
  } catch (...) {
    completion.fail(GCOP_INTERNAL, "the plugin threw something that is no std::exception");
  }
}

inline void write_error(gcop_error *out, gcop_status status, const char *message) noexcept {
  if (!out || !GCOP_HAS(out, message)) return;
  out->code = status;
  const size_t n = std::min(std::strlen(message), sizeof out->message - 1);
  std::memcpy(out->message, message, n);
  out->message[n] = '\0';
}

// Marks a thread as inside the plugin for as long as it lives.
class Inside {
 public:
  explicit Inside(std::shared_ptr<Gate> gate) : gate_(std::move(gate)) { gate_->enter(); }
  Inside(const Inside &) = delete;
  Inside &operator=(const Inside &) = delete;
  ~Inside() { gate_->leave(); }

 private:
  std::shared_ptr<Gate> gate_;
};

// Runs `work` on a host worker and answers with what it returns or throws.
template <class Value, class Work>
void run_on_worker(const Host &host, const std::shared_ptr<Gate> &gate, Completion<Value> completion, Work work) {
  struct Job {
    Inside inside;  // first, so that it leaves last
    Work work;
    Completion<Value> completion;
    Job(const std::shared_ptr<Gate> &g, Work &&w, Completion<Value> &&c)
        : inside(g), work(std::move(w)), completion(std::move(c)) {}
    void run() noexcept {
      try {
        completion.ok(work(completion.op()));
      } catch (...) {
        fail_with_current_exception(completion);
      }
    }
  };
  auto job = std::make_shared<Job>(gate, std::move(work), std::move(completion));
  try {
    host.post([job] { job->run(); });
  } catch (...) {
    fail_with_current_exception(job->completion);
  }
}

inline Request read(const gcop_core_request &in, const gcop_op *op) {
  Request out;
  out.messages_json = view(in.messages_json);
  out.prefix = view(in.prefix);
  out.extra_json = view(in.extra_json);
  for (size_t i = 0; i < in.n_stop; ++i) out.stop.push_back(view(in.stop[i]));
  out.max_tokens = in.max_tokens;
  out.n_choices = in.n_choices;
  out.temperature = in.temperature;
  out.top_p = in.top_p;
  out.seed = in.seed;
  out.sample_index = in.sample_index;
  if (in.part) out.part = [op, part = in.part](uint32_t choice, std::string_view text) { part(op, choice, str(text)); };
  return out;
}

inline Check read(const gcop_check &in) {
  return {view(in.task_json), view(in.candidate), in.cpu_ms, in.wall_ms, in.mem_bytes};
}

// The object behind gcop_instance: the plugin's own object, its tables and the trampolines in them.
template <class Type>
class Instance {
 public:
  static constexpr bool kCore = std::is_base_of_v<Core, Type>, kBlockingCore = std::is_base_of_v<BlockingCore, Type>;
  static constexpr bool kValidator = std::is_base_of_v<Validator, Type>;
  static constexpr bool kBlockingValidator = std::is_base_of_v<BlockingValidator, Type>;
  static_assert(kCore || kBlockingCore || kValidator || kBlockingValidator,
                "a plugin type derives publicly from a base class in gcop/plugin.hpp");
  static_assert(!(kCore && kBlockingCore) && !(kValidator && kBlockingValidator), "asynchronous or blocking, not both");

  static gcop_instance *create(const gcop_host *host, gcop_str config, gcop_error *error) noexcept {
    try {
      return reinterpret_cast<gcop_instance *>(new Instance(host, config));
    } catch (const Failure &failure) {
      write_error(error, failure.status(), failure.what());
    } catch (const std::bad_alloc &) {
      write_error(error, GCOP_EXHAUSTED, "the plugin ran out of memory");
    } catch (const std::exception &other) {
      write_error(error, GCOP_INTERNAL, other.what());
    } catch (...) {
      write_error(error, GCOP_INTERNAL, "the plugin threw something that is no std::exception");
    }
    return nullptr;
  }
  static void destroy(gcop_instance *raw) noexcept {
    std::unique_ptr<Instance> mine(from(raw));
    mine->gate_->wait_empty();
  }
  static const void *query(gcop_instance *raw, const char *id) noexcept {
    if constexpr (kCore || kBlockingCore)
      if (!std::strcmp(id, GCOP_CORE)) return &from(raw)->core_;
    if constexpr (kValidator || kBlockingValidator)
      if (!std::strcmp(id, GCOP_VALIDATOR)) return &from(raw)->validator_;
    return nullptr;
  }

 private:
  Instance(const gcop_host *host, gcop_str config) : host_(host), object_(host_, view(config)) {
    if constexpr (kCore || kBlockingCore) {
      core_.struct_size = sizeof core_;
      core_.capabilities = object_.capabilities();
      core_.identity = identity;
      core_.complete = complete;
      core_.cancel = cancel<Core>;
    }
    if constexpr (kValidator || kBlockingValidator) {
      validator_.struct_size = sizeof validator_;
      validator_.identity = identity;
      validator_.check = check;
      validator_.cancel = cancel<Validator>;
    }
  }
  static Instance *from(gcop_instance *raw) noexcept { return reinterpret_cast<Instance *>(raw); }

  static gcop_str identity(gcop_instance *raw) noexcept {
    try {
      return str(from(raw)->object_.identity());
    } catch (...) {
      return {nullptr, 0};
    }
  }
  template <class Base>
  static void cancel(gcop_instance *raw, const gcop_op *op) noexcept {
    if constexpr (std::is_base_of_v<Base, Type>) try {
        static_cast<Base &>(from(raw)->object_).cancel(op->id);
      } catch (...) {
      }                   // a hint may fail
    (void)raw, (void)op;  // blocking code polls the op
  }
  static void complete(gcop_instance *raw, const gcop_core_request *in, const gcop_op *op,
                       gcop_core_done done) noexcept {
    Completion<Reply> completion(op, done);
    try {
      Instance &self = *from(raw);
      Request request = read(*in, op);
      if constexpr (kBlockingCore)
        run_on_worker(self.host_, self.gate_, std::move(completion),
                      [&object = self.object_, request = std::move(request)](const Op &call) {
                        return object.complete(request, call);
                      });
      else
        self.object_.complete(std::move(request), std::move(completion));
    } catch (...) {
      fail_with_current_exception(completion);  // does nothing where the completion had moved on
    }
  }
  static void check(gcop_instance *raw, const gcop_check *in, const gcop_op *op, gcop_check_done done) noexcept {
    Completion<Verdict> completion(op, done);
    try {
      Instance &self = *from(raw);
      if constexpr (kBlockingValidator)
        run_on_worker(self.host_, self.gate_, std::move(completion),
                      [&object = self.object_, what = read(*in)](const Op &call) { return object.check(what, call); });
      else
        self.object_.check(read(*in), std::move(completion));
    } catch (...) {
      fail_with_current_exception(completion);
    }
  }

  Host host_;
  std::shared_ptr<Gate> gate_ = std::make_shared<Gate>();
  Type object_;
  gcop_core core_{};
  gcop_validator validator_{};
};

// While the major version is 0, host and plugin must agree on the minor one.
inline bool accepts(uint32_t host_major, uint32_t host_minor) noexcept {
  return host_major == GCOP_ABI_MAJOR && (GCOP_ABI_MAJOR != 0 || host_minor == GCOP_ABI_MINOR);
}

}  // namespace gcop::sdk::detail
#endif
