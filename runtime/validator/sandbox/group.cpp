#include "validator/sandbox/group.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <sstream>

namespace gcop::sandbox {
namespace {

constexpr char kPrefix[] = "gcop-";  // then our process id and a number
constexpr int kRemoveTries = 40;     // a process that has been reaped leaves its group a moment later

std::string read_word(const std::string &path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

bool has_word(const std::string &words, const std::string &word, char separator) {
  std::istringstream in(words);
  for (std::string one; std::getline(in, one, separator);)
    if (one == word) return true;
  return false;
}

bool write_number(const std::string &path, uint64_t value) {
  Fd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  const std::string text = std::to_string(value);
  return fd && write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

struct Place {
  std::string parent;  // the folder in which groups for boxes are made
  bool memory = false, pids = false, second_version = false;
};

// Where the mount of a hierarchy shows our own group: mountinfo says which part of the hierarchy is mounted.
std::string below_mount(const std::string &point, const std::string &root, const std::string &own) {
  if (root == "/") return point + (own == "/" ? "" : own);
  if (own == root) return point;
  return own.starts_with(root + "/") ? point + own.substr(root.size()) : std::string();
}

std::vector<Place> places() {
  // "4:memory:/path" of version 1, "0::/path" of version 2
  std::vector<std::pair<std::string, std::string>> own;
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second != line.npos) own.emplace_back(line.substr(first + 1, second - first - 1), line.substr(second + 1));
  }
  std::vector<Place> out;
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    const size_t dash = line.find(" - ");
    if (dash == line.npos) continue;
    std::string id, parent, device, root, point, type, source, options;
    std::istringstream(line) >> id >> parent >> device >> root >> point;
    std::istringstream(line.substr(dash + 3)) >> type >> source >> options;
    for (const auto &[controllers, path] : own) {
      Place place;
      if (type == "cgroup" && !controllers.empty()) {
        place.memory = has_word(controllers, "memory", ',') && has_word(options, "memory", ',');
        place.pids = has_word(controllers, "pids", ',') && has_word(options, "pids", ',');
        place.parent = below_mount(point, root, path);
      } else if (type == "cgroup2" && controllers.empty()) {
        // A group with processes hands nothing down, but for the root; so ours goes beside the one that we are in.
        place.second_version = true;
        place.parent = below_mount(point, root, path);
        if (place.parent.size() > point.size()) place.parent.resize(place.parent.rfind('/'));
        const std::string handed_down = read_word(place.parent + "/cgroup.subtree_control");
        place.memory = has_word(handed_down, "memory", ' ');
        place.pids = has_word(handed_down, "pids", ' ');
      }
      if (!place.parent.empty() && (place.memory || place.pids)) out.push_back(std::move(place));
    }
  }
  return out;
}

// Groups of hosts that were killed: empty, or the kernel refuses.
void sweep(const std::string &parent) {
  DIR *dir = opendir(parent.c_str());
  if (!dir) return;
  while (const dirent *entry = readdir(dir)) {
    const std::string name = entry->d_name;
    if (!name.starts_with(kPrefix)) continue;
    const std::string pid = std::to_string(std::strtol(name.c_str() + sizeof kPrefix - 1, nullptr, 10));
    if (name.starts_with(kPrefix + pid + "-") && access(("/proc/" + pid).c_str(), F_OK) != 0)
      rmdir((parent + "/" + name).c_str());
  }
  closedir(dir);
}

}  // namespace

Group Group::make() {
  static std::atomic<unsigned> number{0};
  Group group;
  const std::string name = kPrefix + std::to_string(getpid()) + "-" + std::to_string(number++);
  for (const Place &place : places()) {
    sweep(place.parent);
    group.add(place.parent + "/" + name, place.memory && group.memory_file_.empty(),
              place.pids && group.pids_file_.empty(), place.second_version);
  }
  return group;
}

bool Group::add(const std::string &folder, bool memory, bool pids, bool second_version) {
  if ((!memory && !pids) || mkdir(folder.c_str(), 0755) != 0) return false;
  Fd door(lift(open((folder + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC)));
  if (!door) {
    rmdir(folder.c_str());
    return false;
  }
  folders_.push_back(folder);
  doors_.push_back(std::move(door));
  if (memory) memory_file_ = folder + (second_version ? "/memory.max" : "/memory.limit_in_bytes");
  if (pids) pids_file_ = folder + "/pids.max";
  return true;
}

Group &Group::operator=(Group &&other) noexcept {
  std::swap(folders_, other.folders_);
  std::swap(doors_, other.doors_);
  std::swap(memory_file_, other.memory_file_);
  std::swap(pids_file_, other.pids_file_);
  std::swap(mem_bytes_, other.mem_bytes_);
  std::swap(processes_, other.processes_);
  return *this;
}

Group::~Group() {
  for (const std::string &folder : folders_)
    for (int i = 0; i < kRemoveTries && rmdir(folder.c_str()) != 0 && errno == EBUSY; ++i) usleep(5'000);
}

void Group::allow(uint64_t mem_bytes, uint64_t processes) {
  if (mem_bytes > mem_bytes_ && !memory_file_.empty() && write_number(memory_file_, mem_bytes)) mem_bytes_ = mem_bytes;
  if (processes > processes_ && !pids_file_.empty() && write_number(pids_file_, processes)) processes_ = processes;
}

}  // namespace gcop::sandbox
