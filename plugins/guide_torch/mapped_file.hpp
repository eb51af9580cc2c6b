// A whole file mapped read-only, and the SHA-256 of such files. Used by the two model layouts; any thread.
// The caller keeps the MappedFile as long as it uses bytes(). Failures throw Fault.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace gcop::guide_torch {

class MappedFile {
 public:
  explicit MappedFile(const std::string &path);
  MappedFile(MappedFile &&other) noexcept;
  MappedFile &operator=(MappedFile &&) = delete;
  ~MappedFile();

  const std::string &path() const { return path_; }
  std::span<const uint8_t> bytes() const { return {data_, size_}; }

 private:
  std::string path_;
  const uint8_t *data_ = nullptr;
  size_t size_ = 0;
};

std::string read_text(const std::string &path, size_t max_bytes);  // a small file; larger than max_bytes is a Fault

// Hex SHA-256. Of one part it is sha256sum's; of several each has its length in front, so that no two lists of bytes
// are the same stream.
std::string sha256_of(const std::vector<std::span<const uint8_t>> &parts);

}  // namespace gcop::guide_torch
