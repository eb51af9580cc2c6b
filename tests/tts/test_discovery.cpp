// The search for controllers: its arithmetic, its proposers, and the recipe from end to end.
#include <filesystem>
#include <fstream>

#include <nlohmann/json.hpp>

#include "small_store.hpp"

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

std::string text_of(const fs::path &path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

Ran with_scripts(const std::string &lines) {
  Recipe recipe(lines);
  recipe.settings.root = GCOP_SOURCE_DIR;
  Ran ran = recipe.run();
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  return ran;
}

// Four questions of one kind: of each six branches three say "7", which is right, and the first of a shuffle decides.
std::string four_questions(int more_tokens = 0) {
  json store = json::array();
  for (int q = 0; q < 4; ++q) {
    json branches = json::array();
    for (int b = 0; b < 6; ++b) {
      const char *answer = b < 3 + (q % 2) ? "7" : b == 4 ? "secret-wrong" : "9";
      branches.push_back({{answer, answer}, 200 + 10 * b + more_tokens, answer});
    }
    store.push_back({{"question", "secret-question-" + std::to_string(q)},
                     {"gold_answer", "7"},
                     {"probe_freq", 100},
                     {"each_branch", branches}});
  }
  return store.dump();
}

// Reads one branch; with beta 1 `most` branches and takes the majority.
const char *const kStart = R"(local most = 2
return function(env, params)
  local all = {}
  for i = 1, params.beta > 0 and most or 1 do
    all[i] = env:open()
    env:read(all[i])
  end
  env:trace("read", "branches", #all)
  return (env:vote(all))
end
)";

struct Discovery {
  Recipe recipe{text_of(GCOP_SOURCE_DIR "/recipes/autotts_discover.lua")};
  Discovery() {
    recipe.keep = true;
    recipe.settings.root = GCOP_SOURCE_DIR;
    recipe.files["search.json"] = four_questions();
    recipe.files["other.json"] = four_questions(7);
    recipe.files["start.lua"] = kStart;
    recipe.settings.args = {path("search.json")};
    recipe.settings.set = {{"start", path("start.lua")}, {"rounds", "2"},
                           {"proposals", "4"},           {"seeds", "6"},
                           {"betas", "0.0,1.0"},         {"held_out", path("other.json")}};
  }
  std::string path(const std::string &name) { return (recipe.folder() / name).string(); }
  json report() { return json::parse(text_of(recipe.folder() / "out/report.json")); }
};

std::string wrong(const std::function<void(Discovery &)> &change) {
  Discovery discovery;
  change(discovery);
  const Ran ran = discovery.recipe.run();
  CHECK(ran.code == gcop::lua::Outcome::wrong);
  CHECK_FALSE(fs::exists(discovery.recipe.folder() / "out/report.json"));
  return ran.message;
}

}  // namespace

TEST_CASE("accuracy at a cost is that of a mix of two settings; the gain is the mean over the start's settings") {
  const Ran ran = with_scripts(R"(local curve = require "gcop.discovery.curve"
local points = { { cost = 100, accuracy = 0.5 }, { cost = 300, accuracy = 0.7 }, { cost = 300, accuracy = 0.6 } }
print(curve.accuracy_at(points, 99))
for _, cost in ipairs { 100, 200, 300, 1000 } do print(("%.3f"):format(curve.accuracy_at(points, cost))) end
print(("%.4f"):format(curve.gain(points, { { cost = 50, accuracy = 0.9 }, { cost = 100, accuracy = 0.4 }, { cost = 200, accuracy = 0.65 } })))
local function e(correct, cost, by) return { correct_total = correct, cost_total = cost, solves = 4, per_question = by } end
local base = { { e(2, 40, { { 1, 20 }, { 1, 20 } }) } }
local better = { { e(4, 40, { { 2, 20 }, { 2, 20 } }) } }
local lucky = { { e(3, 40, { { 2, 20 }, { 1, 20 } }) } }
print(curve.mean_gain(better, base), curve.mean_gain(base, base), curve.mean_gain(lucky, base))
local low, high = table.unpack(curve.interval(lucky, base, "test"))
print(low, high))");
  CHECK(ran.all() == "nil\n0.500\n0.600\n0.700\n0.600\n0.0167\n0.5\t0.0\t0.25\n0.0\t0.5");
}

TEST_CASE("mutants differ in numbers only, and are the same for the same draw") {
  const Ran ran = with_scripts(R"(local mutation = require "gcop.discovery.mutation"
local text = "local x1, y = 12, 0.5 -- 99\nlocal s = '77' .. \"88\" .. [[66]]\nreturn 0x10 + 1 + 0 + 2e3 + y2"
local seen = {}
for _, number in ipairs(mutation.numbers(text)) do seen[#seen + 1] = number.text end
print(table.concat(seen, " "))
local changed, same = {}, 0
for i = 1, 200 do
  local mutant = mutation.mutant(text, 1, i)
  if mutant ~= mutation.mutant(text, 1, i) then print "not the same" end
  if mutant == text then same = same + 1 end
  if not mutant:find("x1, y = ", 1, true) or not mutant:find("-- 99\nlocal s = '77' .. \"88\" .. [[66]]\nreturn 0x10 + 1 + 0 + ", 1, true) then print(mutant) end
  changed[mutant] = true
end
local n = 0 for _ in pairs(changed) do n = n + 1 end
print(same, n > 30)
print(mutation.mutant("return 1", 1, 1))
local a, b = "return 5 + 6 + 7", "return 50 + 60 + 70"
local children = {}
for i = 1, 64 do children[mutation.child(a, b, i)] = true end
n = 0 for _ in pairs(children) do n = n + 1 end
print(n, mutation.child("return 5", "return 5 + 6", 1), mutation.child("return 5", "return -5", 1)))");
  CHECK(ran.all() == "12 0.5 2e3\n0\ttrue\nnil\tthere is no number in it that could be changed\n8\tnil\tnil");
}

TEST_CASE("the recipe finds what is better, keeps what it tried, and looks at held-out data once") {
  Discovery discovery;
  const Ran ran = discovery.recipe.run();
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  const json report = discovery.report(), &found = report["discovery"];
  CHECK(found["rounds"].size() == 2);
  CHECK(found["chosen"] != "start");  // more branches are better here, and the number of them is all there is to change
  CHECK(found["search_gain"] > 0);
  REQUIRE(found["held_out"].size() == 2);
  CHECK(found["held_out"][0]["label"] == "other questions and shuffles of the searched stores");
  CHECK(found["held_out"][1]["label"] == "other.json, all questions, other shuffles");
  for (const auto &row : found["held_out"]) CHECK(row["ci95"].size() == 2);
  CHECK(report["evaluations"].size() == 2 * (2 + 2 + 2));
  const fs::path archive = discovery.recipe.folder() / "out/archive";
  for (const char *id : {"start", "r01c01", "r01c04", "r02c04"}) {
    CHECK(fs::exists(archive / id / "controller.lua"));
    const json result = json::parse(text_of(archive / id / "result.json"));
    CHECK((result.contains("curves") || result.contains("failed")));
  }
  CHECK(text_of(archive / "start/traces.jsonl").find("\"event\":\"read\"") != std::string::npos);
  CHECK(text_of(discovery.recipe.folder() / "out/best.lua") ==
        text_of(archive / found["chosen"].get<std::string>() / "controller.lua"));

  // Again in the same folder: the same, and nothing is measured a second time.
  auto &text = discovery.recipe.files["recipe.lua"];
  text =
      "local real, measured = gcop.tts.evaluate, 0\n"
      "gcop.tts.evaluate = function(o) measured = measured + 1 return real(o) end\n" +
      text + "\nprint('measured ' .. measured)";
  const Ran again = discovery.recipe.run();
  REQUIRE_MESSAGE(again.code == 0, again.message);
  CHECK(again.printed.back() == "measured 0");
  json second = discovery.report();
  CHECK(second["discovery"] == found);
  CHECK(second["evaluations"] == report["evaluations"]);
  // And with one more round after those.
  discovery.recipe.settings.set["rounds"] = "3";
  const Ran further = discovery.recipe.run();
  REQUIRE_MESSAGE(further.code == 0, further.message);
  second = discovery.report();
  for (size_t i = 0; i < 2; ++i) CHECK(second["discovery"]["rounds"][i] == found["rounds"][i]);
}

TEST_CASE("a model as the proposer: what it sees, what becomes of what it writes") {
  Recipe recipe(R"lua(local Search, model = require "gcop.discovery.search", require "gcop.discovery.model"
local said = {
  "Idea.\n```lua\n" .. (gcop.tts.source "start"):gsub("most = 2", "most = 5") .. "```",   -- better
  "no code",
  "```lua\nreturn function(env)\n  oops(\n```",
  "```lua\nreturn function(env) while true do end end\n```",
  "```lua\n" .. (gcop.tts.source "start"):gsub("> 0", "< 1") .. "```",   -- a higher beta spends less
  "```lua\n" .. gcop.tts.source "start" .. "```",
}
local prompts = {}
local core = gcop.core { script = function(request)
  prompts[#prompts + 1] = request.messages[1].content .. request.messages[2].content
  return said[1 + request.sample % #said]
end, temperature = 0.8 }
local search = Search.new { stores = { assert(gcop.tts.store(gcop.args[1])) }, questions = { 1, 4 }, first_seed = 0, seeds = 6, betas = { 0, 1 }, start = "start" }
search:measure_start()
for round = 1, 2 do search:judge(round, model.propose(search, core, round, 6)) end
for _, c in ipairs(search.candidates) do print(c.id, c.gain and c.gain > 0, c.why) end
print(search:ranked(1)[1].id)
local last = prompts[#prompts]
print(#prompts, last:find "secret", last:find("gain +", 1, true) ~= nil, last:find("gcop.Env:vote(list)", 1, true) ~= nil, last:find("r01c04: failed: ", 1, true) ~= nil,
  last:find('"event":"read"', 1, true) ~= nil))lua");
  recipe.keep = true;
  recipe.settings.root = GCOP_SOURCE_DIR;
  recipe.files["search.json"] = four_questions();
  recipe.files["start.lua"] = kStart;
  recipe.settings.args = {(recipe.folder() / "search.json").string()};
  auto &text = recipe.files["recipe.lua"];
  for (size_t at; (at = text.find("\"start\"")) != text.npos;)
    text.replace(at, 7, "'" + (recipe.folder() / "start.lua").string() + "'");
  const Ran ran = recipe.run();
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  REQUIRE(ran.printed.size() == 14);
  CHECK(ran.printed[0] == "r01c01\ttrue\tnil");
  CHECK(ran.printed[1] == "r01c02\tnil\tno ```lua block in the answer: no code");
  CHECK(has(ran.printed[2], "r01c03\tnil\tbeta 0 on "));
  CHECK(has(ran.printed[2], "r01c03:3:"));
  CHECK(has(ran.printed[3], "does it loop for ever?"));
  CHECK(has(ran.printed[4], "its budget is not monotone: beta 0 spends "));
  CHECK(ran.printed[5] == "r01c06\tnil\tthe same as start");
  CHECK(ran.printed[6] == "r02c01\tnil\tthe same as r01c01");
  CHECK(ran.printed[12] == "r01c01");
  CHECK(ran.printed[13] == "12\tnil\ttrue\ttrue\ttrue\ttrue");  // no question, no answer text
}

TEST_CASE("a proposer that costs more than the budget ends the run, resumable") {
  Discovery discovery;
  auto &text = discovery.recipe.files["recipe.lua"];
  text =
      "local make = gcop.core\ngcop.core = function(o) return make { script = function() return 'nothing' end, "
      "max_tokens = 1000, price = { input = 10, output = 10 } } end\n" +
      text;
  discovery.recipe.settings.set["proposer"] = "a model";
  discovery.recipe.settings.set["budget_usd"] = "0.001";
  const Ran ran = discovery.recipe.run();
  CHECK(ran.code == gcop::lua::Outcome::budget);
}

TEST_CASE("options that make no sense end the run before anything is measured") {
  CHECK(has(wrong([](Discovery &d) { d.recipe.settings.args.clear(); }), "needs at least one replay store"));
  CHECK(has(wrong([](Discovery &d) { d.recipe.settings.args = {"nowhere.json"}; }), "'nowhere.json' cannot be read"));
  CHECK(has(wrong([](Discovery &d) { d.recipe.settings.set["held_out"] = d.path("search.json"); }),
            "search.json, which is searched; it cannot be held out too"));
  CHECK(has(wrong([](Discovery &d) {  // by another path
              d.recipe.files["copy.json"] = four_questions();
              d.recipe.settings.set["held_out"] = d.path("copy.json");
            }),
            "copy.json holds the traces of "));
  CHECK(has(wrong([](Discovery &d) { d.recipe.settings.args.push_back(d.path("search.json")); }),
            "hold the same traces"));
  CHECK(has(wrong([](Discovery &d) { d.recipe.settings.set["cpu_s"] = "0"; }), "cpu_s is 0"));
  CHECK(has(wrong([](Discovery &d) { d.recipe.settings.set["betas"] = "0.5,0.5"; }),
            "betas must rise; 0.5 comes after 0.5"));
  CHECK(has(wrong([](Discovery &d) { d.recipe.settings.set["rounds"] = "0"; }), "must be 1 or more"));
  CHECK(has(wrong([](Discovery &d) { d.recipe.settings.set["start"] = "nobody"; }), "there is no controller 'nobody'"));
  CHECK(has(wrong([](Discovery &d) { d.recipe.settings.set["isolation"] = "none"; }),
            "isolation is 'none'; it must be jail or process"));
  CHECK(has(wrong([](Discovery &d) {
              d.recipe.files["search.json"] = json::array({json::parse(four_questions())[0]}).dump();
            }),
            "has one question; half of them is to be held out"));
  CHECK(has(wrong([](Discovery &d) {
              d.recipe.files["two.json"] = kStore;
              d.recipe.settings.args.push_back(d.path("two.json"));
            }),
            "two.json has 2 questions, "));
  Discovery failing;
  failing.recipe.files["start.lua"] = "return function(env) error('no') end";
  const Ran ran = failing.recipe.run();
  CHECK(ran.code == gcop::lua::Outcome::failed);
  CHECK(has(ran.message, "the search's start, "));
}
