// The host as a plugin sees it: log, post, query. One object per instance, so that log lines carry the plugin's name.
// Made on the strand, called by plugins from any thread; kept alive by the Instance.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include <gcop/plugin.h>

#include "base/loop.hpp"

namespace gcop::plugin {

struct Services {
  std::mutex mutex;
  std::map<std::string, const void *> by_id;
};

std::shared_ptr<const gcop_host> make_host(std::string plugin_id, Loop::Poster, std::shared_ptr<Services>);

}  // namespace gcop::plugin
