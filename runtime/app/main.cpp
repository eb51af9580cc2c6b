// gcop-run: parses the command line, runs a recipe on the run strand (this thread), says how it ended.
#include <fcntl.h>
#include <unistd.h>
#include <csignal>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <thread>

#include <fmt/format.h>

#include "app/doctor.hpp"
#include "app/run_folder.hpp"
#include "app/settings.hpp"
#include "base/log.hpp"
#include "lua/api.hpp"
#include "lua/host.hpp"
#include "validator/sandbox/sandbox.hpp"

namespace {

namespace fs = std::filesystem;
using gcop::lua::Outcome;

int signal_pipe[2] = {-1, -1};

void on_signal(int) {
  char byte = 1;
  if (write(signal_pipe[1], &byte, 1) < 0) return;  // full: the first one is on its way
}

// Signals become posts to the strand. The second one ends the process at once: what was finished is in the store.
class Signals {
 public:
  explicit Signals(std::function<void()> interrupt) {
    if (pipe2(signal_pipe, O_CLOEXEC) != 0) return;
    thread_ = std::thread([interrupt = std::move(interrupt)] {
      char byte = 0;
      for (int count = 0; read(signal_pipe[0], &byte, 1) == 1 && byte == 1;) {
        if (++count > 1) _exit(Outcome::interrupted);
        interrupt();
      }
    });
    struct sigaction action {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
    signal(SIGPIPE, SIG_IGN);
  }
  ~Signals() {
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    char byte = 0;
    if (thread_.joinable() && write(signal_pipe[1], &byte, 1) == 1) thread_.join();
  }

 private:
  std::thread thread_;
};

int emit(const std::string &dir, const std::string &manual) {
  auto write_file = [](const fs::path &path, const std::string &text) {
    std::error_code ec;
    if (path.has_parent_path()) fs::create_directories(path.parent_path(), ec);
    std::ofstream out(path, std::ios::binary);
    out << text;
    out.close();
    if (!out) fmt::print(stderr, "gcop-run: cannot write {}\n", path.string());
    return static_cast<bool>(out);
  };
  bool ok = true;
  if (!dir.empty())
    for (auto *module : gcop::lua::modules())
      ok = write_file(fs::path(dir) / (std::string(module->name) + ".lua"), gcop::lua::meta_file(*module)) && ok;
  if (!manual.empty()) ok = write_file(manual, gcop::lua::manual()) && ok;
  return ok ? Outcome::done : Outcome::failed;
}

int refuse(gcop::lua::Console &console, const gcop::Error &error) {
  console.end(Outcome::wrong, "", "gcop-run: " + error.text());
  return Outcome::wrong;
}

// What to add to --resume after an empty budget. Only options called budget_... may change without --accept-changes.
std::string raising(const std::vector<gcop::lua::OptionRow> &options) {
  std::string budgets;
  for (const auto &option : options)
    if (option.name.starts_with("budget_"))
      budgets += fmt::format("{}--set {}=MORE", budgets.empty() ? " " : " or ", option.name);
  if (!budgets.empty()) return budgets;
  if (options.empty()) return " --accept-changes, once the recipe sets a larger budget";
  return " --set NAME=MORE --accept-changes, NAME being the option that the recipe's budget comes from";
}

int run(gcop::app::CommandLine line) {
  gcop::lua::Console console({line.quiet, line.json});
  line.run.root = gcop::app::find_root();
  line.run.device = gcop::app::device_name();

  if (std::error_code ec; !fs::exists(line.run.recipe, ec) && fs::exists(fs::path(line.run.root) / line.run.recipe, ec))
    line.run.recipe = (fs::path(line.run.root) / line.run.recipe).string();
  std::shared_ptr<gcop::store::Store> store;
  if (!line.resume.empty()) {
    auto resumed = gcop::app::resume_run_folder(line);
    if (!resumed) return refuse(console, resumed.error());
    store = *resumed;
  }
  gcop::Loop loop(std::max(4u, std::thread::hardware_concurrency()));
  auto sandbox = gcop::sandbox::Sandbox::make();
  gcop::plugin::Registry registry(loop, gcop::plugin::default_search_path());
  if (sandbox)
    registry.offer(GCOP_HOST_SANDBOX, (*sandbox)->service());
  else
    gcop::log_warn("no sandbox: " + sandbox.error().text());

  Outcome outcome;
  std::string raise_budget;  // what --resume takes so that the run goes on
  {
    gcop::lua::Host host(loop, registry, console, line.run);
    if (auto loaded = host.load(); !loaded) return refuse(console, loaded.error());
    if (!store && !line.run.checking && !line.run.planning) {
      auto made = gcop::app::make_run_folder(line);
      if (!made) return refuse(console, made.error());
      store = *made;
    }
    host.out_dir(line.run.out_dir);
    if (store) gcop::log_info((line.resume.empty() ? "run " : "resuming ") + line.run.out_dir);
    Signals signals([poster = loop.poster(), &host] { poster.post([&host] { host.interrupt(); }); });
    host.start(store, [&](Outcome how) {
      outcome = std::move(how);
      raise_budget = raising(host.options());
      loop.stop();
    });
    loop.run();
  }
  if (outcome.code == Outcome::wrong && store) {  // a mistake is no run; nor does it change one
    if (!line.resume.empty()) (void)store->set_meta("set", line.set_before);
    store.reset();
    if (line.resume.empty()) gcop::app::remove_run_folder(line);
  }
  if (store && outcome.code != Outcome::done && outcome.code != Outcome::wrong)
    outcome.message += fmt::format("\nresume with: {} --resume {}{}", gcop::app::program_name(), line.run.out_dir,
                                   outcome.code == Outcome::budget ? raise_budget : "");
  console.end(outcome.code, line.run.out_dir, outcome.message);
  return outcome.code;
}

}  // namespace

int main(int argc, char **argv) {
  try {
    auto parsed = gcop::app::parse(argc, argv);
    if (parsed.exit_code >= 0) return parsed.exit_code;
    auto &line = parsed.line;
    if (!line.emit_meta.empty() || !line.emit_manual.empty()) return emit(line.emit_meta, line.emit_manual);
    if (line.doctor) return gcop::app::doctor(line);
    return run(std::move(line));
  } catch (const std::exception &e) {
    fmt::print(stderr, "gcop-run: {}\n", e.what());
    return Outcome::failed;
  }
}
