// gcop.tts.solve and collect: controllers, and the stores they are replayed on, before a live core. Both are written in
// Lua (scripts/gcop/tts/live.lua); here are their rows, and the controller's side, which waits for nothing.
#include <fmt/format.h>

#include "lua/api.hpp"
#include "lua/bind.hpp"
#include "lua/controller.hpp"
#include "lua/host.hpp"

namespace gcop::lua {
namespace {

constexpr const char *kController = "gcop.Controller";
constexpr lua_CFunction kInLua = nullptr;

struct Live {
  Live(uint32_t branches, int64_t interval)
      : question(branches, interval), replay(question.question(), question.order()) {}
  std::atomic<bool> cancelled{false};  // never: who waits no longer takes no further step
  tts::LiveQuestion question;
  tts::Replay replay;
  std::unique_ptr<Controller> controller;
  bool tracing = false, over = false;
};

int controller(lua_State *L) {
  Options o(L, 1, "gcop.tts.controller");
  const auto branches = static_cast<uint32_t>(o.integer("branches", 64, 1, tts::kMostBranches));
  auto live = std::make_shared<Live>(branches, o.integer("interval", 500, 1, 1 << 20));
  live->tracing = o.boolean("traces", false);
  auto text = controller_text(host_of(L), o.str("controller"));
  if (!text) return fail(L, text.error());
  auto params = o.has("params") ? o.json("params") : nlohmann::json::object();
  auto made = Controller::make(text->first, text->second, std::move(params), live->cancelled);
  if (!made) return fail(L, made.error());
  live->controller = std::move(*made);
  push_object<Live>(L, kController, std::move(live));
  return 1;
}

int step(lua_State *L) {
  auto live = object<Live>(L, 1, kController);
  if (live->over) raise(L, "gcop.Controller:step: it is over; make another one");
  auto turn = live->controller->step(live->replay, live->tracing);
  live->over = !turn || turn->answer;
  if (!turn) return fail(L, turn.error());
  lua_createtable(L, 0, 6);
  lua_createtable(L, static_cast<int>(turn->needs.size()), 0);
  for (size_t i = 0; i < turn->needs.size(); ++i) {
    const auto &need = turn->needs[i];
    lua_createtable(L, 0, 2);
    set(L, "branch", need.branch);
    if (need.times) set(L, "interval", live->replay.probed(need.branch) + need.times);
    lua_rawseti(L, -2, static_cast<lua_Integer>(i + 1));
  }
  lua_setfield(L, -2, "needs");
  lua_createtable(L, static_cast<int>(turn->abandoned.size()), 0);
  for (size_t i = 0; i < turn->abandoned.size(); ++i) {
    lua_pushinteger(L, turn->abandoned[i]);
    lua_rawseti(L, -2, static_cast<lua_Integer>(i + 1));
  }
  lua_setfield(L, -2, "abandoned");
  set(L, "opened", live->replay.opened());
  set(L, "cost", live->replay.cost());
  if (!turn->answer) return 1;
  set(L, "answer", live->replay.text(*turn->answer));
  if (live->tracing) {
    push_json(L, live->controller->events());
    lua_setfield(L, -2, "events");
  }
  return 1;
}

int probe(lua_State *L) {
  auto live = object<Live>(L, 1, kController);
  if (auto kept = live->question.probe(lua_tointeger(L, 2), view(L, 3)); !kept)
    raise(L, "gcop.Controller:probe: " + kept.error().message);
  return 0;
}

int finish(lua_State *L) {
  auto live = object<Live>(L, 1, kController);
  if (auto kept = live->question.finish(lua_tointeger(L, 2), lua_tointeger(L, 3), view(L, 4)); !kept)
    raise(L, "gcop.Controller:finish: " + kept.error().message);
  return 0;
}

// What solve and collect share.
std::vector<Field> with_branches(std::vector<Field> fields) {
  const std::vector<Field> shared = {
      {"core", "gcop.Core", "its temperature should not be 0, or all branches are the same"},
      {"messages", "gcop.Message[]?", "the question, or"},
      {"prompt", "string?", "as one user message"},
      {"answer", "(fun(text: string): string?)",
       "the answer that a text gives; nil or \"\" counts as the answer ERR. It sees a whole branch, or one so far with "
       "the probe and what came of it"},
      {"probe", "gcop.Probe?",
       "how a branch that goes on is asked for its answer; without one `answer` sees the text so far as it is. A "
       "core that cannot continue an answer needs none"},
      {"interval", "integer?", "tokens between two probes; default 500"},
      {"max_tokens", "integer?", "of a branch, which ends there; default: the core's"},
      {"branches", "integer?", "how many there are; default 64, or as many as `sample` lists"},
      {"sample", "integer|integer[]|nil", "the core's sample index of the first one, or of each; default 0"},
      {"role", "string?", "who pays, as in gcop.Core:complete; default \"core\""},
      {"stage", "string?", "what for; default \"solve\" or \"collect\""}};
  fields.insert(fields.begin(), shared.begin(), shared.end());
  return fields;
}

}  // namespace

extern const Module live_module;
const Module live_module = {
    "live",
    "Controllers before a live core",
    "What a controller decides on recorded traces it can decide while a core thinks. A branch is one sampled answer of "
    "the core, made interval by interval: each is a call that goes on from the text so far (local models, Lua "
    "functions and recorded calls can; `core.continues` says so). After each interval a probe, a short greedy call, "
    "asks for the answer so far; its tokens are paid and in the ledger, and no part of `env:cost()`, as in recorded "
    "stores. A core that cannot continue gives its whole answer as the first interval. Calls are kept like all calls: "
    "a branch that is asked for again, by another controller or a resumed run, is not paid again.\n\n"
    "A branch ends where the core stops, at `max_tokens`, or where the core gave fewer tokens than it was asked for. "
    "It has a probe for each interval that was begun; the last one is its final answer, taken from its own text. What "
    "a live solve decides and costs is therefore what a replay of the same branches decides and costs. A call that "
    "fails is no vote: it ends the solve with an err, and what was paid is in the store.",
    {{"gcop.Probe",
      "How a branch that goes on is asked for its answer.",
      {{"text", "string", "put behind the text so far: the answer is to follow it"},
       {"max_tokens", "integer?", "default 16"},
       {"stop", "string|string[]|nil", "where the answer ends, as \"\\n\""}},
      true},
     {"gcop.Solved",
      "What a controller made of a live core.",
      {{"answer", "string", ""},
       {"cost", "integer", "tokens as env:cost() counts them"},
       {"opened", "integer", "branches"},
       {"branches", "gcop.SolvedBranch[]", "the opened ones"},
       {"ahead", "{calls: integer, tokens: integer}",
        "calls that the controller never asked for, and tokens of those of them that were answered"},
       {"events", "table[]?", "what the controller traced"}}},
     {"gcop.SolvedBranch",
      "A branch afterwards.",
      {{"sample", "integer", ""},
       {"text", "string", "as far as the controller asked for it"},
       {"answer", "string?", "nil: it was opened only"},
       {"tokens", "integer", "of the text"},
       {"ended", "boolean", "by itself, or at max_tokens"},
       {"abandoned", "boolean", ""}}},
     {"gcop.Controller", "A controller that is run step by step.", {}}},
    {},
    {{"gcop.tts.solve",
      kInLua,
      Waits::yes,
      "Lets a controller answer a question with a core.",
      {{"options", "table", ""}},
      with_branches({{"controller", "string", "a Lua file, or a module such as \"gcop.tts.cmc\""},
                     {"params", "table?", "what the controller gets as its second argument"},
                     {"ahead", "integer?",
                      "intervals that a branch may run ahead of what was asked for, which saves time; what turns out "
                      "not to be wanted is cancelled, and what of it was paid is told apart. Default 0: no token that "
                      "the controller did not ask for"},
                     {"traces", "boolean?", "keep what the controller traces"}}),
      {{"solved", "gcop.Solved?", ""},
       {"err", "gcop.Error?",
        "the controller is wrong, with file and line; or a call failed: then it names the branch"}},
      "Raises what `answer` raises. Calls in flight are cancelled when it returns, raises, or is cancelled itself.",
      "local solved, err = gcop.tts.solve { core = core, prompt = question, controller = \"gcop.tts.cmc\", params = { "
      "beta = 0.2 },\n"
      "  interval = 64, probe = { text = \"\\n#### \", stop = \"\\n\" },\n"
      "  answer = function(text) return text:match \"#### *(%-?%d+)\" end }"},
     {"gcop.tts.collect",
      kInLua,
      Waits::yes,
      "Follows branches to their ends and probes each after every interval: rows of a store's each_branch.",
      {{"options", "table", ""}},
      with_branches({}),
      {{"branches", "any[]?", "each { probe answers, tokens, final answer }, in the order of their samples"},
       {"err", "gcop.Error?", "a call failed; it names the branch"}},
      "As gcop.tts.solve.",
      "local each_branch = assert(gcop.tts.collect { core = core, prompt = question, branches = 8, interval = 64,\n"
      "  answer = function(text) return text:match \"#### *(%-?%d+)\" end })"},
     {"gcop.tts.controller",
      controller,
      Waits::no,
      "A controller to be run step by step, for who has branches of another kind: gcop.tts.solve is made of it "
      "(scripts/gcop/tts/live.lua).",
      {{"options", "table", ""}},
      {{"controller", "string", "a Lua file or a module"},
       {"params", "table?", "its second argument"},
       {"branches", "integer?", "how many can be opened; default 64"},
       {"interval", "integer?", "tokens that an advance costs; default 500"},
       {"traces", "boolean?", "keep what it traces"}},
      {{"controller", "gcop.Controller?", ""}, {"err", "gcop.Error?", "it is not there, or no Lua"}},
      "",
      "local controller = assert(gcop.tts.controller { controller = \"gcop.tts.sc\", params = { max_samples = 8 } })"},
     {"gcop.Controller:step",
      step,
      Waits::no,
      "Goes on until the controller has an answer or needs a branch to go further than it is known. A step with "
      "neither "
      "has used up its time: call gcop.sleep(0), then the next one.",
      {},
      {},
      {{"turn",
        "{needs: {branch: integer, interval: integer?}[], abandoned: integer[], opened: integer, cost: integer, "
        "answer: string?, events: table[]?}?",
        "needs: branches, and the interval up to which each is wanted, or none: to its end; abandoned: since the last "
        "step"},
       {"err", "gcop.Error?", "the controller raised or took too much; it is over"}},
      "Raises after its end.",
      "local turn, err = controller:step()"},
     {"gcop.Controller:probe",
      probe,
      Waits::no,
      "Tells it what a branch says after its next interval.",
      {{"branch", "integer", "from 1"}, {"answer", "string", ""}},
      {},
      {},
      "Raises when the branch has ended.",
      "controller:probe(1, \"42\")"},
     {"gcop.Controller:finish",
      finish,
      Waits::no,
      "Tells it that a branch has ended.",
      {{"branch", "integer", "from 1"},
       {"tokens", "integer", "of the whole branch"},
       {"answer", "string", "the final one"}},
      {},
      {},
      "Raises when the branch has ended already.",
      "controller:finish(1, 1234, \"42\")"}}};

}  // namespace gcop::lua
