// Secrets: read from an environment variable only, never formatted, and replaced by "***" wherever text leaves the
// process: log lines, errors of plugins, what enters the store. Any thread.
#pragma once
#include <ostream>
#include <string>
#include <utility>

#include "base/result.hpp"

namespace gcop {

// From now on redact() replaces `value`. Values shorter than 6 bytes are not registered: they would blacken ordinary
// words, and no provider issues such keys.
void register_secret(const std::string &value);

// `text` with every registered secret replaced by "***".
std::string redact(std::string text);
Error redact(Error error);

// Can be moved and revealed on purpose; printing or formatting one does not compile.
class Secret {
 public:
  // Reads and registers. Errors: the variable is not set or empty (Code::denied; the message names it).
  static Result<Secret> from_env(const std::string &variable);
  Secret(Secret &&) = default;
  Secret &operator=(Secret &&) = default;
  Secret(const Secret &) = delete;
  Secret &operator=(const Secret &) = delete;

  const std::string &reveal() const { return value_; }       // for the request header only
  const std::string &variable() const { return variable_; }  // what messages may name

 private:
  Secret(std::string variable, std::string value) : variable_(std::move(variable)), value_(std::move(value)) {}
  std::string variable_, value_;
};

std::ostream &operator<<(std::ostream &, const Secret &) = delete;

}  // namespace gcop
