// What the starter task file promises about its rows (recipes/data/README.md): fields, counts, splits, and that neither
// prompts nor notes give away what they must not. That the programs in it behave is check_solutions.py's part.
#include <doctest/doctest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <string>
#include <vector>

namespace {

using nlohmann::json;

std::vector<json> rows() {
  std::ifstream file(GCOP_SOURCE_DIR "/recipes/data/house_python.jsonl");
  REQUIRE(file.good());
  std::vector<json> all;
  for (std::string line; std::getline(file, line);) all.push_back(json::parse(line));
  return all;
}

const std::vector<json> &data() {
  static const std::vector<json> all = rows();
  return all;
}

std::string text(const json &row, const char *field) { return row.at(field).get<std::string>(); }

bool house(const json &row) { return text(row, "slice") == "house"; }

bool contains(const std::string &where, const std::string &what) { return where.find(what) != std::string::npos; }

// What only somebody who knows the house can write; a prompt must not hold it.
const std::map<std::string, std::vector<std::string>> kHouseSecrets{
    {"money", {"EUR", "decimal", "euro"}},
    {"duration", {"hour", ":02d", "h0"}},
    {"date-text", {"%d", ".2024", "format"}},
    {"rate-text", {"pct", "percent", "%"}},
    {"staff-id", {"S0", "zero", "digits"}},
    {"person-name", {"capital", "upper", "DOE"}},
    {"sensor-gap", {"-999", "999"}},
    {"tag-join", {"|", "bar"}},
    {"dozen-order", {"12", "dozen", "multiple", "round"}},
    {"rating-scale", {"10", "scale", "between"}},
    {"zero-guard", {"ERR", "error", "text"}},
    {"shelf-order", {"length", "short", "len("}},
    {"check-flag", {"\"Y\"", "\"N\"", "'Y'", "letter"}},
    {"span-dict", {"\"lo\"", "\"hi\"", "dictionary", "'lo'"}},
    {"route-metres", {"metre", "meter", "1000"}},
    {"badge-cap", {"99", "+", "100"}},
};

// The expected values of a row's tests, as they are written.
std::vector<std::string> expected(const json &row) {
  std::vector<std::string> values;
  for (const std::string test : row.at("tests")) {
    const size_t at = test.rfind(" == ");
    REQUIRE(at != std::string::npos);
    values.push_back(test.substr(at + 4));
  }
  return values;
}

}  // namespace

TEST_CASE("every row has its fields and no others") {
  const std::set<std::string> known{"id",          "family", "slice",    "split",    "unseen", "prompt",
                                    "entry_point", "tests",  "solution", "ignoring", "notes"};
  for (const json &row : data()) {
    INFO(text(row, "id"));
    for (const auto &[field, value] : row.items()) CHECK_MESSAGE(known.count(field), field);
    CHECK(row.at("unseen").is_boolean());
    CHECK((text(row, "slice") == "house" || text(row, "slice") == "plain"));
    CHECK(row.contains("ignoring") == house(row));
    CHECK(std::set<std::string>{"train", "dev", "test"}.count(text(row, "split")) == 1);
    CHECK(contains(text(row, "solution"), "def " + text(row, "entry_point") + "("));
    CHECK(contains(text(row, "prompt"), "`" + text(row, "entry_point") + "("));
    const auto tests = row.at("tests").get<std::vector<std::string>>();
    CHECK(tests.size() >= 3);
    CHECK(tests.size() <= 5);
    for (const std::string &test : tests) CHECK(test.rfind("assert " + text(row, "entry_point") + "(", 0) == 0);
  }
}

TEST_CASE("ids, entry points and prompts occur once") {
  std::set<std::string> ids, entries, prompts;
  for (const json &row : data()) {
    INFO(text(row, "id"));
    CHECK(ids.insert(text(row, "id")).second);
    CHECK(entries.insert(text(row, "entry_point")).second);
    const std::string prompt = text(row, "prompt");
    CHECK(prompts.insert(prompt.substr(prompt.find(')'))).second);
  }
}

TEST_CASE("the counts are what the set is for") {
  std::map<std::string, std::map<std::string, int>> families;  // family -> split -> rows
  std::map<std::string, bool> unseen, is_house;
  std::map<std::string, int> plain;
  for (const json &row : data()) {
    ++families[text(row, "family")][text(row, "split")];
    unseen[text(row, "family")] = row.at("unseen");
    is_house[text(row, "family")] = house(row);
    if (!house(row)) ++plain[text(row, "split")];
  }
  int seen_families = 0, unseen_families = 0, topics = 0;
  for (auto &[family, splits] : families) {
    INFO(family);
    if (!is_house[family]) {
      ++topics;
      CHECK(contains(family, "plain-"));
      continue;
    }
    CHECK(splits["train"] + splits["dev"] + splits["test"] >= 10);
    if (unseen[family]) {
      ++unseen_families;
      CHECK(splits["train"] + splits["dev"] == 0);
    } else {
      ++seen_families;
      CHECK(splits["train"] >= 6);
      CHECK(splits["dev"] >= 1);
      CHECK(splits["test"] >= 4);
    }
  }
  CHECK(seen_families >= 12);
  CHECK(unseen_families == 2);
  CHECK(topics >= 8);
  CHECK(plain["test"] >= 40);
  CHECK(plain["train"] >= 24);
  CHECK(plain["dev"] >= 12);
}

TEST_CASE("notes stand on train rows only and hold no expected value of their row") {
  std::map<std::string, std::set<std::string>> tasks_with;  // expected value -> tasks that expect it
  for (const json &row : data())
    for (const std::string &value : expected(row)) tasks_with[value].insert(text(row, "id"));
  for (const json &row : data()) {
    INFO(text(row, "id"));
    const bool train = text(row, "split") == "train";
    CHECK(row.contains("notes") == train);
    if (!train) continue;
    CHECK(row.at("notes").size() >= 2);
    CHECK(row.at("notes").size() <= 4);
    for (const std::string note : row.at("notes")) {
      CHECK(!contains(note, text(row, "entry_point")));
      // A value that other tasks expect too ("Y", -999) is the convention; one of this task alone is its answer.
      for (const std::string &value : expected(row)) {
        const bool quoted = value.front() == '\'' || value.front() == '"';
        const std::string bare = quoted ? value.substr(1, value.size() - 2) : value;
        if (tasks_with[value].size() == 1 && bare.size() >= 3) CHECK_MESSAGE(!contains(note, bare), note);
      }
    }
  }
}

TEST_CASE("no prompt names its convention or says what it asks for") {
  std::set<std::string> seen;
  for (const json &row : data()) {
    if (!house(row)) continue;
    INFO(text(row, "id"));
    const std::string family = text(row, "family");
    seen.insert(family);
    // Its example of an input date is all a prompt says about formats.
    const std::string prompt = std::regex_replace(text(row, "prompt"), std::regex("like 2024-03-09"), "");
    CHECK(!contains(prompt, family));
    REQUIRE(kHouseSecrets.count(family) == 1);
    for (const std::string &secret : kHouseSecrets.at(family)) CHECK_MESSAGE(!contains(prompt, secret), secret);
  }
  CHECK(seen.size() == kHouseSecrets.size());
}
