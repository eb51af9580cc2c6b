// Boxes: kept, shared by what is equal, repaired, and gone with their host, whenever that ends.
#include <sys/prctl.h>
#include <sys/wait.h>

#include <filesystem>
#include <set>

#include "jail.hpp"

using jail::run;

namespace {

struct Line {
  long pid, parent;
  std::string name;
};

std::vector<Line> processes() {
  std::vector<Line> out;
  for (const auto &entry : std::filesystem::directory_iterator("/proc")) {
    const std::string pid = entry.path().filename();
    if (pid[0] < '0' || pid[0] > '9') continue;
    std::ifstream stat(entry.path() / "stat");
    std::string text;
    std::getline(stat, text);
    const size_t open = text.find('('), end = text.rfind(')');
    if (end == text.npos || text[end + 2] == 'Z') continue;
    out.push_back(
        {std::stol(pid), std::strtol(text.c_str() + end + 4, nullptr, 10), text.substr(open + 1, end - open - 1)});
  }
  return out;
}

std::set<long> others;  // boxes of other files' tests, which live as long as this program

void forget_others() {
  others.clear();
  for (const Line &line : processes()) others.insert(line.pid);
}

// Processes below one of ours with this name, begun in this test.
std::vector<long> below_us(const std::string &name) {
  const auto all = processes();
  std::vector<long> out;
  for (const Line &line : all) {
    if (line.name != name || others.contains(line.pid)) continue;
    long at = line.pid;
    for (bool up = true; up && at != getpid();) {
      up = false;
      for (const Line &other : all)
        if (other.pid == at && other.parent > 0) {
          at = other.parent;
          up = true;
          break;
        }
    }
    if (at == getpid()) out.push_back(line.pid);
  }
  return out;
}

}  // namespace

TEST_CASE("cells of one program are copies of one process, each with a memory, a /tmp and numbers of its own") {
  forget_others();
  const std::string code =
      "import os, sys\nprint(os.getpid(), os.listdir('/tmp'), hasattr(sys, 'mark'))\nsys.mark = 1\n"
      "open('/tmp/mark', 'w').close()";
  auto made = gcop::sandbox::Sandbox::make();
  for (int i = 0; i < 3; ++i)
    CHECK(jail::Call((*made)->service(), {jail::python(code)}).wait().cells.at(0).out == "1 [] False\n");
  CHECK(below_us("gcop-hold").size() == 1);
  CHECK(jail::Call((*made)->service(), {jail::program({"/usr/bin/true"})}).wait().cells.at(0).exit_code == 0);
  CHECK(below_us("gcop-hold").size() == 2);
}

TEST_CASE("where memory is short, the kernel ends cells before their host") {
  forget_others();
  auto made = gcop::sandbox::Sandbox::make();
  jail::Call call((*made)->service(), {jail::python("import time; time.sleep(1); print('slept')")});
  size_t seen = 0;
  for (int i = 0; i < 500 && seen < 2; ++i) {  // the box and its cell
    seen = 0;
    for (const long pid : below_us("python3")) {
      std::ifstream file("/proc/" + std::to_string(pid) + "/oom_score_adj");
      int adjusted = 0;
      seen += file >> adjusted && adjusted == 1000;
    }
    usleep(2000);
  }
  CHECK(seen >= 2);
  CHECK(call.wait().cells.at(0).out == "slept\n");
}

TEST_CASE("at most so many boxes are kept") {
  forget_others();
  auto made = gcop::sandbox::Sandbox::make();
  for (int i = 0; i < 12; ++i)
    CHECK(jail::Call((*made)->service(), {jail::program({"/usr/bin/test", std::to_string(i), "=", "3"})})
              .wait()
              .cells.at(0)
              .exit_code == (i == 3 ? 0 : 1));
  CHECK(below_us("gcop-hold").size() == 8);
}

TEST_CASE("a box that is killed is an error of its runs, and the next run has a new one") {
  forget_others();
  auto made = gcop::sandbox::Sandbox::make();
  const auto *service = (*made)->service();
  REQUIRE(jail::Call(service, {jail::python("pass")}).wait().status == GCOP_OK);
  for (const char *victim : {"gcop-hold", "bwrap", "python3"}) {
    jail::Call running(service, {jail::python("import time; time.sleep(100)")});
    for (int i = 0; i < 500 && below_us("python3").size() < 2; ++i) usleep(10'000);  // the box's and the cell's
    const auto found = below_us(victim);
    REQUIRE(!found.empty());
    kill(static_cast<pid_t>(*std::min_element(found.begin(), found.end())), SIGKILL);
    const auto end = running.wait();
    CHECK_MESSAGE(end.status == GCOP_UNAVAILABLE, victim << ": " << end.error);
    const auto next = jail::Call(service, {jail::python("print(1)")}).wait();
    REQUIRE_MESSAGE(next.status == GCOP_OK, next.error);
    CHECK(next.cells[0].out == "1\n");
  }
  made->reset();
  CHECK(jail::leftover_processes() == std::vector<std::string>{});
}

TEST_CASE("a box that stops to take orders is ended by the deadline's run, not waited for") {
  forget_others();
  auto made = gcop::sandbox::Sandbox::make();
  const auto *service = (*made)->service();
  REQUIRE(jail::Call(service, {jail::python("pass")}).wait().status == GCOP_OK);
  const auto found = below_us("python3");
  REQUIRE(found.size() == 1);
  kill(static_cast<pid_t>(found[0]), SIGSTOP);
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  const uint64_t soon =
      static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec) + 200'000'000;
  CHECK(jail::Call(service, {jail::python("pass")}, soon).wait().status == GCOP_TIMEOUT);
  CHECK(jail::Call(service, {jail::python("print(2)")}).wait().cells.at(0).out == "2\n");
}

TEST_CASE("a host that is killed at any moment leaves nothing behind") {
  prctl(PR_SET_CHILD_SUBREAPER, 1);  // what it leaves becomes ours
  REQUIRE(jail::sandbox().probe());
  std::set<long> before;
  for (const Line &line : processes()) before.insert(line.pid);
  for (int i = 0; i < 40; ++i) {
    const pid_t host = fork();
    if (host == 0) {
      auto made = gcop::sandbox::Sandbox::make();
      (void)(*made)->probe();
      jail::Call(made->get()->service(), {jail::python("import time; time.sleep(100)")}).wait();
      _exit(0);
    }
    usleep(static_cast<useconds_t>(i) * 1'500);
    kill(host, SIGKILL);
    while (waitpid(host, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  std::vector<std::string> left;
  for (int i = 0; i < 100; ++i) {
    // Only what is ours now; never the boxes of the sandbox that stays.
    left.clear();
    for (const Line &line : processes())
      if (line.parent == getpid() && !before.count(line.pid)) {
        left.push_back(std::to_string(line.pid) + " " + line.name);
        waitpid(static_cast<pid_t>(line.pid), nullptr, WNOHANG);
      }
    if (left.empty()) break;
    usleep(50'000);
  }
  CHECK(left == std::vector<std::string>{});
  prctl(PR_SET_CHILD_SUBREAPER, 0);
}
