#include "validator/sandbox/launch.hpp"

#include <fcntl.h>
#include <linux/filter.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "validator/sandbox/inside.hpp"
#include "validator/sandbox/inside/words.h"
#include "validator/sandbox/seccomp_filter.hpp"

namespace gcop::sandbox {
namespace {

// Boxes of a root process run as this otherwise unused user: the kernel exempts root from RLIMIT_NPROC, and a hole
// in the jail must not end at root.
constexpr uid_t kBoxUser = 64999;

Error failed(const std::string &what) {
  const int code = errno;
  return {code == EMFILE || code == ENFILE || code == ENOMEM || code == EAGAIN ? Code::exhausted : Code::internal,
          "the sandbox could not " + what + ": " + std::strerror(code),
          {}};
}

std::string_view text(gcop_str s) { return s.ptr ? std::string_view(s.ptr, s.len) : std::string_view(); }

bool plain_name(std::string_view name) {
  return !name.empty() && name.front() != '/' && name.find("..") == name.npos && name.find('\0') == name.npos;
}

uint32_t isolation_of(const gcop_cell &cell) {
  return GCOP_HAS(&cell, isolation) ? cell.isolation : static_cast<uint32_t>(GCOP_ISOLATION_JAIL);
}

bool become(uid_t user) {  // for good; raw, because glibc's setresuid would signal the parent's threads
  return syscall(SYS_setgroups, 0, nullptr) == 0 && syscall(SYS_setresgid, user, user, user) == 0 &&
         syscall(SYS_setresuid, user, user, user) == 0;
}

struct Child {  // everything the forked child touches, made ready before
  std::vector<char *> argv;
  int program = -1;          // a descriptor to execute instead of argv[0]
  std::vector<int> sources;  // becomes descriptors 0, 1, 2, ...
  const Group *group = nullptr;
  const char *folder = "/";
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
  if (child.group)  // where the kernel refuses, the box has no group
    for (const Fd &door : child.group->doors()) [[maybe_unused]] const ssize_t entered = write(door.get(), "0", 1);
  const int n = static_cast<int>(child.sources.size());
  for (int i = 0; i < n; ++i)
    if (dup2(child.sources[static_cast<size_t>(i)], i) < 0) _exit(127);
  int program = child.program;
  if (program >= 0) {  // behind those that the program gets
    if (dup2(program, n) < 0 || fcntl(n, F_SETFD, FD_CLOEXEC) != 0) _exit(127);
    program = n;
  }
  syscall(SYS_close_range, static_cast<unsigned>(program >= 0 ? n + 1 : n), ~0u, 0u);
  if (chdir(child.folder) != 0) _exit(127);
  if (child.drop_user && !become(child.user)) _exit(127);
  static char *const no_environment[] = {nullptr};
  if (program >= 0)
    syscall(SYS_execveat, program, "", child.argv.data(), no_environment, AT_EMPTY_PATH);
  else
    execve(child.argv[0], child.argv.data(), no_environment);
  _exit(127);
}

// vfork, because fork would copy the page tables of a process that holds models. The child shares our memory.
pid_t spawn(const Child &child) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // no handler may run in the child on our memory
  const pid_t pid = vfork();
  if (pid == 0) child_main(child);
  const int code = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = code;
  return pid;
}

bool write_file(const std::string &path, std::string_view bytes, int mode) {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  return file && chmod(path.c_str(), static_cast<mode_t>(mode)) == 0;
}

// Every file of /box: the program's own and ours.
std::vector<std::pair<std::string_view, std::string_view>> box_files(const Program &program) {
  std::vector<std::pair<std::string_view, std::string_view>> out = {{"libgcop_cell.so", inside::wait_library()},
                                                                    {"gcop-cell", inside::exec_program()}};
  for (const auto &[name, bytes] : program.files) out.emplace_back(name, bytes);
  return out;
}

bool open_box(const Jail &jail, const Program &program, int control) {
  const bool fenced = program.isolation == GCOP_ISOLATION_JAIL;
  gcop_opening opening{};
  opening.fenced = fenced;
  opening.n_filter = fenced ? static_cast<uint32_t>(jail.filter.size() / sizeof(sock_filter)) : 0;
  std::string packet(reinterpret_cast<const char *>(&opening), sizeof opening);
  if (fenced) packet += jail.filter;
  return send(control, packet.data(), packet.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(packet.size());
}

}  // namespace

Jail make_jail(const std::string &bwrap) {
  Jail jail;
  jail.drop_user = geteuid() == 0;
  jail.run_as = kBoxUser;
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
  if (jail.bwrap.empty() || access(jail.bwrap.c_str(), X_OK) != 0) {
    jail.missing = "the jail needs bubblewrap, and " +
                   (bwrap.empty() ? std::string("no bwrap is on PATH") : "'" + bwrap + "' is no program") +
                   "; install the package bubblewrap";
    return jail;
  }
  auto filter = seccomp_program();
  if (!filter) {
    jail.missing = filter.error().message;
    return jail;
  }
  jail.filter = std::move(*filter);
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
  jail.view.insert(jail.view.end(), {"--dir", "/dev", "--dir", "/etc", "--dir", "/tmp"});
  for (const char *device : {"/dev/null", "/dev/urandom"})  // /dev/zero is memory for whoever maps it shared
    jail.view.insert(jail.view.end(), {"--dev-bind", device, device});
  return jail;
}

Result<Program> Program::of(const gcop_cell &cell) {
  if (cell.n_argv == 0) return invalid("a cell needs a program: n_argv is 0");
  if (cell.n_files > 40) return invalid("a cell's program takes at most 40 files");
  Program program;
  program.isolation = isolation_of(cell);
  if (program.isolation != GCOP_ISOLATION_JAIL && program.isolation != GCOP_ISOLATION_PROCESS)
    return invalid("a cell's isolation is " + std::to_string(program.isolation) +
                   "; it must be one of GCOP_ISOLATION_*");
  for (uint32_t i = 0; i < cell.n_argv; ++i) program.argv.emplace_back(text(cell.argv[i]));
  for (uint32_t i = 0; i < cell.n_files; ++i) {
    program.files.emplace_back(text(cell.file_names[i]), text(cell.file_texts[i]));
    if (!plain_name(program.files.back().first))
      return invalid("file name '" + program.files.back().first + "' of a cell must be relative to /box");
  }
  return program;
}

bool Program::is(const gcop_cell &cell) const {
  if (cell.n_argv != argv.size() || cell.n_files != files.size() || isolation_of(cell) != isolation) return false;
  for (uint32_t i = 0; i < cell.n_argv; ++i)
    if (text(cell.argv[i]) != argv[i]) return false;
  for (uint32_t i = 0; i < cell.n_files; ++i)
    if (text(cell.file_names[i]) != files[i].first || text(cell.file_texts[i]) != files[i].second) return false;
  return true;
}

Result<Started> start(const Jail &jail, const Program &program) {
  const bool fenced = program.isolation == GCOP_ISOLATION_JAIL;
  Started started;
  Fd err, control, in(lift(open("/dev/null", O_RDWR | O_CLOEXEC)));
  if (!in || !make_pipe(started.err, err) || !make_pair(SOCK_SEQPACKET, started.control, control))
    return failed("make pipes");
  const int room = 1 << 20;
  setsockopt(started.control.get(), SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
  started.group = Group::make();
  Child child{{},         -1, {in.get(), err.get(), err.get(), control.get()}, &started.group, "/", jail.drop_user,
              jail.run_as};
  std::vector<std::string> args;
  std::vector<Fd> memory;
  if (fenced) {
    memory.emplace_back(lift(open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC)));
    if (!memory.back()) return failed("open /proc, which maps the users of cells");
    child.sources.push_back(memory.back().get());
    args = {"gcop-hold", std::to_string(getpid()), jail.bwrap};
    args.insert(args.end(), jail.view.begin(), jail.view.end());
    for (const auto &[name, bytes] : box_files(program)) {
      args.insert(args.end(),
                  {"--perms", "0555", "--file", std::to_string(child.sources.size()), "/box/" + std::string(name)});
      memory.push_back(memory_file(bytes));
      if (!memory.back()) return failed("hold a file in memory");
      child.sources.push_back(memory.back().get());
    }
    args.insert(args.end(), {"--chdir", "/box", "--remount-ro", "/", "--"});  // the box's user owns its root
    memory.push_back(memory_file(inside::hold_program()));
    if (!memory.back()) return failed("hold a program in memory");
    child.program = memory.back().get();
  } else {
    char folder[] = "/tmp/gcop-box-XXXXXX";
    if (!mkdtemp(folder)) return failed("make a folder below /tmp");
    started.folder = folder;
    if (chmod(folder, 0755) != 0) return failed("open its folder to the box's user");
    for (const auto &[name, bytes] : box_files(program))
      if (!write_file(started.folder + "/" + std::string(name), bytes, 0555)) {
        remove_folder(started.folder);
        return failed("write " + started.folder + "/" + std::string(name));
      }
    child.folder = started.folder.c_str();
  }
  args.insert(args.end(), program.argv.begin(), program.argv.end());
  for (std::string &arg : args) child.argv.push_back(arg.data());
  child.argv.push_back(nullptr);

  started.pid = spawn(child);
  started.group.shut();
  if (started.pid < 0) return failed("start a process");
  started.pidfd.reset(static_cast<int>(syscall(SYS_pidfd_open, started.pid, 0)));
  for (int fd : {started.err.get(), started.control.get()}) fcntl(fd, F_SETFL, O_NONBLOCK);
  open_box(jail, program, started.control.get());  // a box that cannot take it has ended, which shows soon
  return started;
}

Result<std::string> make_folder(const Jail &jail, const std::string &box_folder) {
  std::string folder = box_folder + "/cell-XXXXXX";
  if (!mkdtemp(folder.data())) return failed("make a folder in " + box_folder);
  if (jail.drop_user && chown(folder.c_str(), jail.run_as, jail.run_as) != 0)
    return failed("give " + folder + " to the cell's user");
  return folder;
}

void remove_folder(const std::string &folder) {
  std::error_code error;
  if (!folder.empty()) std::filesystem::remove_all(folder, error);
}

}  // namespace gcop::sandbox
