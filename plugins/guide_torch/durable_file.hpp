// Files on their way to disk: what finish() returned from is there after a power cut. Failures throw Fault, one
// sentence with the path and the system's reason. Used by the writers in this folder; blocking.
#pragma once
#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace gcop::guide_torch {

[[noreturn]] void fail_io(const std::string &what, int reason);

class DurableFile {
 public:
  explicit DurableFile(const std::string &path);
  ~DurableFile();
  DurableFile(const DurableFile &) = delete;
  DurableFile &operator=(const DurableFile &) = delete;
  void write(const void *data, size_t size);
  void finish();  // flushes; without it the file does not count

 private:
  std::string path_;
  int fd_ = -1;
};

void write_json(const std::string &path, const nlohmann::json &json);  // indented, with a line's end
void sync_folder(const std::string &path);                             // its entries

}  // namespace gcop::guide_torch
