#include "memory_plan.hpp"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>

namespace gcop::guide_torch {

namespace {

std::optional<size_t> number_in(const std::string &path) {
  std::ifstream file(path);
  size_t n = 0;
  return file >> n ? std::optional(n) : std::nullopt;  // "max" is no number
}

// The nearest limit on the way up from this process's control group (cgroup v2), less what is taken under it. File
// pages that could be dropped count as free.
size_t room_in_control_groups() {
  size_t room = std::numeric_limits<size_t>::max();
  std::ifstream own("/proc/self/cgroup");
  std::string group;
  for (std::string line; std::getline(own, line);)
    if (line.starts_with("0::")) group = line.substr(3);
  for (;;) {
    const std::string folder = "/sys/fs/cgroup" + group;
    const auto limit = number_in(folder + "/memory.max"), taken = number_in(folder + "/memory.current");
    if (limit && taken) {
      size_t droppable = 0;
      std::ifstream stat(folder + "/memory.stat");
      size_t value = 0;
      for (std::string key; stat >> key >> value;)
        if (key == "inactive_file") droppable = value;
      room = std::min(room, *limit - std::min(*limit, *taken - std::min(*taken, droppable)));
    }
    if (group.empty() || group == "/") return room;
    group.erase(group.find_last_of('/'));
  }
}

}  // namespace

size_t available_memory() {
  std::ifstream info("/proc/meminfo");
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("MemAvailable:"))
      return std::min(static_cast<size_t>(std::stoull(line.substr(13))) * 1024, room_in_control_groups());
  return 0;
}

std::string gigabytes(size_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f GB", static_cast<double>(bytes) / 1e9);
  return text;
}

Result<> check_memory(size_t bytes, const std::string &what, const std::string &parts, const std::string &remedy) {
  const size_t there = available_memory();
  if (there == 0 || bytes <= there) return Unit{};
  return Error{Code::exhausted,
               what + " needs " + gigabytes(bytes) + " of memory (" + parts + ") and " + gigabytes(there) +
                   " are free; " + remedy,
               {}};
}

}  // namespace gcop::guide_torch
