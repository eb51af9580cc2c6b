#include "validator/sandbox/box.hpp"

#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "validator/sandbox/cell.hpp"
#include "validator/sandbox/inside/words.h"

namespace gcop::sandbox {
namespace {

constexpr size_t kWordsKept = 4096;  // of what a program says while it starts
constexpr size_t kMostResting = 64;
constexpr int kEndGraceMs = 5'000;
constexpr uint64_t kProgramBytes = 1u << 30, kProgramProcesses = 32;  // beyond what its cells may hold
constexpr char kUserNamespaces[] =
    "enable unprivileged user namespaces: sysctl kernel.unprivileged_userns_clone=1, "
    "kernel.apparmor_restrict_unprivileged_userns=0, user.max_user_namespaces above 0; in a container, allow them in "
    "its seccomp profile";

bool send_order(const Fd &to, gcop_order &order, const std::vector<int> &fds) {
  union {
    cmsghdr align;
    char bytes[CMSG_SPACE(5 * sizeof(int))];
  } control{};
  iovec part{&order, sizeof order};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
  cmsghdr *head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
  std::memcpy(CMSG_DATA(head), fds.data(), fds.size() * sizeof(int));
  return sendmsg(to.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT) == static_cast<ssize_t>(sizeof order);
}

Error unsupported(std::string message) { return {Code::unsupported, std::move(message), {}}; }

}  // namespace

Box::~Box() {
  if (!gone_ && started_.pid > 0) {
    send_signal(started_.pidfd, needs_folders() ? SIGKILL : SIGTERM);
    pollfd over{started_.pidfd.get(), POLLIN, 0};
    if (poll(&over, 1, kEndGraceMs) == 0) send_signal(started_.pidfd, SIGKILL);
    while (waitpid(started_.pid, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  remove_folder(started_.folder);
}

Result<> Box::start() {
  auto started = sandbox::start(*jail_, program_);
  if (!started) {
    gone_ = true;
    return started.error();
  }
  started_ = std::move(*started);
  return Unit{};
}

void Box::end(const std::string &why) {
  if (gone_) return;
  // gcop-hold ends the box before itself; a second call means that it did not.
  send_signal(started_.pidfd, ending_ || needs_folders() ? SIGKILL : SIGTERM);
  if (!ending_) reason_ = why;
  ending_ = true;
}

void Box::add_polls(std::vector<pollfd> &polls) const {
  if (!gone_) polls.push_back({started_.pidfd.get(), POLLIN, 0});
  for (const Fd *fd : {&started_.control, &started_.err})
    if (*fd) polls.push_back({fd->get(), POLLIN, 0});
}

void Box::ready(int fd) {
  if (fd == started_.control.get())
    read_words();
  else if (fd == started_.err.get())
    read_err();
  else if (fd == started_.pidfd.get())
    reap();
}

Result<Process> Box::order(Cell &cell, const Limits &limits, const std::array<int, 4> &fds, const std::string &folder,
                           bool reusable) {
  gcop_order order{};
  order.cpu_seconds = limits.cpu_ns / 1'000'000'000 + 2;  // behind the finer limit that cell.cpp watches
  order.mem_bytes = limits.mem_bytes;
  order.tmp_bytes = limits.tmp_bytes;
  order.processes = limits.processes;
  order.n_fds = fds[3] < 0 ? 3 : 4;
  order.reusable = reusable && !needs_folders();  // a child process that is not fenced in has nothing to be kept for
  std::memcpy(order.folder, folder.data(), std::min(folder.size(), sizeof order.folder - 1));
  std::vector<int> sent(fds.begin(), fds.begin() + order.n_fds);
  last_used_ = monotonic_ns();
  const auto fits = [&](const Process &p) {
    return p.mem_bytes == limits.mem_bytes && p.tmp_bytes == limits.tmp_bytes && p.processes == limits.processes;
  };
  while (order.reusable) {
    const auto at = std::find_if(resting_.rbegin(), resting_.rend(), fits);  // the last used, which is warm
    if (at == resting_.rend()) break;
    Process process = std::move(*at);
    resting_.erase(std::next(at).base());
    order.id = process.id;
    if (!send_order(process.line, order, sent)) continue;  // it has ended, which its box will say
    cells_[process.id] = &cell;
    return process;
  }
  Process process;
  process.id = order.id = next_id_++;
  process.mem_bytes = limits.mem_bytes;
  process.tmp_bytes = limits.tmp_bytes;
  process.processes = limits.processes;
  most_bytes_ = std::max(most_bytes_, limits.mem_bytes + limits.tmp_bytes);
  most_processes_ = std::max<uint64_t>(most_processes_, limits.processes);
  const uint64_t cells = cells_.size() + resting_.size() + 1;
  started_.group.allow(kProgramBytes + cells * most_bytes_, kProgramProcesses + cells * most_processes_);
  Fd end;
  if (order.reusable) {
    if (!make_pair(SOCK_SEQPACKET, process.line, end))
      return Error{Code::exhausted, "the sandbox could not make a socket pair; raise the limit on open files", {}};
    sent.push_back(end.get());
  }
  if (!send_order(started_.control, order, sent)) {
    if (errno == EAGAIN) this->end("it does not take orders any more");
    if (errno != EAGAIN && errno != EPIPE && errno != ECONNRESET)
      return Error{Code::exhausted, std::string("the sandbox could not order a cell: ") + std::strerror(errno), {}};
  }
  cells_[order.id] = &cell;  // if the box is gone, the cell hears why as soon as we do
  return process;
}

void Box::rest(Process process) {
  cells_.erase(process.id);
  resting_.push_back(std::move(process));
  if (resting_.size() <= kMostResting) return;
  send_signal(resting_.front().pidfd, SIGKILL);
  resting_.erase(resting_.begin());
}

void Box::read_words() {
  while (true) {
    gcop_word word{};
    union {
      cmsghdr align;
      char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    iovec part{&word, sizeof word};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    const ssize_t n = recvmsg(started_.control.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {  // it has ended, or has closed its end and is of no use
      started_.control.reset();
      return end("");
    }
    Fd pidfd;
    if (const cmsghdr *head = CMSG_FIRSTHDR(&message); head && head->cmsg_type == SCM_RIGHTS) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(head), sizeof fd);
      pidfd.reset(lift(fd));
    }
    if (n != static_cast<ssize_t>(sizeof word)) continue;
    if (word.kind == GCOP_LOADED) {
      loaded_ = true;
      continue;
    }
    const auto at = cells_.find(word.id);
    if (at == cells_.end()) {  // given up by its run, or at rest when it ended
      send_signal(pidfd, SIGKILL);
      std::erase_if(resting_, [&](const Process &p) { return p.id == word.id; });
      continue;
    }
    Cell &cell = *at->second;
    if (word.kind == GCOP_MADE) {
      cell.made(std::move(pidfd));
    } else if (word.kind == GCOP_READY) {
      worked_ = true;
      cell.runs();
    } else if (word.kind == GCOP_FAILED) {
      word.step[sizeof word.step - 1] = 0;
      cells_.erase(at);
      cell.lost(why_not_made(word.step, word.value));
    } else if (word.kind == GCOP_ENDED) {
      cells_.erase(at);
      cell.ended(word.value, word.cpu_ns);
    }
  }
}

void Box::read_err() {
  char buffer[4096];
  const ssize_t n = read(started_.err.get(), buffer, sizeof buffer);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return started_.err.reset();
  err_.append(buffer, static_cast<size_t>(n));
  if (err_.size() > kWordsKept) err_.erase(0, err_.size() - kWordsKept);
}

void Box::reap() {
  if (gone_ || waitpid(started_.pid, nullptr, WNOHANG) != started_.pid) return;
  gone_ = true;
  if (started_.control) read_words();  // what it said last
  while (started_.err) {
    pollfd more{started_.err.get(), POLLIN, 0};
    if (poll(&more, 1, 0) <= 0) break;
    read_err();
  }
  started_.pidfd.reset();
  started_.control.reset();
  started_.err.reset();
  const Error why = why_gone();
  const auto cells = std::move(cells_);
  cells_.clear();
  for (const auto &[id, cell] : cells) cell->lost(why);
}

Error Box::why_gone() const {
  if (loaded_ || !reason_.empty())
    return {Code::unavailable,
            "a box of the sandbox ended under its cells" + (reason_.empty() ? std::string() : ": " + reason_),
            {}};
  std::string words = err_;
  while (!words.empty() && words.back() == '\n') words.pop_back();
  const bool jailer = words.empty() || words.starts_with("bwrap: ") || words.starts_with("gcop-hold: ");
  words.erase(0, words.rfind('\n') + 1);  // the last line of a traceback says what happened
  if (jailer && !needs_folders() && words.find("execvp") == words.npos)
    return unsupported("bubblewrap cannot make a box here (" + (words.empty() ? "it ended without a word" : words) +
                       "); " + kUserNamespaces);
  return {Code::invalid,
          "the program of a cell, " + program_.argv.front() + ", did not wait for cells; a box shows /usr only" +
              (words.empty() ? "" : ": " + words),
          {}};
}

Error Box::why_not_made(const std::string &step, int code) const {
  const std::string what = "the sandbox could not make a cell (" + step + ": " + std::strerror(code) + ")";
  if (worked_ || needs_folders() || code == EAGAIN || code == ENOMEM || code == EMFILE || code == ENFILE)
    return {Code::unavailable, what, {}};
  if (step == "clone" || step == "id map") return unsupported(what + "; " + kUserNamespaces + " (they nest)");
  if (step == "seccomp")
    return unsupported(what + "; the kernel needs CONFIG_SECCOMP_FILTER, and a container must allow seccomp(2)");
  return unsupported(what);
}

}  // namespace gcop::sandbox
