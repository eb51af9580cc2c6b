// gcop.tts as recipes and controllers meet it: faults are named with their place and spoil nothing else.
#include <doctest/doctest.h>

#include <fstream>

#include <nlohmann/json.hpp>

#include "small_store.hpp"

namespace {

const char *const kRead = "return function(env) local b = env:open() env:read(b) return b.answer end";

// What gcop.tts.evaluate says about a controller, after which the next one still works.
std::string failure(const std::string &controller, const std::string &options = "seeds = 3") {
  Recipe recipe("local store = assert(gcop.tts.store('" + std::string("STORE") + "'))\n" +
                "local e, err = gcop.tts.evaluate { store = store, controller = 'bad', " + options + " }\n" +
                "print(e and 'no error' or err.message)\n"
                "print(assert(gcop.tts.evaluate { store = store, controller = 'good', seeds = 3 }).solves)");
  recipe.files["store.json"] = kStore;
  recipe.files["bad.lua"] = controller;
  recipe.files["good.lua"] = kRead;
  auto &text = recipe.files["recipe.lua"];
  text.replace(text.find("STORE"), 5, (recipe.folder() / "store.json").string());
  const Ran ran = recipe.run();
  REQUIRE_MESSAGE(ran.printed.size() == 2, ran.message);
  CHECK(ran.code == 0);
  CHECK(ran.printed[1] == "6");
  return ran.printed[0];
}

}  // namespace

TEST_CASE("a controller's mistakes are errors with file, line, question and shuffle; the next evaluation works") {
  CHECK(has(failure("return function(env)\n  oops("), "bad.lua:2:"));
  CHECK(has(failure("local x = 1"), "bad.lua: must end with 'return function(env, params) ... end'; it returned nil"));
  CHECK(has(failure(body("error('on purpose')")), "bad.lua:2: on purpose (question 1, shuffle 0)"));
  CHECK(has(failure(body("error({})")), "(question 1, shuffle 0)"));
  CHECK(has(failure(body("local b = nil\nreturn b.answer")), "bad.lua:3: attempt to index a nil value"));
  CHECK(has(failure(body("env:open()")), "bad.lua:1: the function returned nothing; it must return an answer"));
  CHECK(has(failure(body("return '7'")), "bad.lua:1: the function returned 7; it must return an answer"));
  CHECK(has(failure(body("return 1")), "bad.lua:1: the function returned 1"));  // nobody has said anything yet
  CHECK(has(failure(body("local b = env:open() env:read(b) return 1.5")), "returned 1.5"));
  CHECK(has(failure(body("for _ = 1, 5 do env:open() end")), "bad.lua:2: gcop.Env:open: there is no branch 5: all 4"));
  CHECK(has(failure(body("env:advance({ id = 1 })")), "bad.lua:2: gcop.Env:advance: branch 1 cannot be advanced"));
  CHECK(has(failure(body("env:open() env:advance({ { id = 2 } })")), "branch 2 cannot be advanced: open are 1 to 1"));
  CHECK(has(failure(body("env:open() env:advance({ id = -1 })")), "branch -1 cannot be advanced"));
  CHECK(has(failure(body("env:advance(7)")), "takes a branch that env:open() gave, or a list of such; got number"));
  CHECK(has(failure(body("env:advance({ 7 })")), "got number"));
  CHECK(has(failure(body("env:advance(env:open(), 0)")), "times must be a whole number"));
  CHECK(
      has(failure(body("local b = env:open() env:read(b) env:advance(b)")), "branch 1 cannot be advanced: it has fin"));
  CHECK(has(failure(body("local b = env:open() env:abandon(b) env:read(b)")), "it has been abandoned"));
  CHECK(has(failure(body("return (env:vote({ env:open() }))")), "gcop.Env:vote: item 1 has no answer (nil)"));
  CHECK(has(failure(body("return (env:vote({ 3 }))")), "item 1 has no answer (3)"));
  CHECK(has(failure(body("env:confidence(-1, 0)")), "-1 and 0 are no counts of votes"));
  CHECK(has(failure(body("env.open()")), "call it with a colon, env:open(...)"));
}

TEST_CASE("what never ends, grows or hides is stopped") {
  CHECK(has(failure(body("while true do end")), "bad.lua:2: more than 50000000 steps for one question; does it loop"));
  CHECK(has(failure(body("local function f() return f() end\nreturn f()")), "does it loop for ever?"));
  CHECK(has(failure(body("local b = env:open() env:advance(b)\nwhile true do env:vote({ b }) end")),
            "bad.lua:3: more than 50000000 steps"));
  CHECK(has(failure(body("local function f(n) return 1 + f(n + 1) end\nreturn f(1)")), "stack overflow"));
  CHECK(has(failure(body("local t = {}\nwhile true do t[#t + 1] = { #t } end")), "holds more than 64 MiB of memory"));
  CHECK(has(failure(body("local s = 'x'\nwhile true do s = s .. s end")), "holds more than 64 MiB of memory"));
  CHECK(has(failure(std::string(10 << 20, ' ')), "the text has 10485760 bytes; at most 262144 are read"));
  CHECK(has(failure("\x1bLua"), "bad.lua"));  // no bytecode
  for (const char *name : {"io", "os", "debug", "load", "require", "package", "coroutine", "gcop", "pcall", "rawset",
                           "setmetatable", "getmetatable", "collectgarbage", "dofile", "print", "_G"})
    CHECK_MESSAGE(has(failure(body(std::string("return ") + name + ".x")), std::string("(global '") + name + "')"),
                  name);
  for (const char *name : {"math.random", "string.rep", "string.find", "string.dump", "table.move"})
    CHECK(has(failure(body(std::string("return ") + name + "()")), "a nil value (field '"));
  CHECK(has(failure(body("return ('x'):rep(9)")), "a nil value (method 'rep')"));
}

TEST_CASE("steps that are few and long are stopped, too") {
#ifdef __SANITIZE_THREAD__
  MESSAGE("skipped: TSan holds the timer's signals back while a thread stays in Lua");
  return;
#endif
  CHECK(has(failure(body("local t = {}\nfor i = 1, 100000 do t[i] = 'x' end\nwhile true do table.concat(t) end")),
            "more than 20 s of CPU time for one question; does it loop for ever?"));
}

TEST_CASE("a value has no address: results are the same in every process") {
  CHECK(has(
      failure(body("error(tostring({}) .. tostring(env) .. tostring(print) .. tostring(math.max) .. tostring(1.5))")),
      "bad.lua:2: tableuserdatanilfunction1.5 (question 1"));
  CHECK(has(failure(body("error(('%s|%5s|%d|%s'):format({}, env, 3, true))")),
            "bad.lua:2: table|userdata|3|true (question"));
  CHECK(has(failure(body("error(('%%p'):format({}))")), "bad.lua:2: %p (question"));
  CHECK(has(failure(body("return ('%10p'):format({})")), "%p is not there"));
  CHECK(has(failure(body("return string.format()")), "bad argument #1 to 'format'"));
  CHECK(has(failure(body("error({})")), "bad.lua: raised a table; raise a text (question 1, shuffle 0)"));
}

TEST_CASE("nothing stays from one question to the next, and the host's tables cannot be changed") {
  CHECK(has(failure(body("count = 1")), "bad.lua:2: 'count' would be global"));
  CHECK(has(failure(body("math.max = function() end")), "'max' would be global"));
  CHECK(has(failure(body("table.insert(math, 1)")), "would be global"));
  CHECK(has(failure(body("env.open = nil")), "bad.lua:2: attempt to index a gcop.Env value (local 'env')"));
  CHECK(has(failure("local runs = 0\n" + body("runs = runs + 1\nif runs > 1 then error('kept') end\n"
                                              "params.p = (params.p or 0) + 1\nif params.p > 1 then error('kept') end\n"
                                              "local b = env:open() env:read(b) return b.answer")),
            "no error"));
  CHECK(has(failure(body("for k in pairs({ [{}] = 1 }) do end")), "pairs: the table has a key that is a table"));
  CHECK(has(failure(body("local t = { b = 1, a = 2, [2] = 3, [1] = 4 }\nlocal s = ''\n"
                         "for k, v in pairs(t) do s = s .. k .. v t.b = nil end\nif s ~= '1423a2' then error(s) end\n"
                         "local b = env:open() env:read(b) return b.answer")),
            "no error"));
}

TEST_CASE("a question that takes long, but not too long, is begun anew and counted: nothing is paid or told twice") {
  const std::string lines =
      "local o = { store = store, controller = 'c', params = { n = %d }, seeds = 1, traces = 1 }\n"
      "local e = assert(gcop.tts.evaluate(o))\n"
      "print(e.correct_total, e.cost_total, #e.traces, #e.traces[1].events, e.traces[1].cost)";
  const auto with = [&](const std::string &n) {
    std::string text = lines;
    const Ran ran = evaluate(body("local b = env:open() env:advance(b) env:trace('once')\n"
                                  "for i = 1, params.n do end\nenv:read(b) return b.answer"),
                             text.replace(text.find("%d"), 2, n));
    CHECK_MESSAGE(ran.code == 0, ran.message);
    return ran.all();
  };
  const std::string quick = with("10");
  CHECK(quick.find("\t2\t1\t") != std::string::npos);
  CHECK(with("40000000") == quick);
}

TEST_CASE("of failures the first in order is told, whatever the number of threads") {
  const std::string fails_later = body(
      "local b = env:open() env:advance(b)\n"
      "if env:limit() == 4 and b.answer == 1 then local c = env:open() env:advance(c)\n"
      "if c.answer ~= 1 then error('differs') end end\nreturn b.answer");
  const std::string one = failure(fails_later, "seeds = 40, threads = 1");
  CHECK(has(one, "differs (question 1, shuffle "));
  for (int i = 0; i < 5; ++i) CHECK(failure(fails_later, "seeds = 40, threads = 7") == one);
}

TEST_CASE("results: counts, costs, both grades; some questions, some shuffles, any number of threads") {
  const Ran ran =
      evaluate(kRead,
               "local function show(o) o.store, o.controller = store, 'c'\n"
               "  local e = assert(gcop.tts.evaluate(o)) local s = {}\n"
               "  for _, p in ipairs(e.per_seed) do s[#s + 1] = p[1] .. ':' .. p[2] end\n"
               "  print(e.solves, e.correct_total, e.normalised_correct, e.cost_total, table.concat(s, ' ')) end\n"
               "show { questions = { 2 }, seeds = 2 }\n"
               "show { seeds = 20, threads = 1 } show { seeds = 20, threads = 6 }\n"
               "show { seeds = 10 } show { seeds = 10, first_seed = 10 }\n"
               "print(pcall(gcop.tts.evaluate, { store = store, controller = 'c', questions = { 3 } }))\n"
               "print(pcall(gcop.tts.evaluate, { store = store, controller = 'c', questions = { 1, 1 } }))\n"
               "print(select(2, gcop.tts.evaluate { store = store, controller = 'nobody' }).message)\n"
               "print(store.questions, store.branches, store:question(2).gold_answer, store:question(1).tokens)\n"
               "print(select(2, gcop.tts.store('nowhere.json')).message)");
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  REQUIRE(ran.printed.size() == 10);
  CHECK(ran.printed[0] == "2\t0\t2\t200\t0:100 0:100");  // "7" is not the gold "07", byte for byte
  CHECK(ran.printed[1] == ran.printed[2]);
  const std::string &all = ran.printed[1], first = ran.printed[3].substr(ran.printed[3].rfind('\t') + 1),
                    second = ran.printed[4].substr(ran.printed[4].rfind('\t') + 1);
  CHECK(all.substr(all.rfind('\t') + 1) == first + " " + second);
  CHECK(has(ran.printed[5], "questions names question 3; this store has 1 to 2"));
  CHECK(has(ran.printed[6], "questions must name at least one question, and none twice"));
  CHECK(has(ran.printed[7], "there is no controller 'nobody'"));
  CHECK(ran.printed[8] == "2\t4\t07\t740");
  CHECK(has(ran.printed[9], "replay store 'nowhere.json' cannot be read"));
}

TEST_CASE("traces are kept of the shuffles asked for, and bounded") {
  const Ran ran = evaluate(
      body("local b = env:open() env:advance(b) env:trace('first', 'answer', b.answer, 'cost', env:cost())\n"
           "for i = 1, params.n do env:trace('filler', 'text', 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx') end\n"
           "env:read(b) return b.answer"),
      "local e = assert(gcop.tts.evaluate { store = store, controller = 'c', params = { n = 2 }, seeds = 3, traces = 2 "
      "})\n"
      "print(#e.traces, gcop.json.encode(e.traces[2].events[1]), #e.traces[1].events, e.traces[3].seed, "
      "e.traces[3].question, e.traces[2].correct, e.traces[2].cost)\n"
      "e = assert(gcop.tts.evaluate { store = store, controller = 'c', params = { n = 100000 }, seeds = 1, traces = 1 "
      "})\n"
      "local events = e.traces[1].events print(#events < 30000, events[#events].event)\n"
      "print(assert(gcop.tts.evaluate { store = store, controller = 'c', params = { n = 1 }, seeds = 1 }).traces)");
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  CHECK(ran.printed[0] == "4\t{\"answer\":1,\"cost\":100,\"event\":\"first\"}\t3\t1\t1\tfalse\t100");
  CHECK(ran.printed[1] == "true\tthe trace is cut off here");
  CHECK(ran.printed[2] == "nil");
}

TEST_CASE("an evaluation is cancelled when the one who waits for it gives up") {
  const Ran ran = evaluate(body("for i = 1, 4000000 do end\nlocal b = env:open() env:read(b) return b.answer"),
                           "local _, who = gcop.race { function() return gcop.tts.evaluate { store = store, controller "
                           "= 'c', seeds = 1000000 } "
                           "end,\n function() gcop.sleep(0.02) end }\nprint(who)");
  CHECK_MESSAGE(ran.code == 0, ran.message);
  CHECK(ran.all() == "2");
}

TEST_CASE("the recipe: what fails is told, what works is in the report") {
  std::ifstream in(GCOP_SOURCE_DIR "/recipes/autotts_replay.lua");
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const auto with = [&](std::vector<std::string> stores, std::map<std::string, std::string> set, auto look) {
    Recipe recipe(text);
    recipe.keep = true;
    recipe.settings.root = GCOP_SOURCE_DIR;
    recipe.settings.set = std::move(set);
    recipe.files["good.json"] = kStore;
    recipe.files["bad.json"] =
        R"([{"question": "?", "gold_answer": "1", "probe_freq": 500, "each_branch": [[[], 1, "1"]]}])";
    recipe.files["own.lua"] =
        body("if params.fail then error('no') end local b = env:open() env:read(b) return b.answer");
    recipe.files["bad.lua"] = "return function(env)\n  oops(";
    for (auto &path : stores) recipe.settings.args.push_back((recipe.folder() / path).string());
    for (auto &[name, value] : recipe.settings.set)
      if (name == "controller") value = (recipe.folder() / value).string();
    const Ran ran = recipe.run();
    std::ifstream report(recipe.folder() / "out/report.json");
    look(ran, report ? nlohmann::json::parse(report) : nlohmann::json(), recipe.settings.args);
  };
  const std::map<std::string, std::string> own = {
      {"controller", "own.lua"}, {"params", R"([{"beta": 1}, {"fail": true}, {"beta": 2}])"}, {"seeds", "4"}};
  with({"bad.json", "good.json"}, own, [](const Ran &ran, const nlohmann::json &report, auto &paths) {
    CHECK(ran.code == gcop::lua::Outcome::failed);
    CHECK(has(ran.message, "2 of the evaluations or stores failed, the first: "));
    CHECK(has(ran.all(), "branch 1: its list of probe answers is []"));
    CHECK(has(ran.all(), "own fail=true: "));
    REQUIRE(report["evaluations"].size() == 2);
    CHECK(report["evaluations"][1]["store"] == paths[1]);
    CHECK(report["evaluations"][1]["method"] == "own");
    CHECK(report["evaluations"][1]["params"] == nlohmann::json{{"beta", 2}});
    CHECK(report["evaluations"][1]["per_seed"].size() == 4);
  });
  with({"good.json"}, {{"seeds", "1"}}, [](const Ran &ran, const nlohmann::json &report, auto &) {
    CHECK(ran.code == gcop::lua::Outcome::done);
    CHECK(has(ran.all(), "| MajorityVote | max_samples=64 | left out: it may open 64 branches | | | |"));
    CHECK(report["evaluations"].size() == 1);  // CMC with beta 0 has enough with four
  });
  with({"good.json"}, {{"controller", "own.lua"}, {"params", R"({"beta": 3})"}, {"seeds", "2"}},
       [](const Ran &ran, const nlohmann::json &report, auto &) {
         CHECK(ran.code == gcop::lua::Outcome::done);
         CHECK(report["evaluations"][0]["params"] == nlohmann::json{{"beta", 3}});
       });
  const std::vector<std::map<std::string, std::string>> wrong = {{{"controller", "own.lua"}, {"params", "5"}},
                                                                 {{"controller", "own.lua"}, {"params", "[1]"}},
                                                                 {{"params", R"([{"beta": 1}])"}}};
  for (const auto &set : wrong)
    with({"good.json"}, set, [](const Ran &ran, const nlohmann::json &report, auto &) {
      CHECK(ran.code == gcop::lua::Outcome::wrong);
      CHECK(has(ran.message, "params "));
      CHECK(report.is_null());
    });
  with({"good.json"}, {{"seeds", "0"}}, [](const Ran &ran, const nlohmann::json &, auto &) {
    CHECK(ran.code == gcop::lua::Outcome::wrong);
    CHECK(has(ran.message, "seeds is 0; it must be 1 or more"));
  });
  with({"good.json"}, {{"controller", "bad.lua"}}, [](const Ran &ran, const nlohmann::json &report, auto &) {
    CHECK(ran.code == gcop::lua::Outcome::wrong);  // --check comes this far, too
    CHECK(has(ran.message, "bad.lua:2:"));
    CHECK(report.is_null());
  });
  for (const std::vector<std::string> &stores : {std::vector<std::string>{}, {"bad.json"}, {"missing.json"}})
    with(stores, {}, [](const Ran &ran, const nlohmann::json &report, auto &) {
      CHECK(ran.code == gcop::lua::Outcome::wrong);
      CHECK(has(ran.message, "replay store"));
      CHECK(report.is_null());
    });
}
