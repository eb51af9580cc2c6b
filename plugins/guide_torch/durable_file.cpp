#include "durable_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "fault.hpp"

namespace gcop::guide_torch {

void fail_io(const std::string &what, int reason) {
  bool full = reason == ENOSPC || reason == EDQUOT;
  fail(what + ": " + (full ? "the disk is full; free space or choose another folder" : std::strerror(reason)),
       full ? Code::exhausted : Code::unavailable);
}

DurableFile::DurableFile(const std::string &path) : path_(path) {
  fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd_ < 0) fail_io("cannot create '" + path + "'", errno);
}

DurableFile::~DurableFile() {
  if (fd_ >= 0) ::close(fd_);
}

void DurableFile::write(const void *data, size_t size) {
  auto at = static_cast<const char *>(data);
  while (size > 0) {
    ssize_t n = ::write(fd_, at, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail_io("cannot write '" + path_ + "'", n < 0 ? errno : EIO);
    at += n;
    size -= static_cast<size_t>(n);
  }
}

void DurableFile::finish() {
  if (::fsync(fd_) != 0) fail_io("cannot write '" + path_ + "'", errno);
  int fd = fd_;
  fd_ = -1;
  if (::close(fd) != 0) fail_io("cannot write '" + path_ + "'", errno);
}

void write_json(const std::string &path, const nlohmann::json &json) {
  std::string text = json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  DurableFile file(path);
  file.write(text.data(), text.size());
  file.finish();
}

void sync_folder(const std::string &path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;  // a folder that cannot be opened cannot be synced; its files were
  ::fsync(fd);
  ::close(fd);
}

}  // namespace gcop::guide_torch
