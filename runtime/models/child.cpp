#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "models/fetch.hpp"

namespace gcop::models {
namespace {

constexpr size_t kKeptOutput = 4096;

std::vector<char *> pointers(std::vector<std::string> &strings) {
  std::vector<char *> out;
  for (std::string &s : strings) out.push_back(s.data());
  out.push_back(nullptr);
  return out;
}

std::vector<std::string> environment_with(const std::vector<std::string> &extra) {
  std::vector<std::string> out = extra;
  for (char **at = environ; *at; ++at) {
    const std::string entry = *at;
    const std::string name = entry.substr(0, entry.find('=') + 1);
    const auto same = [&](const std::string &e) { return e.compare(0, name.size(), name) == 0; };
    if (std::none_of(extra.begin(), extra.end(), same)) out.push_back(entry);
  }
  return out;
}

}  // namespace

Result<ChildResult> run_child(const std::vector<std::string> &argv, const std::vector<std::string> &extra_env,
                              const std::function<bool()> &poll_caller) {
  int pipe_ends[2];
  if (pipe2(pipe_ends, O_CLOEXEC) != 0)
    return Error{Code::exhausted, argv[0] + " cannot be started: " + std::strerror(errno), {}};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], 1);
  posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], 2);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);  // its own group: a kill reaches its children too
  std::vector<std::string> args = argv, env = environment_with(extra_env);
  pid_t pid = 0;
  const int failed =
      posix_spawnp(&pid, args[0].c_str(), &actions, &attributes, pointers(args).data(), pointers(env).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  close(pipe_ends[1]);
  if (failed) {
    close(pipe_ends[0]);
    return Error{Code::unsupported, argv[0] + " cannot be started: " + std::strerror(failed), {}};
  }
  ChildResult result;
  for (bool open = true; open;) {
    pollfd readable{pipe_ends[0], POLLIN, 0};
    if (::poll(&readable, 1, 100) > 0) {
      char buffer[4096];
      const ssize_t n = read(pipe_ends[0], buffer, sizeof buffer);
      if (n > 0)
        result.output.append(buffer, static_cast<size_t>(n));
      else if (n == 0 || errno != EINTR)
        open = false;
      if (result.output.size() > 2 * kKeptOutput) result.output.erase(0, result.output.size() - kKeptOutput);
    }
    if (!result.cancelled && !poll_caller()) {
      result.cancelled = true;
      kill(-pid, SIGKILL);
    }
  }
  close(pipe_ends[0]);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  if (result.output.size() > kKeptOutput) result.output.erase(0, result.output.size() - kKeptOutput);
  return result;
}

}  // namespace gcop::models
