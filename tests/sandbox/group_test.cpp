// Control groups of boxes, on machines that let us make them; elsewhere these tests say that they were skipped.
#include <sys/mman.h>
#include <sys/wait.h>

#include <filesystem>

#include "jail.hpp"
#include "validator/sandbox/group.hpp"

using gcop::sandbox::Group;

namespace {

std::vector<std::filesystem::path> groups_named(const std::string &prefix) {
  std::vector<std::filesystem::path> out;
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator at("/sys/fs/cgroup", error), end; at != end; at.increment(error))
    if (at->is_directory(error) && at->path().filename().string().starts_with(prefix)) out.push_back(at->path());
  return out;
}

std::string ours() { return "gcop-" + std::to_string(getpid()) + "-"; }

std::string word_in(const std::filesystem::path &path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  return word;
}

bool here() {
  if (Group::make().there()) return true;
  MESSAGE("skipped: this machine lets us make no control groups");
  return false;
}

// In a child inside the group; its wait status.
template <typename Act>
int inside(const Group &group, Act act) {
  const pid_t pid = fork();
  if (pid == 0) {
    for (const auto &door : group.doors())
      if (write(door.get(), "0", 1) != 1) _exit(101);
    _exit(act());
  }
  int status = 0;
  waitpid(pid, &status, 0);
  return status;
}

}  // namespace

TEST_CASE("a group bounds memory of every kind and the number of processes, and goes with its owner") {
  if (!here()) return;
  const size_t before = groups_named(ours()).size();
  {
    Group group = Group::make();
    group.allow(64 << 20, 4);
    group.allow(32 << 20, 2);  // never lowered
    CHECK(groups_named(ours()).size() > before);
    const auto shared = [](size_t bytes) {
      return [bytes] {
        void *at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        std::memset(at, 1, bytes);
        return 7;
      };
    };
    bool memory = false, pids = false;
    for (const auto &path : groups_named(ours())) {
      memory = memory || std::filesystem::exists(path / "memory.max") ||
               std::filesystem::exists(path / "memory.limit_in_bytes");
      pids = pids || std::filesystem::exists(path / "pids.max");
    }
    if (memory) {
      CHECK(WEXITSTATUS(inside(group, shared(40 << 20))) == 7);
      const int status = inside(group, shared(200 << 20));
      CHECK(WIFSIGNALED(status));
      CHECK(WTERMSIG(status) == SIGKILL);
    }
    if (pids) {
      const int made = inside(group, [] {
        int n = 0;
        std::vector<pid_t> all;
        for (; n < 20; ++n) {
          const pid_t pid = fork();
          if (pid == 0) {
            pause();
            _exit(0);
          }
          if (pid < 0) break;
          all.push_back(pid);
        }
        for (pid_t pid : all) kill(pid, SIGKILL), waitpid(pid, nullptr, 0);
        return n;
      });
      CHECK(WEXITSTATUS(made) == 3);
    }
  }
  CHECK(groups_named(ours()).size() == before);
}

TEST_CASE("a box and its cells are in its group, whose bounds leave room for all that cells may hold") {
  if (!here()) return;
  const size_t before = groups_named(ours()).size();
  {
    auto made = gcop::sandbox::Sandbox::make();
    REQUIRE(made);
    auto spec = jail::program({"/usr/bin/sleep", "60"});
    spec.mem_bytes = 100 << 20;
    spec.processes = 5;
    jail::Call call((*made)->service(), {spec});
    std::string sleeper;
    for (int i = 0; i < 2000 && sleeper.empty(); ++i, usleep(5'000))
      for (const auto &cell : jail::leftovers_now())
        if (cell.ends_with(" sleep")) sleeper = cell.substr(0, cell.find(' '));
    REQUIRE(!sleeper.empty());
    std::ifstream file("/proc/" + sleeper + "/cgroup");
    size_t in = 0;
    for (std::string line; std::getline(file, line);) in += line.find("/" + ours()) != line.npos ? 1 : 0;
    CHECK(in >= 1);
    for (const auto &path : groups_named(ours())) {
      if (word_in(path / "cgroup.procs").empty()) continue;
      for (const char *name : {"memory.max", "memory.limit_in_bytes"})
        if (std::filesystem::exists(path / name)) CHECK(std::stoull(word_in(path / name)) >= (356u << 20));
      if (std::filesystem::exists(path / "pids.max")) CHECK(std::stoull(word_in(path / "pids.max")) >= 37);
    }
    (*made)->service()->cancel((*made)->service(), call.op());
    call.wait();
  }
  CHECK(groups_named(ours()).size() == before);
}

TEST_CASE("groups of hosts that were killed are removed by the next one, those of living ones are not") {
  if (!here()) return;
  const Group group = Group::make();
  const auto mine = groups_named(ours());
  REQUIRE(!mine.empty());
  const auto parent = mine.front().parent_path();
  const pid_t gone = fork();
  if (gone == 0) _exit(0);
  waitpid(gone, nullptr, 0);
  const auto dead = parent / ("gcop-" + std::to_string(gone) + "-0"), alive = parent / "gcop-1-0";
  std::filesystem::create_directory(dead);
  std::filesystem::create_directory(alive);
  Group::make();
  CHECK_FALSE(std::filesystem::exists(dead));
  CHECK(std::filesystem::exists(alive));
  rmdir(alive.c_str());
}
