// Which failures are worth another attempt, and when. The one owner of retries: neither the HTTP layer below nor the
// host above repeats a request. Pure functions, any thread.
#pragma once
#include <chrono>
#include <cstdint>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>

#include <gcop/plugin.h>

#include "wire.hpp"

namespace core_http {

struct Judgement {
  gcop_status status = GCOP_UNAVAILABLE;
  bool retry = false;
  std::string remedy;  // one clause for the message
};

// Of an HTTP status with the peer's error, if it sent one. Also for an error inside a reply of HTTP 200.
// should_retry: the peer's x-should-retry header, or empty.
Judgement judge(unsigned http_status, const PeerError *, std::string_view should_retry, const Config &);

// The peer's wish: retry-after-ms wins over Retry-After, which is seconds or an HTTP date.
std::optional<std::chrono::milliseconds> parse_retry_after(std::string_view retry_after_ms,
                                                           std::string_view retry_after, std::time_t now);

// Wait before attempt number `attempt` (the second is 1): base doubling up to 16 times base, times 0.75 to 1 drawn
// from salt, so that calls that failed together do not come back together.
std::chrono::milliseconds backoff(std::chrono::milliseconds base, uint32_t attempt, uint64_t salt);

}  // namespace core_http
