// A whole file mapped read-only, the files of a model's directory, and the SHA-256 of such files. Used by the two model
// layouts; any thread. The caller keeps the MappedFile as long as it uses bytes(). Failures throw Fault.
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace gcop::guide_torch {

class MappedFile {
 public:
  explicit MappedFile(const std::string &path);
  // Bytes that are in memory already and outlive this; `name` is for messages.
  MappedFile(std::string name, std::span<const uint8_t> bytes);
  MappedFile(MappedFile &&other) noexcept;
  MappedFile &operator=(MappedFile &&) = delete;
  ~MappedFile();

  const std::string &path() const { return path_; }
  std::span<const uint8_t> bytes() const { return {data_, size_}; }

 private:
  std::string path_;
  const uint8_t *data_ = nullptr;
  size_t size_ = 0;
  bool mapped_ = false;
};

// A model's directory, on disk or in memory.
class ModelFolder {
 public:
  explicit ModelFolder(std::string path) : path_(std::move(path)) {}
  using Files = std::map<std::string, std::span<const uint8_t>>;  // the bytes outlive the folder
  ModelFolder(std::string name, Files files) : path_(std::move(name)), files_(std::move(files)), in_memory_(true) {}

  const std::string &path() const { return path_; }
  std::string inside(const std::string &name) const { return path_ + "/" + name; }
  bool has(const std::string &name) const;
  MappedFile open(const std::string &name) const;
  std::string text(const std::string &name, size_t max_bytes) const;

 private:
  std::string path_;
  Files files_;
  bool in_memory_ = false;
};

std::string text_of(const MappedFile &file, size_t max_bytes);  // a small file; larger than max_bytes is a Fault

// Hex SHA-256, as sha256sum has it.
std::string sha256_of(std::span<const uint8_t> bytes);
// Hex XXH3 in 128 bits of the parts' lengths and bytes: at the speed of memory, against files that differ by accident.
std::string xxh3_of(const std::vector<std::span<const uint8_t>> &parts);

}  // namespace gcop::guide_torch
