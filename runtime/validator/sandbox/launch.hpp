// Starts one cell: bubblewrap with a prepared view of the system, held before the program until release().
// Used by box.cpp on the sandbox's thread. The caller owns what comes back.
#pragma once
#include <sys/types.h>
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include <gcop/plugin.h>

#include "base/result.hpp"

namespace gcop::sandbox {

// A file descriptor with an owner.
class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  Fd(Fd &&other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd &operator=(Fd &&other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~Fd() { reset(); }
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  void reset(int fd = -1) {
    if (fd_ >= 0) close(fd_);
    fd_ = fd;
  }

 private:
  int fd_;
};

// A cell's limits with the ABI's defaults filled in.
struct Limits {
  uint64_t cpu_ns, wall_ns, mem_bytes, tmp_bytes, output_bytes;
  uint32_t processes;
};
Limits limits_of(const gcop_cell &cell);

// What every box of this process has in common.
struct Jail {
  std::string bwrap;              // absolute path
  std::string filter;             // seccomp_program()
  std::vector<std::string> view;  // bwrap arguments that make the file system, but for /tmp and /box
  uid_t run_as = 0;               // the user of boxes when we are root, else unused
  bool drop_user = false;
};
Result<Jail> make_jail(const std::string &bwrap);

struct Started {
  pid_t pid = -1;      // bubblewrap itself; reap it
  Fd pidfd, out, err;  // readable when it has ended; the cell's streams
  Fd status;           // bwrap's JSON: "child-pid", later "exit-code" if the program was reached
  Fd go;               // one byte lets the cell run
};

// socket: the cell's descriptor 3, borrowed, or -1.
Result<Started> start(const Jail &jail, const gcop_cell &cell, int socket);

// Sets the resource limits of the held cell and lets it run. They are set from outside and only now, because
// RLIMIT_NPROC must count the box's own user namespace, not all processes of this user.
Result<> release(const Jail &jail, Started &started, pid_t inner, const Limits &limits);

}  // namespace gcop::sandbox
