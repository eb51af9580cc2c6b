// Reference solutions must pass their own tests. A sample by default, all with GCOP_FULL=1.
#include <cstdlib>
#include <fstream>

#include "checker.hpp"

TEST_CASE("reference solutions of MBPP pass") {
  std::ifstream file(GCOP_SOURCE_DIR "/../shared/data/mbpp.jsonl");
  if (!file) {
    MESSAGE("skipped: ../shared/data/mbpp.jsonl is absent");
    return;
  }
  const bool full = std::getenv("GCOP_FULL") != nullptr;
  std::vector<nlohmann::json> rows;
  for (std::string line; std::getline(file, line);) rows.push_back(nlohmann::json::parse(line));
  std::deque<checker::Call> calls;
  std::vector<int> ids;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (!full && i % 16 != 0) continue;
    ids.push_back(rows[i]["task_id"].get<int>());
    calls.emplace_back(checker::instance(), rows[i], "```python\n" + rows[i]["code"].get<std::string>() + "\n```",
                       checker::Call::Limits{10'000, 60'000, 0});
  }
  size_t passed = 0;
  for (size_t i = 0; i < calls.size(); ++i) {
    const auto &v = calls[i].wait();
    passed += v.score == 1 ? 1 : 0;
    CHECK_MESSAGE(v.score == 1, "task_id " << ids[i] << ": " << v.error << v.feedback);
  }
  MESSAGE(passed << " of " << calls.size() << " reference solutions pass");
}

TEST_CASE("reference solutions of the starter tasks pass, solutions that ignore the convention fail") {
  std::ifstream file(GCOP_SOURCE_DIR "/recipes/data/house_python.jsonl");
  REQUIRE(file);
  const bool full = std::getenv("GCOP_FULL") != nullptr;
  std::deque<checker::Call> right, wrong;
  size_t n = 0;
  for (std::string line; std::getline(file, line);) {
    const auto row = nlohmann::json::parse(line);
    if (!row.contains("solution") || (!full && n++ % 8 != 0)) continue;
    right.emplace_back(checker::instance(), row, row["solution"].get<std::string>(),
                       checker::Call::Limits{10'000, 60'000, 0});
    if (row.contains("ignoring"))
      wrong.emplace_back(checker::instance(), row, row["ignoring"].get<std::string>(),
                         checker::Call::Limits{10'000, 60'000, 0});
  }
  CHECK(right.size() > 20);
  for (auto &call : right) CHECK_MESSAGE(call.wait().score == 1, call.wait().error << call.wait().feedback);
  for (auto &call : wrong) {
    CHECK_MESSAGE(call.wait().status == GCOP_OK, call.wait().error);
    CHECK(call.wait().score == 0);
  }
}
