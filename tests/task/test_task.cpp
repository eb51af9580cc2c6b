#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include <unistd.h>

#include "task/task.hpp"

using namespace gcop;
namespace fs = std::filesystem;

namespace {

const std::string kRow =
    R"({"id":"money/1","family":"money","slice":"house","split":"train","prompt":"Write price(x).",)"
    R"("entry_point":"price","tests":["assert price(1) == '1.00 EUR'"],"solution":"def price(x): ...",)"
    R"("notes":["Put EUR last."]})";

std::string replaced(std::string text, const std::string &from, const std::string &to) {
  const size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

class File {
 public:
  explicit File(const std::string &text)
      : path_(fs::temp_directory_path() /
              ("gcop-task-" + std::to_string(getpid()) + "-" + std::to_string(count_++) + ".jsonl")) {
    std::ofstream(path_) << text;
  }
  ~File() { fs::remove(path_); }
  std::string path() const { return path_; }

 private:
  static inline int count_ = 0;
  fs::path path_;
};

std::string said(const std::string &text) {
  const File file(text);
  const auto loaded = task::load({file.path()});
  REQUIRE_FALSE(loaded);
  CHECK(loaded.error().code == Code::invalid);
  std::string text_said = loaded.error().text();
  for (size_t at; (at = text_said.find(file.path())) != std::string::npos;)
    text_said.replace(at, file.path().size(), "F");
  return text_said;
}

}  // namespace

TEST_CASE("a row of ours is read whole") {
  const File file(kRow + "\n\n" + replaced(replaced(kRow, "money/1", "money/2"), "train", "test") + "\n");
  const auto tasks = task::load({file.path()});
  REQUIRE(tasks);
  REQUIRE(tasks->size() == 2);
  const Task &t = (*tasks)[0];
  CHECK(t.id == "money/1");
  CHECK(t.family == "money");
  CHECK(t.slice == "house");
  CHECK(t.split == "train");
  CHECK_FALSE(t.unseen);
  CHECK(t.entry_point == "price");
  CHECK(t.tests.size() == 1);
  CHECK(t.notes == std::vector<std::string>{"Put EUR last."});
  CHECK(t.row.find("solution") != std::string::npos);
  CHECK(t.where == file.path() + ":1");
  CHECK((*tasks)[1].where == file.path() + ":3");
  CHECK(task::of_split(*tasks, "test").size() == 1);
}

TEST_CASE("every malformed row says file, line, field and remedy") {
  CHECK(said("\n{\"id\": \n") == "F:2: the row is no JSON (near its byte 8); write one whole object on this line");
  CHECK(said("[1]") == "F:1: the row is JSON but no object; write {\"id\": ..., ...}");
  CHECK(said(replaced(kRow, "\"id\":\"money/1\",", "")) == "F:1: field \"id\" is missing; add it");
  CHECK(said(replaced(kRow, "\"money/1\"", "17")) == "F:1: field \"id\" is 17; it must be a string");
  CHECK(said(replaced(kRow, "Write price(x).", "")) == "F:1: field \"prompt\" is empty; fill it in");
  CHECK(said(replaced(kRow, "\"train\"", "\"training\"")) ==
        "F:1: field \"split\" is \"training\"; use train, dev, test or fewshot");
  CHECK(said(replaced(kRow, "\"slice\":\"house\"", "\"slice\":\"hose\"")) ==
        "F:1: field \"slice\" is \"hose\"; reports know the slices house and plain: use one, or leave it out");
  CHECK(said(replaced(kRow, "\"price\"", "\"price(x)\"")) ==
        "F:1: field \"entry_point\" is \"price(x)\"; it must be the name of a Python function");
  CHECK(said(replaced(kRow, "[\"assert price(1) == '1.00 EUR'\"]", "[]")) ==
        "F:1: field \"tests\" is empty; a task needs at least one");
  CHECK(said(replaced(kRow, "[\"Put EUR last.\"]", "[3]")) ==
        "F:1: field \"notes\" is 3; it must be an array of strings only");
  CHECK(said(replaced(kRow, "\"split\"", "\"unseen\":\"yes\",\"split\"")) ==
        "F:1: field \"unseen\" is \"yes\"; it must be true or false");
  CHECK(said(kRow + "\n" + kRow) == "F:2: field \"id\": 'money/1' is already the id of F:1; ids must differ");
  CHECK(said("\n") == "task file 'F' holds no rows; write one JSON object a line");
}

TEST_CASE("an unseen family must not be trained on") {
  const std::string other = replaced(replaced(replaced(kRow, "money/1", "money/2"), "\"train\"", "\"test\""),
                                     "\"split\"", "\"unseen\":true,\"split\"");
  CHECK(said(kRow + "\n" + other)
            .find("F:2: field \"unseen\": family 'money' is marked unseen but occurs in the train split") == 0);
}

TEST_CASE("a file that is not there, and none at all") {
  const auto missing = task::load({"/nowhere/tasks.jsonl"});
  REQUIRE_FALSE(missing);
  CHECK(missing.error().message ==
        "task file '/nowhere/tasks.jsonl' cannot be read: No such file or directory; check the path");
  CHECK_FALSE(task::load({fs::temp_directory_path().string()}));
  CHECK_FALSE(task::load({}));
}

TEST_CASE("an MBPP row becomes a row of ours") {
  const std::string row =
      R"({"text": "Write a function to add.", "code": "def helper(x):\r\n  return x\r\ndef add(a, b):\r\n  return a + b", "task_id": 601,)"
      R"( "test_setup_code": "", "test_list": ["assert set(add(1, 2)) == 3", "assert add(0, 0) == 0"], "challenge_test_list": []})";
  const auto t = task::parse_row(row, "F:1");
  REQUIRE(t);
  CHECK(t->id == "mbpp/601");
  CHECK(t->split == "train");
  CHECK(t->entry_point == "add");
  CHECK(t->prompt == "Write a function to add.\nYour code should pass: assert set(add(1, 2)) == 3");
  CHECK(t->row.find("\\r") == std::string::npos);
  CHECK(t->tests.size() == 2);
  CHECK(t->row.find("setup") == std::string::npos);
  const auto with_setup =
      task::parse_row(replaced(row, R"("test_setup_code": "")", R"("test_setup_code": "root = 1")"), "F:1");
  REQUIRE(with_setup);
  CHECK(with_setup->row.find(R"("test_setup_code":"root = 1")") != std::string::npos);  // as validators read it
  const auto far = task::parse_row(replaced(row, "601", "975"), "F:9");
  REQUIRE_FALSE(far);
  CHECK(far.error().text() == "F:9: field \"task_id\" is 975; MBPP numbers its tasks 1 to 974");
  const auto other = task::parse_row(replaced(row, "def add", "def sum_of"), "F:9");
  REQUIRE_FALSE(other);
  CHECK(other.error().message.find("calls no function that \"code\" defines") != std::string::npos);
}

TEST_CASE("a row may have a test file; HumanEval rows are rows of ours") {
  const auto ours = task::parse_row(
      R"({"id":"a","split":"train","prompt":"Write f.","test":"from solution import f\ndef test_f():\n    assert f(1) == 2\n"})",
      "F:1");
  REQUIRE_MESSAGE(ours, ours.error().text());
  CHECK(ours->entry_point.empty());
  REQUIRE(ours->tests.size() == 1);
  CHECK(ours->tests[0].find("assert f(1) == 2") != std::string::npos);
  CHECK(
      task::parse_row(
          R"({"id":"a","split":"train","prompt":"p","entry_point":"f","tests":["assert f(1) == 2"],"test":"def check(c): pass"
})",
          "F:1")
          .error()
          .text() == "F:1: has \"tests\" and \"test\"; a row has one of them");
  CHECK(task::parse_row(R"({"id":"a","split":"train","prompt":"p","entry_point":"f","test":["x"]})", "F:1")
            .error()
            .text() == "F:1: field \"test\" is [\"x\"]; it must be a string");
  const auto human = task::parse_row(
      R"({"task_id":"HumanEval/0","prompt":"def inc(x):\n    \"\"\"one more\"\"\"\n","entry_point":"inc","canonical_solution":"    return x + 1\n","test":"def check(candidate):\n    assert candidate(1) == 2\n"})",
      "F:1");
  REQUIRE_MESSAGE(human, human.error().text());
  CHECK(human->id == "HumanEval/0");
  CHECK(human->split == "test");
  CHECK(human->entry_point == "inc");
  CHECK(human->prompt == "Complete this Python function:\n\ndef inc(x):\n    \"\"\"one more\"\"\"\n");
  const auto row = nlohmann::json::parse(human->row);
  CHECK(row["test"] == human->tests[0]);
  CHECK(row["solution"] == "def inc(x):\n    \"\"\"one more\"\"\"\n    return x + 1\n");
  CHECK(task::parse_row(R"({"task_id":"HumanEval/0","prompt":"p","test":"t"})", "F:1").error().text() ==
        "F:1: field \"entry_point\" is missing; add it");
}

TEST_CASE("a row that asks for a number needs no tests; GSM8K rows are rows of ours") {
  const auto ours = task::parse_row(R"({"id":"sum/1","split":"dev","prompt":"What is 9 * 2?","answer":18})", "F:1");
  REQUIRE_MESSAGE(ours, ours.error().text());
  CHECK(ours->answer == "18");
  CHECK(ours->tests.empty());
  CHECK(task::parse_row(R"({"id":"sum/1","split":"dev","prompt":"What?","answer":[1]})", "F:1").error().text() ==
        "F:1: field \"answer\" is [1]; it must be a string");
  const std::string row = R"({"question": "Eggs?", "answer": "9 * 2 = <<9*2=18>>18\n#### 1,018"})";
  const auto t = task::parse_row(row, "data/gsm8k_train.jsonl:7");
  REQUIRE_MESSAGE(t, t.error().text());
  CHECK(t->id.size() == 6 + 12);
  CHECK(t->split == "train");
  CHECK(t->prompt == "Eggs?");
  CHECK(t->answer == "1,018");
  CHECK(task::parse_row(row, "data/gsm8k_test500.jsonl:7")->split == "test");
  CHECK(task::parse_row(R"({"question": "Eggs?", "answer": "18"})", "F:2").error().text() ==
        "F:2: field \"answer\" has no \"####\"; GSM8K writes the number behind it");
  for (const auto &[name, rows] : {std::pair{"gsm8k_train.jsonl", 7473u}, {"gsm8k_test500.jsonl", 500u}}) {
    const std::string path = std::string(GCOP_SOURCE_DIR) + "/../shared/data/" + name;
    if (!fs::exists(path)) {
      MESSAGE("skipped: " << path << " is absent");
      continue;
    }
    const auto loaded = task::load({path});
    REQUIRE_MESSAGE(loaded, loaded.error().text());
    CHECK(loaded->size() == rows);
  }
}

TEST_CASE("the real MBPP file loads whole, with its usual split") {
  const std::string path = std::string(GCOP_SOURCE_DIR) + "/../shared/data/mbpp.jsonl";
  if (!fs::exists(path)) {
    MESSAGE("skipped: " << path << " is absent");
    return;
  }
  const auto tasks = task::load({path});
  REQUIRE_MESSAGE(tasks, (tasks ? "" : tasks.error().text()));
  std::map<std::string, int> of;
  for (const Task &t : *tasks) ++of[t.split];
  CHECK(of == std::map<std::string, int>{{"fewshot", 10}, {"test", 500}, {"dev", 90}, {"train", 374}});
}
