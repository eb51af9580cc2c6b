/* What the host and the program in a box say to each other, over the SOCK_SEQPACKET socket that the program finds as
 * descriptor 3. The first packet is a gcop_opening with the filter behind it; every other one is a gcop_order to the
 * box or a gcop_word from it. Both ends are built together, so the layout needs no care. */
#ifndef GCOP_SANDBOX_WORDS_H
#define GCOP_SANDBOX_WORDS_H
#include <stdint.h>

enum {
  GCOP_CONTROL_FD = 3,
  GCOP_PROC_FD = 4, /* the host's /proc, for the id maps of cells */
  GCOP_LINE_FD = 4  /* in a cell that may be used again: over this come its later orders */
};

typedef struct gcop_opening {
  uint32_t fenced;   /* 0: cells are plain child processes with resource limits and nothing else */
  uint32_t n_filter; /* instructions of the seccomp program behind this */
} gcop_opening;

typedef struct gcop_order { /* with the descriptors 0, 1, 2 and, for one of a pair, 3 of the cell */
  uint64_t id;
  uint64_t cpu_seconds;
  uint64_t mem_bytes;
  uint64_t tmp_bytes;
  uint32_t processes;
  uint32_t n_fds;    /* 3 or 4, and one more that is the line of a cell that may be used again */
  uint32_t reusable; /* 1: there is such a line */
  uint32_t reserved;
  char folder[40]; /* unfenced: the cell's working directory */
} gcop_order;

enum {
  GCOP_LOADED = 1, /* the program waits for cells */
  GCOP_MADE = 2,   /* a cell's process is there; comes with its pidfd */
  GCOP_READY = 3,  /* it is fenced in and about to run */
  GCOP_FAILED = 4, /* it could not be: errno and the step */
  GCOP_ENDED = 5,  /* wait status and CPU time */
  GCOP_RESTS = 6   /* over the line: done with the order, waits for another; CPU time of the process until now */
};

typedef struct gcop_word {
  uint64_t id;
  uint64_t cpu_ns;
  uint32_t kind;
  int32_t value;
  char step[16];
} gcop_word;
#endif
