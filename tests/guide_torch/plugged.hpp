// The guide_torch plugin as a host sees it: loaded from bin/plugins, called through the C interfaces, every
// asynchronous call waited for. What these tests drive; nothing of the engine is linked in.
#pragma once
#include <dlfcn.h>
#include <doctest/doctest.h>
#include <gcop/plugin.h>

#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace plugged {

inline gcop_str view(const std::string &s) { return {s.data(), s.size()}; }
inline std::string text(gcop_str s) { return s.ptr ? std::string(s.ptr, s.len) : std::string(); }

inline const gcop_host *host() {
  static const gcop_host h = {sizeof(gcop_host),
                              GCOP_ABI_MAJOR,
                              GCOP_ABI_MINOR,
                              [](const gcop_host *, int32_t, gcop_str) {},
                              [](const gcop_host *, void (*fn)(void *), void *arg) { fn(arg); },
                              [](const gcop_host *, const char *) -> const void * { return nullptr; }};
  return &h;
}

inline const gcop_plugin *plugin() {
  static const gcop_plugin *const loaded = [] {
    void *lib = dlopen(GCOP_BIN_DIR "/plugins/guide_torch.gcop.so", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!lib) throw std::runtime_error(dlerror());
    return reinterpret_cast<gcop_plugin_entry_fn>(dlsym(lib, "gcop_plugin_entry"))(GCOP_ABI_MAJOR, GCOP_ABI_MINOR);
  }();
  return loaded;
}

// A pending call; its first member is the op, so that done() finds its way back.
struct Pending {
  gcop_op op{};
  std::atomic<bool> cancel{false};
  std::mutex mutex;
  std::condition_variable changed;
  int answers = 0;
  std::function<void()> in_done;  // runs inside the callback
  Pending() {
    static std::atomic<uint64_t> ids{1};
    op.struct_size = sizeof op;
    op.id = ids++;
    op.cancelled = [](const gcop_op *o) { return reinterpret_cast<const Pending *>(o)->cancel ? 1 : 0; };
  }
  static Pending &of(const gcop_op *op) { return *reinterpret_cast<Pending *>(const_cast<gcop_op *>(op)); }
  void answered() {
    if (in_done) in_done();
    std::lock_guard lock(mutex);
    ++answers;
    changed.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return answers > 0; });
  }
};

struct Rollout : Pending {
  gcop_status status = -1;
  std::string error, text;
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;
  uint64_t version = 0;
  uint32_t finish = 0, reused = 0;
  // The request's own data, which must live until done.
  std::vector<int32_t> prompt;
  std::string weights;
  std::vector<std::string> stop;
  std::vector<gcop_str> stop_views;
};

struct Ask {
  uint32_t max_tokens = 16;
  float temperature = 0, top_p = 1;
  uint32_t top_k = 0;
  uint64_t seed = 1;
  std::string weights;
  std::vector<std::string> stop;
};

struct Trained {
  gcop_status status = -1;
  std::string error;
  gcop_train_result result{};
};

struct Batch {  // ragged training data
  std::vector<uint64_t> offsets = {0};
  std::vector<int32_t> tokens;
  std::vector<uint8_t> mask;
  std::vector<float> old_logprobs, ref_logprobs, advantages;
  void add(const std::vector<int32_t> &prompt, const std::vector<int32_t> &completion) {
    for (int32_t t : prompt) tokens.push_back(t), mask.push_back(0);
    for (int32_t t : completion) tokens.push_back(t), mask.push_back(1);
    offsets.push_back(tokens.size());
  }
  gcop_train_request request(const gcop_loss_options &loss) const {  // while both live
    gcop_train_request q{};
    q.struct_size = sizeof q;
    q.n = offsets.size() - 1;
    q.offsets = offsets.data();
    q.tokens = tokens.data();
    q.mask = mask.data();
    q.old_logprobs = old_logprobs.empty() ? nullptr : old_logprobs.data();
    q.ref_logprobs = ref_logprobs.empty() ? nullptr : ref_logprobs.data();
    q.advantages = advantages.empty() ? nullptr : advantages.data();
    q.loss = &loss;
    return q;
  }
};

struct Plain {
  gcop_status status = -1;
  std::string error;
};

class Model {
 public:
  explicit Model(const std::string &config) {
    gcop_error error{};
    error.struct_size = sizeof error;
    raw = plugin()->create(host(), view(config), &error);
    if (!raw) throw std::runtime_error(error.message);
    guide = static_cast<const gcop_guide *>(plugin()->query(raw, GCOP_GUIDE));
    core = static_cast<const gcop_core *>(plugin()->query(raw, GCOP_CORE));
    embedder = static_cast<const gcop_embedder *>(plugin()->query(raw, GCOP_EMBEDDER));
  }
  ~Model() {
    if (raw) plugin()->destroy(raw);
  }
  Model(const Model &) = delete;
  Model &operator=(const Model &) = delete;

  std::vector<int32_t> encode(const std::string &s) const {
    std::vector<int32_t> out;
    gcop_error error{};
    error.struct_size = sizeof error;
    REQUIRE(guide->encode(raw, view(s), take_tokens, &out, &error) == GCOP_OK);
    return out;
  }
  std::string decode(const std::vector<int32_t> &tokens) const {
    std::string out;
    gcop_error error{};
    error.struct_size = sizeof error;
    REQUIRE(guide->decode(
                raw, tokens.data(), tokens.size(),
                [](void *ctx, gcop_str s) { *static_cast<std::string *>(ctx) = plugged::text(s); }, &out,
                &error) == GCOP_OK);
    return out;
  }
  std::vector<int32_t> render(const std::string &messages) const {
    std::vector<int32_t> out;
    gcop_error error{};
    error.struct_size = sizeof error;
    REQUIRE_MESSAGE(guide->render(raw, view(messages), take_tokens, &out, &error) == GCOP_OK, error.message);
    return out;
  }

  std::unique_ptr<Rollout> start(std::vector<int32_t> prompt, const Ask &ask,
                                 std::unique_ptr<Rollout> r = nullptr) const {
    if (!r) r = std::make_unique<Rollout>();
    r->prompt = std::move(prompt);
    r->weights = ask.weights;
    r->stop = ask.stop;
    for (const std::string &s : r->stop) r->stop_views.push_back(view(s));
    gcop_sample_request q{};
    q.struct_size = sizeof q;
    q.max_tokens = ask.max_tokens;
    q.weights = view(r->weights);
    q.prompt = r->prompt.data();
    q.prompt_len = r->prompt.size();
    q.temperature = ask.temperature;
    q.top_p = ask.top_p;
    q.top_k = ask.top_k;
    q.seed = ask.seed;
    q.n_stop = static_cast<uint32_t>(r->stop_views.size());
    q.stop = r->stop_views.data();
    guide->submit(raw, &q, &r->op, [](const gcop_op *op, const gcop_rollout *out) {
      auto &me = static_cast<Rollout &>(Pending::of(op));
      me.status = out->status;
      me.error = plugged::text(out->error);
      me.text = plugged::text(out->text);
      me.tokens.assign(out->tokens, out->tokens + out->n);
      me.logprobs.assign(out->logprobs, out->logprobs + out->n);
      me.version = out->weights_version;
      me.finish = out->finish;
      me.reused = out->reused;
      me.answered();
    });
    return r;
  }
  std::unique_ptr<Rollout> sample(const std::vector<int32_t> &prompt, const Ask &ask) const {
    auto r = start(prompt, ask);
    r->wait();
    return r;
  }

  Plain score(const std::vector<std::vector<int32_t>> &sequences, std::vector<float> *out,
              const std::string &weights = {}) const {
    std::vector<uint64_t> offsets = {0};
    std::vector<int32_t> tokens;
    for (const auto &s : sequences) tokens.insert(tokens.end(), s.begin(), s.end()), offsets.push_back(tokens.size());
    struct Scoring : Pending {
      Plain plain;
      std::vector<float> values;
    } p;
    gcop_score_request q{sizeof q, 0, view(weights), sequences.size(), offsets.data(), tokens.data()};
    guide->score(raw, &q, &p.op, [](const gcop_op *op, gcop_status status, gcop_str error, const float *v, size_t n) {
      auto &me = static_cast<Scoring &>(Pending::of(op));
      me.plain = {status, plugged::text(error)};
      if (v) me.values.assign(v, v + n);
      me.answered();
    });
    p.wait();
    *out = p.values;
    return p.plain;
  }

  static gcop_loss_options nll() {
    gcop_loss_options o{};
    o.struct_size = sizeof o;
    return o;
  }
  static gcop_loss_options policy() {
    gcop_loss_options o = nll();
    o.objective = GCOP_OBJECTIVE_POLICY;
    o.clip_low = 0.2f;
    o.clip_high = 0.28f;
    o.max_len = 32;
    return o;
  }
  static gcop_optimizer_options adamw(float lr) {
    return {sizeof(gcop_optimizer_options), lr, 0.9f, 0.999f, 1e-8f, 0, 1, 0};
  }

  Trained train(const Batch &b, const gcop_loss_options &loss, const gcop_optimizer_options &optimizer,
                uint64_t expect = 0) const {
    struct Training : Pending {
      Trained out;
    } p;
    gcop_train_request q = b.request(loss);
    q.expect_version = expect;
    q.optimizer = &optimizer;
    guide->train(raw, &q, &p.op, [](const gcop_op *op, const gcop_train_result *r) {
      auto &me = static_cast<Training &>(Pending::of(op));
      me.out = {r->status, plugged::text(r->error), *r};
      me.answered();
    });
    p.wait();
    return p.out;
  }

  Plain copy(const std::string &a, const std::string &b) const {
    return plain([&](const gcop_op *op, gcop_done done) { guide->copy(raw, view(a), view(b), op, done); });
  }
  Plain drop(const std::string &a) const {
    return plain([&](const gcop_op *op, gcop_done done) { guide->drop(raw, view(a), op, done); });
  }
  Plain save(const std::string &name, const std::string &dir, uint32_t flags = 0) const {
    return plain([&](const gcop_op *op, gcop_done done) { guide->save(raw, view(name), view(dir), flags, op, done); });
  }
  Plain load(const std::string &name, const std::string &dir) const {
    return plain([&](const gcop_op *op, gcop_done done) { guide->load(raw, view(name), view(dir), op, done); });
  }

  gcop_instance *raw = nullptr;
  const gcop_guide *guide = nullptr;
  const gcop_core *core = nullptr;
  const gcop_embedder *embedder = nullptr;

 private:
  static void take_tokens(void *ctx, const int32_t *tokens, size_t n) {
    static_cast<std::vector<int32_t> *>(ctx)->assign(tokens, tokens + n);
  }
  template <class Start>
  static Plain plain(Start start) {
    struct Waiting : Pending {
      Plain out;
    } p;
    start(&p.op, [](const gcop_op *op, gcop_status status, gcop_str error) {
      auto &me = static_cast<Waiting &>(Pending::of(op));
      me.out = {status, plugged::text(error)};
      me.answered();
    });
    p.wait();
    return p.out;
  }
};

inline const std::string kTiny =
    R"({"random":{"layers":2,"hidden":64,"heads":4,"kv_heads":2,"intermediate":128,"context":512},"seed":7,"threads":2})";

// The same model on the device's path, run on the CPU. Its keys and values are cleared at the start: a few will do.
inline std::string on_device(const std::string &config, const std::string &compute,
                             const std::string &device = "cpu_reference") {
  return config.substr(0, config.size() - 1) + R"(,"device":")" + device + R"(","compute":")" + compute +
         R"(","kv_bytes":8388608})";
}

// A folder of this test's own, gone at its end.
struct TempDir {
  std::string path;
  TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "gcop-guide-XXXXXX").string();
    path = mkdtemp(name.data());
  }
  ~TempDir() { std::filesystem::remove_all(path); }
};

// A real model's file, or "" where this machine has none.
inline std::string find_model(const std::string &name, const std::string &file, const std::string &short_name) {
  std::vector<std::string> places;
  if (const char *dir = std::getenv("GCOP_TEST_MODELS"))
    places = {std::string(dir) + "/" + file, std::string(dir) + "/" + short_name};
  const char *home = std::getenv("GCOP_HOME"), *user = std::getenv("HOME");
  const std::string cache = home ? home : std::string(user ? user : "") + "/.cache/gcop";
  places.push_back(cache + "/models/" + name + "/" + file);
  for (const std::string &path : places)
    if (std::filesystem::exists(path)) return path;
  return {};
}

}  // namespace plugged
