#include "mapped_file.hpp"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "fault.hpp"

namespace gcop::guide_torch {

MappedFile::MappedFile(const std::string &path) : path_(path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a FIFO would wait
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
    mapped_ = true;
  } else {
    ::close(fd);
  }
}

MappedFile::MappedFile(MappedFile &&other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      mapped_(std::exchange(other.mapped_, false)) {}

MappedFile::MappedFile(std::string name, std::span<const uint8_t> bytes)
    : path_(std::move(name)), data_(bytes.data()), size_(bytes.size()) {}

MappedFile::~MappedFile() {
  if (mapped_) ::munmap(const_cast<uint8_t *>(data_), size_);
}

bool ModelFolder::has(const std::string &name) const {
  std::error_code ignored;
  return in_memory_ ? files_.count(name) > 0 : std::filesystem::exists(inside(name), ignored);
}

MappedFile ModelFolder::open(const std::string &name) const {
  if (!in_memory_) return MappedFile(inside(name));
  auto found = files_.find(name);
  if (found == files_.end()) fail("cannot open '" + inside(name) + "': there is no such file", Code::unavailable);
  return {inside(name), found->second};
}

std::string ModelFolder::text(const std::string &name, size_t max_bytes) const {
  return text_of(open(name), max_bytes);
}

std::string text_of(const MappedFile &file, size_t max_bytes) {
  auto bytes = file.bytes();
  if (bytes.size() > max_bytes)
    fail("'" + file.path() + "' has " + std::to_string(bytes.size()) + " bytes; such a file has at most " +
         std::to_string(max_bytes));
  return {reinterpret_cast<const char *>(bytes.data()), bytes.size()};
}

namespace {
std::string hex_of(std::span<const unsigned char> bytes) {
  std::string hex;
  for (const unsigned char byte : bytes) {
    hex += "0123456789abcdef"[byte >> 4];
    hex += "0123456789abcdef"[byte & 15];
  }
  return hex;
}
}  // namespace

std::string sha256_of(std::span<const uint8_t> bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest, &length, EVP_sha256(), nullptr) != 1)
    fail("OpenSSL cannot compute SHA-256", Code::internal);
  return hex_of({digest, length});
}

std::string xxh3_of(const std::vector<std::span<const uint8_t>> &parts) {
  XXH3_state_t state;
  XXH3_INITSTATE(&state);
  XXH3_128bits_reset(&state);
  for (const auto &part : parts) {
    const uint64_t size = part.size();
    XXH3_128bits_update(&state, &size, sizeof size);
    XXH3_128bits_update(&state, part.data(), part.size());
  }
  XXH128_canonical_t digest;
  XXH128_canonicalFromHash(&digest, XXH3_128bits_digest(&state));
  return hex_of(digest.digest);
}

}  // namespace gcop::guide_torch
