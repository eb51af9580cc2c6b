// Starts a box: gcop-hold, bubblewrap with a prepared view of the system, and in it a program that waits for cells.
// Used by box.cpp on the sandbox's thread. The caller owns what comes back.
#pragma once
#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include <gcop/plugin.h>

#include "base/result.hpp"
#include "validator/sandbox/descriptor.hpp"
#include "validator/sandbox/group.hpp"

namespace gcop::sandbox {

// What every box of this process has in common.
struct Jail {
  std::string bwrap;              // absolute path; empty if there is none
  std::string missing;            // why this machine has no jail, and what to enable
  std::string filter;             // seccomp_program()
  std::vector<std::string> view;  // bwrap arguments that make the file system, but for /box
  uid_t run_as = 0;               // the user of boxes when we are root, else unused
  bool drop_user = false;
};
Jail make_jail(const std::string &bwrap);

// What runs in a box: as a gcop_cell names it, and kept beyond that.
struct Program {
  std::vector<std::string> argv;
  std::vector<std::pair<std::string, std::string>> files;  // name, text
  uint32_t isolation = GCOP_ISOLATION_JAIL;

  static Result<Program> of(const gcop_cell &cell);
  bool is(const gcop_cell &cell) const;
};

struct Started {
  pid_t pid = -1;      // gcop-hold, or the program itself where nothing isolates it; reap it
  Fd pidfd, control;   // readable when it has ended; words.h
  Fd err;              // what it says while it starts
  std::string folder;  // without a jail: what stands for /box, to be removed
  Group group;         // around it all
};

Result<Started> start(const Jail &jail, const Program &program);

// A working directory for one cell of a box without a jail, below the box's folder.
Result<std::string> make_folder(const Jail &jail, const std::string &box_folder);
void remove_folder(const std::string &folder);

}  // namespace gcop::sandbox
