// Loads plugins and makes instances of them.
#pragma once
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

// One instance. Destroyed on the last reference, after every op has been answered. [any] for interface().
class Instance {
 public:
  Instance(std::shared_ptr<const gcop_host> host, Plugin plugin, gcop_instance *raw);
  ~Instance();
  Instance(const Instance &) = delete;
  Instance &operator=(const Instance &) = delete;
  gcop_instance *raw() const { return raw_; }
  const Plugin &plugin() const { return plugin_; }
  const void *interface(const char *id) const;   // nullptr if it has none

 private:
  std::shared_ptr<const gcop_host> host_;
  Plugin plugin_;
  gcop_instance *raw_;
};

// Search order for a bare name: $GCOP_PLUGIN_PATH, then the directory of the running program's plugins. A name with
// a slash is a path. A file that exists but does not load is an error, never a silent search elsewhere.
class Registry {
 public:
  Registry(Loop &, std::vector<std::string> search_path);
  ~Registry();
  Result<Plugin> open(const std::string &name_or_path);                     // [run]
  // create() of the plugin may block (it loads models): runs on a worker; done comes on the strand.
  // Exceptions thrown by create are turned into an Error that names the plugin.
  void create(const Plugin &, const std::string &config_json,
              std::function<void(Result<std::shared_ptr<Instance>>)> done); // [run]
  // Host services for plugins, by id ("gcop.host.sandbox/1").
  void offer(const std::string &id, const void *service);                   // [run] before the first create
  std::vector<std::string> available() const;                               // names found on the search path

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

inline gcop_str view(const std::string &s) { return {s.data(), s.size()}; }
inline std::string text(gcop_str s) { return s.ptr ? std::string(s.ptr, s.len) : std::string(); }

}  // namespace gcop::plugin
