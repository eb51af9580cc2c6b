// What the fuzz targets share: an input cut into parts, a claim that ends the process when it is false, bounds of
// memory and processor time, and what a refusal must look like. libFuzzer keeps the input that ended a process.
#pragma once
#include <sanitizer/allocator_interface.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "utf8.hpp"

namespace fuzz {

[[noreturn]] inline void broken(const std::string &what) {
  std::fprintf(stderr, "fuzz: %s\n", what.c_str());
  std::abort();
}

inline void claim(bool holds, const char *what) {
  if (!holds) broken(what);
}

// While this lives no more may be allocated at once than `base` bytes and `factor` times the input, and no more than
// three seconds of the processor's time taken, however busy the machine is. One at a time.
class Bounds {
 public:
  Bounds(size_t input, size_t base, size_t factor) {
    [[maybe_unused]] static const int installed = __sanitizer_install_malloc_and_free_hooks(allocated, freed);
    claim(installed != 0, "no room for the allocation hooks");
    live_ = 0;
    most_ = static_cast<int64_t>(base + factor * input);
  }
  ~Bounds() {
    most_ = 0;
    claim(std::clock() - start_ < 3 * CLOCKS_PER_SEC, "an input took more than three seconds");
  }

 private:
  static void allocated(const volatile void *, size_t size) {
    if (most_ == 0) return;
    live_ += static_cast<int64_t>(size);
    if (live_ <= most_) return;
    const long long live = live_, most = most_;
    most_ = 0;
    broken("holds " + std::to_string(live) + " bytes, and this input pays for " + std::to_string(most));
  }
  static void freed(const volatile void *at) {
    if (most_ != 0 && at) live_ -= static_cast<int64_t>(__sanitizer_get_allocated_size(const_cast<const void *>(at)));
  }
  static inline int64_t live_ = 0, most_ = 0;  // most_ 0: nobody counts
  const std::clock_t start_ = std::clock();
};

// One line of text that says something; an untyped exception of a library is no refusal.
inline void check_refusal(const gcop::Error &error) {
  claim(!error.message.empty(), "a refusal says nothing");
  claim(error.message.find('\n') == std::string::npos && error.message.size() < 1000,
        "a refusal is no single sentence");
  claim(gcop::guide_torch::valid_utf8(error.message, false) == error.message, "a refusal is no UTF-8");
  if (error.code == gcop::Code::internal) broken("an exception of a library came through: " + error.message);
}

inline std::string_view text_of(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char *>(bytes.data()), bytes.size()};
}

// The input's first `n` - 1 parts that end with a NUL, and the rest; a part that is missing is empty.
inline std::vector<std::span<const uint8_t>> parts_of(std::span<const uint8_t> input, size_t n) {
  std::vector<std::span<const uint8_t>> parts(n);
  for (size_t i = 0; i < n; ++i) {
    const size_t end = i + 1 < n ? text_of(input).find('\0') : std::string::npos;
    parts[i] = input.first(end == std::string::npos ? input.size() : end);
    input = end == std::string::npos ? std::span<const uint8_t>() : input.subspan(end + 1);
  }
  return parts;
}

}  // namespace fuzz
