#include <doctest/doctest.h>

#include "recipe.hpp"

namespace {
bool holds(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }
}  // namespace

TEST_CASE("json both ways") {
  auto ran = run(R"(
    print(gcop.json.encode { b = { 1, 2.5, "x\n" }, a = true, e = {}, l = gcop.json.array(), n = 0/0, i = 2^53 | 0 })
    local v = gcop.json.decode('{"a":[],"b":{"c":[1,2.0,"\\u00e9",null]},"d":9007199254740993}')
    print(gcop.json.encode(v), v.b.c[4], math.type(v.b.c[1]), math.type(v.b.c[2]))
    local value, err = gcop.json.decode("{nope")
    print(value, err.code, tostring(err):match("not JSON, at byte %d+"))
    print(gcop.json.encode("\xff"))
    local loop = {} loop.loop = loop
    print(select(2, pcall(gcop.json.encode, loop)))
    print(select(2, pcall(gcop.json.encode, { 1, x = 2 })))
    print(select(2, pcall(gcop.json.encode, { f = print }))))");
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  REQUIRE(ran.printed.size() == 7);
  CHECK(ran.printed[0] == R"({"a":true,"b":[1,2.5,"x\n"],"e":{},"i":9007199254740992,"l":[],"n":null})");
  CHECK(ran.printed[1] == "{\"a\":[],\"b\":{\"c\":[1,2.0,\"\xc3\xa9\"]},\"d\":9007199254740993}\tnil\tinteger\tfloat");
  CHECK(ran.printed[2] == "nil\tinvalid\tnot JSON, at byte 3");
  CHECK(ran.printed[3] == "\"\xef\xbf\xbd\"");
  CHECK(holds(ran.printed[4], "a table that holds itself?"));
  CHECK(holds(ran.printed[5], "value mixes list items and named fields"));
  CHECK(holds(ran.printed[6], "value.f is a function"));
}

TEST_CASE("random numbers depend on seed, label and place, not on order") {
  const char *text = R"(
    local a, b = gcop.random("x", 1), gcop.random("x", 2)
    local b2, a2 = gcop.random("x", 2), gcop.random("x", 1)
    print(a == a2, b == b2, a ~= b, gcop.random("y", 1) ~= a, gcop.random("x", "1") ~= a, a >= 0 and a < 1)
    print(gcop.seed_for("s", "task", 3), gcop.seed_for("s", "tas", "k", 3) ~= gcop.seed_for("s", "task", 3))
    local list = { 1, 2, 3, 4, 5, 6, 7, 8 }
    print(table.concat(gcop.shuffle(list, "l", 1), ","), table.concat(list, ","))
    print(table.concat(gcop.shuffle(list, "l", 2), ",")))";
  auto ran = run(text), again = run(text);
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  CHECK(ran.printed[0] == "true\ttrue\ttrue\ttrue\ttrue\ttrue");
  CHECK(ran.all() == again.all());
  CHECK(ran.printed[3] != ran.printed[2].substr(0, 15));
  CHECK(holds(ran.printed[2], "\t1,2,3,4,5,6,7,8"));
  Recipe other(text);
  other.settings.seed = 2;
  CHECK(other.run().all() != ran.all());
}

TEST_CASE("sha256, strategies, plans, advantages, statistics are the kernels'") {
  auto ran = run(R"(
    print(gcop.sha256("abc"))
    print(gcop.strategy.parse("so <strategy>Use an f-string.</strategy>"))
    print(gcop.strategy.parse("none"))
    local plan = gcop.strategy.plan { tau = 0.8, epsilon = 0.2, m = 16, rule = "curtailed" }
    print(plan.m, plan.need, ("%.4f"):format(plan.beta_fa), plan:decide(0, 0), plan:decide(13, 13), plan:decide(0, 4))
    local c = plan:certify { tested = 10, kept = 4 }
    print(c.expected_bad < 4, c.certified_bad_95 <= 4)
    local a, stats = gcop.trainer.advantages({ 1, 0, false, 1, 1 }, { 1, 1, 1, 2, 2 })
    print(table.concat(a, " "), stats.groups, stats.dead_groups, stats.missing)
    local e = gcop.stats.mean_ci { 1, 2, 3 }
    print(e.mean, ("%.3f %.3f"):format(e.ci95[1], e.ci95[2]), gcop.stats.slope({ 1, 2, 3 }, { 2, 4, 6 }).slope)
    print(("%.3f"):format(gcop.stats.clopper_pearson(8, 8).ci95[1]), gcop.stats.family({ 1, 0, 1, 0 }, { "a", "a", "b", "b" }).mean)
    local ok, err = gcop.reward.check { malformed = 0, leak = -1 }
    print(ok, err.code)
    print(gcop.reward.check {}.outcomes[1].outcome)
    local task = { id = "t", prompt = "Write `f(x)`.", entry_point = "f", tests = { "assert f(1) == 'qz-81723'" } }
    print(gcop.strategy.leaks("return 'qz-81723'", task) ~= nil, gcop.strategy.leaks("be careful", task))
    print(#gcop.strategy.code_blocks("```python\ndef f(x): return x\n```", "f") > 0))");
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  REQUIRE(ran.printed.size() == 12);
  CHECK(ran.printed[0] == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(ran.printed[1] == "Use an f-string.");
  CHECK(holds(ran.printed[2], "nil\t"));
  CHECK(ran.printed[3] == "16\t13\t0.0651\tnil\tkeep\tdrop");
  CHECK(ran.printed[4] == "true\ttrue");
  CHECK(ran.printed[5] == "0.5 -0.5 0.0 0.0 0.0\t2\t1\t1");
  CHECK(ran.printed[6] == "2.0\t-0.484 4.484\t2.0");
  CHECK(ran.printed[7] == "0.631\t0.5");
  CHECK(ran.printed[8] == "nil\tinvalid");
  CHECK(ran.printed[9] == "malformed");
  CHECK(ran.printed[10] == "true\tnil");
  CHECK(ran.printed[11] == "true");
}

TEST_CASE("JSON from outside: too deep and too large are answers, not crashes") {
  auto ran = run(R"(
    print(select(2, gcop.json.decode(("["):rep(200000) .. ("]"):rep(200000))).message)
    print(gcop.json.decode(("["):rep(99) .. ("]"):rep(99)) ~= nil)
    print(gcop.json.decode("1e400") == nil))");
  REQUIRE_MESSAGE(ran.printed.size() == 3, ran.message);
  CHECK(ran.printed[0] == "JSON nested deeper than 100");
  CHECK(ran.printed[1] == "true");
  CHECK(ran.printed[2] == "true");
}

TEST_CASE("a recipe cannot touch its own ledger") {
  Recipe recipe(R"(
    for _, name in ipairs { "run.db", "./run.db-wal", "run.lock", "a\0b" } do
      print(pcall(gcop.files.remove, name))
      print(pcall(gcop.files.write, name, "x"))
    end)");
  recipe.keep = true;
  auto ran = recipe.run();
  REQUIRE_MESSAGE(ran.printed.size() == 8, ran.message);
  for (const auto &line : ran.printed) CHECK(holds(line, "belongs to the run itself"));
}

TEST_CASE("the store and the files of the run's folder") {
  Recipe recipe(R"(
    gcop.store.put("step", "a/2", { x = 2, list = {} })
    gcop.store.put("step", "a/1", { x = 1 })
    print(gcop.store.get("step", "a/2").x, gcop.store.get("step", "none"))
    for _, row in ipairs(gcop.store.list("step", "a/")) do print(row.key, row.value.x) end
    gcop.files.write("deep/er/a.txt", "hello")
    print(gcop.files.read("deep/er/a.txt"), gcop.files.read("none"))
    gcop.files.remove("deep")
    print(gcop.files.read("deep/er/a.txt"))
    for _, path in ipairs { "../x", "/tmp/x", "a/../../x", "" } do print(pcall(gcop.files.write, path, "x")) end
    print(pcall(gcop.files.remove, ".")))");
  recipe.keep = true;
  auto ran = recipe.run();
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  REQUIRE(ran.printed.size() == 10);
  CHECK(ran.printed[0] == "2\tnil");
  CHECK(ran.printed[1] == "a/1\t1");
  CHECK(ran.printed[2] == "a/2\t2");
  CHECK(holds(ran.printed[3], "hello\tnil\t"));
  CHECK(holds(ran.printed[4], "nil\t"));
  for (int i = 5; i <= 8; ++i) CHECK(holds(ran.printed[i], "leads out of the run's folder"));
  CHECK(holds(ran.printed[9], "that is the run's folder itself"));
}
