#include "app/doctor.hpp"

#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <thread>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/log.hpp"
#include "models/models.hpp"
#include "plugin/plugin.hpp"
#include "validator/sandbox/group.hpp"
#include "validator/sandbox/sandbox.hpp"

namespace gcop::app {
namespace {

namespace fs = std::filesystem;
enum class State { ok, missing, absent };  // absent: recipes can do without it

struct Check {
  std::string name;
  State state;
  std::string text;
};

double gib(double bytes) { return bytes / (1u << 30); }

void machine(std::vector<Check> &out) {
  out.push_back({"processor", State::ok, device_name()});
  double memory = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGE_SIZE));
  out.push_back(
      {"memory", gib(memory) > 10.5 ? State::ok : State::missing,
       fmt::format("{:.1f} GiB{}", gib(memory), gib(memory) > 10.5 ? "" : "; exectune_code.lua takes 10 GiB (quick)")});
  struct statvfs disk {};
  if (statvfs(".", &disk) == 0) {
    double free = static_cast<double>(disk.f_bavail) * static_cast<double>(disk.f_frsize);
    out.push_back({"disk", free > 4e9 ? State::ok : State::missing,
                   fmt::format("{:.1f} GiB free here{}", gib(free), free > 4e9 ? "" : "; a run wants 4 GB")});
  }
}

std::string find_program(const std::string &name) {
  std::string path = std::getenv("PATH") ? std::getenv("PATH") : "";
  for (size_t start = 0; start <= path.size();) {
    auto end = std::min(path.find(':', start), path.size());
    auto file = path.substr(start, end - start) + "/" + name;
    if (access(file.c_str(), X_OK) == 0) return file;
    start = end + 1;
  }
  return {};
}

void programs(std::vector<Check> &out) {
  auto python = find_program("python3");
  out.push_back({"python3", python.empty() ? State::missing : State::ok,
                 python.empty() ? "not found; install python3: validator 'python' runs unit tests with it" : python});
  auto sandbox = sandbox::Sandbox::make();
  auto works = sandbox ? (*sandbox)->probe() : Result<>(sandbox.error());
  out.push_back({"sandbox", works ? State::ok : State::missing,
                 works ? fmt::format("a cell ran behind namespaces and a seccomp filter{}{}",
                                     syscall(SYS_landlock_create_ruleset, nullptr, 0, 1u) > 0
                                         ? " and Landlock"
                                         : "; this kernel has no Landlock, one fence fewer",
                                     sandbox::Group::make().there()
                                         ? ", in a control group"
                                         : "; we may make no control groups here: the kernel bounds each process's "
                                           "memory, we look at a check's every 50 ms")
                       : works.error().text()});
}

// Whether a tiny guide can be made on a GPU: the driver, LibTorch's CUDA half and the kernels in one question.
void device(Loop &loop, plugin::Registry &registry, const plugin::Plugin &guide, std::vector<Check> &out) {
  registry.create(
      guide, R"({"random":{},"device":"cuda"})",
      [&](Result<std::shared_ptr<plugin::Instance>> made) {
        out.push_back(
            {"device cuda", made ? State::ok : State::absent,
             made ? "a guide was made on it; its speed and results have not been measured" : made.error().text()});
        loop.stop();
      },
      60'000);
  loop.run();
}

void plugins(std::vector<Check> &out) {
  Loop loop(1);
  plugin::Registry registry(loop, plugin::default_search_path());
  for (const char *name : {"guide_torch", "core_http", "core_replay", "validator_python", "validator_math"}) {
    auto opened = registry.open(name);
    out.push_back({fmt::format("plugin {}", name), opened ? State::ok : State::missing,
                   opened ? fmt::format("{} {}: {}", opened->descriptor->id, opened->descriptor->version,
                                        opened->descriptor->summary)
                          : opened.error().text()});
    if (std::string_view(name) == "guide_torch" && opened) device(loop, registry, *opened, out);
  }
}

void models(std::vector<Check> &out) {
  models::Options options;
  options.offline = true;
  auto catalogue = models::default_catalogue();
  if (catalogue.empty()) catalogue = find_root() + "/recipes/models.toml";
  options.catalogue = catalogue;
  auto entries = models::read_catalogue(catalogue);
  if (!entries) return out.push_back({"models", State::missing, entries.error().text()});
  for (const auto &entry : *entries) {
    auto path = models::find_local(entry.name, options);
    out.push_back({"model " + entry.name, path ? State::ok : State::absent,
                   path ? fmt::format("{:.0f} MB, {}", static_cast<double>(entry.bytes) / 1e6, *path)
                        : fmt::format("not here; {:.0f} MB are fetched when a recipe asks for it",
                                      static_cast<double>(entry.bytes) / 1e6)});
  }
}

void keys(std::vector<Check> &out) {
  for (const char *name : {"OPENAI_API_KEY"}) {
    const char *value = std::getenv(name);
    bool set = value && *value;
    out.push_back({fmt::format("key {}", name), set ? State::ok : State::absent,
                   set ? "set" : "not set; only API cores need it"});
  }
}

}  // namespace

int doctor(const CommandLine &line) {
  set_log_level(Level::error);
  std::vector<Check> checks;
  machine(checks);
  programs(checks);
  plugins(checks);
  models(checks);
  keys(checks);
  bool missing = false;
  for (const auto &check : checks) {
    static constexpr const char *kNames[] = {"ok", "MISSING", "-"};
    const char *state = kNames[static_cast<int>(check.state)];
    missing = missing || check.state == State::missing;
    if (line.json)
      fmt::print("{}\n", nlohmann::json{{"check", check.name},
                                        {"state", check.state == State::absent ? "absent"
                                                  : check.state == State::ok   ? "ok"
                                                                               : "missing"},
                                        {"text", check.text}}
                             .dump());
    else
      fmt::print("{:<36} {:<8} {}\n", check.name, state, check.text);
  }
  if (!line.json)
    fmt::print("{}\n", missing ? "something that recipes need is missing" : "everything that recipes need is here");
  return missing ? lua::Outcome::failed : lua::Outcome::done;
}

}  // namespace gcop::app
