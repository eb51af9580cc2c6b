/* libgcop_cell.so: the one function that a program of the jail calls. Here a cell is made and fenced in, by code that
 * nothing in a cell can change: the program is forked while it has seen no data, and every step that takes a privilege
 * comes before the fork's return. System calls only; the process has one thread. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "words.h"

#define EXPORT __attribute__((visibility("default")))

enum { MOST_CELLS = 1024, MOST_INSTRUCTIONS = 4096, MOST_FDS = 5, MOST_USES = 256, MOST_GROWTH_KB = 32 << 10 };

static struct {
  uint64_t id;
  pid_t pid;
} cells[MOST_CELLS]; /* pid 0: free */

static gcop_opening opening;
static struct sock_filter filter[MOST_INSTRUCTIONS];
static int landlock_version;
static uid_t user;
static gid_t group;
static int uses; /* orders of this process; 0 in the box and in a cell that serves one */
static long first_kb;

static int say_over(int line, gcop_word word, int fd) {
  struct iovec part = {&word, sizeof word};
  union {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int))];
  } control;
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (fd >= 0) {
    memset(&control, 0, sizeof control);
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(head), &fd, sizeof fd);
  }
  ssize_t n;
  do n = sendmsg(line, &message, MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  return n == (ssize_t)sizeof word;
}

static int say(gcop_word word, int fd) { return say_over(GCOP_CONTROL_FD, word, fd); }

static void failed(uint64_t id, const char *step, int code) {
  gcop_word word = {.id = id, .kind = GCOP_FAILED, .value = code};
  strncpy(word.step, step, sizeof word.step - 1);
  say(word, -1);
}

/* ------------------------------------------------------------------------------------------- in the cell's process */

static int put(const char *path, const char *text) { /* below the host's /proc */
  const int fd = openat(GCOP_PROC_FD, path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  const ssize_t n = write(fd, text, strlen(text));
  close(fd);
  return n == (ssize_t)strlen(text);
}

static int map_ids(void) { /* first of all, or every write to the new tmpfs is EOVERFLOW */
  char line[64];
  if (!put("self/setgroups", "deny")) return 0;
  snprintf(line, sizeof line, "%u %u 1", user, user);
  if (!put("self/uid_map", line)) return 0;
  snprintf(line, sizeof line, "%u %u 1", group, group);
  return put("self/gid_map", line);
}

static int limit(int what, uint64_t value) { /* a lower limit of the host's stays */
  struct rlimit now;
  if (getrlimit((__rlimit_resource_t)what, &now) != 0) return 0;
  if (now.rlim_max > value) now.rlim_max = value;
  now.rlim_cur = now.rlim_max;
  return setrlimit((__rlimit_resource_t)what, &now) == 0;
}

static uint64_t cpu_ns(const struct rusage *used) {
  return ((uint64_t)(used->ru_utime.tv_sec + used->ru_stime.tv_sec) * 1000000u +
          (uint64_t)(used->ru_utime.tv_usec + used->ru_stime.tv_usec)) *
         1000;
}

static int limit_all(const gcop_order *order) {
  return limit(RLIMIT_CPU, order->cpu_seconds * (order->reusable ? MOST_USES : 1)) && limit(RLIMIT_AS, order->mem_bytes) &&
         limit(RLIMIT_FSIZE, order->tmp_bytes) && limit(RLIMIT_NOFILE, 64) && limit(RLIMIT_CORE, 0) &&
         limit(RLIMIT_STACK, 8u << 20) && limit(RLIMIT_MEMLOCK, 0) && limit(RLIMIT_MSGQUEUE, 0) &&
         limit(RLIMIT_SIGPENDING, 256);
}

static int allow_below(int rules, const char *path, uint64_t access) {
  struct {
    uint64_t access;
    int32_t parent;
  } __attribute__((packed)) rule = {access, open(path, O_PATH | O_CLOEXEC)};
  const long made = rule.parent < 0 ? -1 : syscall(SYS_landlock_add_rule, rules, 1, &rule, 0u);
  if (rule.parent >= 0) close(rule.parent);
  return made == 0;
}

/* Behind the read-only mounts: no writing outside /tmp, and, where the kernel knows how, no TCP, no signal and no
 * abstract socket to anything outside. */
static int landlock(void) {
  struct {
    uint64_t files, net, scopes;
  } wanted = {0, 3, 3};
  static const int file_rights[] = {0, 13, 14, 15, 15, 16};
  enum { EXECUTE = 1 << 0, WRITE = 1 << 1, READ = 1 << 2, LIST = 1 << 3, MAKE_DEVICES = 1 << 6 | 1 << 11 };
  const int version = landlock_version;
  wanted.files = (UINT64_C(1) << file_rights[version < 5 ? version : 5]) - 1;
  const size_t size = version >= 6 ? 24 : version >= 4 ? 16 : 8;
  const int rules = (int)syscall(SYS_landlock_create_ruleset, &wanted, size, 0u);
  if (rules < 0) return 0;
  const uint64_t own = wanted.files & ((UINT64_C(1) << 15) - 1) & ~(uint64_t)MAKE_DEVICES;
  const int ok = allow_below(rules, "/", EXECUTE | READ | LIST) && allow_below(rules, "/dev", READ | WRITE | LIST) &&
                 allow_below(rules, "/tmp", own) && syscall(SYS_landlock_restrict_self, rules, 0u) == 0;
  close(rules);
  return ok;
}

static int drop_capabilities(void) {
  struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct none[2];
  memset(none, 0, sizeof none);
  return syscall(SYS_capset, &head, none) == 0;
}

static int apply_filter(void) {
  struct sock_fprog program = {(unsigned short)opening.n_filter, filter};
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0u, &program) == 0;
}

/* NULL, or the step that failed. */
static const char *fence_in(const gcop_order *order, const int *fds, const sigset_t *mask) {
  char options[96];
  if (opening.fenced && !map_ids()) return "id map";
  /* A process group crosses pid namespaces: kill(0) would reach the box and every other cell. */
  if (setsid() < 0) return "session";
  /* From here on: 0, 1, 2 are the cell's, 3 is control, behind it its descriptor 3 and its line, if it has them. */
  const uint32_t n = order->n_fds + order->reusable;
  for (uint32_t i = 0; i < n; ++i)
    if (dup2(fds[i], (int)(i < GCOP_CONTROL_FD ? i : i + 1)) < 0) return "descriptors";
  if (syscall(SYS_close_range, n > 3 ? n + 1 : 4u, ~0u, 0u) != 0) return "descriptors";
  if (opening.fenced) {
    snprintf(options, sizeof options, "size=%llu,nr_inodes=%llu,mode=700", (unsigned long long)order->tmp_bytes,
             (unsigned long long)(order->tmp_bytes / 4096 + 16));
    if (mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, options) != 0) return "tmpfs";
    if (chdir("/tmp") != 0) return "tmpfs";
    if (!limit(RLIMIT_NPROC, order->processes)) return "limits";
  } else if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || chdir(order->folder) != 0) {
    return "folder";
  }
  if (!limit_all(order)) return "limits";
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return "no_new_privs";
  if (opening.fenced) {
    if (landlock_version > 0 && !landlock()) return "landlock";
    if (!drop_capabilities()) return "capabilities";
  }
  sigprocmask(SIG_SETMASK, mask, NULL);
  signal(SIGCHLD, SIG_DFL); /* or the CPU time of its children would be nobody's; the filter keeps it so */
  if (opening.fenced && !apply_filter()) return "seccomp";
  return NULL;
}

/* ------------------------------------------------------------------------------------------------------ in the box */

/* 1 in the new cell, 0 in the box. */
static int make_cell(const gcop_order *order, const int *fds, const sigset_t *mask) {
  unsigned long flags = CLONE_PIDFD | SIGCHLD;
  if (opening.fenced) flags |= CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS;
  int slot = 0, pidfd = -1;
  while (slot < MOST_CELLS && cells[slot].pid != 0) ++slot;
  if (slot == MOST_CELLS) {
    failed(order->id, "too many", EAGAIN);
    return 0;
  }
  /* raw, because no libc makes a process with these flags */
  const pid_t pid = (pid_t)syscall(SYS_clone, flags, NULL, &pidfd, NULL, NULL);
  if (pid < 0) failed(order->id, "clone", errno);
  if (pid > 0) {
    cells[slot].id = order->id;
    cells[slot].pid = pid;
    say((gcop_word){.id = order->id, .kind = GCOP_MADE}, pidfd);
    close(pidfd);
  }
  if (pid != 0) return 0;
  const char *step = fence_in(order, fds, mask);
  if (step) {
    failed(order->id, step, errno);
    _exit(126);
  }
  say((gcop_word){.id = order->id, .kind = GCOP_READY}, -1);
  if (order->n_fds > 3) {
    dup2(GCOP_CONTROL_FD + 1, GCOP_CONTROL_FD);
    if (order->reusable) dup2(GCOP_CONTROL_FD + 2, GCOP_LINE_FD);
    close(GCOP_CONTROL_FD + 1 + (int)order->reusable);
  } else {
    close(GCOP_CONTROL_FD);
  }
  struct rusage used;
  if (order->reusable && getrusage(RUSAGE_SELF, &used) == 0) {
    uses = 1;
    first_kb = used.ru_maxrss;
  }
  return 1;
}

static void reap(void) {
  siginfo_t info;
  while (memset(&info, 0, sizeof info), waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid > 0) {
    struct rusage used;
    int status = 0;
    if (!opening.fenced) kill(-info.si_pid, SIGKILL); /* what it left, before its number is free */
    if (wait4(info.si_pid, &status, WNOHANG, &used) != info.si_pid) return;
    for (int i = 0; i < MOST_CELLS; ++i) {
      if (cells[i].pid != info.si_pid) continue;
      cells[i].pid = 0;
      say((gcop_word){.id = cells[i].id, .kind = GCOP_ENDED, .value = status, .cpu_ns = cpu_ns(&used)}, -1);
      break;
    }
  }
}

static ssize_t receive(int from, void *into, size_t size, int *fds, uint32_t *n_fds) {
  union {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(MOST_FDS * sizeof(int))];
  } control;
  struct iovec part = {into, size};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes,
                           .msg_controllen = sizeof control.bytes};
  ssize_t n;
  do n = recvmsg(from, &message, MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  *n_fds = 0;
  struct cmsghdr *head = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;
  if (head && head->cmsg_type == SCM_RIGHTS) {
    *n_fds = (uint32_t)((head->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    memcpy(fds, CMSG_DATA(head), *n_fds * sizeof(int));
  }
  return n;
}

/* Returns once for each cell, in the cell's own process: descriptors 0 to 2 (3 for one of a pair), a private working
 * directory, all fences up. Returns -1 if there is no host, and in a cell. */
EXPORT int gcop_cell_wait(void) {
  static unsigned char first[sizeof opening + sizeof filter];
  int fds[MOST_FDS];
  uint32_t n_fds;
  static int called;
  if (called++) return -1;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  ssize_t n = receive(GCOP_CONTROL_FD, first, sizeof first, fds, &n_fds);
  if (n < (ssize_t)sizeof opening) return -1;
  memcpy(&opening, first, sizeof opening);
  if (opening.n_filter > MOST_INSTRUCTIONS || (size_t)n != sizeof opening + opening.n_filter * sizeof filter[0])
    return -1;
  memcpy(filter, first + sizeof opening, (size_t)n - sizeof opening);
  user = getuid();
  group = getgid();
  landlock_version = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, 1u);

  put("self/oom_score_adj", "1000"); /* for all cells: where memory is short, the kernel ends them first */
  sigset_t child, before;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  sigprocmask(SIG_BLOCK, &child, &before);
  const int children = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
  if (children < 0) return -1;
  say((gcop_word){.kind = GCOP_LOADED}, -1);
  for (;;) {
    struct pollfd polls[2] = {{GCOP_CONTROL_FD, POLLIN, 0}, {children, POLLIN, 0}};
    if (poll(polls, 2, -1) < 0 && errno != EINTR) _exit(1);
    if (polls[1].revents) {
      struct signalfd_siginfo info;
      while (read(children, &info, sizeof info) > 0) {
      }
      reap();
    }
    if (!polls[0].revents) continue;
    gcop_order order;
    n = receive(GCOP_CONTROL_FD, &order, sizeof order, fds, &n_fds);
    if (n <= 0) _exit(0); /* the host is gone; so are all cells, by their namespace or their parent's death */
    if (n == (ssize_t)sizeof order && n_fds == order.n_fds + order.reusable && order.n_fds >= 3) {
      if (make_cell(&order, fds, &before)) return 0;
    } else {
      failed(order.id, "order", EPROTO);
    }
    for (uint32_t i = 0; i < n_fds; ++i) close(fds[i]);
  }
}

/* For a cell whose host said that it may be used again, and whose program vouches that nothing of the order is left in
 * it: gives the order back and waits for the next. Returns 0 with the next one's descriptors. Returns -1 where there is
 * none to be had, or no longer, because the process is old, has grown or has children; the program ends then. */
EXPORT int gcop_cell_again(void) {
  struct rusage used, reaped;
  if (uses == 0 || uses >= MOST_USES || getrusage(RUSAGE_SELF, &used) != 0 || getrusage(RUSAGE_CHILDREN, &reaped) != 0)
    return -1;
  if (used.ru_maxrss > first_kb + MOST_GROWTH_KB) return -1;
  siginfo_t child;
  if (waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0 || errno != ECHILD) return -1;
  ++uses;
  if (syscall(SYS_close_range, 0u, 3u, 0u) != 0) return -1;
  if (!say_over(GCOP_LINE_FD, (gcop_word){.kind = GCOP_RESTS, .cpu_ns = cpu_ns(&used) + cpu_ns(&reaped)}, -1)) return -1;
  gcop_order order;
  int fds[MOST_FDS];
  uint32_t n_fds;
  if (receive(GCOP_LINE_FD, &order, sizeof order, fds, &n_fds) != (ssize_t)sizeof order || n_fds != order.n_fds) return -1;
  for (uint32_t i = 0; i < n_fds; ++i) /* the lowest free numbers, so the right ones; kept over exec as in a new cell */
    if (fds[i] != (int)i || fcntl((int)i, F_SETFD, 0) != 0) return -1;
  return 0;
}
