#include "validator/sandbox/launch.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <string_view>

#include "validator/sandbox/seccomp_filter.hpp"

namespace gcop::sandbox {
namespace {

// Boxes of a root process run as this otherwise unused user: the kernel exempts root from RLIMIT_NPROC, and a hole
// in the jail must not end at root.
constexpr uid_t kBoxUser = 64999;
constexpr int kFirstHighFd = 64;  // our own ends live above the numbers that the child deals out

Error failed(const std::string &what) {
  const int code = errno;
  return {code == EMFILE || code == ENFILE || code == ENOMEM || code == EAGAIN ? Code::exhausted : Code::internal,
          "the sandbox could not " + what + ": " + std::strerror(code),
          {}};
}

int lift(int fd) {  // to a number the child does not need
  if (fd < 0 || fd >= kFirstHighFd) return fd;
  const int high = fcntl(fd, F_DUPFD_CLOEXEC, kFirstHighFd);
  close(fd);
  return high;
}

bool make_pipe(Fd &read_end, Fd &write_end) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return false;
  read_end.reset(lift(ends[0]));
  write_end.reset(lift(ends[1]));
  return read_end && write_end;
}

// Bytes as a file without a name. Sealed: the program behind it must not grow our memory.
Fd memory_file(std::string_view bytes) {
  Fd fd(lift(memfd_create("gcop-cell", MFD_CLOEXEC | MFD_ALLOW_SEALING)));
  size_t done = 0;
  while (fd && done < bytes.size()) {
    const ssize_t n = pwrite(fd.get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
    if (n < 0 && errno != EINTR) fd.reset();
    if (n > 0) done += static_cast<size_t>(n);
  }
  if (fd && fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0) fd.reset();
  return fd;
}

std::string_view text(gcop_str s) { return s.ptr ? std::string_view(s.ptr, s.len) : std::string_view(); }

bool plain_name(std::string_view name) {
  return !name.empty() && name.front() != '/' && name.find("..") == name.npos && name.find('\0') == name.npos;
}

bool become(uid_t user) {  // for good; raw, because glibc's setresuid would signal the parent's threads
  return syscall(SYS_setgroups, 0, nullptr) == 0 && syscall(SYS_setresgid, user, user, user) == 0 &&
         syscall(SYS_setresuid, user, user, user) == 0;
}

struct Child {  // everything the forked child touches, made ready before
  std::vector<char *> argv;
  std::vector<int> sources;  // becomes descriptors 0, 1, 2, ...; -1 = closed
  bool drop_user;
  uid_t user;
};

// Runs between vfork and exec in the parent's memory: system calls only, no allocation.
[[noreturn]] void child_main(const Child &child) {
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  for (int sig = 1; sig < NSIG; ++sig) sigaction(sig, &standard, nullptr);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  const int n = static_cast<int>(child.sources.size());
  for (int i = 0; i < n; ++i) {
    const int source = child.sources[static_cast<size_t>(i)];
    if (source < 0)
      close(i);
    else if (dup2(source, i) < 0)
      _exit(127);
  }
  syscall(SYS_close_range, static_cast<unsigned>(n), ~0u, 0u);
  if (chdir("/") != 0) _exit(127);
  if (child.drop_user && !become(child.user)) _exit(127);
  static char *const no_environment[] = {nullptr};
  execve(child.argv[0], child.argv.data(), no_environment);
  _exit(127);
}

// vfork, because fork would copy the page tables of a process that holds models. The child shares our memory.
template <class Main>
pid_t spawn(const Main &child) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // no handler may run in the child on our memory
  const pid_t pid = vfork();
  if (pid == 0) {
    child();
    _exit(127);
  }
  const int code = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = code;
  return pid;
}

struct Rule {
  int what;
  uint64_t value;
};

// Returns 0 or an errno.
int apply(pid_t pid, const Rule *rules, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    rlimit limit{};
    if (syscall(SYS_prlimit64, pid, rules[i].what, nullptr, &limit) != 0) return errno;
    if (limit.rlim_max > rules[i].value) limit.rlim_max = rules[i].value;  // a lower limit of ours stays
    limit.rlim_cur = limit.rlim_max;
    if (syscall(SYS_prlimit64, pid, rules[i].what, &limit, nullptr) != 0) return errno;
  }
  return 0;
}

}  // namespace

Limits limits_of(const gcop_cell &cell) {
  const auto or_default = [](uint64_t value, uint64_t fallback) { return value ? value : fallback; };
  return {or_default(cell.cpu_ms, 2000) * 1'000'000, or_default(cell.wall_ms, 10'000) * 1'000'000,
          or_default(cell.mem_bytes, 256u << 20),    or_default(cell.tmp_bytes, 16u << 20),
          or_default(cell.output_bytes, 64u << 10),  static_cast<uint32_t>(or_default(cell.max_processes, 16))};
}

Result<Jail> make_jail(const std::string &bwrap) {
  Jail jail;
  if (!bwrap.empty()) {
    jail.bwrap = bwrap;
  } else {
    const char *path = std::getenv("PATH");
    std::string_view rest = path ? path : "/usr/local/bin:/usr/bin:/bin";
    while (jail.bwrap.empty() && !rest.empty()) {
      const size_t colon = rest.find(':');
      const std::string candidate = std::string(rest.substr(0, colon)) + "/bwrap";
      if (candidate.front() == '/' && access(candidate.c_str(), X_OK) == 0) jail.bwrap = candidate;
      rest = colon == rest.npos ? std::string_view() : rest.substr(colon + 1);
    }
  }
  if (jail.bwrap.empty() || access(jail.bwrap.c_str(), X_OK) != 0)
    return Error{Code::unsupported,
                 "the jail needs bubblewrap, and " +
                     (bwrap.empty() ? std::string("no bwrap is on PATH") : "'" + bwrap + "' is no program") +
                     "; install the package bubblewrap",
                 {}};
  auto filter = seccomp_program();
  if (!filter) return filter.error();
  jail.filter = std::move(*filter);
  jail.drop_user = geteuid() == 0;
  jail.run_as = kBoxUser;
  // No /proc: nothing in a box needs it, it costs mounts, and inside containers a fresh one is often refused.
  jail.view = {"--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL",  "--clearenv",
               "--as-pid-1",    "--hostname",        "box",           "--ro-bind",  "/usr", "/usr"};
  for (const char *name : {"/bin", "/lib", "/lib32", "/lib64"}) {
    struct stat info {};
    char target[64];
    if (lstat(name, &info) != 0) continue;
    const ssize_t n = S_ISLNK(info.st_mode) ? readlink(name, target, sizeof target) : -1;
    if (n > 0 && n < static_cast<ssize_t>(sizeof target))
      jail.view.insert(jail.view.end(), {"--symlink", std::string(target, static_cast<size_t>(n)), name});
    else
      jail.view.insert(jail.view.end(), {"--ro-bind", name, name});
  }
  jail.view.insert(jail.view.end(), {"--dir", "/dev", "--dir", "/etc"});
  for (const char *device : {"/dev/null", "/dev/zero", "/dev/urandom"})
    jail.view.insert(jail.view.end(), {"--dev-bind", device, device});
  return jail;
}

Result<Started> start(const Jail &jail, const gcop_cell &cell, int socket) {
  if (cell.n_argv == 0) return invalid("a cell needs a program: n_argv is 0");
  const Limits limits = limits_of(cell);
  Started started;
  Fd out, err, status, hold;
  if (!make_pipe(started.out, out) || !make_pipe(started.err, err) || !make_pipe(started.status, status) ||
      !make_pipe(hold, started.go))
    return failed("make pipes");
  std::vector<Fd> memory;
  Child child{{}, {}, jail.drop_user, jail.run_as};
  const auto add_memory = [&](std::string_view bytes) {
    memory.push_back(memory_file(bytes));
    child.sources.push_back(memory.back().get());
    return static_cast<bool>(memory.back());
  };
  if (!add_memory(text(cell.stdin_text))) return failed("hold the standard input in memory");
  child.sources.insert(child.sources.end(), {out.get(), err.get(), socket, status.get(), hold.get()});
  std::vector<std::string> args = {jail.bwrap, "--json-status-fd", "4", "--block-fd", "5"};
  if (!add_memory(jail.filter)) return failed("hold the filter in memory");
  args.insert(args.end(), {"--seccomp", "6"});
  args.insert(args.end(), jail.view.begin(), jail.view.end());
  args.insert(args.end(), {"--size", std::to_string(limits.tmp_bytes), "--tmpfs", "/tmp", "--chdir", "/tmp"});
  for (uint32_t i = 0; i < cell.n_files; ++i) {
    const std::string_view name = text(cell.file_names[i]);
    if (!plain_name(name)) return invalid("file name '" + std::string(name) + "' of a cell must be relative to /box");
    args.insert(args.end(), {"--file", std::to_string(child.sources.size()), "/box/" + std::string(name)});
    if (!add_memory(text(cell.file_texts[i]))) return failed("hold a file in memory");
  }
  args.insert(args.end(), {"--remount-ro", "/", "--"});  // the root of the box is a tmpfs that its user owns
  for (uint32_t i = 0; i < cell.n_argv; ++i) args.emplace_back(text(cell.argv[i]));
  for (std::string &arg : args) child.argv.push_back(arg.data());
  child.argv.push_back(nullptr);
  if (child.sources.size() > static_cast<size_t>(kFirstHighFd)) return invalid("a cell takes at most 50 files");

  started.pid = spawn([&child] { child_main(child); });
  if (started.pid < 0) return failed("start " + jail.bwrap);
  started.pidfd.reset(static_cast<int>(syscall(SYS_pidfd_open, started.pid, 0)));
  for (int fd : {started.out.get(), started.err.get(), started.status.get()}) fcntl(fd, F_SETFL, O_NONBLOCK);
  return started;
}

Result<> release(const Jail &jail, Started &started, pid_t inner, const Limits &limits) {
  const Rule rules[] = {
      {RLIMIT_CPU, limits.cpu_ns / 1'000'000'000 + 2},  // behind the finer limit that box.cpp watches
      {RLIMIT_AS, limits.mem_bytes},
      {RLIMIT_NPROC, limits.processes},
      {RLIMIT_FSIZE, limits.tmp_bytes},
      {RLIMIT_NOFILE, 64},
      {RLIMIT_CORE, 0},
      {RLIMIT_STACK, 8u << 20},
      {RLIMIT_MEMLOCK, 0},
      {RLIMIT_MSGQUEUE, 0},
  };
  int code = 0;
  if (jail.drop_user) {
    // A process may limit its own user's processes; root may limit others only with CAP_SYS_RESOURCE, which
    // containers often lack.
    const pid_t pid = spawn([&] { _exit(become(jail.run_as) ? apply(inner, rules, std::size(rules)) : EPERM); });
    int status = 0;
    code = pid < 0 ? errno : 0;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (status != 0) code = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
  } else {
    code = apply(inner, rules, std::size(rules));
  }
  errno = code;
  if (code != 0) return failed("limit a cell");
  if (write(started.go.get(), "g", 1) != 1) return failed("let a cell run");
  started.go.reset();
  return Unit{};
}

}  // namespace gcop::sandbox
