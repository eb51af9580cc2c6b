#include "mapped_file.hpp"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "fault.hpp"

namespace gcop::guide_torch {

MappedFile::MappedFile(const std::string &path) : path_(path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail("cannot open '" + path + "': " + std::strerror(errno), Code::unavailable);
  struct stat info {};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    fail("'" + path + "' is not a regular file");
  }
  size_ = static_cast<size_t>(info.st_size);
  if (size_ > 0) {
    void *at = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, fd, 0);
    int reason = errno;
    ::close(fd);
    if (at == MAP_FAILED) fail("cannot map '" + path + "': " + std::strerror(reason), Code::exhausted);
    data_ = static_cast<const uint8_t *>(at);
  } else {
    ::close(fd);
  }
}

MappedFile::MappedFile(MappedFile &&other) noexcept
    : path_(std::move(other.path_)), data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<uint8_t *>(data_), size_);
}

std::string read_text(const std::string &path, size_t max_bytes) {
  MappedFile file(path);
  auto bytes = file.bytes();
  if (bytes.size() > max_bytes)
    fail("'" + path + "' has " + std::to_string(bytes.size()) + " bytes; such a file has at most " +
         std::to_string(max_bytes));
  return {reinterpret_cast<const char *>(bytes.data()), bytes.size()};
}

std::string sha256_of(const std::vector<std::span<const uint8_t>> &parts) {
  std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX *)> ctx(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  bool ok = ctx && EVP_DigestInit_ex(ctx.get(), EVP_sha256(), nullptr) == 1;
  for (auto part : parts) {
    uint64_t size = part.size();
    if (parts.size() > 1) ok = ok && EVP_DigestUpdate(ctx.get(), &size, sizeof size) == 1;
    ok = ok && EVP_DigestUpdate(ctx.get(), part.data(), part.size()) == 1;
  }
  ok = ok && EVP_DigestFinal_ex(ctx.get(), digest, &length) == 1;
  if (!ok) fail("OpenSSL cannot compute SHA-256", Code::internal);
  std::string hex;
  for (unsigned int i = 0; i < length; ++i) {
    hex += "0123456789abcdef"[digest[i] >> 4];
    hex += "0123456789abcdef"[digest[i] & 15];
  }
  return hex;
}

}  // namespace gcop::guide_torch
