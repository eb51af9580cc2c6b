// When a verdict is believed: only behind the nonce, with the row's number of tests.
#include <doctest/doctest.h>

#include "../sandbox/jail.hpp"
#include "check_job.hpp"
#include "checker.hpp"

using namespace gcop::validator_python;

namespace {

Outcome outcome_of(const std::string &out, uint32_t judge_limits = 0, int exit_code = 0) {
  gcop_cell_result judge{}, candidate{};
  judge.out = {out.data(), out.size()};
  judge.limits = judge_limits;
  judge.exit_code = exit_code;
  Tests tests;
  tests.id = "t";
  tests.asserts = {"assert f(1)", "assert f(2)"};
  return read_outcome(judge, candidate, "abc", tests, Limits());
}

}  // namespace

TEST_CASE("a verdict counts only with its nonce and the number of tests") {
  CHECK(outcome_of("gcop-verdict abc ok 2 2 2\n").verdict.score == 1);
  CHECK(outcome_of("gcop-verdict abc ok 2 1 2\nwhy\n").verdict.score == 0);
  CHECK(outcome_of("gcop-verdict abc ok 2 1 2\nwhy\n").verdict.feedback == "why");
  CHECK(outcome_of("gcop-verdict abc lost 2 2 2\n").verdict.score == 0);
  for (const char *forged :
       {"", "gcop-verdict abd ok 2 2 2\n", "gcop-verdict  ok 2 2 2\n", "gcop-verdict abc ok 1 1 1\n",
        "gcop-verdict abc ok 3 3 3\n", "gcop-verdict abc ok 2 3 2\n", "gcop-verdict abc ok 2 0 0\n",
        "gcop-verdict abc fine 2 2 2\n", "gcop-verdict abc ok 2 2\n", "gcop-verdict abc ok 2 2 2",
        " gcop-verdict abc ok 2 2 2\n", "gcop-verdict abc ok -2 2 2\n", "gcop-verdict abc ok two 2 2\n"}) {
    CAPTURE(forged);
    CHECK(outcome_of(forged).status == GCOP_UNAVAILABLE);  // exit code 0 alone says nothing
  }
}

TEST_CASE("a judge that fails is an error, one that burns on the candidate's values is a failed check") {
  CHECK(outcome_of("", GCOP_CELL_WALL).status == GCOP_UNAVAILABLE);
  CHECK(outcome_of("", 0, 1).error.find("exit code 1") != std::string::npos);
  CHECK(outcome_of("", GCOP_CELL_CPU).status == GCOP_OK);
  CHECK(outcome_of("", GCOP_CELL_CPU).verdict.score == 0);
  CHECK(outcome_of("gcop-verdict abc broken 2 0 0\nno Python").status == GCOP_INVALID);
}

TEST_CASE("a candidate that the machine ends is no verdict") {
  checker::instance();
  checker::Call call(checker::instance(), checker::task({"assert f(1) == 1"}), "import time\ndef f(x): time.sleep(60)");
  pid_t candidate = 0;
  for (int i = 0; i < 2000 && !candidate; ++i, usleep(5'000))
    for (const auto &cell : jail::leftovers_now()) {
      const std::string pid = cell.substr(0, cell.find(' '));
      std::ifstream words("/proc/" + pid + "/cmdline", std::ios::binary), state("/proc/" + pid + "/stat");
      std::string said, now;
      std::getline(words, said);
      std::getline(state, now);
      if (said.find("candidate.py") != said.npos && now.find(") S ") != now.npos) candidate = std::stoi(pid);
    }
  REQUIRE(candidate);
  kill(candidate, SIGKILL);
  CHECK(call.wait().status == GCOP_UNAVAILABLE);
  CHECK_MESSAGE(call.wait().error.find("the machine ended") != std::string::npos, call.wait().error);
}

TEST_CASE("own 17: values that the judge cannot show, name or hold are wrong answers, not failures of the machine") {
  const auto zero = [](const std::string &code, const std::string &test = "assert f(1) == 3") {
    const auto v = checker::check(checker::task({test}), code);
    CHECK_MESSAGE(v.status == GCOP_OK, v.error);
    CHECK(v.score == 0);
    CHECK(v.feedback != "");
    return v.feedback;
  };
  const std::string reach = "import sys\nM = sys.modules['__main__']\n";
  zero(reach +
       "M._raised = lambda e: M.encode(('raise', ['X', 'Exception'], 10**5000, (10**5000,)), M._refuse)\ndef f(x): "
       "raise ValueError");
  zero(reach +
       "M._raised = lambda e: M.encode(('raise', [7, 10**5000, 'Exception'], 'x', ()), M._refuse)\ndef f(x): raise "
       "ValueError");
  zero(reach + "M.Answer.answer = lambda s, r: ('ok', ({}, [10**5000]))\ndef f(x): return 3");
  zero(reach + "M.Answer.answer = lambda s, r: ('ok', ({10**5000: True}, ['g']))\ndef f(x): return 3");
  // No tampering at all: what such a Counter shows would sort handles.
  zero(
      "from collections import Counter\ndef f(x):\n    c = Counter()\n    c[0] = object()\n    c[1] = object()\n    "
      "return [c]",
      "assert f(1)[5] == 3");
  CHECK(zero("from collections import Counter\ndef f(x): return Counter({0: object(), 1: object()})",
             "assert f(1) == 3") == "f(1): expected 3, got a Counter that cannot be shown");
  // And the tests behind one like it are judged as they are.
  const auto v = checker::check(
      checker::task({"assert f(1) == 3", "assert f(2) == 2"}),
      "from collections import Counter\ndef f(x):\n    return Counter({0: object(), 1: object()}) if x == 1 else 2");
  CHECK(v.passed == 1);
}

TEST_CASE("own 18: a late answer that is slow to compare") {
  checker::Call::Limits limits;
  limits.wall_ms = 2'000;
  const auto v = checker::check(
      checker::task({"assert f(1) == 3"}),
      "import sys, time\nM = sys.modules['__main__']\ndef f(x):\n    time.sleep(1.6)\n    M._SEQUENCES[list] = b'S'\n"
      "    return [i * (2 ** 61 - 1) for i in range(1, 120001)]",
      limits);
  CHECK_MESSAGE(v.status == GCOP_OK, v.error);
  CHECK(v.score == 0);
}

TEST_CASE("own 19: children that nobody waits for, and memory that nobody counts") {
  const auto ends = [](const std::string &code) {
    checker::Call::Limits limits;
    limits.cpu_ms = 500;
    limits.wall_ms = 4'000;
    const auto v = checker::check(checker::task({"assert f(1) == 3"}), code, limits);
    CHECK_MESSAGE(v.status == GCOP_OK, v.error);
    CHECK(v.score == 0);
    return v.feedback;
  };
  ends("import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\ndef f(x): return 3");
  // Without that, every child's time counts, also of those that are waited for late or by nobody.
  CHECK(ends("import os, time\ndef f(x):\n    for _ in range(600):\n        pid = os.fork()\n        if pid == 0:\n"
             "            while time.process_time() < 0.006: pass\n            os._exit(0)\n        os.waitpid(pid, "
             "0)\n    return 3")
            .find("CPU time") != std::string::npos);
  ends("import mmap\ndef f(x):\n    mmap.mmap(-1, 1 << 21)\n    return 3");
}
