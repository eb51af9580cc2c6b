// For tests that need a peer behind the ABI: the strand, the fault plugins, the log lines. One per test case.
#pragma once
#include <doctest/doctest.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/log.hpp"
#include "base/loop.hpp"
#include "plugin/plugin.hpp"

namespace gcop {

struct Bench {
  Loop loop{2};
  plugin::Registry registry{loop, {std::string(GCOP_BIN_DIR) + "/faults"}};
  std::mutex mutex;
  std::vector<std::string> lines;

  Bench() {
    set_log_sink([this](Level, const std::string &line) {
      const std::lock_guard lock(mutex);
      lines.push_back(line);
    });
  }
  ~Bench() { set_log_sink({}); }

  bool logged(const std::string &part) {
    const std::lock_guard lock(mutex);
    for (const std::string &line : lines)
      if (line.find(part) != std::string::npos) return true;
    return false;
  }

  // Runs the strand until fn has called its argument.
  void until(const std::function<void(std::function<void()> end)> &fn) {
    fn([this] { loop.stop(); });
    loop.run();
  }
  // Runs the strand until a log line holds `part`; the test's own time limit ends it otherwise.
  void until_logged(const std::string &part) {
    std::function<void()> look = [&] {
      logged(part) ? loop.stop() : void(loop.after(std::chrono::milliseconds(2), look));
    };
    look();
    if (!logged(part)) loop.run();
  }

  Result<std::shared_ptr<plugin::Instance>> make(const std::string &name, const std::string &config = "{}",
                                                 uint32_t timeout_ms = 60'000) {
    auto opened = registry.open(name);
    if (!opened) return opened.error();
    Result<std::shared_ptr<plugin::Instance>> out = Error{};
    until([&](auto end) {
      registry.create(
          *opened, config,
          [&out, end](auto result) {
            out = std::move(result);
            end();
          },
          timeout_ms);
    });
    return out;
  }
  std::shared_ptr<plugin::Instance> wayward(const std::string &mode) {
    auto made = make("wayward", "{\"mode\":\"" + mode + "\"}");
    REQUIRE_MESSAGE(made, (made ? "" : made.error().text()));
    return *made;
  }
};

inline bool has(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }

}  // namespace gcop
