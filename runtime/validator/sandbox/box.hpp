// One run of the sandbox: one or two cells from start to end. Lives on the sandbox's thread only; sandbox.cpp polls
// the descriptors it names and calls in when something happened or a time has come.
#pragma once
#include <poll.h>

#include <memory>
#include <string>
#include <vector>

#include <gcop/plugin.h>

#include "validator/sandbox/launch.hpp"

namespace gcop::sandbox {

uint64_t monotonic_ns();

class Cell {
 public:
  Cell(const gcop_cell &spec) : spec_(spec), limits_(limits_of(spec)) {}
  ~Cell();  // a cell that still runs is killed and reaped
  Cell(const Cell &) = delete;
  Cell &operator=(const Cell &) = delete;

  Result<> start(const Jail &jail, int socket);
  void add_polls(std::vector<pollfd> &polls) const;  // what it waits for
  void ready(int fd);                                // one of them has something to say
  void tick(uint64_t now);                           // looks at limits
  uint64_t next_tick() const { return next_tick_; }
  void end(uint32_t limit_flag);          // kills it; GCOP_CELL_* or 0
  bool ended() const { return exited_; }  // the program is gone
  bool finished() const { return exited_ && !started_.out && !started_.err && !started_.status; }
  bool reached() const { return reached_; }  // the program was started at all
  const std::string &failure() const { return failure_; }
  const std::string &err() const { return err_; }
  gcop_cell_result result() const;  // views into this object

 private:
  void read_stream(Fd &fd, std::string &text, bool capped);
  void read_status();
  void reap();

  gcop_cell spec_;
  Limits limits_;
  const Jail *jail_ = nullptr;
  Started started_;
  pid_t inner_ = -1;  // the program, process 1 of its namespace
  Fd inner_pidfd_;
  std::string out_, err_, status_text_, failure_;
  uint64_t begun_ns_ = 0, ended_ns_ = 0, cpu_ns_ = 0, wall_end_ = 0, next_tick_ = 0, killed_ns_ = 0;
  uint32_t flags_ = 0;
  int exit_code_ = -1, signal_ = 0;
  bool exited_ = false, reached_ = false, kill_wanted_ = false;
};

struct Run {
  const gcop_op *op = nullptr;
  uint64_t op_id = 0;
  std::vector<const gcop_cell *> specs;
  gcop_sandbox_done done = nullptr;
  std::vector<std::unique_ptr<Cell>> cells;  // once started
  gcop_status status = GCOP_OK;              // why it was ended early
  std::string error;

  void start(const Jail &jail);  // failure shows in status
  void abort(gcop_status why, std::string message);
  void settle();  // after every event: cell 0's end ends the others
  bool finished() const;
  void answer(bool jail_has_worked);  // calls done()
};

}  // namespace gcop::sandbox
