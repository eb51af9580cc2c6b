#include "plugin/plugin.hpp"

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <thread>

#include <dlfcn.h>

#include "base/log.hpp"
#include "base/secret.hpp"
#include "plugin/host.hpp"

namespace gcop::plugin {
namespace fs = std::filesystem;

namespace {

constexpr const char *kSuffix = ".gcop.so";
constexpr std::chrono::seconds kDestroyWait{10};
constexpr std::chrono::seconds kSlowCreate{15};  // then the user is told whom the run waits for

std::string exception_text() {  // inside a catch block
  try {
    throw;
  } catch (const std::exception &e) {
    return e.what();
  } catch (...) {
    return "an exception that is no std::exception";
  }
}

Result<Plugin> load(const std::string &path) {
  const std::string name = "plugin file '" + path + "'";
  // NODELETE: a plugin's thread may still be a few instructions from its return when the last done() has come.
  void *object = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (!object) {
    const char *why = dlerror();
    return invalid(name + " cannot be loaded: " + (why ? why : "unknown reason") +
                   "; give the path of a .gcop.so that was built for this machine");
  }
  const auto entry = reinterpret_cast<gcop_plugin_entry_fn>(dlsym(object, "gcop_plugin_entry"));
  if (!entry)
    return invalid(name + " is no gcop plugin: it does not export gcop_plugin_entry; build it with gcop_add_plugin()");
  const std::string host_abi = std::to_string(GCOP_ABI_MAJOR) + "." + std::to_string(GCOP_ABI_MINOR);
  const gcop_plugin *descriptor = nullptr;
  try {
    descriptor = entry(GCOP_ABI_MAJOR, GCOP_ABI_MINOR);
  } catch (...) {
    return Error{Code::internal, name + " threw in gcop_plugin_entry: " + exception_text(), {}};
  }
  if (!descriptor) return invalid(name + " refuses this host's ABI " + host_abi + "; rebuild it against this gcop");
  if (!GCOP_HAS(descriptor, abi_minor))
    return invalid(name + " has a descriptor of " + std::to_string(descriptor->struct_size) +
                   " bytes, too small to say its ABI; set struct_size = sizeof(gcop_plugin)");
  const bool fits =
      descriptor->abi_major == GCOP_ABI_MAJOR && (GCOP_ABI_MAJOR > 0 || descriptor->abi_minor == GCOP_ABI_MINOR);
  if (!fits)
    return invalid(name + " was built for ABI " + std::to_string(descriptor->abi_major) + "." +
                   std::to_string(descriptor->abi_minor) + ", this host has " + host_abi +
                   "; rebuild it against this gcop");
  if (!GCOP_HAS(descriptor, query) || !descriptor->id || !descriptor->create || !descriptor->destroy ||
      !descriptor->query)
    return invalid(name +
                   " has an incomplete descriptor: id, create, destroy and query must be set, and struct_size "
                   "must cover them");
  return Plugin{path, descriptor};
}

}  // namespace

std::string who(const Plugin &plugin) { return "plugin '" + std::string(plugin.descriptor->id) + "'"; }

Instance::Instance(std::shared_ptr<const gcop_host> host, Plugin plugin, gcop_instance *raw)
    : host_(std::move(host)), plugin_(std::move(plugin)), raw_(raw) {}

Instance::~Instance() {
  // On a thread of its own, so that a destroy() that hangs costs this thread a bounded wait.
  auto ended = std::make_shared<std::promise<void>>();
  std::thread thread([host = host_, plugin = plugin_, raw = raw_, ended] {
    try {
      plugin.descriptor->destroy(raw);
    } catch (...) {
      log_error(who(plugin) + " threw in destroy(): " + exception_text());
    }
    ended->set_value();
  });
  if (ended->get_future().wait_for(kDestroyWait) == std::future_status::ready) {
    thread.join();
  } else {
    log_warn(who(plugin_) + " has not returned from destroy() after 10 s and is left behind");
    thread.detach();
  }
}

const void *Instance::interface(const char *id) const {
  try {
    return plugin_.descriptor->query(raw_, id);
  } catch (...) {
    log_error(who(plugin_) + " threw in query(\"" + id + "\"): " + exception_text());
    return nullptr;
  }
}

std::vector<std::string> default_search_path() {
  std::vector<std::string> folders;
  if (const char *set = std::getenv("GCOP_PLUGIN_PATH")) {
    std::istringstream parts(set);
    for (std::string part; std::getline(parts, part, ':');)
      if (!part.empty()) folders.push_back(part);
  }
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (!error) {
    folders.push_back(program.parent_path() / "plugins");
    folders.push_back((program.parent_path() / ".." / "lib" / "gcop" / "plugins").lexically_normal());
  }
  return folders;
}

struct Registry::Impl {
  Loop &loop;
  std::vector<std::string> search_path;
  std::map<std::string, Plugin> loaded;  // by canonical path
  std::shared_ptr<Services> services = std::make_shared<Services>();
};

Registry::Registry(Loop &loop, std::vector<std::string> search_path)
    : impl_(new Impl{loop, search_path.empty() ? default_search_path() : std::move(search_path)}) {}
Registry::~Registry() = default;

Result<Plugin> Registry::open(const std::string &name_or_path) {
  std::string path;
  if (name_or_path.find('/') != std::string::npos) {
    path = name_or_path;
  } else {
    for (const std::string &folder : impl_->search_path) {
      const fs::path candidate = fs::path(folder) / (name_or_path + kSuffix);
      std::error_code error;
      if (!fs::exists(candidate, error)) continue;
      path = candidate;
      break;
    }
  }
  std::error_code error;
  const std::string canonical = path.empty() ? "" : fs::canonical(path, error).string();
  if (canonical.empty() || error) {
    std::string message = "plugin '" + name_or_path + "' is not there";
    if (path.empty()) {
      message += ": no " + name_or_path + kSuffix + " in";
      for (const std::string &folder : impl_->search_path) message += " " + folder;
      message += "; available:";
      const auto names = available();
      for (const std::string &name : names) message += " " + name;
      if (names.empty()) message += " none (set GCOP_PLUGIN_PATH)";
    } else {
      message += ": " + error.message();
    }
    return invalid(message);
  }
  if (const auto found = impl_->loaded.find(canonical); found != impl_->loaded.end()) return found->second;
  auto plugin = load(canonical);
  if (plugin) impl_->loaded.emplace(canonical, *plugin);
  return plugin;
}

void Registry::create(const Plugin &plugin, const std::string &config_json,
                      std::function<void(Result<std::shared_ptr<Instance>>)> done, uint32_t timeout_ms) {
  struct Creation {
    std::atomic<bool> settled{false};  // the thread or the deadline: whoever is first answers
    uint64_t timer = 0, notice = 0;    // strand only
    std::function<void(Result<std::shared_ptr<Instance>>)> done;
  };
  auto creation = std::make_shared<Creation>();
  creation->done = std::move(done);
  creation->timer =
      impl_->loop.after(std::chrono::milliseconds(timeout_ms), [creation, plugin, timeout_ms, loop = &impl_->loop] {
        if (creation->settled.exchange(true)) return;
        loop->cancel_timer(creation->notice);
        creation->done(Error{Code::timeout,
                             who(plugin) + " has not returned from create() after " + std::to_string(timeout_ms) +
                                 " ms; its thread is left behind",
                             {}});
      });
  creation->notice = impl_->loop.after(kSlowCreate, [creation, plugin, timeout_ms] {
    log_info(who(plugin) + " is still starting (a large model takes a while); it is given up after " +
             std::to_string(timeout_ms / 1000) + " s");
  });
  auto host = make_host(plugin.descriptor->id, impl_->loop.poster(), impl_->services);
  // A thread of its own, not a worker: a create() that never returns must not eat one of the few workers.
  std::thread([creation, plugin, config_json, host, poster = impl_->loop.poster(), loop = &impl_->loop] {
    gcop_error error{};
    error.struct_size = sizeof error;
    error.code = GCOP_OK;
    std::optional<Error> failure;
    gcop_instance *raw = nullptr;
    try {
      raw = plugin.descriptor->create(host.get(), view(config_json), &error);
    } catch (...) {
      failure = Error{Code::internal, who(plugin) + " threw in create(): " + exception_text(), {}};
    }
    if (!raw && !failure) {
      error.message[sizeof error.message - 1] = '\0';
      const bool known = error.code >= GCOP_CANCELLED && error.code <= GCOP_EXHAUSTED;
      failure = Error{known ? static_cast<Code>(error.code) : Code::internal,
                      who(plugin) + ": " + (error.message[0] ? error.message : "create() failed without a message"),
                      {}};
    }
    auto instance = raw ? std::make_shared<Instance>(host, plugin, raw) : nullptr;
    if (creation->settled.exchange(true)) {
      log_warn(who(plugin) + " returned from create() after its deadline; what it made is destroyed");
      return;
    }
    poster.post([creation, loop, instance = std::move(instance), failure = std::move(failure)] {
      loop->cancel_timer(creation->timer);
      loop->cancel_timer(creation->notice);
      if (failure)
        creation->done(redact(*failure));
      else
        creation->done(instance);
    });
  }).detach();
}

void Registry::offer(const std::string &id, const void *service) {
  const std::lock_guard lock(impl_->services->mutex);
  impl_->services->by_id[id] = service;
}

const void *Registry::offered(const std::string &id) const {
  const std::lock_guard lock(impl_->services->mutex);
  const auto found = impl_->services->by_id.find(id);
  return found == impl_->services->by_id.end() ? nullptr : found->second;
}

std::vector<std::string> Registry::available() const {
  std::set<std::string> names;
  for (const std::string &folder : impl_->search_path) {
    std::error_code error;
    for (const auto &entry : fs::directory_iterator(folder, error)) {
      const std::string file = entry.path().filename();
      if (file.ends_with(kSuffix)) names.insert(file.substr(0, file.size() - std::string(kSuffix).size()));
    }
  }
  return {names.begin(), names.end()};
}

}  // namespace gcop::plugin
