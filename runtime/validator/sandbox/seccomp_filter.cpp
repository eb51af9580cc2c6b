#include "validator/sandbox/seccomp_filter.hpp"

#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <memory>

namespace gcop::sandbox {
namespace {

// Kernel surface that an honest program never needs. System V shared memory, message queues and memfds are here
// because their pages outlive a mapping and so escape the limit on address space; sockets, because the cells of one
// box share its network, where abstract addresses would connect them; watches, which see who opens files of /usr.
constexpr const char *kDenied[] = {"socket",
                                   "mount",
                                   "umount",
                                   "umount2",
                                   "pivot_root",
                                   "chroot",
                                   "open_tree",
                                   "move_mount",
                                   "fsopen",
                                   "fsconfig",
                                   "fsmount",
                                   "fspick",
                                   "mount_setattr",
                                   "unshare",
                                   "setns",
                                   "ptrace",
                                   "process_vm_readv",
                                   "process_vm_writev",
                                   "process_madvise",
                                   "pidfd_getfd",
                                   "kcmp",
                                   "bpf",
                                   "perf_event_open",
                                   "userfaultfd",
                                   "io_uring_setup",
                                   "io_uring_enter",
                                   "io_uring_register",
                                   "keyctl",
                                   "add_key",
                                   "request_key",
                                   "personality",
                                   "name_to_handle_at",
                                   "open_by_handle_at",
                                   "init_module",
                                   "finit_module",
                                   "delete_module",
                                   "kexec_load",
                                   "kexec_file_load",
                                   "reboot",
                                   "swapon",
                                   "swapoff",
                                   "acct",
                                   "quotactl",
                                   "quotactl_fd",
                                   "syslog",
                                   "iopl",
                                   "ioperm",
                                   "modify_ldt",
                                   "vhangup",
                                   "settimeofday",
                                   "clock_settime",
                                   "clock_adjtime",
                                   "adjtimex",
                                   "sethostname",
                                   "setdomainname",
                                   "fanotify_init",
                                   "inotify_init",
                                   "inotify_init1",
                                   "inotify_add_watch",
                                   "lookup_dcookie",
                                   "nfsservctl",
                                   "vmsplice",
                                   "mbind",
                                   "set_mempolicy",
                                   "migrate_pages",
                                   "move_pages",
                                   "memfd_create",
                                   "memfd_secret",
                                   "shmget",
                                   "shmat",
                                   "shmctl",
                                   "msgget",
                                   "msgsnd",
                                   "semget",
                                   "semop",
                                   "mq_open"};

constexpr uint64_t kNamespaceFlags[] = {CLONE_NEWNS,   CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
                                        CLONE_NEWUSER, CLONE_NEWPID,    CLONE_NEWNET};

}  // namespace

Result<std::string> seccomp_program() {
  const auto failed = [](const char *what) {
    return Error{Code::unsupported,
                 std::string("libseccomp could not build the jail's filter (") + what +
                     "); install a libseccomp that knows this machine's architecture",
                 {}};
  };
  std::unique_ptr<void, void (*)(scmp_filter_ctx)> filter(seccomp_init(SCMP_ACT_ALLOW), seccomp_release);
  if (!filter) return failed("init");
  const uint32_t refuse = SCMP_ACT_ERRNO(EPERM);
  for (const char *name : kDenied) {
    const int number = seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR) continue;  // younger than this libseccomp or not of this architecture
    if (seccomp_rule_add(filter.get(), refuse, number, 0) != 0) return failed(name);
  }
  for (uint64_t flag : kNamespaceFlags)
    if (seccomp_rule_add(filter.get(), refuse, SCMP_SYS(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, flag, flag)) != 0)
      return failed("clone");
  // A filter cannot look into clone3's argument block; libc falls back to clone.
  if (seccomp_rule_add(filter.get(), SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) != 0) return failed("clone3");
  if (seccomp_rule_add(filter.get(), refuse, SCMP_SYS(socketpair), 1, SCMP_A0(SCMP_CMP_NE, AF_UNIX)) != 0)
    return failed("socketpair");
  for (uint64_t request : {TIOCSTI, TIOCLINUX})
    if (seccomp_rule_add(filter.get(), refuse, SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffu, request)) !=
        0)
      return failed("ioctl");
  // Memory that is shared and has no file counts for nobody once it is unmapped but for a page.
  constexpr uint64_t kSharedMemory = MAP_SHARED | MAP_ANONYMOUS;
  if (seccomp_rule_add(filter.get(), refuse, SCMP_SYS(mmap), 1,
                       SCMP_A3(SCMP_CMP_MASKED_EQ, kSharedMemory, kSharedMemory)) != 0)
    return failed("mmap");
  // With SIGCHLD ignored the CPU time of children that have ended counts for nobody.
  if (seccomp_rule_add(filter.get(), refuse, SCMP_SYS(rt_sigaction), 2,
                       SCMP_A0(SCMP_CMP_MASKED_EQ, 0xffffffffu, SIGCHLD), SCMP_A1(SCMP_CMP_NE, 0)) != 0)
    return failed("rt_sigaction");
  for (uint64_t command : {F_NOTIFY, F_SETLEASE})  // they see who opens files and folders of /usr
    if (seccomp_rule_add(filter.get(), refuse, SCMP_SYS(fcntl), 1, SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffu, command)) !=
        0)
      return failed("fcntl");
  // Nobody gives itself less CPU time than we do: the kernel's SIGKILL at that limit would pass for the machine's.
  const scmp_arg_cmp cpu[] = {SCMP_A0(SCMP_CMP_MASKED_EQ, 0xffffffffu, RLIMIT_CPU),
                              SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffu, RLIMIT_CPU), SCMP_A2(SCMP_CMP_NE, 0)};
  if (seccomp_rule_add(filter.get(), refuse, SCMP_SYS(setrlimit), 1, cpu[0]) != 0 ||
      seccomp_rule_add(filter.get(), refuse, SCMP_SYS(prlimit64), 2, cpu[1], cpu[2]) != 0)
    return failed("setrlimit");
  seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);  // a tree instead of a list; an old library ignores it

  const int fd = memfd_create("gcop-seccomp", MFD_CLOEXEC);
  if (fd < 0) return failed("memfd");
  std::string program;
  if (seccomp_export_bpf(filter.get(), fd) == 0) {
    const off_t size = lseek(fd, 0, SEEK_END);
    program.resize(size > 0 ? static_cast<size_t>(size) : 0);
    if (pread(fd, program.data(), program.size(), 0) != size) program.clear();
  }
  close(fd);
  if (program.empty()) return failed("export");
  return program;
}

}  // namespace gcop::sandbox
