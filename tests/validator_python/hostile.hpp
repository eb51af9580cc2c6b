// One hostile program against the task f(a, b) == a + b: it must not pass, nothing may stay, and the next honest check
// must pass. For tests only.
#pragma once
#include "../sandbox/jail.hpp"
#include "checker.hpp"

namespace hostile {

inline nlohmann::json addition() {
  return checker::task({"assert f(1, 2) == 3", "assert f(5, 5) == 10", "assert sorted([f(2, 2), f(0, 1)]) == [1, 4]"});
}

struct Traces {
  size_t descriptors = jail::open_descriptors(), mounts = jail::mounts();
};

inline void check_clean(const Traces &before) {
  CHECK(jail::open_descriptors() == before.descriptors);
  CHECK(jail::mounts() == before.mounts);
  CHECK(jail::leftover_processes() == std::vector<std::string>{});
  const auto honest = checker::check(addition(), "def f(a, b): return a + b");
  CHECK_MESSAGE(honest.score == 1, honest.error << honest.feedback);
}

// `end`: a part of the feedback that names how it ended.
inline void fails(const std::string &code, const std::string &end = "",
                  checker::Call::Limits limits = {2000, 20'000, 0}) {
  CAPTURE(code);
  checker::instance();
  const Traces before;
  const auto v = checker::check(addition(), code, limits);
  CHECK_MESSAGE(v.status == GCOP_OK, v.error);
  CHECK(v.score == 0);
  CHECK_MESSAGE(v.feedback.find(end) != std::string::npos, v.feedback);
  check_clean(before);
}

}  // namespace hostile
