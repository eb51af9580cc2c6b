// One cell from its order to its end. Lives on the sandbox's thread only; sandbox.cpp polls the descriptors it names,
// the box tells it what became of its process.
#pragma once
#include <poll.h>

#include <string>
#include <vector>

#include <gcop/plugin.h>

#include "base/result.hpp"
#include "validator/sandbox/box.hpp"

namespace gcop::sandbox {

uint64_t monotonic_ns();
void send_signal(const Fd &pidfd, int signal);

// A cell's limits with the ABI's defaults filled in.
struct Limits {
  uint64_t cpu_ns, wall_ns, mem_bytes, tmp_bytes, output_bytes;
  uint32_t processes;
};
Limits limits_of(const gcop_cell &cell);

class Cell {
 public:
  explicit Cell(const gcop_cell &spec) : spec_(spec), limits_(limits_of(spec)) {}
  ~Cell();  // a cell that still runs is killed
  Cell(const Cell &) = delete;
  Cell &operator=(const Cell &) = delete;

  Result<> start(Box &box, Fd socket);  // socket: the cell's descriptor 3, or none
  void add_polls(std::vector<pollfd> &polls) const;
  void ready(int fd);
  void tick(uint64_t now);  // looks at limits
  uint64_t next_tick() const { return next_tick_; }
  void end(uint32_t limit_flag);  // kills it; GCOP_CELL_* or 0

  // From the box:
  void made(Fd pidfd);
  void runs();  // fenced in, its program begins
  void ended(int wait_status, uint64_t cpu_ns);
  void lost(Error why);  // it could not be made, or its box is gone

  bool over() const { return over_; }  // the process is gone
  bool finished() const { return over_ && !out_fd_ && !err_fd_; }
  const Error *failure() const { return failed_ ? &failure_ : nullptr; }
  bool ran() const { return ran_; }
  gcop_cell_result result() const;  // views into this object

 private:
  void read_stream(Fd &fd, std::string &text);
  void read_line();
  void close_down();

  gcop_cell spec_;
  Limits limits_;
  Box *box_ = nullptr;
  Process process_;
  Fd out_fd_, err_fd_;
  std::string out_, err_, folder_;
  uint64_t begun_ns_ = 0, ended_ns_ = 0, cpu_ns_ = 0, wall_end_ = 0, next_tick_ = UINT64_MAX;
  uint32_t flags_ = 0;
  int wait_status_ = 0;
  Error failure_{Code::internal, "", {}};
  bool over_ = false, ran_ = false, failed_ = false, kill_wanted_ = false;
};

}  // namespace gcop::sandbox
