// Runs cells through a real Sandbox and waits; also counts what a box could leave behind. For tests only.
#pragma once
#include <dirent.h>
#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "validator/sandbox/sandbox.hpp"

namespace jail {

struct File {
  std::string name, text;
};

struct Spec {
  std::vector<std::string> argv;
  std::vector<File> files;
  std::string input;
  uint32_t cpu_ms = 0, wall_ms = 0, processes = 0;
  uint64_t mem_bytes = 0, tmp_bytes = 0, output_bytes = 0;
  uint32_t isolation = GCOP_ISOLATION_JAIL;
  bool reusable = false;
};

// A Python that is there already and runs what comes on its standard input, to the end of which it reads.
inline Spec python(std::string code) {
  static const char *program =
      "import ctypes, os\n"
      "assert ctypes.PyDLL('./libgcop_cell.so').gcop_cell_wait() == 0\n"
      "code = b''\n"
      "while part := os.read(0, 1 << 16): code += part\n"
      "del ctypes, os\n"
      "exec(code)\n";
  return {{"/usr/bin/python3", "-I", "-S", "-c", program}, {}, std::move(code)};
}

// A program that is started anew in the cell.
inline Spec program(std::vector<std::string> argv) {
  argv.insert(argv.begin(), "./gcop-cell");
  return {std::move(argv), {}, {}};
}

struct CellEnd {
  uint32_t limits = 0;
  int exit_code = 0, signal = 0;
  uint64_t cpu_ns = 0, wall_ns = 0;
  std::string out, err;
};

struct End {
  gcop_status status = GCOP_INTERNAL;
  std::string error;
  std::vector<CellEnd> cells;
};

// One call in flight; wait() once.
class Call {
 public:
  Call(const gcop_host_sandbox *service, std::vector<Spec> specs, uint64_t deadline_ns = 0) : specs_(std::move(specs)) {
    static std::atomic<uint64_t> next_id{1};
    op_.struct_size = sizeof(gcop_op);
    op_.id = next_id++;
    op_.deadline_ns = deadline_ns;
    op_.mine = this;
    strings_.resize(specs_.size());
    cells_.resize(specs_.size());
    std::vector<const gcop_cell *> views;
    for (size_t i = 0; i < specs_.size(); ++i) {
      const Spec &spec = specs_[i];
      auto &s = strings_[i];
      for (const auto &a : spec.argv) s.argv.push_back({a.data(), a.size()});
      for (const auto &f : spec.files) {
        s.names.push_back({f.name.data(), f.name.size()});
        s.texts.push_back({f.text.data(), f.text.size()});
      }
      gcop_cell &cell = cells_[i];
      cell.struct_size = sizeof cell;
      cell.n_argv = static_cast<uint32_t>(s.argv.size());
      cell.argv = s.argv.data();
      cell.n_files = static_cast<uint32_t>(s.names.size());
      cell.file_names = s.names.data();
      cell.file_texts = s.texts.data();
      cell.stdin_text = {spec.input.data(), spec.input.size()};
      cell.cpu_ms = spec.cpu_ms;
      cell.wall_ms = spec.wall_ms;
      cell.max_processes = spec.processes;
      cell.mem_bytes = spec.mem_bytes;
      cell.tmp_bytes = spec.tmp_bytes;
      cell.output_bytes = spec.output_bytes;
      cell.isolation = spec.isolation;
      cell.reusable = spec.reusable ? 1 : 0;
      views.push_back(&cell);
    }
    views_ = std::move(views);
    service->run(service, views_.data(), views_.size(), &op_, on_done);
  }
  Call(const Call &) = delete;
  Call &operator=(const Call &) = delete;
  const gcop_op *op() const { return &op_; }
  End wait() {
    std::unique_lock lock(mutex_);
    over_.wait(lock, [this] { return done_; });
    return end_;
  }

 private:
  struct Op : gcop_op {
    Call *mine;
  };
  struct Strings {
    std::vector<gcop_str> argv, names, texts;
  };
  static void on_done(const gcop_op *op, const gcop_sandbox_result *result) {
    Call &self = *static_cast<const Op *>(op)->mine;
    std::lock_guard lock(self.mutex_);
    const auto text = [](gcop_str s) { return s.ptr ? std::string(s.ptr, s.len) : std::string(); };
    self.end_.status = result->status;
    self.end_.error = text(result->error);
    for (size_t i = 0; i < result->n; ++i) {
      const gcop_cell_result &c = *result->cells[i];
      self.end_.cells.push_back({c.limits, c.exit_code, c.signal, c.cpu_ns, c.wall_ns, text(c.out), text(c.err)});
    }
    self.done_ = true;
    self.over_.notify_one();
  }

  Op op_{};
  std::vector<Spec> specs_;
  std::vector<Strings> strings_;
  std::vector<gcop_cell> cells_;
  std::vector<const gcop_cell *> views_;
  std::mutex mutex_;
  std::condition_variable over_;
  bool done_ = false;
  End end_;
};

inline gcop::sandbox::Sandbox &sandbox() {
  static auto made = gcop::sandbox::Sandbox::make();
  REQUIRE(made);
  return **made;
}

inline End run(std::vector<Spec> specs, uint64_t deadline_ns = 0) {
  return Call(sandbox().service(), std::move(specs), deadline_ns).wait();
}

inline std::vector<std::string> names_in(const std::string &folder) {
  std::vector<std::string> out;
  DIR *dir = opendir(folder.c_str());
  while (const dirent *entry = dir ? readdir(dir) : nullptr)
    if (entry->d_name[0] != '.') out.push_back(entry->d_name);
  if (dir) closedir(dir);
  return out;
}

// A copy of the judge, which runs nobody's code, between two checks: all it holds is the line of its next order.
inline bool rests(const std::string &pid) {
  std::ifstream file("/proc/" + pid + "/cmdline", std::ios::binary);
  std::string words;
  std::getline(file, words);
  return words.ends_with(std::string("\0judge.py\0", 10)) &&
         names_in("/proc/" + pid + "/fd") == std::vector<std::string>{"4"};
}

// Without the two by which a sandbox of ours holds each judge that rests.
inline size_t open_descriptors() {
  size_t n = 0, of_judges = 0;
  for (const std::string &fd : names_in("/proc/self/fd")) {
    ++n;
    std::ifstream info("/proc/self/fdinfo/" + fd);
    for (std::string line; std::getline(info, line);)
      if (line.rfind("Pid:\t", 0) == 0 && rests(line.substr(5))) of_judges += 2;
  }
  return n - of_judges;
}

struct Process {
  long parent = 0;
  std::string name;
  size_t depth = 0;  // pid namespaces it lives in, below ours
};

// Processes that cells have left: whatever lives below a box (the pid namespaces of gcop-hold and of bubblewrap), and
// parts of a box that nobody holds any more.
inline std::vector<std::string> leftovers_now() {
  std::map<long, Process> all;
  DIR *dir = opendir("/proc");
  while (const dirent *entry = readdir(dir)) {
    if (entry->d_name[0] < '0' || entry->d_name[0] > '9') continue;
    std::ifstream status(std::string("/proc/") + entry->d_name + "/status");
    Process process;
    for (std::string line; std::getline(status, line);) {
      if (line.rfind("Name:", 0) == 0) process.name = line.substr(6);
      if (line.rfind("PPid:", 0) == 0) process.parent = std::strtol(line.c_str() + 5, nullptr, 10);
      if (line.rfind("NSpid:", 0) == 0)
        process.depth = static_cast<size_t>(std::count(line.begin(), line.end(), '\t')) - 1;
    }
    if (!process.name.empty()) all[std::strtol(entry->d_name, nullptr, 10)] = process;
  }
  closedir(dir);
  std::vector<std::string> out;
  for (const auto &[pid, process] : all) {
    bool mine = false, held = false;
    for (auto at = all.find(pid); at != all.end(); at = all.find(at->second.parent)) {
      mine = mine || at->first == getpid();
      held = held || at->second.name == "gcop-hold";
    }
    if ((mine && process.depth > 2 && !rests(std::to_string(pid))) ||
        (process.depth > 0 && !held && process.parent <= 1))
      out.push_back(std::to_string(pid) + " " + process.name);
  }
  return out;
}

inline std::vector<std::string> leftover_processes() {
  std::vector<std::string> out = leftovers_now();
  for (int i = 0; i < 20 && !out.empty(); ++i) {  // somebody else's box may be ending just now; what stays is ours
    usleep(100'000);
    out = leftovers_now();
  }
  return out;
}

inline long resident_kb(long pid = getpid()) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind("VmRSS:", 0) == 0) return std::strtol(line.c_str() + 6, nullptr, 10);
  return 0;
}

// The programs that cells are copied from: children of bubblewrap, which is a child of gcop-hold, which is ours.
inline long resident_kb_of_boxes() {
  std::map<long, std::pair<long, std::string>> all;  // pid -> parent, name
  DIR *dir = opendir("/proc");
  while (const dirent *entry = readdir(dir)) {
    if (entry->d_name[0] < '0' || entry->d_name[0] > '9') continue;
    std::ifstream status(std::string("/proc/") + entry->d_name + "/status");
    auto &one = all[std::strtol(entry->d_name, nullptr, 10)];
    for (std::string line; std::getline(status, line);) {
      if (line.rfind("Name:", 0) == 0) one.second = line.substr(6);
      if (line.rfind("PPid:", 0) == 0) one.first = std::strtol(line.c_str() + 5, nullptr, 10);
    }
  }
  closedir(dir);
  long total = 0;
  for (const auto &[pid, process] : all)
    if (all.count(process.first) && all[process.first].second == "bwrap" &&
        all[all[process.first].first].second == "gcop-hold" && all[all[process.first].first].first == getpid())
      total += resident_kb(pid);
  return total;
}

// Mounts of a box that show outside of it; other programs may mount what they like meanwhile.
inline size_t mounts() {
  std::ifstream file("/proc/self/mountinfo");
  size_t n = 0;
  for (std::string line; std::getline(file, line);)
    n += line.find("newroot") != line.npos || line.find("oldroot") != line.npos || line.find(" /box") != line.npos ? 1
                                                                                                                   : 0;
  return n;
}

}  // namespace jail
