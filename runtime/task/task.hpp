// Where work comes from: task files, one JSON object a line. Any thread; plain values.
//
// Our rows: {"id", "family", "slice", "split", "unseen"?, "prompt", "entry_point", "tests": [...], "solution",
// "notes": [...]?}; further fields are kept in Task::row for validators and reports. A row with an "answer" (a number,
// or a text that ends with one) needs neither entry_point nor tests. Instead of "tests" a row may have "test", the text
// of one test file: with check(candidate), or as pytest and unittest run it; without check it needs no entry_point.
// MBPP rows are known by their "task_id" and "test_list": {"text", "code", "task_id", "test_setup_code", "test_list",
// "challenge_test_list"}. They become rows of ours: id "mbpp/11"; split by task_id as usual for this set (1-10
// few-shot, 11-510 test, 511-600 dev, 601-974 train); the prompt shows the first assert, as the set's makers do,
// because the text alone does not name the function. GSM8K rows are known by being {"question", "answer"} alone: id
// "gsm8k/" and the start of the question's SHA-256; split "test" where the file's name has "test" in it, else "train";
// the answer is what follows "####", the working before it is the solution. HumanEval rows are known by their "task_id"
// and "test"; the split is "test", the id is task_id.
#pragma once
#include <string>
#include <vector>

#include "base/result.hpp"
#include "flow.hpp"

namespace gcop::task {

// All rows of all files, in order. The first mistake ends it: Code::invalid with `where` = file:line, the field and
// the remedy. Also refused: a missing file, an empty file, an id that occurs twice, a family marked unseen that
// occurs in the train split.
Result<std::vector<Task>> load(const std::vector<std::string> &paths);

// One row; `where` is what errors and Task::where say. For editors and tests.
Result<Task> parse_row(const std::string &json_text, const std::string &where);

// The tasks of one split, in order.
std::vector<Task> of_split(const std::vector<Task> &, const std::string &split);

}  // namespace gcop::task
