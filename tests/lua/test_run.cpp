// Options, --check, --plan, finish, tasks, init.lua: what the host does around a recipe.
#include <doctest/doctest.h>

#include "recipe.hpp"

namespace {

bool holds(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }

const char *const kOptions = R"(
  local m = gcop.option("m", { quick = 4, full = 16 }, "executions")
  local lr = gcop.option("lr", 1e-3, "learning rate")
  local name = gcop.option("name", "x", "a name")
  local on = gcop.option("on", false, "a switch")
  local list = gcop.option("list", { "a", "b" }, "several")
  print(m, lr, name, on, table.concat(list, "+"), gcop.options().m)
  gcop.sleep(0))";

Ran with(const std::string &profile, std::map<std::string, std::string> set) {
  Recipe recipe(kOptions);
  recipe.settings.profile = profile;
  recipe.settings.set = std::move(set);
  return recipe.run();
}

}  // namespace

TEST_CASE("options: defaults by profile, --set by the default's type") {
  CHECK(with("quick", {}).all() == "4\t0.001\tx\tfalse\ta+b\t4");
  CHECK(with("standard", {}).all() == "4\t0.001\tx\tfalse\ta+b\t4");  // the nearest smaller profile
  CHECK(with("full", {}).all() == "16\t0.001\tx\tfalse\ta+b\t16");
  CHECK(with("quick", {{"m", "8"}, {"lr", "2"}, {"name", "7"}, {"on", "true"}, {"list", "p,q,r"}}).all() ==
        "8\t2\t7\ttrue\tp+q+r\t8");
}

TEST_CASE("options: numbers as Lua writes them") {
  for (const auto &[text, value] : {std::pair{".32", "0.32"},
                                    {"1e-3", "0.001"},
                                    {"-.5", "-0.5"},
                                    {"5.", "5.0"},
                                    {"007", "7"},
                                    {" 3 ", "3"},
                                    {"1E3", "1000.0"}})
    CHECK_MESSAGE(holds(with("quick", {{"lr", text}}).all(), std::string("4\t") + value + "\t"), text);
  for (const auto &[text, value] : {std::pair{"1e3", "1000"}, {"8.", "8"}, {"9007199254740993", "9007199254740993"}})
    CHECK_MESSAGE(holds(with("quick", {{"m", text}}).all(), std::string(value) + "\t0.001"), text);
  for (const char *text :
       {"nan", "inf", "-inf", "0x10", "0x", "1e999", "", ".", "-", "1..2", "1e", "3 4", "1,5", "\"3\""}) {
    CHECK_MESSAGE(holds(with("quick", {{"lr", text}}).message, "must be a number"), text);
    CHECK_MESSAGE(holds(with("quick", {{"m", text}}).message, "must be an integer"), text);
  }
  CHECK(holds(with("quick", {{"m", "9223372036854775808"}}).message, "must be an integer"));
}

TEST_CASE("options: wrong values and unknown names") {
  auto ran = with("quick", {{"m", "4.5"}});
  CHECK(ran.code == 2);
  CHECK(holds(ran.message, "recipe.lua:2: --set m=4.5: must be an integer (executions)"));
  CHECK(holds(with("quick", {{"lr", "fast"}}).message, "--set lr=fast: must be a number"));
  CHECK(holds(with("quick", {{"on", "yes"}}).message, "--set on=yes: must be true or false"));
  ran = with("quick", {{"mm", "4"}});
  CHECK(ran.code == 2);
  CHECK(holds(ran.message, "--set of 'mm', which this recipe does not declare; it has:"));
  CHECK(holds(ran.message, "\n  lr = 0.001  learning rate"));
  Recipe none("print('no wait')");  // also without any waiting call
  none.settings.set["a"] = "1";
  ran = none.run();
  CHECK(ran.code == 2);
  CHECK(holds(ran.message, "it has no options"));
  CHECK(holds(run("gcop.option('a', 1)\ngcop.option('a', 2)").message, "declared twice with different defaults"));
  CHECK(holds(run("gcop.option('a')").message, "needs a default"));
}

TEST_CASE("--check and --plan end at the first call that waits") {
  for (bool check : {true, false}) {
    Recipe recipe(R"(
      print(gcop.checking, gcop.planning, gcop.out_dir)
      local core = gcop.core { script = function() error("never called") end }
      gcop.store.put("a", "b", 1)
      print(gcop.store.get("a", "b"))
      core:complete { prompt = "x" }
      print("never"))");
    (check ? recipe.settings.checking : recipe.settings.planning) = true;
    auto ran = recipe.run();
    REQUIRE_MESSAGE(ran.code == 0, ran.message);
    CHECK(ran.message == (check ? "check: ok" : ""));
    CHECK(ran.all() == (check ? "true\tfalse\t\nnil" : "false\ttrue\t\nnil"));
  }
  Recipe missing("gcop.guide { model = '/no/such/model.gguf' }");
  missing.settings.checking = true;
  auto ran = missing.run();
  CHECK(ran.code == 2);
  CHECK(holds(ran.message, "/no/such/model.gguf"));
}

TEST_CASE("finish ends a run anywhere, successfully") {
  auto ran = run(R"(
    gcop.spawn(function() gcop.sleep(100) end)
    gcop.map({ 1, 2 }, {}, function(x) if x == 2 then pcall(gcop.finish, "enough") end gcop.sleep(100) end)
    print("never"))");
  CHECK(ran.code == 0);
  CHECK(ran.message == "enough");
  CHECK(ran.printed.empty());
}

TEST_CASE("init.lua runs before the recipe and may add to gcop; arguments reach the recipe") {
  Recipe recipe("print(gcop.added(2), #gcop.args, gcop.args[1], ...)");
  recipe.files["scripts/gcop/init.lua"] = "gcop.sleep(0)\ngcop.added = function(x) return x * 2 end";
  recipe.settings.args = {"one", "two"};
  auto ran = recipe.run();
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  CHECK(ran.all() == "4\t2\tone\tone\ttwo");
  recipe.files["scripts/gcop/init.lua"] = "error('bad start')";
  CHECK(holds(recipe.run().message, "scripts/gcop/init.lua:1: bad start"));
}

TEST_CASE("tasks by split, with file and line when a row is wrong") {
  Recipe recipe(R"(
    local tasks = gcop.tasks { "rows.jsonl" }
    print(#tasks.all, #tasks.train, #tasks.dev, #tasks.test, tasks.train[1].id, tasks.test[1].tests[1], #tasks.test[1].notes)
    print(gcop.json.decode(tasks.train[1].row).extra))");
  const std::string rest =
      R"("prompt":"Write `f(x)`.","entry_point":"f","tests":["assert f(1) == 1"],"solution":"def f(x): return x"})";
  recipe.files["rows.jsonl"] = R"({"id":"a","family":"k","slice":"house","split":"train","extra":5,)" + rest + "\n" +
                               R"({"id":"b","family":"k","slice":"house","split":"test",)" + rest + "\n";
  auto ran = recipe.run();
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  CHECK(ran.all() == "2\t1\t0\t1\ta\tassert f(1) == 1\t0\n5");
  recipe.files["rows.jsonl"] += "{\"id\":\"c\"}\n";
  ran = recipe.run();
  CHECK(ran.code == 2);
  CHECK(holds(ran.message, "rows.jsonl:3"));
}
