#include <doctest/doctest.h>

#include "recipe.hpp"

namespace {
bool holds(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }
}  // namespace

TEST_CASE("a hundred tasks sleep at the same time") {
  auto ran = run(R"(
    local asleep, most = 0, 0
    local list = {}
    for i = 1, 100 do list[i] = i end
    gcop.map(list, { limit = 100 }, function()
      asleep = asleep + 1
      most = math.max(most, asleep)
      gcop.sleep(0.2)
      asleep = asleep - 1
    end)
    print(most, asleep))");
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  CHECK(ran.all() == "100\t0");
}

TEST_CASE("map gives results in the items' order and respects its limit") {
  auto ran = run(R"(
    local running, most = 0, 0
    local results, others = gcop.map({ 5, 4, 3, 2, 1 }, { limit = 2 }, function(x, i)
      running = running + 1
      most = math.max(most, running)
      gcop.sleep(x / 200)
      running = running - 1
      return x * 10, i == 3 and "second" or nil
    end)
    print(table.concat(results, " "), most, others[3], others[1])
    print(#gcop.map({}, {}, function() end)))");
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  CHECK(ran.all() == "50 40 30 20 10\t2\tsecond\tnil\n0");
}

TEST_CASE("an error in one map item cancels the others and says which it was") {
  auto ran = run(R"(
    local finished = 0
    local ok, err = pcall(gcop.map, { 1, 2, 3 }, {}, function(x)
      gcop.sleep(x / 100)
      if x == 2 then error("boom") end
      gcop.sleep(0.1)
      finished = finished + 1
    end)
    gcop.sleep(0.3)
    print(ok, finished, err.code, err.message)
    print(err.traceback))");
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  REQUIRE(ran.printed.size() == 2);
  CHECK(ran.printed[0] == "false\t0\tinternal\tmap item 2: recipe.lua:5: boom");
  CHECK(holds(ran.printed[1], "recipe.lua:5: in function <recipe.lua:3>"));
}

TEST_CASE("an err that is raised in a map item keeps its code and the place where it began") {
  auto ran = run(R"(
    local core = gcop.core { script = function(request) if request.prompt == "x" then error("no") end return "yes" end }
    core:complete { prompt = "y" }
    local function inner()
      local reply, err = core:complete { prompt = "x" }
      if not reply then error(err) end
    end
    local ok, err = pcall(gcop.map, { 1 }, {}, function() gcop.map({ 1 }, {}, inner) end)
    print(ok, err.code, err.retryable)
    print(err.traceback))");
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  REQUIRE(ran.printed.size() == 2);
  CHECK(ran.printed[0] == "false\tinvalid\tfalse");
  CHECK(holds(ran.printed[1], "recipe.lua:6"));
}

TEST_CASE("race: the first wins, the losers are cancelled") {
  auto ran = run(R"(
    local late = false
    local result, index = gcop.race {
      function() gcop.sleep(0.2) late = true return "slow" end,
      function() gcop.sleep(0.01) return "fast" end,
      function() return gcop.map({ 1 }, {}, function() gcop.sleep(0.2) late = true end) end,
    }
    gcop.sleep(0.4)
    print(result, index, late))");
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  CHECK(ran.all() == "fast\t2\tfalse");
}

TEST_CASE("a cancelled task closes what it holds") {
  auto ran = run(R"(
    local closed = false
    local job = gcop.spawn(function()
      local guard <close> = setmetatable({}, { __close = function() closed = true end })
      gcop.sleep(10)
    end)
    gcop.sleep(0.01)
    job:cancel()
    print(closed, job:ended(), select("#", job:wait()))
    local value, err = job:wait()
    print(value, err.code))");
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  CHECK(ran.all() == "true\ttrue\t2\nnil\tcancelled");
}

TEST_CASE("waiting works inside pcall, iterators and metamethods that are no special ones") {
  auto ran = run(R"(
    print(pcall(function() gcop.sleep(0.01) return "through" end))
    print(pcall(function() gcop.sleep(0.01) error("after", 0) end))
    local function each(list) local i = 0 return function() i = i + 1 gcop.sleep(0) return list[i] end end
    local sum = 0
    for x in each { 1, 2, 3 } do sum = sum + x end
    local lazy = setmetatable({}, { __index = function(_, key) gcop.sleep(0) return key .. "!" end })
    print(sum, lazy.hello))");
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  CHECK(ran.all() == "true\tthrough\nfalse\tafter\n6\thello!");
}

TEST_CASE("where waiting is not possible the error says so") {
  auto ran = run(R"(
    local ok, err = pcall(table.sort, { 2, 1 }, function(a, b) gcop.sleep(0) return a < b end)
    print(ok, err)
    ok, err = pcall(string.gsub, "a", "a", function() gcop.sleep(0) end)
    print(ok, err))");
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  REQUIRE(ran.printed.size() == 2);
  for (const auto &line : ran.printed) {
    CHECK(holds(line, "false\trecipe.lua:"));
    CHECK(holds(line, "gcop.sleep waits, and waiting is not possible inside a table.sort comparator"));
  }
}

TEST_CASE("a runaway loop starves nobody, a pcall around it does not help it") {
  auto ran = run(R"(
    local stop, ticks = false, 0
    local job = gcop.spawn(function()
      while not stop do pcall(function() for i = 1, 1000 do ticks = ticks + 1 end end) end
    end)
    for i = 1, 5 do gcop.sleep(0.01) end
    stop = true
    job:wait()
    print(ticks > 0))");
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  CHECK(ran.all() == "true");
}

TEST_CASE("all, spawn with arguments, results of a job for several waiters") {
  auto ran = run(R"(
    print(table.concat(gcop.all { function() gcop.sleep(0.02) return 1 end, function() return 2 end }, " "))
    local job = gcop.spawn(function(a, b) gcop.sleep(0.01) return a + b, "x" end, 2, 3)
    local other = gcop.spawn(function() return job:wait() end)
    print(job:wait())
    print(other:wait()))");
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  CHECK(ran.all() == "1 2\n5\tx\n5\tx");
}

TEST_CASE("the run waits for spawned tasks, and fails with their error if nobody asked") {
  auto ran = run(R"(
    gcop.spawn(function() gcop.sleep(0.02) print("late") end)
    print("early"))");
  CHECK(ran.code == 0);
  CHECK(ran.all() == "early\nlate");

  ran = run("gcop.spawn(function() gcop.sleep(0) error('lost') end)");
  CHECK(ran.code == 1);
  CHECK(holds(ran.message, "recipe.lua:1: lost"));

  ran = run("local job = gcop.spawn(function() error('found') end)\ngcop.sleep(0.01)\nprint(pcall(job.wait, job))");
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  CHECK(holds(ran.all(), "false\trecipe.lua:1: found"));
}

TEST_CASE("tasks that wait for each other are told so") {
  auto ran = run(R"(
    local a, b
    a = gcop.spawn(function() gcop.sleep(0) b:wait() end)
    b = gcop.spawn(function() gcop.sleep(0) a:wait() end)
    a:wait())");
  CHECK(ran.code == 1);
  CHECK(holds(ran.message, "deadlock"));
  CHECK(holds(ran.message, "recipe.lua:3"));
  CHECK(holds(run("local t t = gcop.spawn(function() gcop.sleep(0) t:wait() end) t:wait()").message,
              "a task cannot wait for itself"));
}
