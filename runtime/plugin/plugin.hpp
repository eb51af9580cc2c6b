// Loads plugins and makes instances of them. Registry lives on the run strand and outlives nothing: instances keep
// what they need alive themselves. Handles (core, validator, guide) share an Instance; calls go through pending.hpp.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <gcop/plugin.h>

#include "base/loop.hpp"
#include "base/result.hpp"

namespace gcop::plugin {

// A loaded shared object; never unloaded (threads of a plugin may outlive its last instance).
struct Plugin {
  std::string path;
  const gcop_plugin *descriptor = nullptr;
};

// One instance. Destroyed on the last reference, after every op has been answered (an op that never was keeps it
// alive for ever, because the plugin may still be at it). [any] for interface().
class Instance {
 public:
  Instance(std::shared_ptr<const gcop_host> host, Plugin plugin, gcop_instance *raw);
  ~Instance();  // waits up to 10 s for the plugin's destroy(), then leaves it behind with a warning
  Instance(const Instance &) = delete;
  Instance &operator=(const Instance &) = delete;
  gcop_instance *raw() const { return raw_; }
  const Plugin &plugin() const { return plugin_; }
  const void *interface(const char *id) const;  // nullptr if it has none

 private:
  std::shared_ptr<const gcop_host> host_;
  Plugin plugin_;
  gcop_instance *raw_;
};

// $GCOP_PLUGIN_PATH (colon-separated), then plugins/ beside the running program, then ../lib/gcop/plugins from there.
std::vector<std::string> default_search_path();

constexpr uint32_t kCreateTimeoutMs = 600'000;  // create() may read gigabytes from a slow disk

// A bare name is looked for as NAME.gcop.so in each folder of the search path; a name with a slash is a path. A file
// that exists but does not load is an error, never a silent search elsewhere.
class Registry {
 public:
  Registry(Loop &, std::vector<std::string> search_path);  // empty: default_search_path()
  ~Registry();
  Result<Plugin> open(const std::string &name_or_path);  // [run]
  // create() of the plugin may block (it loads models): runs on a thread of its own; done comes on the strand.
  // Exceptions thrown by create are turned into an Error that names the plugin. A create() that has not returned
  // after timeout_ms is a Code::timeout; an instance it makes later is destroyed at once.
  void create(const Plugin &, const std::string &config_json,
              std::function<void(Result<std::shared_ptr<Instance>>)> done,
              uint32_t timeout_ms = kCreateTimeoutMs);  // [run]
  // Host services for plugins, by id ("gcop.host.sandbox/1"). The service outlives every instance.
  void offer(const std::string &id, const void *service);  // [run] before the first create
  const void *offered(const std::string &id) const;        // [run] nullptr if it is not
  std::vector<std::string> available() const;              // names found on the search path

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

inline gcop_str view(const std::string &s) { return {s.data(), s.size()}; }
inline std::string text(gcop_str s) { return s.ptr ? std::string(s.ptr, s.len) : std::string(); }

// "plugin 'org.gcop.core_http'", as messages name it.
std::string who(const Plugin &);

}  // namespace gcop::plugin
