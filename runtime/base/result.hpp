// Result<T>: a value or an Error. The only error path inside the runtime; exceptions mean a bug.
// Shaped like std::expected, so that it can become that. Any thread; plain values.
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include <gcop/plugin.h>

namespace gcop {

// Codes equal the ABI's (GCOP_INVALID, ...) and Lua's err.code names.
enum class Code : int {
  cancelled = GCOP_CANCELLED,
  timeout = GCOP_TIMEOUT,
  invalid = GCOP_INVALID,
  unavailable = GCOP_UNAVAILABLE,
  unsupported = GCOP_UNSUPPORTED,
  internal = GCOP_INTERNAL,
  denied = GCOP_DENIED,
  exhausted = GCOP_EXHAUSTED,
};

const char *code_name(Code code);  // "invalid", ... as Lua's err.code

struct Error {
  Code code = Code::internal;
  std::string message;  // names the thing, the value and the remedy
  std::string where;    // "file:line" of user input, if there is one

  bool retryable() const { return code == Code::unavailable || code == Code::timeout; }
  std::string text() const { return where.empty() ? message : where + ": " + message; }
};

struct Unit {};

template <class T = Unit>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  explicit operator bool() const { return state_.index() == 0; }
  T &value() { return std::get<0>(state_); }
  const T &value() const { return std::get<0>(state_); }
  T &operator*() { return value(); }
  const T &operator*() const { return value(); }
  T *operator->() { return &value(); }
  const T *operator->() const { return &value(); }
  Error &error() { return std::get<1>(state_); }
  const Error &error() const { return std::get<1>(state_); }

 private:
  std::variant<T, Error> state_;
};

inline Error invalid(std::string message, std::string where = {}) {
  return {Code::invalid, std::move(message), std::move(where)};
}

}  // namespace gcop
