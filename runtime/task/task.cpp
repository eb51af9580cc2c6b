#include "task/task.hpp"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <system_error>

#include <nlohmann/json.hpp>

#include "base/hash.hpp"

namespace gcop::task {
namespace {

using nlohmann::json;

const std::set<std::string> kSplits = {"train", "dev", "test", "fewshot"};
const std::set<std::string> kSlices = {"house", "plain"};

// Reads the fields of one row; the first mistake is kept and makes every later read harmless.
class Row {
 public:
  Row(const json &object, std::string where) : object_(object), where_(std::move(where)) {}

  void fail(const std::string &message) {
    if (!error_) error_ = invalid(message, where_);
  }
  const std::optional<Error> &error() const { return error_; }

  std::string string(const char *field, bool required) {
    const json *value = find(field, required);
    if (!value) return {};
    if (!value->is_string()) return wrong(field, *value, "a string"), std::string();
    const auto text = value->get<std::string>();
    if (required && text.empty()) fail(name(field) + " is empty; fill it in");
    return text;
  }

  bool flag(const char *field) {
    const json *value = find(field, false);
    if (!value) return false;
    if (!value->is_boolean()) return wrong(field, *value, "true or false"), false;
    return value->get<bool>();
  }

  int64_t integer(const char *field) {
    const json *value = find(field, true);
    if (!value) return 0;
    if (!value->is_number_integer()) return wrong(field, *value, "a whole number"), 0;
    return value->get<int64_t>();
  }

  std::string answer() {
    const json *value = find("answer", false);
    if (!value) return {};
    if (value->is_number()) return value->dump();
    return string("answer", true);
  }

  std::vector<std::string> strings(const char *field, bool required) {
    const json *value = find(field, required);
    if (!value) return {};
    if (!value->is_array()) return wrong(field, *value, "an array of strings"), std::vector<std::string>();
    std::vector<std::string> out;
    for (const json &item : *value) {
      if (!item.is_string()) return wrong(field, item, "an array of strings only"), out;
      out.push_back(item.get<std::string>());
      if (out.back().empty()) fail(name(field) + " holds an empty string; remove it");
    }
    if (required && out.empty()) fail(name(field) + " is empty; a task needs at least one");
    return out;
  }

 private:
  static std::string name(const char *field) { return std::string("field \"") + field + "\""; }

  const json *find(const char *field, bool required) {
    const auto found = object_.find(field);
    if (found != object_.end() && !found->is_null()) return &*found;
    if (required) fail(name(field) + " is missing; add it");
    return nullptr;
  }

  void wrong(const char *field, const json &value, const char *expected) {
    std::string got = value.dump(-1, ' ', false, json::error_handler_t::replace);
    if (got.size() > 40) got = got.substr(0, 40) + "...";
    fail(name(field) + " is " + got + "; it must be " + expected);
  }

  const json &object_;
  std::string where_;
  std::optional<Error> error_;
};

bool is_word(char c) { return c == '_' || std::isalnum(static_cast<unsigned char>(c)); }

bool is_identifier(const std::string &text) {
  return !text.empty() && !std::isdigit(static_cast<unsigned char>(text[0])) &&
         std::all_of(text.begin(), text.end(), is_word);
}

std::string unix_lines(std::string text) {
  text.erase(std::remove(text.begin(), text.end(), '\r'), text.end());
  return text;
}

// The names that follow `def` or `class` at the start of a line.
std::set<std::string> defined_names(const std::string &code) {
  std::set<std::string> names;
  std::istringstream lines(code);
  for (std::string line, keyword, rest; std::getline(lines, line);) {
    std::istringstream words(line);
    if (!(words >> keyword >> rest) || (keyword != "def" && keyword != "class")) continue;
    names.insert(
        rest.substr(0, static_cast<size_t>(std::find_if_not(rest.begin(), rest.end(), is_word) - rest.begin())));
  }
  return names;
}

// The first name that the assert calls and the code defines.
std::string called_name(const std::string &assert_line, const std::string &code) {
  const std::set<std::string> defined = defined_names(code);
  for (size_t open = assert_line.find('('); open != std::string::npos; open = assert_line.find('(', open + 1)) {
    size_t end = open, start;
    while (end > 0 && assert_line[end - 1] == ' ') --end;
    for (start = end; start > 0 && is_word(assert_line[start - 1]);) --start;
    if (const std::string name = assert_line.substr(start, end - start); defined.count(name)) return name;
  }
  return {};
}

const char *mbpp_split(int64_t id) {
  if (id <= 10) return "fewshot";
  if (id <= 510) return "test";
  if (id <= 600) return "dev";
  return "train";
}

Result<json> from_mbpp(const json &object, const std::string &where) {
  Row row(object, where);
  const int64_t id = row.integer("task_id");
  const std::string text = row.string("text", true);
  const std::string code = unix_lines(row.string("code", true));
  const std::string setup = unix_lines(row.string("test_setup_code", false));
  std::vector<std::string> tests = row.strings("test_list", true);
  for (std::string &test : tests) test = unix_lines(test);
  const std::vector<std::string> challenge = row.strings("challenge_test_list", false);
  if (!row.error() && (id < 1 || id > 974))
    row.fail("field \"task_id\" is " + std::to_string(id) + "; MBPP numbers its tasks 1 to 974");
  const std::string entry = row.error() ? "" : called_name(tests[0], code);
  if (!row.error() && entry.empty())
    row.fail("field \"test_list\": the first assert calls no function that \"code\" defines; correct either");
  if (row.error()) return *row.error();
  json out = {{"id", "mbpp/" + std::to_string(id)},
              {"split", mbpp_split(id)},
              {"entry_point", entry},
              {"prompt", unix_lines(text) + "\nYour code should pass: " + tests[0]},
              {"tests", tests},
              {"solution", code}};
  if (!setup.empty()) out["test_setup_code"] = setup;
  if (!challenge.empty()) out["challenge_tests"] = challenge;
  return out;
}

Result<json> from_human_eval(const json &object, const std::string &where) {
  Row row(object, where);
  const std::string id = row.string("task_id", true), prompt = unix_lines(row.string("prompt", true)),
                    solution = unix_lines(row.string("canonical_solution", false)),
                    test = unix_lines(row.string("test", true)), entry = row.string("entry_point", true);
  if (row.error()) return *row.error();
  json out = {{"id", id},
              {"split", "test"},
              {"entry_point", entry},
              {"prompt", "Complete this Python function:\n\n" + prompt},
              {"test", test}};
  if (!solution.empty()) out["solution"] = prompt + solution;
  return out;
}

Result<json> from_gsm8k(const json &object, const std::string &where) {
  Row row(object, where);
  const std::string question = unix_lines(row.string("question", true)), working = row.string("answer", true);
  const size_t mark = working.rfind("####");
  if (!row.error() && mark == std::string::npos)
    row.fail("field \"answer\" has no \"####\"; GSM8K writes the number behind it");
  if (row.error()) return *row.error();
  const size_t first = working.find_first_not_of(" \t", mark + 4);
  const std::string file = where.substr(where.rfind('/') + 1);
  return json{{"id", "gsm8k/" + sha256(question).substr(0, 12)},
              {"split", file.find("test") == std::string::npos ? "train" : "test"},
              {"prompt", question},
              {"answer", first == std::string::npos ? "" : working.substr(first)},
              {"solution", working.substr(0, mark)}};
}

Result<Task> from_object(json object, const std::string &where) {
  if (object.size() == 2 && object.contains("question") && object.contains("answer")) {
    auto mapped = from_gsm8k(object, where);
    if (!mapped) return mapped.error();
    object = std::move(*mapped);
  }
  if (object.contains("task_id") && object.contains("test_list")) {
    auto mapped = from_mbpp(object, where);
    if (!mapped) return mapped.error();
    object = std::move(*mapped);
  }
  if (object.contains("task_id") && object.contains("test") && !object.contains("id")) {
    auto mapped = from_human_eval(object, where);
    if (!mapped) return mapped.error();
    object = std::move(*mapped);
  }
  Row row(object, where);
  Task task;
  task.id = row.string("id", true);
  task.family = row.string("family", false);
  task.slice = row.string("slice", false);
  task.split = row.string("split", true);
  task.unseen = row.flag("unseen");
  task.prompt = row.string("prompt", true);
  task.answer = row.answer();
  const bool tested = task.answer.empty();
  const std::string file = row.string("test", false);
  task.entry_point = row.string("entry_point", tested && file.empty());
  task.tests = row.strings("tests", tested && file.empty());
  if (!file.empty() && !task.tests.empty()) row.fail("has \"tests\" and \"test\"; a row has one of them");
  if (!file.empty()) task.tests = {file};
  task.notes = row.strings("notes", false);
  row.string("solution", false);
  if (!row.error() && !kSplits.count(task.split))
    row.fail("field \"split\" is \"" + task.split + "\"; use train, dev, test or fewshot");
  if (!row.error() && !task.slice.empty() && !kSlices.count(task.slice))
    row.fail("field \"slice\" is \"" + task.slice +
             "\"; reports know the slices house and plain: use one, or leave it out");
  if (!row.error() && !task.entry_point.empty() && !is_identifier(task.entry_point))
    row.fail("field \"entry_point\" is \"" + task.entry_point + "\"; it must be the name of a Python function");
  if (row.error()) return *row.error();
  task.row = object.dump();
  task.where = where;
  return task;
}

Result<> load_file(const std::string &path, std::vector<Task> &tasks, std::map<std::string, std::string> &seen) {
  std::ifstream file(path);
  if (!file) return invalid("task file '" + path + "' cannot be read: " + std::strerror(errno) + "; check the path");
  std::string line;
  size_t number = 0, rows = 0;
  while (std::getline(file, line)) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    ++rows;
    auto task = parse_row(line, path + ":" + std::to_string(number));
    if (!task) return task.error();
    const auto [before, fresh] = seen.emplace(task->id, task->where);
    if (!fresh)
      return invalid("field \"id\": '" + task->id + "' is already the id of " + before->second + "; ids must differ",
                     task->where);
    tasks.push_back(std::move(*task));
  }
  if (file.bad()) return invalid("task file '" + path + "' cannot be read to its end: " + std::strerror(errno));
  if (rows == 0) return invalid("task file '" + path + "' holds no rows; write one JSON object a line");
  return Unit{};
}

}  // namespace

Result<Task> parse_row(const std::string &json_text, const std::string &where) {
  json object;
  try {
    object = json::parse(json_text);
  } catch (const json::parse_error &e) {
    return invalid(
        "the row is no JSON (near its byte " + std::to_string(e.byte) + "); write one whole object on this line",
        where);
  }
  if (!object.is_object()) return invalid("the row is JSON but no object; write {\"id\": ..., ...}", where);
  return from_object(std::move(object), where);
}

Result<std::vector<Task>> load(const std::vector<std::string> &paths) {
  if (paths.empty()) return invalid("no task file is named; give at least one path");
  std::vector<Task> tasks;
  std::map<std::string, std::string> seen;
  for (const std::string &path : paths)
    if (auto loaded = load_file(path, tasks, seen); !loaded) return loaded.error();
  std::map<std::string, std::string> trained;  // family -> where
  for (const Task &task : tasks)
    if (task.split == "train" && !task.family.empty()) trained.emplace(task.family, task.where);
  for (const Task &task : tasks)
    if (const auto found = trained.find(task.family); task.unseen && found != trained.end())
      return invalid("field \"unseen\": family '" + task.family + "' is marked unseen but occurs in the train split (" +
                         found->second + "); correct either",
                     task.where);
  return tasks;
}

std::vector<Task> of_split(const std::vector<Task> &tasks, const std::string &split) {
  std::vector<Task> out;
  std::copy_if(tasks.begin(), tasks.end(), std::back_inserter(out), [&](const Task &t) { return t.split == split; });
  return out;
}

}  // namespace gcop::task
