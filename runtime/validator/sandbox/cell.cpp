#include "validator/sandbox/cell.hpp"

#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <ctime>
#include <thread>

#include "validator/sandbox/inside/words.h"
#include "validator/sandbox/usage.hpp"

namespace gcop::sandbox {
namespace {

constexpr uint64_t kSetupNs = 30'000'000'000;     // a cell that does not run by then is a failure of the machine
constexpr uint64_t kKillGraceNs = 2'000'000'000;  // then its box goes as well
constexpr uint64_t kShortestCpuWatchNs = 5'000'000;
constexpr uint64_t kMemoryWatchNs = 50'000'000;  // the kernel bounds each process, this bounds their sum

unsigned cores() {  // read from a file by glibc, each time
  static const unsigned n = std::max(1u, std::thread::hardware_concurrency());
  return n;
}

}  // namespace

uint64_t monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

void send_signal(const Fd &pidfd, int signal) {
  if (pidfd) syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0);
}

Limits limits_of(const gcop_cell &cell) {
  const auto or_default = [](uint64_t value, uint64_t fallback) { return value ? value : fallback; };
  return {or_default(cell.cpu_ms, 2000) * 1'000'000, or_default(cell.wall_ms, 10'000) * 1'000'000,
          or_default(cell.mem_bytes, 256u << 20),    or_default(cell.tmp_bytes, 16u << 20),
          or_default(cell.output_bytes, 64u << 10),  static_cast<uint32_t>(or_default(cell.max_processes, 16))};
}

Cell::~Cell() {
  send_signal(process_.pidfd, SIGKILL);
  if (box_ && !over_) box_->forget(process_.id);
  remove_folder(folder_);
}

Result<> Cell::start(Box &box, Fd socket) {
  const std::string_view input =
      spec_.stdin_text.ptr ? std::string_view(spec_.stdin_text.ptr, spec_.stdin_text.len) : std::string_view();
  Fd in = memory_file(input), out, err;
  if (!in || !make_pipe(out_fd_, out) || !make_pipe(err_fd_, err))
    return Error{Code::exhausted, "the sandbox could not make pipes; raise the limit on open files", {}};
  for (const Fd *fd : {&out_fd_, &err_fd_}) set_nonblocking(*fd);
  begun_ns_ = monotonic_ns();
  wall_end_ = next_tick_ = begun_ns_ + kSetupNs;
  if (box.needs_folders()) {
    auto folder = box.make_cell_folder();
    if (!folder) return folder.error();
    folder_ = std::move(*folder);
  }
  const bool reusable = GCOP_HAS(&spec_, reusable) && spec_.reusable != 0;
  auto process = box.order(*this, limits_, {in.get(), out.get(), err.get(), socket.get()}, folder_, reusable);
  if (!process) return process.error();
  box_ = &box;
  process_ = std::move(*process);
  if (process_.pidfd) runs();  // it was there already
  return Unit{};
}

void Cell::add_polls(std::vector<pollfd> &polls) const {
  for (const Fd *fd : {&out_fd_, &err_fd_})
    if (*fd) polls.push_back({fd->get(), POLLIN, 0});
  // Not before the box has told us of the process: a quick one is done by then.
  if (process_.line && ran_) polls.push_back({process_.line.get(), POLLIN, 0});
}

void Cell::ready(int fd) {
  if (fd == out_fd_.get())
    read_stream(out_fd_, out_);
  else if (fd == err_fd_.get())
    read_stream(err_fd_, err_);
  else if (fd == process_.line.get())
    read_line();
}

// Its program says that it is done and may serve another cell, or the process has ended, which the box will report.
void Cell::read_line() {
  gcop_word word{};
  const ssize_t n = recv(process_.line.get(), &word, sizeof word, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n != static_cast<ssize_t>(sizeof word) || word.kind != GCOP_RESTS || kill_wanted_) return process_.line.reset();
  cpu_ns_ = std::max(cpu_ns_, word.cpu_ns - std::min(word.cpu_ns, process_.cpu_ns));
  process_.cpu_ns = word.cpu_ns;
  box_->rest(std::move(process_));
  close_down();
  out_fd_.reset();
  err_fd_.reset();
}

void Cell::read_stream(Fd &fd, std::string &text) {
  char buffer[65536];
  for (int round = 0; round < 4; ++round) {  // then the others get their turn
    const ssize_t n = read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
      fd.reset();
      return;
    }
    const size_t room = limits_.output_bytes - std::min<size_t>(limits_.output_bytes, text.size());
    text.append(buffer, std::min<size_t>(room, static_cast<size_t>(n)));
    if (room < static_cast<size_t>(n)) flags_ |= GCOP_CELL_OUTPUT;
  }
}

void Cell::made(Fd pidfd) {
  process_.pidfd = std::move(pidfd);
  if (kill_wanted_) send_signal(process_.pidfd, SIGKILL);
}

void Cell::runs() {
  ran_ = true;
  if (kill_wanted_) return;
  begun_ns_ = monotonic_ns();
  wall_end_ = begun_ns_ + limits_.wall_ns;
  next_tick_ = std::min({wall_end_, begun_ns_ + kMemoryWatchNs, begun_ns_ + limits_.cpu_ns / cores()});
}

void Cell::ended(int wait_status, uint64_t cpu_ns) {
  wait_status_ = wait_status;
  const bool killed = WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGKILL;
  // What was killed with process 1 counts in the last look only.
  cpu_ns_ = std::max(cpu_ns_, cpu_ns - std::min(cpu_ns, process_.cpu_ns));
  // Nothing in a pid namespace can kill its process 1, so this is no act of the program's (which has no folder there).
  if (killed && !kill_wanted_ && cpu_ns_ < limits_.cpu_ns && folder_.empty())
    return lost({Code::unavailable,
                 "the machine ended a process of the jail (SIGKILL), perhaps for want of memory; try again with fewer "
                 "checks at once",
                 {}});
  close_down();
}

void Cell::lost(Error why) {
  if (over_) return;
  failed_ = true;
  failure_ = std::move(why);
  close_down();
}

void Cell::close_down() {
  over_ = true;
  ended_ns_ = monotonic_ns();
  next_tick_ = UINT64_MAX;
  process_ = Process();                // now, so that nothing is open any more when the run is answered
  for (Fd *fd : {&out_fd_, &err_fd_})  // nobody writes any more: without a round of poll
    if (*fd) read_stream(*fd, fd == &out_fd_ ? out_ : err_);
  if (failed_) out_fd_.reset(), err_fd_.reset();
}

void Cell::end(uint32_t limit_flag) {
  if (over_ || kill_wanted_) return;
  pollfd gone{process_.pidfd.get(), POLLIN, 0};
  if (limit_flag == 0 && process_.pidfd && poll(&gone, 1, 0) > 0) return;  // by itself; how, the box will say
  kill_wanted_ = true;
  flags_ |= limit_flag;
  next_tick_ = monotonic_ns() + kKillGraceNs;
  send_signal(process_.pidfd,
              SIGKILL);  // process 1 of its pid namespace: everything in it; if not made yet, made() does it
}

void Cell::tick(uint64_t now) {
  if (over_ || now < next_tick_) return;
  if (kill_wanted_) {
    if (box_) box_->end("a cell could not be ended");
    next_tick_ = now + kKillGraceNs;
  } else if (!ran_) {
    if (box_) box_->end("no cell began within 30 seconds");
    next_tick_ = now + kKillGraceNs;
  } else if (now >= wall_end_) {
    end(GCOP_CELL_WALL);
  } else {
    const Usage used = usage_of_tree(pid_of(process_.pidfd.get()));
    cpu_ns_ = std::max(cpu_ns_, used.cpu_ns - std::min(used.cpu_ns, process_.cpu_ns));
    if (cpu_ns_ >= limits_.cpu_ns) return end(GCOP_CELL_CPU);
    if (used.mem_bytes > limits_.mem_bytes) return end(GCOP_CELL_MEMORY);
    const uint64_t soonest = (limits_.cpu_ns - cpu_ns_) / cores();
    next_tick_ = std::min(wall_end_, now + std::clamp(soonest, kShortestCpuWatchNs, kMemoryWatchNs));
  }
}

gcop_cell_result Cell::result() const {
  gcop_cell_result out{};
  out.struct_size = sizeof out;
  out.limits = flags_;
  out.signal = !ran_ ? SIGKILL : WIFSIGNALED(wait_status_) ? WTERMSIG(wait_status_) : 0;
  out.exit_code = out.signal ? -1 : WEXITSTATUS(wait_status_);
  if (out.signal == SIGKILL && cpu_ns_ >= limits_.cpu_ns && !(flags_ & GCOP_CELL_WALL)) out.limits |= GCOP_CELL_CPU;
  out.cpu_ns = cpu_ns_;
  out.wall_ns = ended_ns_ > begun_ns_ ? ended_ns_ - begun_ns_ : 0;
  out.out = {out_.data(), out_.size()};
  out.err = {err_.data(), err_.size()};
  return out;
}

}  // namespace gcop::sandbox
