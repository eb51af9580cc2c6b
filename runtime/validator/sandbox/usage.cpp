#include "validator/sandbox/usage.hpp"

#include <fcntl.h>
#include <sys/syscall.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "validator/sandbox/descriptor.hpp"

namespace gcop::sandbox {
namespace {

std::string read_small_file(const std::string &path) {
  Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char buffer[4096];
  const ssize_t n = fd ? read(fd.get(), buffer, sizeof buffer) : -1;
  return n > 0 ? std::string(buffer, static_cast<size_t>(n)) : std::string();
}

std::vector<long> numbers_in(std::string_view text) {
  std::vector<long> out;
  const char *at = text.data(), *end = at + text.size();
  while (at < end) {
    long value = 0;
    const auto [next, error] = std::from_chars(at, end, value);
    if (error == std::errc()) out.push_back(value);
    at = error == std::errc() ? next : at + 1;
  }
  return out;
}

// What a process holds, with its share of what it has in common with others: memory of no file, and of shared mappings.
uint64_t memory_of(const std::string &base) {
  const std::string rollup = read_small_file(base + "/smaps_rollup");
  uint64_t kib = 0;
  size_t found = 0;
  for (const std::string_view key : {"Pss_Anon:", "Pss_Shmem:"}) {
    const size_t at = rollup.find(key);
    if (at == rollup.npos) continue;
    kib += std::strtoull(rollup.c_str() + at + key.size(), nullptr, 10);
    ++found;
  }
  if (found == 2) return kib << 10;
  // An older kernel, or it does not let us look: resident pages but those of files, and shared ones with these.
  static const uint64_t page_bytes = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const std::vector<long> pages = numbers_in(read_small_file(base + "/statm"));  // size, resident, of files, ...
  return pages.size() > 2 ? static_cast<uint64_t>(std::max(0l, pages[1] - pages[2])) * page_bytes : 0;
}

// A process, all living descendants and, for CPU time, the children that they have reaped. A daemon's parent is process
// 1 of the box, so nothing hides from this walk.
Usage tree(pid_t pid, int depth) {
  static const uint64_t tick_ns = 1'000'000'000 / static_cast<uint64_t>(sysconf(_SC_CLK_TCK));
  const std::string base = "/proc/" + std::to_string(pid);
  const std::string stat = read_small_file(base + "/stat");
  const size_t name_end = stat.rfind(')');
  if (name_end == stat.npos || name_end + 4 > stat.size()) return {};
  const std::vector<long> fields = numbers_in(std::string_view(stat).substr(name_end + 4));  // from ppid, field 4
  if (fields.size() < 17) return {};
  uint64_t ticks = 0;
  for (size_t i = 10; i < 14; ++i) ticks += static_cast<uint64_t>(std::max(0l, fields[i]));  // u, s, cu, cs
  Usage total{ticks * tick_ns, 0};
  total.mem_bytes = memory_of(base);
  const long threads = fields[16];
  if (depth > 64) return total;
  std::vector<long> ids{pid};
  if (threads > 1) {
    ids.clear();
    // /proc/PID/task has no cheaper reader than readdir; a box has few threads.
    Fd dir(open((base + "/task").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    alignas(8) char buffer[8192];
    for (long n; dir && (n = syscall(SYS_getdents64, dir.get(), buffer, sizeof buffer)) > 0;)
      for (long at = 0; at < n;) {
        const char *entry = buffer + at;
        const char *name = entry + 19;  // linux_dirent64: ino 8, off 8, reclen 2, type 1
        if (*name >= '0' && *name <= '9') ids.push_back(std::strtol(name, nullptr, 10));
        at += *reinterpret_cast<const unsigned short *>(entry + 16);
      }
  }
  for (long id : ids)
    for (long child : numbers_in(read_small_file(base + "/task/" + std::to_string(id) + "/children"))) {
      const Usage below = tree(static_cast<pid_t>(child), depth + 1);
      total.cpu_ns += below.cpu_ns;
      total.mem_bytes += below.mem_bytes;
    }
  return total;
}

}  // namespace

pid_t pid_of(int pidfd) {
  const std::string info = read_small_file("/proc/self/fdinfo/" + std::to_string(pidfd));
  const size_t at = info.find("Pid:");
  return at == info.npos ? -1 : static_cast<pid_t>(std::strtol(info.c_str() + at + 4, nullptr, 10));
}

Usage usage_of_tree(pid_t pid) { return pid > 0 ? tree(pid, 0) : Usage{}; }

}  // namespace gcop::sandbox
