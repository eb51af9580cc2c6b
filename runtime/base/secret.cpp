#include "base/secret.hpp"

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <vector>

namespace gcop {
namespace {

constexpr size_t kShortest = 6;

// Never destroyed: text may be redacted while the process ends.
struct Registered {
  std::mutex mutex;
  std::vector<std::string> values;  // longest first, so that a secret inside another leaves no rest
};

Registered &registered() {
  static Registered *r = new Registered;
  return *r;
}

}  // namespace

void register_secret(const std::string &value) {
  if (value.size() < kShortest) return;
  Registered &r = registered();
  const std::lock_guard lock(r.mutex);
  if (std::find(r.values.begin(), r.values.end(), value) != r.values.end()) return;
  r.values.push_back(value);
  std::sort(r.values.begin(), r.values.end(), [](const auto &a, const auto &b) { return a.size() > b.size(); });
}

std::string redact(std::string text) {
  Registered &r = registered();
  const std::lock_guard lock(r.mutex);
  for (const std::string &value : r.values)
    for (size_t at = text.find(value); at != std::string::npos; at = text.find(value, at + 3))
      text.replace(at, value.size(), "***");
  return text;
}

Error redact(Error error) {
  error.message = redact(std::move(error.message));
  return error;
}

Result<Secret> Secret::from_env(const std::string &variable) {
  const char *value = std::getenv(variable.c_str());
  if (!value || !*value)
    return Error{
        Code::denied, "the key is missing: environment variable " + variable + " is not set; export it first", {}};
  register_secret(value);
  return Secret(variable, value);
}

}  // namespace gcop
