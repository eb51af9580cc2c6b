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
