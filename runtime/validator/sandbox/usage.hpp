// What a cell has used so far, from /proc. Any thread.
#pragma once
#include <sys/types.h>

#include <cstdint>

namespace gcop::sandbox {

struct Usage {
  uint64_t cpu_ns = 0;
  uint64_t mem_bytes = 0;  // now, of no file; what processes share counts once
};

pid_t pid_of(int pidfd);         // as we see it; -1 if it is gone
Usage usage_of_tree(pid_t pid);  // of a process and all below it

}  // namespace gcop::sandbox
