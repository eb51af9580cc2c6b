#include "lua/host.hpp"

#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "base/hash.hpp"
#include "lua/api.hpp"
#include "lua/bind.hpp"
#include "models/models.hpp"

namespace gcop::lua {
namespace fs = std::filesystem;
namespace {

constexpr size_t kWindow = 100, kMaxFailed = 10;  // calls, DESIGN section 4
constexpr auto kPoll = std::chrono::milliseconds(20);
constexpr int kRounds = 250;  // of polling for cancelled calls: 5 s

}  // namespace

Host &host_of(lua_State *L) { return **static_cast<Host **>(lua_getextraspace(L)); }
Scheduler &scheduler_of(lua_State *L) { return host_of(L).scheduler(); }

struct Host::Shared {
  std::weak_ptr<plugin::Instance> instance;
  std::vector<Made> waiting;
};

Host::Host(Loop &loop, plugin::Registry &registry, Console &console, Settings settings)
    : loop_(loop), registry_(registry), console_(console), settings_(std::move(settings)) {
  StateOptions options;
  options.memory_cap = settings_.memory_cap;
  options.seed = settings_.seed;
  options.root = settings_.root;
  options.folders = {fs::path(settings_.recipe).parent_path().string(), settings_.root + "/recipes",
                     settings_.root + "/scripts"};
  if (options.folders[0].empty()) options.folders[0] = ".";
  state_ = std::make_unique<State>(options, this);
  state_->on_print = [this](const std::string &text) { console_.print(text); };
  state_->on_load = [this](const std::string &path, const std::string &text) { remember_source(path, text); };
  lua_State *L = state_->get();
  scheduler_ = std::make_shared<Scheduler>(
      L, [this](std::function<void()> fn) { loop_.post(std::move(fn)); }, [this](bool on) { state_->in_recipe(on); });
  scheduler_->on_idle([this] { idle(); });
  register_api(L);
}

Host::~Host() {
  scheduler_->close();
  main_.reset();
  unobserved_.clear();
  state_->close();
}

void Host::remember_source(const std::string &path, const std::string &text) {
  sources_[state_->chunk_name(path).substr(1)] = sha256(text);
}

Result<> Host::load() { return state_->load_file(state_->get(), settings_.recipe); }

void Host::start(std::shared_ptr<store::Store> store, std::function<void(Outcome)> done) {
  store_ = std::move(store);
  if (store_) store_->commit_by_turn(loop_);
  done_ = std::move(done);
  lua_State *L = state_->get();
  lua_getglobal(L, "gcop");
  lua_createtable(L, static_cast<int>(settings_.args.size()), 0);
  for (size_t i = 0; i < settings_.args.size(); ++i) {
    push(L, settings_.args[i]);
    lua_rawseti(L, -2, static_cast<lua_Integer>(i + 1));
  }
  lua_setfield(L, -2, "args");
  set(L, "profile", settings_.profile);
  set(L, "seed", settings_.seed);
  set(L, "device", settings_.device);
  set(L, "out_dir", settings_.out_dir);
  set(L, "planning", settings_.planning);
  set(L, "checking", settings_.checking);
  lua_pop(L, 1);
  if (state_->find_module("gcop.init").empty()) return start_main();
  register_checked(L);
  lua_getglobal(L, "require");
  push(L, "gcop.init");
  auto init = scheduler_->start(L, 1);
  std::weak_ptr<Fiber> weak = init;
  init->on_end([this, weak] {
    auto task = weak.lock();
    if (task->state() == Fiber::State::done)
      start_main();
    else
      end(outcome_of(*task));
  });
}

void Host::start_main() {
  lua_State *L = state_->get();  // the chunk that load() left is on its stack
  for (const auto &arg : settings_.args) push(L, arg);
  main_ = scheduler_->start(L, static_cast<int>(settings_.args.size()));
  main_->on_end([this] {
    if (main_->state() == Fiber::State::failed) end(outcome_of(*main_));
  });
}

Outcome Host::outcome_of(const Fiber &task) const {
  const Failure &failure = task.failure();
  lua_State *L = state_->get();
  task.push_failure(L);
  auto error = to_error(L, -1);
  lua_pop(L, 1);
  Outcome out{settled_ ? Outcome::failed : Outcome::wrong, failure.text};
  if (error && error->retryable()) out.code = Outcome::failed;
  const bool stopped = error && error->code == Code::exhausted;  // disk, memory or budget: nobody's line of Lua
  if (stopped) {
    out.code = refused_.empty() ? Outcome::failed : Outcome::budget;
    out.message = error->text();
  } else if (failure.text.find("stack traceback:") == std::string::npos) {
    out.message += "\n" + failure.traceback;
  }
  return out;
}

// Nothing is ready and nothing is pending: the run is over, or its tasks wait for each other.
void Host::idle() {
  if (outcome_) return;
  if (scheduler_->live() > 0)
    return end(
        {Outcome::failed, "deadlock: every task waits for another task, and nothing else is going on; they wait at " +
                              scheduler_->positions()});
  if (!main_ || !main_->ended()) return;
  if (!settle()) return;
  for (const auto &task : unobserved_)
    if (!task->observed) return end({Outcome::failed, "a spawned task failed: " + task->failure().text});
  if (!refused_.empty()) return end({Outcome::budget, refused_});
  if (all_calls_ > 0 && failed_calls_ == all_calls_)
    return end({Outcome::failed, fmt::format("none of {} calls succeeded; the last: {}", all_calls_, last_failure_)});
  end({Outcome::done, settings_.checking ? "check: ok" : ""});
}

void Host::end(Outcome outcome) {
  if (outcome_) return;
  outcome_ = std::move(outcome);
  *ending_ = true;
  scheduler_->stop();
  loop_.post([this] {
    scheduler_->cancel_all();
    await_pending(kRounds);
  });
}

void Host::await_pending(int rounds) {
  if (scheduler_->pending() > 0 && rounds > 0) {
    loop_.after(kPoll, [this, rounds] { await_pending(rounds - 1); });
    return;
  }
  save_meta();
  if (settings_.planning && outcome_->code == Outcome::done) console_.print(plan_table());
  if (done_) std::exchange(done_, nullptr)(*outcome_);
}

std::string Host::plan_table() const {
  if (plan_.empty()) return "plan: this recipe does not say what it expects to call";
  std::string out = fmt::format("{:<20} {:<10} {:>8} {:>12} {:>12} {:>10} {:>9}\n", "stage", "role", "calls",
                                "tokens in", "tokens out", "USD", "minutes");
  PlanRow sum{"all", "", 0, 0, 0, 0, 0};
  auto line = [&](const PlanRow &r) {
    return fmt::format("{:<20} {:<10} {:>8.0f} {:>12.0f} {:>12.0f} {:>10.4f} {:>9.1f}", r.stage, r.role, r.calls,
                       r.tokens_in, r.tokens_out, r.usd, r.seconds / 60);
  };
  for (const auto &r : plan_) {
    out += line(r) + "\n";
    sum.calls += r.calls, sum.tokens_in += r.tokens_in, sum.tokens_out += r.tokens_out, sum.usd += r.usd,
        sum.seconds += r.seconds;
  }
  return out + line(sum);
}

bool Host::settle() {
  if (settled_) return true;
  std::string unknown, known;
  for (const auto &[key, value] : settings_.set) {
    bool declared = false;
    for (const auto &row : options_) declared = declared || row.name == key;
    if (!declared) unknown += (unknown.empty() ? "'" : ", '") + key + "'";
  }
  if (!unknown.empty()) {
    for (const auto &row : options_) known += fmt::format("\n  {} = {}  {}", row.name, dump_json(row.value), row.doc);
    end({Outcome::wrong, fmt::format("{}: --set of {}, which this recipe does not declare; it has{}", settings_.recipe,
                                     unknown, known.empty() ? " no options" : ":" + known)});
    return false;
  }
  settled_ = true;
  if (store_ && settings_.resumed > 0)
    if (auto kept = store_->set_meta("resumed", std::to_string(settings_.resumed)); !kept) {
      end({Outcome::failed, kept.error().text()});
      return false;
    }
  save_meta();
  return true;
}

void Host::save_meta() {
  if (!store_) return;
  nlohmann::json options = nlohmann::json::object();
  for (const auto &row : options_) options[row.name] = row.value;
  for (const auto &[key, value] :
       {std::pair{"options", options}, {"sources", nlohmann::json(sources_)}, {"plugins", nlohmann::json(plugins_)}})
    if (auto kept = store_->set_meta(key, dump_json(value)); !kept) return end({Outcome::failed, kept.error().text()});
}

void Host::unobserved(std::shared_ptr<Fiber> task) {
  log_warn("a spawned task failed: " + task->failure().text);
  unobserved_.push_back(std::move(task));
}

void Host::count_call(const Error *error) {
  if (error && error->code == Code::cancelled) return;
  ++all_calls_;
  calls_.push_back(error);
  if (error) {
    ++failed_calls_;
    last_failure_ = error->text();
  }
  if (calls_.size() > kWindow) calls_.pop_front();
  auto failed = static_cast<size_t>(std::count(calls_.begin(), calls_.end(), true));
  if (failed > kMaxFailed)
    end({Outcome::failed,
         fmt::format(
             "{} of the last {} calls failed for reasons of infrastructure, which is too many to go on; the last: {}",
             failed, calls_.size(), last_failure_)});
}

void Host::instance(const std::string &name, const std::string &config_json, Made done) {
  auto opened = registry_.open(name);
  if (!opened) return done(opened.error());
  auto &shared = instances_[opened->path + "\n" + config_json];
  if (!shared) shared = std::make_shared<Shared>();
  if (auto there = shared->instance.lock()) return done(there);
  shared->waiting.push_back(std::move(done));
  if (shared->waiting.size() > 1) return;
  // A plugin of the search path goes by its file's name, so that a run survives a move of the program.
  const bool by_path = name.find('/') != std::string::npos;
  auto file = by_path ? opened->path : fs::path(opened->path).filename().string();
  if (!plugins_.contains(file)) {
    std::ifstream in(opened->path, std::ios::binary);
    Sha256 hash;
    std::vector<char> buffer(1 << 20);
    while (in.read(buffer.data(), static_cast<std::streamsize>(buffer.size())) || in.gcount() > 0)
      hash.update(buffer.data(), static_cast<size_t>(in.gcount()));
    plugins_[file] = hash.hex();
  }
  registry_.create(*opened, config_json, [shared](Result<std::shared_ptr<plugin::Instance>> made) {
    if (made) shared->instance = *made;
    auto waiting = std::exchange(shared->waiting, {});
    for (auto &fn : waiting) fn(made);
  });
}

void Host::resolve_model(const std::string &name, std::function<void(Result<std::string>)> done) {
  models::Options options;
  options.offline = settings_.offline;
  std::error_code ec;
  if (auto catalogue = settings_.root + "/recipes/models.toml"; fs::exists(catalogue, ec))
    options.catalogue = catalogue;
  if (settings_.checking || settings_.planning) {
    auto found = models::find_local(name, options);
    if (!found && found.error().code == Code::unavailable && !settings_.offline) {
      log_info(found.error().message);  // it can be fetched
      return done(name);
    }
    return done(found);
  }
  auto &waiting = resolving_[name];
  waiting.push_back(std::move(done));
  if (waiting.size() > 1) return;
  auto bar = std::make_shared<std::shared_ptr<Console::Bar>>();
  options.cancelled = [ending = ending_] { return ending->load(); };
  auto shown = std::make_shared<uint64_t>(0);
  options.progress = [this, name, bar, shown](uint64_t count, uint64_t total) {
    if (count != total && count < *shown + total / 200) return;
    auto more = (count - *shown) >> 20;
    *shown += more << 20;
    loop_.post([this, name, bar, more, total] {
      if (!*bar) *bar = std::make_shared<Console::Bar>(console_, "fetching " + name + " (MiB)", total >> 20);
      (*bar)->add(more, "");
    });
  };
  loop_.work([this, name, options, bar] {
    auto path = models::resolve(name, options);
    loop_.post([this, name, path, bar] {
      if (*bar) (*bar)->done();
      auto answers = std::exchange(resolving_[name], {});
      for (auto &answer : answers) answer(path);
    });
  });
}

void Host::remember_input(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  std::error_code ec;
  auto below = fs::path(path).lexically_relative(settings_.root);
  const bool ours = !below.empty() && *below.begin() != ".." && below.is_relative();
  sources_[ours ? below.string() : fs::absolute(path, ec).string()] = sha256(text);
}

std::string Host::input_path(const std::string &path) const {
  std::error_code ec;
  auto below = fs::path(settings_.root) / path;
  return !fs::exists(path, ec) && fs::exists(below, ec) ? below.string() : path;
}

Result<std::string> Host::out_path(const std::string &relative) const {
  if (settings_.out_dir.empty())
    return Error{Code::unsupported, "there is no output folder under --check and --plan", {}};
  auto normal = fs::path(relative).lexically_normal();
  if (relative.empty() || normal.is_absolute() || *normal.begin() == "..")
    return invalid(
        fmt::format("'{}' leads out of the run's folder; use a relative name such as 'notes/a.txt'", relative));
  const std::string first = normal.begin()->string();
  if (relative.find('\0') != std::string::npos || first.starts_with("run.db") || first == "run.lock")
    return invalid(fmt::format("'{}' belongs to the run itself; use another name, such as 'notes/a.txt'", relative));
  return normal == "." ? settings_.out_dir : (fs::path(settings_.out_dir) / normal).string();
}

}  // namespace gcop::lua
