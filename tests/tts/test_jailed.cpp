// Controllers given as text: what a model wrote runs in the jail, and what its process says it did is done again.
#include <cstring>
#include <fstream>

#include <nlohmann/json.hpp>

#include "lua/inside/frames.hpp"
#include "lua/jailed_player.hpp"
#include "small_store.hpp"
#include "tts/shuffle.hpp"

using namespace gcop;
using nlohmann::json;

namespace {

const char *const kRead = "return function(env) local b = env:open() env:read(b) return b.answer end";

std::string quoted(const std::string &text) {  // as Lua writes it
  std::string out = "\"";
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (code < 32 || code > 126 || c == '"' || c == '\\')
      out += "\\" + std::to_string(1000 + code).substr(1);
    else
      out += c;
  }
  return out + "\"";
}

// What gcop.tts.evaluate says about a text, after which the next one works.
std::string refusal(const std::string &controller, const std::string &options = "seeds = 3") {
  Recipe recipe("");
  recipe.files["store.json"] = kStore;
  recipe.files["recipe.lua"] = "local store = assert(gcop.tts.store('" + (recipe.folder() / "store.json").string() +
                               "'))\nlocal text = " + quoted(controller) +
                               "\n"
                               "local e, err = gcop.tts.evaluate { store = store, text = text, " +
                               options +
                               " }\nprint(e and 'no error' or err.code .. ': ' .. err.message)\n"
                               "print(assert(gcop.tts.evaluate { store = store, text = '" +
                               kRead + "', seeds = 3 }).solves)";
  const Ran ran = recipe.run();
  REQUIRE_MESSAGE(ran.printed.size() == 2, ran.message);
  CHECK(ran.printed[1] == "6");
  return ran.printed[0];
}

std::shared_ptr<const tts::Store> small_store() {
  auto parsed = tts::parse(kStore, "small");
  REQUIRE(parsed);
  return std::make_shared<tts::Store>(std::move(*parsed));
}

// Fault injection: stands in for the jail and for whatever a captured process could write. Answers at once.
struct ForgingJail {
  static void run(const gcop_host_sandbox *self, const gcop_cell *const *, size_t, const gcop_op *op,
                  gcop_sandbox_done done) {
    const auto &jail = *reinterpret_cast<const ForgingJail *>(self);
    gcop_cell_result cell{};
    cell.struct_size = sizeof cell;
    cell.limits = jail.limits;
    cell.exit_code = jail.exit_code;
    cell.out = {jail.out.data(), jail.out.size()};
    cell.err = {jail.err.data(), jail.err.size()};
    const gcop_cell_result *cells[] = {&cell};
    gcop_sandbox_result result{sizeof result, jail.status, {jail.err.data(), jail.err.size()}, 1, cells};
    done(op, &result);
  }
  gcop_host_sandbox service{sizeof(gcop_host_sandbox), 0, nullptr, run, nullptr};  // first: run() finds the rest by it
  std::string out, err;
  gcop_status status = GCOP_OK;
  uint32_t limits = 0;
  int exit_code = 0;
};

struct Played {
  std::vector<tts::Solved> solved;
  std::string failed;
};
Played play(const ForgingJail &jail, lua::Traces *traces = nullptr) {
  lua::JailedJob job;
  job.store = small_store();
  job.questions = {0};
  job.name = "forged";
  job.cpu_ms = 2000;
  const std::atomic<bool> cancelled{false};
  std::optional<Error> failed;
  Played played;
  played.solved = lua::JailedPlayer(jail.service, job, traces, cancelled).play(0, 2, failed);
  if (failed) played.failed = failed->message;
  return played;
}

std::string frame(lua::inside::Frame kind, const std::string &bytes) {
  std::string out;
  lua::inside::put_frame(out, kind, bytes);
  return out;
}

std::string solved(uint32_t answer, const std::string &actions) {
  return frame(lua::inside::kSolved, std::string(reinterpret_cast<const char *>(&answer), sizeof answer) + actions);
}

// What an honest process says of "open one, read it".
std::string honest(uint64_t seed) {
  const auto store = small_store();
  const auto order = tts::shuffled(seed, store->branches);
  tts::Replay replay(store->questions[0], order);
  std::string actions;
  replay.record(&actions);
  REQUIRE(replay.open());
  REQUIRE(replay.read(1));
  return solved(1, actions);
}

}  // namespace

TEST_CASE("a text gives what the same file gives, for each published controller and any number of processes") {
  Recipe recipe("");
  recipe.settings.root = GCOP_SOURCE_DIR;
  recipe.files["store.json"] = kStore;
  recipe.files["recipe.lua"] =
      "local store = assert(gcop.tts.store('" + (recipe.folder() / "store.json").string() + R"('))
local settings = { { "sc", { max_samples = 4 } }, { "asc", { max_samples = 4, threshold = 0.95 } }, { "esc", { max_samples = 4, window_size = 2 } },
  { "parallel_probe", { num_chains = 4, T = 2, prune_patience = 1, warm_up = 0 } }, { "cmc", { beta = 0 } } }
for _, setting in ipairs(settings) do
  local name, params = "gcop.tts." .. setting[1], setting[2]
  local own = assert(gcop.tts.evaluate { store = store, controller = name, params = params, seeds = 70, first_seed = 5, traces = 3 })
  for threads = 1, 3 do
    local text = assert(gcop.tts.evaluate { store = store, text = gcop.tts.source(name), params = params, seeds = 70, first_seed = 5, traces = 3, threads = threads })
    own.seconds, text.seconds = nil, nil
    print(gcop.json.encode(own) == gcop.json.encode(text), #text.traces, #text.per_question)
  end
end
local one = assert(gcop.tts.evaluate { store = store, controller = "gcop.tts.sc", params = { max_samples = 1 }, questions = { 2 }, seeds = 5 })
local same = assert(gcop.tts.evaluate { store = store, text = gcop.tts.source "gcop.tts.sc", params = { max_samples = 1 }, questions = { 2 }, seeds = 5 })
print(gcop.json.encode(one.per_seed) == gcop.json.encode(same.per_seed), 2, one.per_question[1][2] == same.cost_total))";
  const Ran ran = recipe.run();
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  REQUIRE(ran.printed.size() == 16);
  for (int i = 0; i < 15; ++i) CHECK(ran.printed[static_cast<size_t>(i)] == "true\t6\t2");
  CHECK(ran.printed[15] == "true\t2\ttrue");
}

TEST_CASE("hostile texts are contained, and fail") {
  CHECK(has(refusal(body("while true do end")), "invalid: controller:2: more than 50000000 steps for one question"));
  CHECK(has(refusal(body("local t = {}\nwhile true do t[#t + 1] = { #t } end")), "holds more than 64 MiB of memory"));
  CHECK(has(refusal(body("local s = 'x'\nwhile true do s = s .. s end")), "holds more than 64 MiB of memory"));
  CHECK(has(refusal(body("return ('%0999999999d'):format(1)")), "invalid: controller:"));
  CHECK(has(refusal(body("local function f(n) return 1 + f(n + 1) end\nreturn f(1)")), "stack overflow"));
  CHECK(has(refusal(std::string(10 << 20, ' ')), "the text has 10485760 bytes; at most 262144 are read"));
  CHECK(refusal("return function(env)\n  oops(") ==
        "invalid: controller:2: unexpected symbol near <eof>");  // of the text, not of a question
  std::string nested = "return ";
  for (int i = 0; i < 100'000; ++i) nested += "(";
  CHECK(has(refusal(nested), "invalid: controller: C stack overflow"));
  CHECK(has(refusal("\x1bLua"), "attempt to load a binary chunk"));
  CHECK(has(refusal(std::string("return function()\0 end", 22)), "invalid: controller:1: "));
  for (const char *reach :
       {"env.gold_answer .. ''", "env.store.questions[1]", "env.replay:grade(1)", "io.open('store.json')",
        "require('gcop')", "debug.getregistry()", "getmetatable(env).__index", "load('return 1')()",
        "params.gold .. ''", "_G.x", "os.exit(0)"})
    CHECK_MESSAGE(has(refusal(body(std::string("return ") + reach)), "invalid: controller:2: attempt to"), reach);
  CHECK(has(refusal(body("math.max = function() return 1 end")), "'max' would be global"));
  CHECK(has(refusal(body("env.vote = function() return 1 end")), "attempt to index a gcop.Env value"));
  CHECK(has(refusal(body("string.format = nil")), "'format' would be global"));
  CHECK(has(refusal(body("env:open().id = 99\nlocal b = { id = 99 } env:read(b) return b.answer")),
            "branch 99 cannot be read"));
  CHECK(has(refusal(body("for i = 1, 1e6 do env:trace('x', 'y', i) end\nreturn 1"), "seeds = 1, traces = 1"),
            "returned 1"));
}

TEST_CASE("a process that takes long is ended; slow and honest ones are not") {
  const std::string slow = body("for i = 1, 2e7 do end\nlocal b = env:open() env:read(b) return b.answer");
  CHECK(has(refusal(slow, "seeds = 50, cpu_s = 0.2"), "its process took more than 0.2 s of CPU time (question "));
  CHECK(refusal(slow, "seeds = 1, cpu_s = 30") == "no error");
}

TEST_CASE("a text is cancelled when the one who waits for it gives up") {
  const Ran ran =
      evaluate("",
               "local slow = 'return function(env) for i = 1, 4000000 do end local b = env:open() env:read(b) return "
               "b.answer end'\n"
               "local _, who = gcop.race { function() return gcop.tts.evaluate { store = store, text = slow, "
               "seeds = 100000, cpu_s = 600 } end,\n function() gcop.sleep(0.1) end }\nprint(who)");
  CHECK_MESSAGE(ran.code == 0, ran.message);
  CHECK(ran.all() == "2");
}

TEST_CASE("options that make no sense are named") {
  const Ran ran = evaluate(
      kRead,
      "local function refuse(o) o.store = store print(select(2, pcall(gcop.tts.evaluate, o))) end\n"
      "refuse {} refuse { controller = 'c', text = 'x' } refuse { controller = 'c', isolation = 'jail' }\n"
      "refuse { text = 'x', isolation = 'none' } refuse { text = 'x', cpu_s = 0 } refuse { text = 'x', cpu_s = 1e9 }\n"
      "print(select(2, gcop.tts.source 'nobody').message)");
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  REQUIRE(ran.printed.size() == 7);
  CHECK(has(ran.printed[0], "give one of them"));
  CHECK(has(ran.printed[1], "give one of them"));
  CHECK(has(ran.printed[2], "isolation is for a controller given as text"));
  CHECK(has(ran.printed[3], "isolation must be \"jail\"|\"process\""));
  CHECK(has(ran.printed[4], "cpu_s is 0"));
  CHECK(has(ran.printed[5], "cpu_s is"));
  CHECK(has(ran.printed[6], "there is no controller 'nobody'"));
}

TEST_CASE("the jail holds no text of a question or an answer; costs and equalities are the store's") {
  const auto store = small_store();
  const std::string shown = tts::without_golds(*store, std::vector<uint32_t>{1, 0});
  CHECK(shown.find("one?") == std::string::npos);
  CHECK(shown.find("two?") == std::string::npos);
  CHECK(shown.find("07") == std::string::npos);
  auto again = tts::parse(shown, "shown");
  REQUIRE_MESSAGE(again, again.error().message);
  REQUIRE(again->questions.size() == 2);
  for (size_t i = 0; i < 2; ++i) {
    const tts::Question &a = store->questions[1 - i], &b = again->questions[i];
    CHECK(a.probe_freq == b.probe_freq);
    CHECK(a.probes == b.probes);
    REQUIRE(a.branches.size() == b.branches.size());
    for (size_t k = 0; k < a.branches.size(); ++k) {
      CHECK(a.branches[k].tokens == b.branches[k].tokens);
      CHECK(a.branches[k].final_answer == b.branches[k].final_answer);
    }
    for (const auto &grade : b.grades) CHECK_FALSE((grade.correct || grade.normalised));
  }
}

TEST_CASE("forged results are refused: what a process says it did is done again, by someone who knows the store") {
  ForgingJail jail;
  const std::string end = frame(lua::inside::kEnd, "");
  const auto forged = [&](const std::string &out) {
    jail.out = out;
    return play(jail);
  };
  const Played good = forged(honest(0) + honest(1) + end);
  CHECK(good.failed == "");
  REQUIRE(good.solved.size() == 2);
  CHECK(good.solved[0].cost + good.solved[1].cost > 0);

  const std::string not_ours =
      "forged: what its process wrote is not what a controller's process writes (question 1, shuffle ";
  CHECK(forged(honest(0) + honest(1)).failed == not_ours + "2)");                    // no end
  CHECK(forged(honest(0) + end).failed == not_ours + "1)");                          // one shuffle is missing
  CHECK(forged(honest(0) + honest(1) + honest(1) + end).failed == not_ours + "2)");  // one too many
  CHECK(forged(honest(0) + honest(1) + end + "x").failed == not_ours + "2)");        // something behind the end
  CHECK(forged("").failed == not_ours + "0)");
  CHECK(forged("s\xff\xff\xff\xff").failed == not_ours + "0)");               // a frame that is not all there
  CHECK(forged(frame(lua::inside::kSolved, "x")).failed == not_ours + "0)");  // no answer in it
  CHECK(forged(solved(1, "")).failed == not_ours + "0)");                     // an answer that nobody gave
  CHECK(forged(solved(0, honest(0).substr(9))).failed == not_ours + "0)");
  CHECK(forged(solved(2, honest(0).substr(9))).failed == not_ours + "0)");
  CHECK(forged(solved(1, std::string("\x06", 1))).failed == not_ours + "0)");           // reads what is not open
  CHECK(forged(solved(1, std::string("\x00\x06\x06", 3))).failed == not_ours + "0)");   // reads it twice
  CHECK(forged(solved(1, std::string(5, '\x00') + "\x06")).failed == not_ours + "0)");  // opens five of four
  CHECK(forged(solved(1, "\xff\xff\xff\xff\xff")).failed == not_ours + "0)");           // no number
  CHECK(forged(frame(lua::inside::kTrace, "no JSON") + honest(0)).failed == not_ours + "0)");
  CHECK(forged(honest(0) + frame(lua::inside::kFailed, "oops")).failed == "oops (question 1, shuffle 1)");
  CHECK(forged(honest(0) + frame(lua::inside::kFailed, "oops")).solved.size() == 1);
  CHECK(forged(frame(lua::inside::kRefused, "oops")).failed == "oops");
  CHECK(forged(frame(lua::inside::kRefused, std::string("a\x1b[31m\0\xff\n", 9))).failed == "a?[31m?\xef\xbf\xbd\n");
  CHECK(forged(honest(0) + frame(lua::inside::kRefused, "oops")).failed == not_ours + "1)");

  lua::Traces traces{1, {}, {}};
  jail.out = frame(lua::inside::kTrace, R"([{"event":"it is right","correct":true}])") + honest(0) + honest(1) + end;
  CHECK(play(jail, &traces).failed == "");
  REQUIRE(traces.rows.size() == 1);
  CHECK(traces.rows.begin()->second["cost"] == good.solved[0].cost);
  CHECK(traces.rows.begin()->second["correct"] == good.solved[0].correct);
}

TEST_CASE("how a process ended is told, with its limits") {
  ForgingJail jail;
  const auto with = [&](uint32_t limits, int exit_code, const std::string &err) {
    jail.limits = limits, jail.exit_code = exit_code, jail.err = err;
    return play(jail).failed;
  };
  CHECK(has(with(GCOP_CELL_CPU, -1, ""), "forged: its process took more than 2 s of CPU time (question 1, shuffle 0)"));
  CHECK(has(with(GCOP_CELL_WALL, -1, ""), "forged: its process was not done after 26 s"));
  CHECK(has(with(GCOP_CELL_MEMORY, -1, ""), "its process ran out of memory"));
  CHECK(has(with(GCOP_CELL_OUTPUT, 0, ""), "its process wrote more than any controller needs to"));
  CHECK(has(with(0, 3, "std::bad_alloc\n"), "its process ended with exit code 3 before it was done: std::bad_alloc"));
  jail.status = GCOP_UNSUPPORTED;
  CHECK(has(with(0, 0, "no bwrap"),
            "no bwrap. Only isolation = \"process\" runs a controller that a model wrote without a jail"));
}
