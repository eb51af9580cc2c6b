#include "validator/sandbox/box.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <ctime>
#include <thread>

namespace gcop::sandbox {
namespace {

constexpr uint64_t kSetupNs = 30'000'000'000;     // a box that is not ready by then is a failure of the machine
constexpr uint64_t kKillGraceNs = 2'000'000'000;  // then bubblewrap itself is killed as well
constexpr uint64_t kShortestCpuWatchNs = 5'000'000;

std::string read_small_file(const std::string &path) {
  Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char buffer[4096];
  const ssize_t n = fd ? read(fd.get(), buffer, sizeof buffer) : -1;
  return n > 0 ? std::string(buffer, static_cast<size_t>(n)) : std::string();
}

std::vector<long> numbers_in(std::string_view text) {
  std::vector<long> out;
  const char *at = text.data(), *end = at + text.size();
  while (at < end) {
    long value = 0;
    const auto [next, error] = std::from_chars(at, end, value);
    if (error == std::errc()) out.push_back(value);
    at = error == std::errc() ? next : at + 1;
  }
  return out;
}

// CPU time of a process, of the children it has reaped and of all living descendants. A daemon's parent is process 1
// of the box, so nothing hides from this walk.
uint64_t cpu_of_tree(pid_t pid, int depth = 0) {
  static const uint64_t tick_ns = 1'000'000'000 / static_cast<uint64_t>(sysconf(_SC_CLK_TCK));
  const std::string base = "/proc/" + std::to_string(pid);
  const std::string stat = read_small_file(base + "/stat");
  const size_t name_end = stat.rfind(')');
  if (name_end == stat.npos || name_end + 4 > stat.size()) return 0;
  const std::vector<long> fields = numbers_in(std::string_view(stat).substr(name_end + 4));  // from ppid, field 4
  if (fields.size() < 17) return 0;
  uint64_t ticks = 0;
  for (size_t i = 10; i < 14; ++i) ticks += static_cast<uint64_t>(std::max(0l, fields[i]));  // u, s, cu, cs
  uint64_t total = ticks * tick_ns;
  const long threads = fields[16];
  if (depth > 64) return total;
  std::vector<long> ids{pid};
  if (threads > 1) {
    ids.clear();
    // /proc/PID/task has no cheaper reader than readdir; a box has few threads.
    Fd dir(open((base + "/task").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    alignas(8) char buffer[8192];
    for (long n; dir && (n = syscall(SYS_getdents64, dir.get(), buffer, sizeof buffer)) > 0;)
      for (long at = 0; at < n;) {
        const char *entry = buffer + at;
        const char *name = entry + 19;  // linux_dirent64: ino 8, off 8, reclen 2, type 1
        if (*name >= '0' && *name <= '9') ids.push_back(std::strtol(name, nullptr, 10));
        at += *reinterpret_cast<const unsigned short *>(entry + 16);
      }
  }
  for (long id : ids)
    for (long child : numbers_in(read_small_file(base + "/task/" + std::to_string(id) + "/children")))
      total += cpu_of_tree(static_cast<pid_t>(child), depth + 1);
  return total;
}

void send_kill(const Fd &pidfd) {
  if (pidfd) syscall(SYS_pidfd_send_signal, pidfd.get(), SIGKILL, nullptr, 0);
}

long number_after(const std::string &text, const char *key) {
  const size_t at = text.find(key);
  if (at == text.npos) return -1;
  return std::strtol(text.c_str() + text.find(':', at) + 1, nullptr, 10);
}

}  // namespace

uint64_t monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

Cell::~Cell() {
  if (started_.pid < 0 || exited_) return;
  send_kill(inner_pidfd_);
  send_kill(started_.pidfd);
  while (waitpid(started_.pid, nullptr, 0) < 0 && errno == EINTR) {
  }
}

Result<> Cell::start(const Jail &jail, int socket) {
  auto started = sandbox::start(jail, spec_, socket);
  if (!started) return started.error();
  started_ = std::move(*started);
  jail_ = &jail;
  begun_ns_ = monotonic_ns();
  wall_end_ = begun_ns_ + kSetupNs;
  next_tick_ = wall_end_;
  return Unit{};
}

void Cell::add_polls(std::vector<pollfd> &polls) const {
  if (!exited_) polls.push_back({started_.pidfd.get(), POLLIN, 0});
  for (const Fd *fd : {&started_.status, &started_.out, &started_.err})
    if (*fd) polls.push_back({fd->get(), POLLIN, 0});
}

void Cell::ready(int fd) {
  if (fd < 0) return;
  if (fd == started_.status.get())
    read_status();
  else if (fd == started_.out.get())
    read_stream(started_.out, out_, true);
  else if (fd == started_.err.get())
    read_stream(started_.err, err_, true);
  else if (fd == started_.pidfd.get() && !exited_)
    reap();
}

void Cell::read_stream(Fd &fd, std::string &text, bool capped) {
  char buffer[65536];
  for (int round = 0; round < 4; ++round) {  // then the others get their turn
    const ssize_t n = read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
      fd.reset();
      return;
    }
    const size_t room = capped ? limits_.output_bytes - std::min<size_t>(limits_.output_bytes, text.size()) : 4096;
    text.append(buffer, std::min<size_t>(room, static_cast<size_t>(n)));
    if (room < static_cast<size_t>(n)) flags_ |= GCOP_CELL_OUTPUT;
  }
}

void Cell::read_status() {
  read_stream(started_.status, status_text_, false);
  if (inner_ < 0) {
    inner_ = static_cast<pid_t>(number_after(status_text_, "\"child-pid\""));
    if (inner_ > 0) {
      inner_pidfd_.reset(static_cast<int>(syscall(SYS_pidfd_open, inner_, 0)));
      const auto released = kill_wanted_ ? Result<>(Unit{}) : release(*jail_, started_, inner_, limits_);
      if (!released) failure_ = released.error().message;
      if (kill_wanted_ || !released) {
        send_kill(inner_pidfd_);
      } else {
        begun_ns_ = monotonic_ns();
        wall_end_ = begun_ns_ + limits_.wall_ns;
        next_tick_ =
            std::min(wall_end_, begun_ns_ + limits_.cpu_ns / std::max(1u, std::thread::hardware_concurrency()));
      }
    }
  }
  // bubblewrap names an exit code only if it got as far as starting the program.
  if (const long code = number_after(status_text_, "\"exit-code\""); code >= 0) {
    reached_ = true;
    signal_ = code > 128 && code < 128 + NSIG ? static_cast<int>(code - 128) : 0;
    exit_code_ = signal_ ? -1 : static_cast<int>(code);
  }
}

void Cell::reap() {
  rusage usage{};
  int status = 0;
  if (wait4(started_.pid, &status, WNOHANG, &usage) != started_.pid) return;
  exited_ = true;
  ended_ns_ = monotonic_ns();
  const auto ns = [](const timeval &t) {
    return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(t.tv_usec) * 1000;
  };
  cpu_ns_ = ns(usage.ru_utime) + ns(usage.ru_stime);  // bubblewrap and everything it reaped: the whole box
  next_tick_ = UINT64_MAX;
  started_.pidfd.reset();  // now, so that nothing is open any more when the run is answered
  started_.go.reset();
  inner_pidfd_.reset();
}

void Cell::end(uint32_t limit_flag) {
  if (exited_ || kill_wanted_) return;
  kill_wanted_ = true;
  flags_ |= limit_flag;
  killed_ns_ = monotonic_ns();
  next_tick_ = killed_ns_ + kKillGraceNs;
  // Killing process 1 of the box ends its whole pid namespace and lets bubblewrap count and report. Before its
  // number is known the cell is still held; read_status() kills it then.
  send_kill(inner_pidfd_);
}

void Cell::tick(uint64_t now) {
  if (exited_ || now < next_tick_) return;
  if (kill_wanted_) {
    send_kill(inner_pidfd_);
    send_kill(started_.pidfd);  // --die-with-parent takes the rest along
    next_tick_ = now + kKillGraceNs;
  } else if (now >= wall_end_) {
    if (inner_ < 0) failure_ = "bubblewrap did not get a box ready within 30 seconds";
    end(inner_ < 0 ? 0 : GCOP_CELL_WALL);
  } else {
    const uint64_t used = cpu_of_tree(inner_);
    if (used >= limits_.cpu_ns) return end(GCOP_CELL_CPU);
    const uint64_t soonest = (limits_.cpu_ns - used) / std::max(1u, std::thread::hardware_concurrency());
    next_tick_ = std::min(wall_end_, now + std::max(kShortestCpuWatchNs, soonest));
  }
}

gcop_cell_result Cell::result() const {
  gcop_cell_result out{};
  out.struct_size = sizeof out;
  out.limits = flags_;
  if (signal_ == SIGKILL && cpu_ns_ >= limits_.cpu_ns && !(flags_ & GCOP_CELL_WALL)) out.limits |= GCOP_CELL_CPU;
  out.exit_code = exit_code_;
  out.signal = kill_wanted_ && !reached_ ? SIGKILL : signal_;
  out.cpu_ns = cpu_ns_;
  out.wall_ns = ended_ns_ > begun_ns_ ? ended_ns_ - begun_ns_ : 0;
  out.out = {out_.data(), out_.size()};
  out.err = {err_.data(), err_.size()};
  return out;
}

void Run::start(const Jail &jail) {
  Fd ends[2];
  if (specs.size() == 2) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
      return abort(GCOP_EXHAUSTED, "the sandbox could not make a socket pair; raise the limit on open files");
    for (int i = 0; i < 2; ++i) ends[i].reset(fcntl(pair[i], F_DUPFD_CLOEXEC, 64)), close(pair[i]);
  }
  for (size_t i = 0; i < specs.size(); ++i) {
    cells.push_back(std::make_unique<Cell>(*specs[i]));
    if (auto began = cells.back()->start(jail, ends[i].get()); !began) {
      cells.pop_back();
      return abort(static_cast<gcop_status>(began.error().code), began.error().message);
    }
  }
}

void Run::abort(gcop_status why, std::string message) {
  if (status == GCOP_OK) {
    status = why;
    error = std::move(message);
  }
  for (auto &cell : cells) cell->end(0);
}

void Run::settle() {
  if (cells.empty()) return;
  bool end_all = cells.front()->ended();
  for (const auto &cell : cells)  // a box that failed to come up makes the run pointless
    end_all = end_all || !cell->failure().empty() || (cell->finished() && !cell->reached());
  if (end_all)
    for (auto &cell : cells) cell->end(0);
}

bool Run::finished() const {
  return std::all_of(cells.begin(), cells.end(), [](const auto &cell) { return cell->finished(); });
}

void Run::answer(bool jail_has_worked) {
  std::vector<gcop_cell_result> results;
  for (const auto &cell : cells) {
    results.push_back(cell->result());
    if (status != GCOP_OK) continue;
    if (!cell->failure().empty()) {
      status = GCOP_UNAVAILABLE;
      error = "the sandbox could not run a cell: " + cell->failure();
    } else if (!cell->reached() && results.back().signal == 0) {
      const std::string why = cell->err().substr(0, cell->err().find('\n'));
      if (why.find("execvp") != why.npos) {
        status = GCOP_INVALID;
        error = "the program of a cell is not in the box, which shows /usr only: " + why;
      } else {
        status = jail_has_worked ? GCOP_UNAVAILABLE : GCOP_UNSUPPORTED;
        error = "bubblewrap cannot make a box here (" + (why.empty() ? "it ended without a word" : why) +
                "); enable unprivileged user namespaces: sysctl kernel.unprivileged_userns_clone=1, "
                "kernel.apparmor_restrict_unprivileged_userns=0, user.max_user_namespaces above 0; in a container, "
                "allow them in its seccomp profile";
      }
    }
  }
  std::vector<const gcop_cell_result *> views;
  for (const auto &result : results) views.push_back(&result);
  gcop_sandbox_result out{};
  out.struct_size = sizeof out;
  out.status = status;
  if (!error.empty()) out.error = {error.data(), error.size()};
  if (status == GCOP_OK) {
    out.n = views.size();
    out.cells = views.data();
  }
  done(op, &out);
}

}  // namespace gcop::sandbox
