// A control group of the kernel around one box, where this machine lets us make one: below our own (version 1), or
// beside it where memory and pids are handed down (version 2: root, or a user's delegated slice). It bounds all that
// the box holds, kernel memory included, at every instant; the finer limits of each cell are elsewhere. A cell that
// meets it is ended by the kernel, which is a failure of the machine and no verdict. One thread at a time.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "validator/sandbox/descriptor.hpp"

namespace gcop::sandbox {

class Group {
 public:
  static Group make();  // without effect where the machine has none for us
  Group() = default;
  Group(Group &&other) noexcept { *this = std::move(other); }
  Group &operator=(Group &&other) noexcept;
  ~Group();  // removed; every process in it must have ended

  bool there() const { return !folders_.empty(); }
  // For the child that becomes the box, while it is still our user: writing "0" to each of these enters.
  const std::vector<Fd> &doors() const { return doors_; }
  void shut() { doors_.clear(); }
  void allow(uint64_t mem_bytes, uint64_t processes);  // raises the bounds to these; they are never lowered

 private:
  bool add(const std::string &folder, bool memory, bool pids, bool second_version);

  std::vector<std::string> folders_;
  std::vector<Fd> doors_;
  std::string memory_file_, pids_file_;
  uint64_t mem_bytes_ = 0, processes_ = 0;
};

}  // namespace gcop::sandbox
