// One loaded model behind the plugin's C interfaces (guide_abi.cpp, core_abi.cpp, embedder_abi.cpp). Made by create(),
// constant afterwards but for what the engine owns. [any]
#pragma once
#include <memory>
#include <string>
#include <vector>

#include <gcop/plugin.h>

#include "base/result.hpp"
#include "chat_template.hpp"
#include "engine.hpp"
#include "exception.hpp"
#include "learner.hpp"
#include "lora.hpp"
#include "settings.hpp"
#include "tokenizer.hpp"

namespace gcop::guide_torch {

namespace device {
class Device;
}
extern const char *const kVersion;

class Instance {
 public:
  static Result<std::unique_ptr<Instance>> make(const Settings &settings);

  Result<std::vector<int32_t>> render(const std::string &messages_json) const;
  const Tokenizer &tokenizer() const { return *tokenizer_; }
  Engine &engine() { return *engine_; }
  const std::string &name() const { return settings_.name; }
  const std::string &role() const { return settings_.role; }
  const std::string &identity() const { return identity_; }
  const std::string &info() const { return info_; }
  int64_t hidden() const { return config_.hidden; }
  int64_t vocab() const { return config_.vocab; }

  // Bodies of the engine's jobs. [engine thread]
  Result<TrainStats> train(const gcop_train_request &request, const std::function<bool()> &cancelled);
  Result<> copy(const std::string &from, const std::string &to);
  Result<> drop(const std::string &name);
  Result<> save(const std::string &name, const std::string &dir, bool optimizer);
  Result<> load(const std::string &name, const std::string &dir);

  gcop_core core;  // tables, filled in by make()
  gcop_guide guide;
  gcop_embedder embedder;

 private:
  explicit Instance(const Settings &settings) : settings_(settings) {}
  Learner &trainer();
  struct Loaded {  // as in Version
    std::shared_ptr<Arena> arena;
    std::shared_ptr<const Arena> base;
    std::shared_ptr<Arena> adapter;
  };
  Result<> check_vocabulary(const std::vector<std::string> &found, const std::string &dir) const;
  Result<Loaded> read_model(const std::string &dir);
  Result<Loaded> read_adapter(const std::string &dir, const Arena *merged);

  Settings settings_;
  Config config_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::string template_source_;
  std::unique_ptr<ChatTemplate> template_;
  std::string identity_, info_;
  std::unique_ptr<Lora> lora_;              // or null
  std::shared_ptr<device::Device> device_;  // or null: the CPU
  std::unique_ptr<Learner> trainer_;        // made by the first call that needs it
  std::unique_ptr<Engine> engine_;          // last: its thread ends first
};

gcop_core core_table();
gcop_guide guide_table();
gcop_embedder embedder_table(int64_t hidden);

// What the C functions share.
inline Instance &from(gcop_instance *raw) { return *reinterpret_cast<Instance *>(raw); }
inline gcop_str view(const std::string &s) { return {s.data(), s.size()}; }
inline std::string text(gcop_str s) { return s.ptr ? std::string(s.ptr, s.len) : std::string(); }
void write_error(gcop_error *out, gcop_status status, const std::string &message) noexcept;

// Posts a job whose body gives a Result<T>; answer(status, message, const T *) is called once.
template <class T, class Body, class Answer>
void post_job(Instance &instance, const gcop_op *op, std::string writes, Body body, Answer answer) {
  Job job;
  job.op = op;
  job.writes = std::move(writes);
  job.run = [body, answer] {
    std::optional<Result<T>> result;
    try {
      result.emplace(body());
    } catch (...) {
      result.emplace(current_exception_error());
    }
    if (*result)
      answer(GCOP_OK, std::string(), &result->value());
    else
      answer(static_cast<gcop_status>(result->error().code), result->error().message, nullptr);
  };
  job.refuse = [answer](gcop_status status, const std::string &why) {
    answer(status, why, static_cast<const T *>(nullptr));
  };
  instance.engine().post(std::move(job));
}

}  // namespace gcop::guide_torch
