// One box: a program that has loaded what it needs and is copied for every cell. Lives on the sandbox's thread only.
// A box that ends takes its cells along, as failures of infrastructure; the next run starts another.
#pragma once
#include <poll.h>

#include <array>
#include <map>
#include <string>
#include <vector>

#include "validator/sandbox/launch.hpp"

namespace gcop::sandbox {

class Cell;
struct Limits;

// A cell's process 1. One that may be used again outlives its cell and waits in its box.
struct Process {
  uint64_t id = 0;      // the box's name for it
  Fd pidfd;             // as soon as it is made
  Fd line;              // of one that may be used again
  uint64_t cpu_ns = 0;  // what earlier cells used of it
  uint64_t mem_bytes = 0, tmp_bytes = 0;
  uint32_t processes = 0;
};

class Box {
 public:
  Box(const Jail &jail, Program program) : jail_(&jail), program_(std::move(program)) {}
  ~Box();  // [block] ended and reaped; no cell may be left
  Box(const Box &) = delete;
  Box &operator=(const Box &) = delete;

  Result<> start();
  const Program &program() const { return program_; }
  bool usable() const { return !gone_ && !ending_; }
  bool gone() const { return gone_; }
  bool idle() const { return cells_.empty(); }
  uint64_t last_used_ns() const { return last_used_; }
  void end(const std::string &why);

  void add_polls(std::vector<pollfd> &polls) const;
  void ready(int fd);

  // For cells. The order is served by a process that rests here, which is returned with its pidfd, or by one that will
  // be made. Any answer comes later, through the cell.
  Result<Process> order(Cell &cell, const Limits &limits, const std::array<int, 4> &fds, const std::string &folder,
                        bool reusable);
  void rest(Process process);  // its cell is over
  void forget(uint64_t id) { cells_.erase(id); }
  bool needs_folders() const { return program_.isolation != GCOP_ISOLATION_JAIL; }
  Result<std::string> make_cell_folder() const { return make_folder(*jail_, started_.folder); }

 private:
  void read_words();
  void read_err();
  void reap();
  Error why_gone() const;
  Error why_not_made(const std::string &step, int code) const;

  const Jail *jail_;
  Program program_;
  Started started_;
  std::string err_, reason_;
  std::map<uint64_t, Cell *> cells_;
  std::vector<Process> resting_;
  uint64_t most_bytes_ = 0, most_processes_ = 0;  // of a cell so far
  uint64_t next_id_ = 1, last_used_ = 0;
  bool loaded_ = false, worked_ = false, ending_ = false, gone_ = false;
};

}  // namespace gcop::sandbox
