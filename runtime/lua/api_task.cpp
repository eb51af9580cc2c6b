// gcop.tasks: task files as Lua tables, and back.
#include <fmt/format.h>

#include "lua/api.hpp"
#include "lua/bind.hpp"
#include "lua/host.hpp"
#include "lua/task_table.hpp"
#include "task/task.hpp"

namespace gcop::lua {
namespace {

void set_strings(lua_State *L, const char *key, const std::vector<std::string> &values) {
  lua_createtable(L, static_cast<int>(values.size()), 0);
  for (size_t i = 0; i < values.size(); ++i) {
    push(L, values[i]);
    lua_rawseti(L, -2, static_cast<lua_Integer>(i + 1));
  }
  if (values.empty()) mark_array(L, -1);
  lua_setfield(L, -2, key);
}

int tasks(lua_State *L) {
  Host &host = host_of(L);
  auto paths = to_strings(L, 1, "gcop.tasks: paths");
  if (paths.empty())
    raise(L, "gcop.tasks: name at least one file, as in gcop.tasks { \"recipes/data/house_python.jsonl\" }");
  for (auto &path : paths) path = host.input_path(path);
  auto loaded = task::load(paths);
  if (!loaded) raise(L, loaded.error());
  for (const auto &path : paths) host.remember_input(path);
  lua_createtable(L, 0, 4);
  for (const char *split : {"all", "train", "dev", "test"}) {
    lua_newtable(L);
    lua_setfield(L, -2, split);
  }
  for (const auto &task : *loaded) {
    host.literals().add(task);
    push_task(L, task);
    for (const char *split : {"all", task.split.c_str()}) {
      if (lua_getfield(L, -2, split) == LUA_TTABLE) {
        lua_pushvalue(L, -2);
        lua_rawseti(L, -2, static_cast<lua_Integer>(lua_rawlen(L, -2) + 1));
      }
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
  }
  return 1;
}

}  // namespace

void push_task(lua_State *L, const Task &task) {
  lua_createtable(L, 0, 12);
  set(L, "id", task.id);
  set(L, "family", task.family);
  set(L, "slice", task.slice);
  set(L, "split", task.split);
  set(L, "unseen", task.unseen);
  set(L, "prompt", task.prompt);
  set(L, "entry_point", task.entry_point);
  if (!task.answer.empty()) set(L, "answer", task.answer);
  set(L, "row", task.row);
  set(L, "where", task.where);
  set_strings(L, "tests", task.tests);
  set_strings(L, "notes", task.notes);
  auto row = nlohmann::json::parse(task.row, nullptr, false);
  if (row.is_object() && row.contains("solution") && row["solution"].is_string())
    set(L, "solution", row["solution"].get<std::string>());
}

Task to_task(lua_State *L, int index) {
  index = lua_absindex(L, index);
  Options fields(L, index, "task");
  Task task;
  task.id = fields.str("id");
  task.family = fields.str("family");
  task.slice = fields.str("slice");
  task.split = fields.str("split");
  task.unseen = fields.boolean("unseen", false);
  task.prompt = fields.str("prompt");
  task.entry_point = fields.str("entry_point");
  task.tests = fields.strings("tests");
  task.answer = fields.str("answer");
  task.notes = fields.strings("notes");
  task.where = fields.str("where");
  task.row = fields.str("row");
  if (task.id.empty()) raise(L, "a task needs an id: it names the task in the store and in reports");
  if (task.row.empty()) task.row = dump_json(to_json(L, index));
  return task;
}

extern const Module task_module;
const Module task_module = {
    "task",
    "Tasks",
    "Where work comes from: files with one JSON object a line.",
    {{"gcop.Task",
      "One problem. A table of these fields made by a recipe works as well; then validators get the table itself as "
      "the row.",
      {{"id", "string", "unique in the run"},
       {"family", "string?", "convention or topic; the unit of the grouped interval. Empty: a family of its own"},
       {"slice", "string?", "\"house\", \"plain\", or \"\""},
       {"split", "string?", "\"train\", \"dev\" or \"test\""},
       {"unseen", "boolean?", "its family has no row in train"},
       {"prompt", "string", ""},
       {"entry_point", "string?", "the function that is asked for"},
       {"tests", "string[]?", "assertions"},
       {"answer", "string?", "where a number is asked for: the number, or a text that ends with it"},
       {"notes", "string[]?", "expert notes, train rows only"},
       {"solution", "string?", "the reference solution"},
       {"row", "string?", "the whole row as JSON: what validators get"},
       {"where", "string?", "file:line"}}},
     {"gcop.Tasks",
      "Tasks by split, in the order of the files.",
      {{"all", "gcop.Task[]", ""},
       {"train", "gcop.Task[]", ""},
       {"dev", "gcop.Task[]", ""},
       {"test", "gcop.Task[]", ""}}}},
    {},
    {{"gcop.tasks",
      tasks,
      Waits::no,
      "Loads task files: rows of ours ({\"id\", \"family\", \"split\", \"prompt\", \"entry_point\", \"tests\", ...}) "
      "and the rows of MBPP, HumanEval and GSM8K. A row of ours may have \"test\", the text of a test file, instead of "
      "\"tests\". "
      "A relative path is looked up from the working directory, then from the source tree. The literals of all tests "
      "are kept for gcop.strategy.leaks.",
      {{"paths", "string[]", ""}},
      {},
      {{"tasks", "gcop.Tasks", ""}},
      "Raises with file:line of the row that is missing a field, is no JSON, or repeats an id.",
      "local tasks = gcop.tasks { \"recipes/data/house_python.jsonl\" }\nfor _, task in ipairs(tasks.train) do "
      "print(task.id) end"}}};

}  // namespace gcop::lua
