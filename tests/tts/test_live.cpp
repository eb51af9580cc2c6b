// gcop.tts.solve and collect: what a live solve decides and costs is what a replay of the same branches does; nothing
// is paid twice, and nothing stays in flight.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <thread>

#include <fmt/format.h>

#include "../core_http/peer.hpp"
#include "../lua/recipe.hpp"
#include "tts/live.hpp"
#include "tts/replay.hpp"
#include "tts/shuffle.hpp"

using namespace gcop;

namespace {

bool has(const std::string &text, const std::string &part) {
  const bool found = text.find(part) != std::string::npos;
  if (!found) MESSAGE(text);
  return found;
}

std::string body(const std::string &lines) { return "return function(env, params)\n" + lines + "\nend"; }

std::string file(const std::string &path) {
  std::ifstream in(path);
  REQUIRE_MESSAGE(in, path);
  return {std::istreambuf_iterator<char>(in), {}};
}

// A core whose branches differ in length (1 to 40 words of a token each), change their minds, disagree, and sometimes
// say nothing. `calls` counts what reaches it.
const char *const kCore = R"(
local function mix(...)
  local x = 17
  for _, v in ipairs { ... } do
    for i = 1, #tostring(v) do x = (x * 31 + tostring(v):byte(i)) % 1000003 end
  end
  return x
end
calls, probes = 0, 0
local core = gcop.core { max_tokens = 36, temperature = 0.7, script = function(r)
  calls = calls + 1
  local length = 1 + mix(r.prompt, r.sample, "length") % 40
  local truth = mix(r.prompt) % 3
  local _, have = r.prefix:gsub(" w%d+", "")
  if r.prefix:find "so: $" then
    probes = probes + 1
    local settled = have > mix(r.prompt, r.sample, "settled") % 30
    local says = settled and mix(r.prompt, r.sample, "wrong") % 4 > 0 and truth or mix(r.prompt, r.sample, have // 8) % 5
    return { text = says == 4 and "who knows" or "= " .. says .. ";", usage = { input = 1, output = 3 } }
  end
  local out, n = {}, math.min(r.max_tokens, length - have)
  for i = have + 1, have + n do out[#out + 1] = " w" .. i end
  local ended = have + n == length
  if ended and mix(r.prompt, r.sample, "silent") % 7 > 0 then
    out[#out + 1] = " so: = " .. (mix(r.prompt, r.sample, "wrong") % 4 > 0 and truth or mix(r.prompt, r.sample) % 5) .. ";"
  end
  return { text = table.concat(out), usage = { input = 1, output = n }, finish = ended and "stop" or "length" }
end }
local questions = { "first?", "second?", "third?" }
local o = { core = core, interval = 4, probe = { text = " so: " }, branches = 16,
  answer = function(text) return text:match "so: = (%d);[^;]*$" end }
)";

// A published controller that tells each of its calls: the same text behind an env that traces them.
std::string spied(const std::string &name) {
  std::string text = file(std::string(GCOP_SOURCE_DIR "/scripts/gcop/tts/") + name + ".lua");
  const std::string begins = "\nreturn function(env, params)";
  const size_t at = text.find(begins);
  REQUIRE(at != std::string::npos);
  text.replace(at, begins.size(), "\nlocal function solve(env, params)");
  return text + R"(
local function ids(branches)
  if branches.id then return { branches.id } end
  local list = {}
  for i, branch in ipairs(branches) do list[i] = branch.id end
  return list
end
return function(env, params)
  local spy = {}
  function spy:open() env:trace("open") return env:open() end
  function spy:advance(b, times)
    local n = env:advance(b, times)
    env:trace("advance", "branches", ids(b), "times", times or 1, "ended", n, "cost", env:cost())
    return n
  end
  function spy:read(b) env:read(b) env:trace("read", "branches", ids(b), "cost", env:cost()) end
  function spy:abandon(b) env:abandon(b) env:trace("abandon", "branches", ids(b)) end
  function spy:vote(list)
    local a, b, c = env:vote(list)
    env:trace("vote", "winner", a, "first", b, "second", c)
    return a, b, c
  end
  function spy:confidence(a, b) return env:confidence(a, b) end
  function spy:limit() return env:limit() end
  function spy:opened() return env:opened() end
  function spy:cost() return env:cost() end
  function spy:trace(...) env:trace(...) end
  local answer = solve(spy, params)
  env:trace("answer", "answer", answer)
  return answer
end
)";
}

Ran with_source(Recipe &recipe) {
  recipe.settings.root = GCOP_SOURCE_DIR;
  return recipe.run();
}

// Runs lines behind the core above.
Ran live(const std::string &lines, std::map<std::string, std::string> files = {}) {
  Recipe recipe(std::string(kCore) + lines);
  recipe.keep = true;
  recipe.files.merge(files);
  return with_source(recipe);
}

// What solve says of a controller, after which nothing is in flight and the next one works.
std::string failure(const std::string &controller, const std::string &more = "") {
  const Ran ran =
      live(R"(
o.prompt, o.controller, o.params = "first?", "bad", {}
)" + more + R"(
local solved, err = gcop.tts.solve(o)
print(solved and "no error" or err.message)
o.controller = "good"
print(assert(gcop.tts.solve(o)).opened))",
           {{"bad.lua", controller}, {"good.lua", body("local b = env:open() env:read(b) return b.answer")}});
  REQUIRE_MESSAGE(ran.printed.size() == 2, ran.message);
  CHECK_MESSAGE(ran.code == 0, ran.message);
  CHECK(ran.printed[1] == "1");
  return ran.printed[0];
}

}  // namespace

TEST_CASE("a live question is a record that grows: numbers, costs and errors are a replay's") {
  tts::LiveQuestion question(3, 10);
  tts::Replay replay(question.question(), question.order());
  REQUIRE(replay.open());
  REQUIRE(replay.open());

  CHECK_FALSE(*replay.knows(1, 1));
  CHECK_FALSE(*replay.knows(1, 0));
  for (int k = 0; k < 20; ++k) {  // branches grow in turn, and each finds its own probes
    REQUIRE(question.probe(1, "a" + std::to_string(k)));
    REQUIRE(question.probe(2, k % 2 ? "odd" : "a" + std::to_string(k)));
    CHECK(*replay.knows(1, 1));
    CHECK_FALSE(*replay.knows(1, 2));
    CHECK(replay.text(replay.advance(1)->answer) == "a" + std::to_string(k));
    CHECK(replay.text(replay.advance(2)->answer) == (k % 2 ? "odd" : "a" + std::to_string(k)));
  }
  CHECK(replay.answers() == 21);
  CHECK(replay.cost() == 400);
  REQUIRE(question.finish(1, 204, "end"));
  CHECK(*replay.knows(1, 1'000'000));
  CHECK(*replay.knows(1, 0));
  CHECK(replay.advance(1)->finished);
  CHECK(replay.cost() == 404);
  REQUIRE(question.finish(2, 190, "odd"));  // its last interval was not full
  CHECK(replay.read(2)->finished);
  CHECK(replay.cost() == 404);
  CHECK(has(replay.knows(1, 1).error().message, "branch 1 cannot be advanced: it has finished"));
  CHECK(has(replay.knows(3, 0).error().message, "branch 3 cannot be read: open are 1 to 2"));
  CHECK(has(question.probe(1, "x").error().message, "branch 1 has ended already"));
  CHECK(has(question.finish(4, 1, "x").error().message, "there is no branch 4; there are 1 to 3"));
  CHECK(has(question.finish(3, -1, "x").error().message, "branch 3 cannot have -1 tokens"));
}

TEST_CASE("each published controller decides, costs and answers live what it does in a replay of the same branches") {
  Recipe collected(std::string(kCore) + R"(
local store = {}
for q, question in ipairs(questions) do
  o.prompt = question
  store[q] = { question = question, gold_answer = "1", probe_freq = o.interval, each_branch = assert(gcop.tts.collect(o)) }
  for _, branch in ipairs(store[q].each_branch) do
    print(question, #branch[1], branch[2], branch[1][#branch[1]] == branch[3], branch[3])
  end
end
gcop.files.write("store.json", gcop.json.encode(store)))");
  collected.keep = true;
  const Ran first = with_source(collected);
  REQUIRE_MESSAGE(first.code == 0, first.message);
  REQUIRE(first.printed.size() == 48);
  bool err = false, cut = false, one = false;  // what the core above promises
  for (const std::string &line : first.printed) {
    CHECK(has(line, "\ttrue\t"));  // the last probe is the final answer
    err = err || line.ends_with("\tERR");
    cut = cut || line.find("\t9\t36\t") != std::string::npos;
    one = one || line.find("?\t1\t") != std::string::npos;
  }
  CHECK(err);
  CHECK(cut);
  CHECK(one);

  constexpr int kSeeds = 3;
  std::string orders = "local orders = {";
  for (int seed = 0; seed < kSeeds; ++seed) {
    orders += " {";
    for (const uint32_t sample : tts::shuffled(static_cast<uint64_t>(seed), 16)) orders += fmt::format(" {},", sample);
    orders += " },";
  }
  const std::string folder = (collected.folder() / "out").string();
  Recipe compared(std::string("local collected, seeds = '") + folder + "', " + std::to_string(kSeeds) + "\n" + orders +
                  R"( }
gcop.store.record(collected, "calls.jsonl")
local store = assert(gcop.tts.store(collected .. "/store.json"))
local core = gcop.core { model = "replay:" .. gcop.out_dir .. "/calls.jsonl", max_tokens = 36, temperature = 0.7 }
local settings = {
  { "sc", { max_samples = 16 } }, { "asc", { max_samples = 16, threshold = 0.95 } }, { "esc", { max_samples = 16, window_size = 4 } },
  { "parallel_probe", { num_chains = 16, T = 5, prune_patience = 2, warm_up = 1 } }, { "cmc", { beta = 0 } }, { "cmc", { beta = 0.2 } },
}
for _, setting in ipairs(settings) do
  local e = assert(gcop.tts.evaluate { store = store, controller = setting[1] .. "_spied", params = setting[2], seeds = seeds, traces = seeds })
  local equal, solves, abandoned, finished, run_ahead = 0, 0, 0, 0, 0
  for _, trace in ipairs(e.traces) do
    for _, ahead in ipairs { 0, 1, 3 } do
      local solved = assert(gcop.tts.solve { core = core, prompt = store:question(trace.question).question, controller = setting[1] .. "_spied",
        params = setting[2], interval = 4, probe = { text = " so: " }, sample = orders[trace.seed + 1], ahead = ahead, traces = true,
        answer = function(text) return text:match "so: = (%d);[^;]*$" end })
      solves = solves + 1
      local same = gcop.json.encode(solved.events) == gcop.json.encode(trace.events)
      if same and solved.cost == trace.cost and (solved.answer == "1") == trace.correct then equal = equal + 1
      else print("differs", setting[1], trace.seed, trace.question, ahead, solved.cost, trace.cost) end
      if ahead == 0 and solved.ahead.calls > 0 then print("calls that nobody asked for", setting[1]) end
      run_ahead = run_ahead + solved.ahead.calls
      for _, branch in ipairs(solved.branches) do
        if branch.abandoned then abandoned = abandoned + 1 end
        if branch.ended then finished = finished + 1 end
      end
    end
  end
  print(setting[1], solves, equal, #e.traces[1].events > 3, abandoned > 0, finished > 0, run_ahead > 0)
end)");
  compared.keep = true;
  for (const char *name : {"sc", "asc", "esc", "parallel_probe", "cmc"})
    compared.files[std::string(name) + "_spied.lua"] = spied(name);
  const Ran second = with_source(compared);
  REQUIRE_MESSAGE(second.code == 0, second.message);
  const std::vector<std::string> expected = {
      "sc\t27\t27\ttrue\tfalse\ttrue\tfalse",  "asc\t27\t27\ttrue\tfalse\ttrue\tfalse",
      "esc\t27\t27\ttrue\tfalse\ttrue\tfalse", "parallel_probe\t27\t27\ttrue\ttrue\ttrue\ttrue",
      "cmc\t27\t27\ttrue\ttrue\ttrue\ttrue",   "cmc\t27\t27\ttrue\ttrue\ttrue\ttrue",
  };
  CHECK(second.all() == fmt::format("{}", fmt::join(expected, "\n")));
}

TEST_CASE("no call is made that the controller did not ask for, none twice, and reading asks nothing on the way") {
  const Ran ran = live(R"(
o.prompt, o.controller, o.sample = "first?", "c", 0
while 1 + mix(o.prompt, o.sample, "length") % 40 < 36 do o.sample = o.sample + 1 end   -- a long one
local function show(params)
  o.params = params
  local before, probed = calls, probes
  local s = assert(gcop.tts.solve(o))
  print(calls - before, probes - probed, s.cost, s.opened, s.ahead.calls, s.ahead.tokens, s.branches[1].tokens, s.branches[1].ended)
  return s
end
show { advance = 2 }
show { advance = 2 }                 -- the same branch: it is there
show { advance = 3 }                 -- goes on from there
show { advance = 1, read = true }    -- the rest of it, without probes
o.sample = 7
local s = show { read = true }
print(s.branches[1].sample, s.branches[1].text:sub(1, 9), gcop.store.costs()[1].role)
o.sample, o.ahead, o.role, o.stage = 1, 2, "thinker", "somewhere"
show { advance = 1 }
for _, row in ipairs(gcop.store.costs()) do print(row.role, row.calls, row.tokens_out) end)",
                       {{"c.lua", body("local b = env:open()\n"
                                       "for i = 1, params.advance or 0 do env:advance(b) end\n"
                                       "if params.read then env:read(b) end\nreturn b.answer")}});
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  REQUIRE(ran.printed.size() == 9);
  CHECK(ran.printed[0] == "4\t2\t8\t1\t0\t0\t8\tfalse");
  CHECK(ran.printed[1] == "0\t0\t8\t1\t0\t0\t8\tfalse");
  CHECK(ran.printed[2] == "2\t1\t12\t1\t0\t0\t12\tfalse");
  CHECK(has(ran.printed[3], "\t0\t36\t1\t0\t0\t36\ttrue"));
  CHECK(ran.printed[4].substr(ran.printed[4].find('\t')).starts_with("\t0\t"));
  CHECK(has(ran.printed[5], "7\t w1 w2 w3\tcore"));
  CHECK(ran.printed[6].find("\t4\t1\t0\t") == std::string::npos);  // some of it ran ahead, ...
  CHECK(has(ran.printed[6], "\t4\t1\t"));                          // ... and is no cost of the controller's
  CHECK(has(ran.all(), "\nthinker\t"));
}

TEST_CASE("a branch ends where the core can give no more; a call that fails where nobody asked for it is no failure") {
  const Ran ran = live(R"(
o.prompt, o.controller, o.branches, o.ahead = "?", "c", 1, 0
local function core(last)
  return gcop.core { max_tokens = 40, script = function(r)
    if #r.prefix >= 8 then error("beyond") end
    return { text = "abcd", usage = { input = 1, output = #r.prefix == 4 and last or 4 }, finish = "length" }
  end }
end
o.probe, o.core, o.params = nil, core(3), { advance = 3 }          -- its context is full, say
local s = assert(gcop.tts.solve(o))
print(s.answer, s.cost, s.branches[1].tokens, s.branches[1].ended)
o.core, o.params, o.ahead = core(4), { advance = 1 }, 5
s = assert(gcop.tts.solve(o))
print(s.answer, s.cost, s.branches[1].tokens, s.branches[1].ended)
o.params = { advance = 3 }
print(select(2, gcop.tts.solve(o)).message:match "^[^\n]*"))",
                       {{"c.lua", body("local b = env:open()\nfor i = 1, params.advance do env:advance(b) end\n"
                                       "return b.answer")}});
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  REQUIRE(ran.printed.size() == 3);
  CHECK(ran.printed[0] == "ERR\t8\t7\ttrue");
  CHECK(ran.printed[1] == "ERR\t4\t4\tfalse");
  CHECK(has(ran.printed[2], "branch with sample 0: core 'script': the script failed: "));
}

TEST_CASE("a core that cannot continue gives its whole answer as its first interval") {
  peer::Peer http([](peer::Link &link, const peer::Request &request) {
    link.write(peer::reply(peer::completion(request.body.find("two") == std::string::npos ? "so: = 1;" : "so: = 2;")));
    return true;
  });
  Recipe recipe("local core = gcop.core { model = '" + http.url() + R"(/v1#m', temperature = 1 }
print(core.continues, core.max_tokens)
local o = { core = core, prompt = "one", interval = 4, answer = function(text) return text:match "so: = (%d);" end, branches = 4 }
local rows = assert(gcop.tts.collect(o))
print(#rows, #rows[1][1], rows[1][1][1], rows[1][3], rows[1][2] > 0)
for _, controller in ipairs { "gcop.tts.sc", "gcop.tts.cmc" } do
  o.controller, o.params = controller, { max_samples = 3, beta = 0 }
  local s = assert(gcop.tts.solve(o))
  print(s.answer, s.cost == (controller == "gcop.tts.sc" and 3 * rows[1][2] or 2 * math.max(4, rows[1][2])))
end)");
  recipe.keep = true;
  const Ran ran = with_source(recipe);
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  CHECK(ran.all() == "false\t512\n4\t1\t1\t1\ttrue\n1\ttrue\n1\ttrue");
  CHECK(http.requests() == 4);  // the solves found them
}

TEST_CASE("a branch that is given up ends its request; so do a failure, and a caller who gives up") {
  std::atomic<int> closed{0}, hanging{0};
  const auto hang = [&](peer::Link &link) {
    ++hanging;
    link.wait_closed();
    ++closed;
    return false;
  };
  const auto until_closed = [&](int n) {
    for (int i = 0; i < 2000 && closed < n; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return closed >= n;
  };
  peer::Peer http([&](peer::Link &link, const peer::Request &request) {
    const auto says = [&](const char *part) { return request.body.find(part) != std::string::npos; };
    if (says("ahead 0 hangs") || says("always hangs")) return hang(link);
    if (says("follows 8;")) {  // when the other branch has run ahead, ...
      for (int i = 0; i < 2000 && hanging < 1; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    if (says("follows 16;") && !until_closed(1)) return false;  // ... and when that has been closed
    if (says("fails") && says("sample 0")) {
      for (int i = 0; i < 2000 && hanging < 3; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
      link.write(peer::reply("{\"error\": {\"message\": \"no\"}}", "400 Bad Request"));
      return true;
    }
    if (says("fails")) return hang(link);
    if (says("how many closed")) {
      link.write(peer::reply(peer::completion(until_closed(5) ? "all" : "not all")));
      return true;
    }
    link.write(peer::reply(peer::completion("so: = 1;")));
    return true;
  });
  Recipe recipe("local http = gcop.core { model = '" + http.url() + R"(/v1#m' }
local o = { interval = 4, controller = "c", params = { give_up = true }, branches = 2, answer = function(text) return text:match "so: = (%d);" end }
-- A connector of one's own, in Lua: its calls go through the real one.
o.core = gcop.core { max_tokens = 12, temperature = 1, script = function(r)
  local reply, err = http:complete { prompt = #r.prefix == 0 and "begins" or r.sample == 0 and "ahead 0 hangs" or "follows " .. #r.prefix .. ";" }
  if not reply then return nil, err end
  return { text = reply.text, usage = { input = 1, output = 4 }, finish = "length" }
end }
o.prompt, o.ahead = "?", 1
local s = assert(gcop.tts.solve(o))
print(s.answer, s.branches[1].abandoned, s.ahead.calls, s.cost)

o = { interval = 4, controller = "c", params = {}, branches = 3, answer = o.answer, prompt = "?", ahead = 0 }
o.core = gcop.core { max_tokens = 8, temperature = 1, script = function(r)
  local reply, err = http:complete { prompt = "fails sample " .. r.sample }
  if not reply then return nil, err end
  return reply.text
end }
local solved, err = gcop.tts.solve(o)
print(solved, err.message)

o.core, o.prompt = http, "always hangs"
local _, who = gcop.race { function() return gcop.tts.solve(o) end, function() gcop.sleep(0.2) end }
print(who)
print(http:complete { prompt = "how many closed" }.text))");
  recipe.keep = true;
  recipe.files["c.lua"] = body(
      "local all = {}\nfor i = 1, env:limit() do all[i] = env:open() end\n"
      "if params.give_up then env:advance(all) env:advance(all[2]) env:abandon(all[1]) env:read(all[2])\n"
      "return all[2].answer end\n"
      "env:read(all) return (env:vote(all))");
  const Ran ran = with_source(recipe);
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  REQUIRE(ran.printed.size() == 4);
  CHECK(ran.printed[0] == "1\ttrue\t1\t16");
  CHECK(has(ran.printed[1], "nil\tbranch with sample 0: core 'script': core 'm': "));
  CHECK(ran.printed[2] == "2");
  CHECK(ran.printed[3] == "all");
  CHECK(hanging >= 5);  // 1 given up, 2 beside the one that failed, and of the 3 of the race those that were there
}

TEST_CASE("a controller's mistakes are errors with file and line, and leave nothing in flight") {
  CHECK(has(failure("return function(env)\n  oops("), "bad.lua:2:"));
  CHECK(has(failure("local x = 1"), "bad.lua: must end with 'return function(env, params) ... end'; it returned nil"));
  CHECK(has(failure(body("error('on purpose')")), "bad.lua:2: on purpose"));
  CHECK(has(failure(body("local b = env:open() env:advance(b)\nerror('later')")), "bad.lua:3: later"));
  CHECK(has(failure(body("local b = env:open() env:advance(b)\nerror('later')"), "o.ahead = 3"), "bad.lua:3: later"));
  CHECK(has(failure(body("env:open()")), "bad.lua:1: the function returned nothing; it must return an answer"));
  CHECK(has(failure(body("return 1")), "bad.lua:1: the function returned 1"));
  CHECK(has(failure(body("for _ = 1, 17 do env:open() end")), "there is no branch 17: all 16"));
  CHECK(has(failure(body("env:advance({ id = 1 })")), "bad.lua:2: gcop.Env:advance: branch 1 cannot be advanced"));
  CHECK(has(failure(body("env:open() env:advance({ { id = 1 }, { id = 2 } })")),
            "branch 2 cannot be advanced: open are"));
  CHECK(has(failure(body("env:advance(env:open(), 0)")), "times must be a whole number"));
  CHECK(
      has(failure(body("local b = env:open() env:read(b) env:advance(b)")), "branch 1 cannot be advanced: it has fin"));
  CHECK(has(failure(body("local b = env:open() env:read({ b, b })")), "branch 1 cannot be read: it has finished"));
  CHECK(has(failure(body("local b = env:open() env:abandon(b) env:read(b)")), "it has been abandoned"));
  CHECK(has(failure(body("return (env:vote({ env:open() }))")), "gcop.Env:vote: item 1 has no answer (nil)"));
  CHECK(has(failure(body("env.open()")), "call it with a colon, env:open(...)"));
  CHECK(has(failure(body("count = 1")), "bad.lua:2: 'count' would be global"));
  CHECK(
      has(failure(body("local b = { env:open(), env:open() }\n"
                       "table.sort(b, function(x, y) env:advance(x) return x.id < y.id end)")),
          "bad.lua:3: gcop.Env:advance: waits for a live core, which is not possible inside a table.sort comparator"));
  CHECK(has(failure("return 1", "o.controller = 'nobody'"), "there is no controller 'nobody'"));
  CHECK(failure(body("local b = env:open() env:advance(b, math.maxinteger) return b.answer")) == "no error");
  CHECK(has(failure(body("local b = env:open() env:advance({ b, b }, math.maxinteger)")),
            "branch 1 cannot be advanced: it has fin"));
}

TEST_CASE("what never ends or grows is stopped, and others go on meanwhile") {
  CHECK(has(failure(body("while true do end")), "bad.lua:2: more than 50000000 steps for one question; does it loop"));
  CHECK(has(failure("while true do end"), "bad.lua:1: more than 50000000 steps"));
  CHECK(has(failure(body("local b = env:open() env:advance(b)\nwhile true do env:vote({ b }) end"), "o.ahead = 2"),
            "bad.lua:3: more than 50000000 steps"));
  CHECK(has(failure(body("local t = {}\nwhile true do t[#t + 1] = { #t } end")), "holds more than 64 MiB of memory"));
  CHECK(has(failure(body("local function f(n) return 1 + f(n + 1) end\nreturn f(1)")), "stack overflow"));
  const Ran ran = live(R"(
o.prompt, o.controller = "first?", "endless"
local ticks = 0
local job = gcop.spawn(function() while true do gcop.sleep(0) ticks = ticks + 1 end end)
print(select(2, gcop.tts.solve(o)).code, ticks > 10)
job:cancel()
print(select(2, gcop.race { function() return gcop.tts.solve(o) end, function() gcop.sleep(0) end })))",
                       {{"endless.lua", body("while true do end")}});
  CHECK_MESSAGE(ran.code == 0, ran.message);
  CHECK(ran.all() == "invalid\ttrue\n2");
}

TEST_CASE("what is wrong with `answer`, with a call or with an option is said") {
  const auto raised = [](const std::string &change) {
    const Ran ran = live("o.prompt, o.controller, o.params = 'first?', 'gcop.tts.sc', { max_samples = 2 }\n" + change +
                         "\nlocal fine, solved, err = pcall(gcop.tts.solve, o)\n"
                         "print(not fine and tostring(solved) or solved and 'no error' or 'err: ' .. err.message)");
    CHECK_MESSAGE(ran.code == 0, ran.message);
    REQUIRE(ran.printed.size() == 1);
    return ran.printed[0];
  };
  CHECK(raised("") == "no error");
  CHECK(has(raised("o.answer = function() return 7 end"), "answer returned a number; it must return a text, or nil"));
  CHECK(has(raised("o.answer = function() error('mine') end"), "recipe.lua"));
  CHECK(has(raised("o.answer = function() error('mine') end"), "mine"));
  CHECK(has(raised("o.answer = nil"), "gcop.tts.solve: answer is missing"));
  CHECK(has(raised("o.core = nil"), "gcop.tts.solve: core is missing"));
  CHECK(has(raised("o.controller = nil"), "gcop.tts.solve: controller is missing"));
  CHECK(has(raised("o.prompt = nil"), "give either messages = { { role =, content = }, ... } or prompt"));
  CHECK(has(raised("o.messages = {}"), "give either messages"));
  CHECK(has(raised("o.intervall = 4"), "unknown option 'intervall', did you mean 'interval'?"));
  CHECK(has(raised("o.interval = 0"), "interval is 0; it must be at least 1"));
  CHECK(has(raised("o.interval = 2^40 | 0"), "interval"));
  CHECK(has(raised("o.max_tokens = 0"), "max_tokens is 0; it must be at least 1"));
  CHECK(has(raised("o.branches = 0"), "branches is 0; it must be at least 1"));
  CHECK(has(raised("o.branches = 5000"), "branches is 5000; at most 4096 can be opened"));
  CHECK(has(raised("o.ahead = -1"), "ahead is -1; it must be at least 0"));
  CHECK(has(raised("o.sample = -1"), "sample of branch 1 is -1"));
  CHECK(has(raised("o.sample = { 1, 2 }"), "sample lists 2 branches; branches is 16"));
  CHECK(has(raised("o.branches = 2 o.sample = { 1, 1 }"), "sample 1 is listed twice"));
  CHECK(has(raised("o.branches = 2 o.sample = { 1, 'x' }"), "sample of branch 2 is x"));
  CHECK(has(raised("o.sample = {} o.branches = nil"), "sample"));
  CHECK(has(raised("o.probe = 'so'"), "probe must be gcop.Probe"));
  CHECK(has(raised("o.probe = { text = '' }"), "probe.text is empty"));
  CHECK(has(raised("o.probe = { text = 'x', max_tokens = 0 }"), "probe.max_tokens must be at least 1"));
  CHECK(has(raised("o.probe = { txt = 'x' }"), "probe: text is missing"));
  CHECK(has(raised("o.params = 7"), "params must be table"));
  CHECK(has(raised("o.params = { f = print }"), "function"));
  CHECK(has(raised("o.core = gcop.core { script = function(r) if r.sample == 0 then error('broken') end return 'so: = "
                   "1;' end }"),
            "err: branch with sample 0: core 'script': the script failed: "));
  CHECK(raised("o.probe = nil") == "no error");
  CHECK(has(raised("o.controller = nil o.params = nil gcop.tts.solve = gcop.tts.collect o.ahead = 1"),
            "gcop.tts.collect: unknown option 'ahead'"));
  CHECK(has(raised("o.controller = nil o.params = nil gcop.tts.solve = gcop.tts.collect o.interval = 0"),
            "gcop.tts.collect: interval is 0"));
  CHECK(has(raised("o.controller = nil o.params = nil gcop.tts.solve = gcop.tts.collect\n"
                   "o.core = gcop.core { script = function(r) if r.sample == 0 then error('broken') end return 'so: = "
                   "1;' end }"),
            "err: branch with sample 0: core 'script': the script failed: "));
}

TEST_CASE("a controller step by step: what it needs, and wrong news") {
  Recipe recipe(R"(
local c = assert(gcop.tts.controller { controller = "c", branches = 2, interval = 10, traces = true })
local turn = assert(c:step())
print(#turn.needs, turn.needs[1].branch, turn.needs[1].interval, turn.needs[2].interval, turn.opened, turn.cost)
c:probe(1, "a") c:probe(1, "a") c:probe(2, "b")
turn = assert(c:step())
print(#turn.needs, turn.needs[1].branch, turn.needs[1].interval, turn.cost)
print(pcall(c.probe, c, 3, "x"))
c:finish(2, 12, "c")
turn = assert(c:step())
print(#turn.needs, turn.needs[1].branch, turn.needs[1].interval, #turn.abandoned, turn.abandoned[1], turn.cost)
print(pcall(c.finish, c, 2, 12, "c"))
c:finish(1, 25, "a")
turn = assert(c:step())
print(turn.answer, turn.cost, turn.events[1].event)
print(pcall(c.step, c))
print(select(2, gcop.tts.controller { controller = "nobody" }).message))");
  recipe.files["c.lua"] = body(
      "local a, b = env:open(), env:open()\nenv:advance({ a, b }, { 2, 3 })\n"
      "env:trace('ended', 'b', b.finished) env:abandon({}) local c = a env:read(c)\nreturn a.answer");
  Ran ran = with_source(recipe);
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  REQUIRE(ran.printed.size() == 8);
  CHECK(ran.printed[0] == "2\t1\t2\t3\t2\t0");
  CHECK(ran.printed[1] == "1\t2\t3\t0");  // the first is known, and nothing is paid before all are
  CHECK(has(ran.printed[2], "gcop.Controller:probe: there is no branch 3; there are 1 to 2"));
  CHECK(ran.printed[3] == "1\t1\tnil\t0\tnil\t32");
  CHECK(has(ran.printed[4], "gcop.Controller:finish: branch 2 has ended already"));
  CHECK(ran.printed[5] == "a\t37\tended");
  CHECK(has(ran.printed[6], "gcop.Controller:step: it is over"));
  CHECK(has(ran.printed[7], "there is no controller 'nobody'"));
}
