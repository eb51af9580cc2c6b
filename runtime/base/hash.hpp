// SHA-256 through OpenSSL. Content keys everywhere in the runtime are its lower-case hex form. Any thread.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace gcop {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void update(const void *data, size_t size);
  std::array<uint8_t, 32> bytes();  // ends the hash; call once
  std::string hex();                // likewise

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

std::string sha256(std::string_view data);  // 64 hex digits

}  // namespace gcop
