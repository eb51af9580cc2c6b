#include "base/log.hpp"

#include <atomic>
#include <memory>
#include <mutex>

#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>

#include "base/secret.hpp"

namespace gcop {
namespace {

// Never destroyed: a plugin's thread may log while the process ends.
struct State {
  std::atomic<int> least{static_cast<int>(Level::info)};
  std::mutex mutex;
  std::function<void(Level, const std::string &)> sink;
  spdlog::logger logger{"gcop", std::make_shared<spdlog::sinks::stderr_sink_mt>()};
  State() {
    logger.set_pattern("%H:%M:%S %l: %v");
    logger.set_level(spdlog::level::trace);
    logger.flush_on(spdlog::level::trace);
  }
};

State &state() {
  static State *s = new State;
  return *s;
}

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::debug: return spdlog::level::debug;
    case Level::info: return spdlog::level::info;
    case Level::warn: return spdlog::level::warn;
    case Level::error: return spdlog::level::err;
  }
  return spdlog::level::err;
}

}  // namespace

void log(Level level, std::string_view text) {
  State &s = state();
  if (static_cast<int>(level) < s.least.load()) return;
  const std::string line = redact(std::string(text));
  const std::lock_guard lock(s.mutex);
  if (s.sink)
    s.sink(level, line);
  else
    s.logger.log(to_spdlog(level), line);  // a single argument is never taken as a format
}

void set_log_level(Level least) { state().least = static_cast<int>(least); }

void set_log_sink(std::function<void(Level, const std::string &)> sink) {
  const std::lock_guard lock(state().mutex);
  state().sink = std::move(sink);
}

}  // namespace gcop
