#include "mapped_file.hpp"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <future>
#include <memory>
#include <thread>
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

std::string sha256_of(std::span<const uint8_t> bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest, &length, EVP_sha256(), nullptr) != 1)
    fail("OpenSSL cannot compute SHA-256", Code::internal);
  std::string hex;
  for (unsigned int i = 0; i < length; ++i) {
    hex += "0123456789abcdef"[digest[i] >> 4];
    hex += "0123456789abcdef"[digest[i] & 15];
  }
  return hex;
}

std::string sha256_of_pieces(const std::vector<std::span<const uint8_t>> &parts) {
  constexpr size_t kPiece = size_t{32} << 20;
  std::vector<std::span<const uint8_t>> pieces;
  for (const auto &part : parts)
    for (size_t at = 0; at == 0 || at < part.size(); at += kPiece)
      pieces.push_back(part.subspan(at, std::min(kPiece, part.size() - at)));
  std::vector<std::string> sums(pieces.size());
  std::atomic<size_t> next = 0;
  const auto work = [&] {
    for (size_t i = next++; i < pieces.size(); i = next++) sums[i] = sha256_of(pieces[i]);
  };
  {
    std::vector<std::future<void>> helpers;
    for (size_t i = 1; i < std::min<size_t>(pieces.size(), std::thread::hardware_concurrency()); ++i)
      helpers.push_back(std::async(std::launch::async, work));
    work();
    for (std::future<void> &helper : helpers) helper.get();
  }
  std::string all;
  for (const auto &part : parts) all += std::to_string(part.size()) + ' ';
  for (const std::string &sum : sums) all += sum;
  return sha256_of({reinterpret_cast<const uint8_t *>(all.data()), all.size()});
}

}  // namespace gcop::guide_torch
