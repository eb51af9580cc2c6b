// The OpenAI chat-completions dialect: requests out, replies, streams and errors in. Pure functions of bytes: no
// network, no clock, any thread.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <gcop/plugin.hpp>

#include "config.hpp"

namespace core_http {

// What a peer says went wrong, out of any of the three shapes in use: {"error":{...}}, {"object":"error",...},
// {"detail":...}.
struct PeerError {
  std::string message;
  std::string type;
  std::string code;
  unsigned number = 0;  // a numeric code, such as 503 inside a reply of HTTP 200
};

// Exactly one of the three is set.
struct Parsed {
  std::optional<gcop::sdk::Reply> reply;
  std::optional<PeerError> error;
  std::string broken;  // what is wrong with the bytes, with a short excerpt
};

std::string build_body(const Config &, const gcop::sdk::Request &, bool stream);  // throws Failure
std::optional<PeerError> parse_error(std::string_view body);
Parsed parse_reply(std::string_view body, size_t prompt_bytes);   // prompt_bytes: for estimates without usage
std::string excerpt(std::string_view bytes, size_t limit = 120);  // printable ASCII

// A server-sent event stream. Feed the bytes as they come.
class StreamReader {
 public:
  using Part = std::function<void(uint32_t choice, std::string_view text)>;
  StreamReader(Part part, size_t prompt_bytes);
  ~StreamReader();
  bool feed(std::string_view bytes);  // false: an error or garbage came, stop reading
  bool delivered() const;             // part() was called: no second attempt any more
  Parsed finish() const;              // at the end of the bytes, or after feed() said false
  gcop::sdk::Reply partial() const;   // what has come so far, usage estimated unless it came

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace core_http
