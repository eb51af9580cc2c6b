#include "base/hash.hpp"

#include <stdexcept>

#include <openssl/evp.h>

namespace gcop {
namespace {

void require(int ok) {  // fails only where OpenSSL itself is broken (no memory, no digest in FIPS mode)
  if (ok != 1) throw std::runtime_error("OpenSSL cannot compute SHA-256");
}

}  // namespace

struct Sha256::Impl {
  EVP_MD_CTX *ctx = EVP_MD_CTX_new();
  ~Impl() { EVP_MD_CTX_free(ctx); }
};

Sha256::Sha256() : impl_(new Impl) { require(EVP_DigestInit_ex(impl_->ctx, EVP_sha256(), nullptr)); }
Sha256::~Sha256() = default;
void Sha256::update(const void *data, size_t size) { require(EVP_DigestUpdate(impl_->ctx, data, size)); }

std::array<uint8_t, 32> Sha256::bytes() {
  std::array<uint8_t, 32> out{};
  require(EVP_DigestFinal_ex(impl_->ctx, out.data(), nullptr));
  return out;
}

std::string Sha256::hex() {
  static const char digits[] = "0123456789abcdef";
  std::string out;
  for (const uint8_t byte : bytes()) {
    out += digits[byte >> 4];
    out += digits[byte & 15];
  }
  return out;
}

std::string sha256(std::string_view data) {
  Sha256 hash;
  hash.update(data.data(), data.size());
  return hash.hex();
}

}  // namespace gcop
