// HTTP/1.1 over TCP or TLS to one endpoint, with kept connections. One request is one post(): it runs the clocks,
// obeys an Abort and reports what happened; it repeats nothing, except when a kept connection turns out to be closed.
// Everything here runs on the plugin's I/O thread. Beast stays in client.cpp.
#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <gcop/plugin.h>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "config.hpp"

namespace core_http {

// The way to stop whatever one call waits for: each wait arms it with what ends the wait. [io]
class Abort {
 public:
  void arm(std::function<void()> stop) { stop_ = std::move(stop); }
  void disarm() { stop_ = nullptr; }
  void fire() {
    fired_ = true;
    if (auto stop = std::exchange(stop_, nullptr)) stop();
  }
  bool fired() const { return fired_; }

 private:
  std::function<void()> stop_;
  bool fired_ = false;
};

struct Exchange {
  const std::string &body;
  std::chrono::steady_clock::time_point deadline;
  Abort &abort;
  // Gets the body of a reply of type text/event-stream as it comes; false stops reading. Empty: no stream is asked for.
  std::function<bool(std::string_view)> on_stream;
};

struct Answer {
  gcop_status status = GCOP_OK;  // of the transport; GCOP_OK: a reply came, whatever its HTTP status
  std::string error;             // why there is none
  bool retry = false;            // another attempt may help
  uint32_t sent = 0;             // requests that went out
  unsigned http_status = 0;
  bool streamed = false;  // on_stream took the body
  std::string body;
  std::string retry_after, retry_after_ms, should_retry, location;
};

class Client {
 public:
  Client(boost::asio::io_context &, const Config &);  // keeps the reference; throws Failure for a bad ca_file
  ~Client();
  boost::asio::awaitable<Answer> post(const Exchange &);  // the exchange outlives the awaitable
  void close_idle();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace core_http
