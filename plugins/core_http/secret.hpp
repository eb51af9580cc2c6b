// An API key. It has no formatter, no stream operator and no copy, so that it cannot reach a log by accident; the one
// place that reads it writes the Authorization header. Immutable after construction: any thread.
#pragma once
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

namespace core_http {

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string value) : value_(std::move(value)) {}
  Secret(Secret &&other) noexcept : value_(std::move(other.value_)) { other.wipe(); }
  Secret(const Secret &) = delete;
  Secret &operator=(const Secret &) = delete;
  Secret &operator=(Secret &&other) noexcept {
    if (this != &other) {
      wipe();
      value_ = std::move(other.value_);
      other.wipe();
    }
    return *this;
  }
  ~Secret() { wipe(); }
  template <class Stream>
  friend Stream &operator<<(Stream &, const Secret &) = delete;

  bool empty() const { return value_.empty(); }
  std::string_view reveal() const { return value_; }  // for the Authorization header only

  // `text` with the key replaced: peers echo requests in their error messages.
  std::string redact(std::string text) const {
    if (value_.empty()) return text;
    for (size_t at = 0; (at = text.find(value_, at)) != std::string::npos;) text.replace(at, value_.size(), "[key]");
    return text;
  }

 private:
  void wipe() noexcept {
    explicit_bzero(value_.data(), value_.size());
    value_.clear();
  }
  std::string value_;
};

}  // namespace core_http
