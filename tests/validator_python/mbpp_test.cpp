// The public problems' own solutions must pass their own tests. A sample by default, all 974 with GCOP_FULL=1.
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
