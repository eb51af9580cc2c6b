#include "plugin/host.hpp"

#include <algorithm>

#include "base/log.hpp"
#include "plugin/plugin.hpp"

namespace gcop::plugin {
namespace {

struct Host {
  gcop_host table;  // first member: plugins hand this pointer back
  std::string plugin_id;
  Loop::Poster poster;
  std::shared_ptr<Services> services;
};

const Host &host_of(const gcop_host *table) { return *reinterpret_cast<const Host *>(table); }

void log_line(const gcop_host *table, int32_t level, gcop_str message) noexcept {
  const auto bounded = static_cast<Level>(std::clamp(level, GCOP_LOG_DEBUG + 0, GCOP_LOG_ERROR + 0));
  log(bounded, host_of(table).plugin_id + ": " + text(message));
}

void post(const gcop_host *table, void (*fn)(void *), void *arg) noexcept {
  host_of(table).poster.work([fn, arg, id = host_of(table).plugin_id] {
    try {
      fn(arg);
    } catch (...) {
      log_error("plugin '" + id + "' let an exception out of a posted function; the call it served is never answered");
    }
  });
}

const void *query(const gcop_host *table, const char *id) noexcept {
  if (!id) return nullptr;
  Services &services = *host_of(table).services;
  const std::lock_guard lock(services.mutex);
  const auto found = services.by_id.find(id);
  return found == services.by_id.end() ? nullptr : found->second;
}

}  // namespace

std::shared_ptr<const gcop_host> make_host(std::string plugin_id, Loop::Poster poster,
                                           std::shared_ptr<Services> services) {
  auto host = std::make_shared<Host>(Host{{sizeof(gcop_host), GCOP_ABI_MAJOR, GCOP_ABI_MINOR, log_line, post, query},
                                          std::move(plugin_id),
                                          std::move(poster),
                                          std::move(services)});
  return {host, &host->table};
}

}  // namespace gcop::plugin
