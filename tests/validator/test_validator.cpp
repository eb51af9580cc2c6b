#include <filesystem>

#include "store/store.hpp"
#include "validator/validator.hpp"
#include "wayward.hpp"

using namespace gcop;
namespace fs = std::filesystem;

namespace {

Task task(const std::string &row) {
  Task t;
  t.id = "t/1";
  t.row = row;
  return t;
}

Result<Verdict> check(Bench &bench, validator::Validator &v, const Task &t, const std::string &candidate) {
  Result<Verdict> out = Error{};
  bench.until([&](auto end) {
    v.check(t, candidate, [&out, end](auto result) {
      out = std::move(result);
      end();
    });
  });
  return out;
}

}  // namespace

TEST_CASE("a verdict comes back whole") {
  Bench bench;
  validator::Validator v(bench.loop, nullptr, bench.wayward("echo"), "python", 2, 0);
  const auto verdict = check(bench, v, task("{}"), "def f(): ...");
  REQUIRE(verdict);
  CHECK(verdict->score == 0.5);
  CHECK(verdict->passed == 1);
  CHECK(verdict->total == 2);
  CHECK(verdict->feedback == "call 1 def f(): ...");
  CHECK_FALSE(verdict->cached);
}

TEST_CASE("a failure of infrastructure is tried once more and is never a score") {
  Bench bench;
  validator::Validator flaky(bench.loop, nullptr, bench.wayward("flaky"), "python", 2, 0);
  const auto second_try = check(bench, flaky, task("{}"), "x");
  REQUIRE(second_try);
  CHECK(second_try->feedback == "call 2 x");
  validator::Validator never(bench.loop, nullptr, bench.wayward("never"), "python", 2, 10);
  const auto given_up = check(bench, never, task("{}"), "x");
  REQUIRE_FALSE(given_up);
  CHECK(given_up.error().code == Code::timeout);
  CHECK(has(given_up.error().message, "validator 'python': plugin 'test.wayward', check: no answer"));
}

TEST_CASE("a score outside [0, 1] is the validator's fault") {
  Bench bench;
  validator::Validator v(bench.loop, nullptr, bench.wayward("echo"), "python", 2, 0);
  const auto verdict = check(bench, v, task("{}"), "nan");
  REQUIRE_FALSE(verdict);
  CHECK(verdict.error().code == Code::internal);
}

TEST_CASE("verdicts are kept by validator, task row and candidate") {
  const fs::path folder = fs::temp_directory_path() / ("gcop-validator-" + std::to_string(getpid()));
  fs::remove_all(folder);
  fs::create_directories(folder);
  {
    auto store = store::Store::open(folder);
    REQUIRE_MESSAGE(store, (store ? "" : store.error().text()));
    Bench bench;
    validator::Validator v(bench.loop, store->get(), bench.wayward("echo"), "python", 2, 0);
    CHECK(check(bench, v, task("{}"), "x")->feedback == "call 1 x");
    const auto hit = check(bench, v, task("{}"), "x");
    REQUIRE(hit);
    CHECK(hit->cached);
    CHECK(hit->feedback == "call 1 x");
    CHECK(hit->total == 2);
    CHECK_FALSE(check(bench, v, task("{\"tests\":[]}"), "x")->cached);  // another row
    CHECK_FALSE(check(bench, v, task("{}"), "y")->cached);
  }
  fs::remove_all(folder);
}
