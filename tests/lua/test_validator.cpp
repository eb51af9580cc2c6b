#include <doctest/doctest.h>

#include "recipe.hpp"

namespace {
bool holds(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }
}  // namespace

TEST_CASE("a Lua function as validator: a score, a boolean or a table; with the task and all of its row") {
  auto ran = run(R"(
    local task = { id = "t", prompt = "?", answer = "four", level = 3 }
    local function said(v, answer)
      local verdict, err = v:check(task, answer)
      if not verdict then print(err.message) return end
      print(v.name, verdict.score, verdict.passed, verdict.total, verdict.feedback, verdict.detail and verdict.detail.by)
    end
    local exact = gcop.validator { function(task, answer) return answer == task.answer end, name = "exact" }
    said(exact, "four")
    said(exact, "4")
    said(gcop.validator { function(task, answer) return 1 / task.level, "level " .. task.level end }, "x")
    said(gcop.validator { function(task, answer)
      return { score = 0.5, feedback = "half", passed = 2, total = 4, detail = { by = #answer } } end }, "abc")
    print(exact))");
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  CHECK(ran.all() ==
        "exact\t1.0\t1\t1\t\tnil\nexact\t0.0\t0\t1\t\tnil\nlua\t0.33333333333333\t0\t1\tlevel 3\tnil\n"
        "lua\t0.5\t2\t4\thalf\t3\ngcop.Validator exact");
}

TEST_CASE("what a validator function does wrong is an err with its place, never a score") {
  const std::pair<const char *, const char *> cases[] = {
      {"return 0 / 0", "returned the score -nan; it must return a score from 0 to 1 or a boolean,"},
      {"return 1.5", "returned the score 1.5;"},
      {"return -1e-9", "returned the score -1e-09;"},
      {"return 2", "returned the score 2;"},
      {"return { score = math.huge }", "returned the score inf;"},
      {"return '0.5'", "returned a score that is a string;"},
      {"return { feedback = 'x' }", "returned a score that is a nil;"},
      {"", "returned nil;"},
      {"return nil", "returned nil;"},
      {"return nil, 'no err'", "returned nil, 'no err';"},
      {"return 1, 7", "returned a feedback that is a number;"},
      {"return { score = true, passed = 3, total = 2 }", "returned passed = 3 of total = 2"},
      {"return { score = 1, total = -1 }", "returned no verdict: the verdict: total is -1, allowed are 0 to"},
      {"return { Score = 1 }", "returned a table with a field 'Score'; a verdict has score, feedback, passed,"},
      {"return { score = 1, detail = { print } }", "returned no verdict: json: value[1] is a function"},
      {"return nil .. 'x'", "failed: recipe.lua:2: attempt to concatenate a nil value"},
      {"return judge:complete { prompt = 'rate it' }", "core 'script': the script failed: recipe.lua:1: off"},
      {"while true do end", "no verdict within 200 ms; correct a loop that does not end, or raise timeout_ms"},
      {"pcall(function() while true do end end) return 1", "no verdict within 200 ms"},
      {"gcop.sleep(60) return 1", "no verdict within 200 ms"}};
  for (const auto &[body, words] : cases) {
    const std::string what = body;
    CAPTURE(what);
    auto ran = run("local judge = gcop.core { script = function() error 'off' end }\nlocal function soft() " + what +
                   " end\n" + R"(
      local verdict, err = gcop.validator { soft, name = "soft", timeout_ms = 200 }:check({ id = "t", prompt = "?" }, "x")
      print(verdict, err.code, err.message))");
    REQUIRE(ran.printed.size() == 1);
    const bool late = holds(words, "no verdict within");
    CHECK_MESSAGE(holds(ran.all(), std::string("nil\t") + (late ? "timeout" : "invalid") + "\tvalidator 'soft': "),
                  ran.all());
    CHECK_MESSAGE(holds(ran.all(), words), ran.all());
    if (!late) CHECK_MESSAGE(holds(ran.all(), "the function at recipe.lua:2 "), ran.all());
  }
}

TEST_CASE("an err that a validator function raises keeps its code") {
  Recipe recipe(R"(
    local core = gcop.core { price = { input = 0, output = 10 }, max_tokens = 100, script = function() return "x" end }
    gcop.store.set_budget(1e-9)
    local paid = gcop.validator { function(task, answer) return #assert(core:complete { prompt = answer }).text end }
    print(select(2, paid:check({ id = "t", prompt = "?" }, "x")).code))");
  recipe.keep = true;
  CHECK(recipe.run().all() == "exhausted");
}

TEST_CASE("a validator function may wait and call cores, many checks at a time") {
  auto ran = run(R"(
    local judge = gcop.core { script = function(request) gcop.sleep(0.01) return request.prompt:match "%d+" end }
    local soft = gcop.validator { function(task, answer)
      local reply = assert(judge:complete { prompt = "rate " .. answer })
      return tonumber(reply.text) / 100
    end }
    local sum = 0
    local answers = {}
    for i = 1, 50 do answers[i] = tostring(i) end
    gcop.map(answers, { limit = 50 }, function(answer)
      local score = soft:check({ id = "t", prompt = "?" }, answer).score
      sum = sum + score
    end)
    print(math.floor(sum * 100 + 0.5)))");
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  CHECK(ran.all() == "1275");
}

TEST_CASE("the verdicts of a function are kept until its file or its version changes") {
  const std::string recipe_text = R"(
    local calls = 0
    local v = gcop.validator { function() calls = calls + 1 return VALUE end, version = VERSION }
    local task = { id = "t", prompt = "?" }
    local a, b, c = v:check(task, "x"), v:check(task, "x"), v:check(task, "y")
    print(calls, a.score, a.cached, b.cached, c.cached))";
  auto text = [&](const std::string &value, const std::string &version) {
    std::string out = recipe_text;
    out.replace(out.find("VALUE"), 5, value);
    out.replace(out.find("VERSION"), 7, version);
    return out;
  };
  Recipe recipe(text("0.25", "'a'"));
  recipe.keep = true;
  CHECK(recipe.run().all() == "2\t0.25\tfalse\ttrue\tfalse");
  CHECK(recipe.run().all() == "0\t0.25\ttrue\ttrue\ttrue");
  recipe.files["recipe.lua"] = text("0.75", "'a'");  // another function at the same place
  CHECK(recipe.run().all() == "2\t0.75\tfalse\ttrue\tfalse");
  recipe.files["recipe.lua"] = text("0.75", "require 'version'");
  recipe.files["version.lua"] = "return '1'";
  CHECK(recipe.run().all() == "2\t0.75\tfalse\ttrue\tfalse");
  CHECK(recipe.run().all() == "0\t0.75\ttrue\ttrue\ttrue");
  recipe.files["version.lua"] = "return '2'";
  CHECK(recipe.run().all() == "2\t0.75\tfalse\ttrue\tfalse");
}

TEST_CASE("options of plugins are not for functions, nor the other way round; --check needs no call") {
  auto says = [](const std::string &options, const std::string &words) {
    auto ran = run("local v = gcop.validator { " + options + " }");
    CHECK(ran.code != 0);
    CHECK_MESSAGE(holds(ran.message, words), ran.message);
  };
  says("function() end, mem_mb = 4", "recipe.lua:1: gcop.validator: mem_mb is for validators that are plugins");
  says("function() end, isolation = 'jail'", "gcop.validator: isolation is for validators that are plugins");
  says("'math', version = '2'", "recipe.lua:1: gcop.validator: version is for a function; a plugin has");
  says("4", "recipe.lua:1: gcop.validator: [1] must be string|(fun(");
  Recipe recipe(R"(
    local v = gcop.validator { function() error "not under --check" end }
    print(v.name)
    v:check({ id = "t", prompt = "?" }, "x")
    print "never")");
  recipe.settings.checking = true;
  auto ran = recipe.run();
  CHECK_MESSAGE(ran.code == 0, ran.message);
  CHECK(ran.all() == "lua");
}

TEST_CASE("a check that nobody waits for any more is ended") {
  auto ran = run(R"(
    local ended = 0
    local v = gcop.validator { function()
      local _ <close> = setmetatable({}, { __close = function() ended = ended + 1 end })
      while true do end
    end }
    local first, who = gcop.race { function() return v:check({ id = "t", prompt = "?" }, "x") end,
      function() gcop.sleep(0.05) return "slept" end }
    gcop.sleep(0.05)
    print(first, who, ended))");
  CHECK(ran.all() == "slept\t2\t1");
}
