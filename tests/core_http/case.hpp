// What every case of core_http starts from: the plugin, a canary key in the environment, a configuration.
#pragma once
#include <cstdlib>
#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "driver.hpp"
#include "peer.hpp"

inline const char kCanary[] = "sk-canary-6f1d2c9b7a";

inline const gcop_plugin *core_http_plugin() {
  static const gcop_plugin *plugin = driver::load(GCOP_BIN_DIR "/plugins/core_http.gcop.so");
  return plugin;
}

// An instance on `url` that waits milliseconds where the defaults wait seconds; `more` overrides.
class HttpCore : public driver::Core {
 public:
  explicit HttpCore(const std::string &url, const nlohmann::json &more = nlohmann::json::object())
      : Core(core_http_plugin(), config(url, more)) {
    REQUIRE_MESSAGE(*this, why);
  }
  // The key must be in nothing that leaves the plugin.
  ~HttpCore() { CHECK(host().log().find(kCanary) == std::string::npos); }

  driver::Reply ask(driver::Request request = {}) {
    driver::Reply reply = Core::ask(std::move(request));
    CHECK(reply.error.find(kCanary) == std::string::npos);
    return reply;
  }
  static std::string config(const std::string &url, const nlohmann::json &more = nlohmann::json::object()) {
    setenv("GCOP_TEST_KEY", kCanary, 1);
    nlohmann::json all = {{"base_url", url},  {"model", "m-1"},      {"key_env", "GCOP_TEST_KEY"}, {"backoff_ms", 1},
                          {"max_retries", 2}, {"connect_ms", 20000}, {"first_byte_ms", 20000},     {"idle_ms", 20000}};
    all.update(more);
    return all.dump();
  }
};

inline bool has(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }
