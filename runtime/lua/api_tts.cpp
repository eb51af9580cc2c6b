// gcop.tts: controllers of test-time compute, evaluated on recorded traces.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <thread>

#include <fmt/format.h>

#include "base/log.hpp"
#include "lua/api.hpp"
#include "lua/bind.hpp"
#include "lua/controller.hpp"
#include "lua/host.hpp"
#include "lua/jailed_player.hpp"
#include "tts/evaluation.hpp"
#include "tts/store.hpp"

namespace gcop::lua {
namespace {

using On = Scheduler::On;
constexpr const char *kStore = "gcop.ReplayStore";

int store(lua_State *L) {
  Host &host = host_of(L);
  const std::string given(view(L, 1)), path = host.input_path(given);
  return scheduler_of(L).wait(L, On::host, [&host, given, path](Wake wake) -> Scheduler::Cancel {
    // The Wake stays on the strand; the worker only carries it there.
    auto loaded = std::make_shared<Result<tts::Store>>(invalid("not read"));
    std::function<void()> done = [&host, loaded, wake, given, path] {
      wake([&host, loaded, given, path](lua_State *waiting) {
        if (!*loaded) return fail(waiting, loaded->error());
        host.remember_input(path);
        auto kept = std::make_shared<tts::Store>(std::move(**loaded));
        push_object<tts::Store>(waiting, kStore, kept);
        lua_createtable(waiting, 0, 3);
        set(waiting, "path", given);
        set(waiting, "questions", kept->questions.size());
        set(waiting, "branches", kept->branches);
        lua_setiuservalue(waiting, -2, 1);
        return 1;
      });
    };
    host.loop().work([loaded, path, poster = host.loop().poster(), done = std::move(done)]() mutable {
      *loaded = tts::load(path);
      poster.post(std::move(done));
    });
    return [] {};  // a file is read in a moment
  });
}

int store_question(lua_State *L) {
  auto store = object<tts::Store>(L, 1, kStore);
  const lua_Integer number = lua_tointeger(L, 2);
  if (number < 1 || static_cast<size_t>(number) > store->questions.size())
    raise(L, fmt::format("gcop.ReplayStore:question: there is no question {}; this store has 1 to {}", number,
                         store->questions.size()));
  const tts::Question &q = store->questions[static_cast<size_t>(number - 1)];
  int64_t tokens = 0;
  for (const auto &branch : q.branches) tokens += branch.tokens;
  lua_createtable(L, 0, 4);
  set(L, "question", q.text);
  set(L, "gold_answer", q.gold);
  set(L, "probe_freq", q.probe_freq);
  set(L, "tokens", tokens);
  return 1;
}

}  // namespace

Result<std::pair<std::string, std::string>> controller_text(Host &host, const std::string &given) {
  std::string path = host.input_path(given);
  std::error_code ec;
  if (!std::filesystem::is_regular_file(path, ec)) path = host.state().find_module(given);
  std::ifstream in(path, std::ios::binary);
  if (path.empty() || !in)
    return invalid(
        fmt::format("there is no controller '{}': name a Lua file, or a module as in 'gcop.tts.cmc'", given));
  std::string text{std::istreambuf_iterator<char>(in), {}};
  host.remember_input(path);
  return std::pair{std::move(text), host.state().chunk_name(path).substr(1)};
}

namespace {

int source(lua_State *L) {
  auto text = controller_text(host_of(L), std::string(view(L, 1)));
  if (!text) return fail(L, text.error());
  const std::atomic<bool> never{false};
  if (auto made = Controller::make(text->first, text->second, nlohmann::json::object(), never); !made)
    return fail(L, made.error());
  push(L, text->first);
  return 1;
}

struct Job {
  std::unique_ptr<tts::Evaluation> evaluation;
  std::unique_ptr<Traces> traces;
  std::unique_ptr<Console::Bar> bar;  // who evaluates many proposals shows how many
  double began;
  int64_t running;
  JailedJob jailed;  // where it is one
};

void push_sums(lua_State *L, const char *field, const std::vector<tts::Sum> &sums) {
  lua_createtable(L, static_cast<int>(sums.size()), 0);
  for (size_t i = 0; i < sums.size(); ++i) {
    lua_createtable(L, 2, 0);
    lua_pushinteger(L, sums[i].correct);
    lua_rawseti(L, -2, 1);
    lua_pushinteger(L, sums[i].cost);
    lua_rawseti(L, -2, 2);
    lua_rawseti(L, -2, static_cast<lua_Integer>(i + 1));
  }
  lua_setfield(L, -2, field);
}

void push_evaluation(lua_State *L, Job &job, const std::vector<tts::Solved> &solved, size_t questions, double seconds) {
  tts::Sum sum;
  std::vector<tts::Sum> by_seed(solved.size() / questions), by_question(questions);
  for (size_t i = 0; i < solved.size(); ++i) {
    sum.add(solved[i]);
    by_seed[i / questions].add(solved[i]);
    by_question[i % questions].add(solved[i]);
  }
  lua_createtable(L, 0, 8);
  set(L, "solves", solved.size());
  set(L, "correct_total", sum.correct);
  set(L, "normalised_correct", sum.normalised);
  set(L, "cost_total", sum.cost);
  set(L, "seconds", seconds);
  push_sums(L, "per_seed", by_seed);
  push_sums(L, "per_question", by_question);
  if (!job.traces) return;
  lua_createtable(L, static_cast<int>(job.traces->rows.size()), 0);
  lua_Integer n = 0;
  for (const auto &[at, row] : job.traces->rows) {
    push_json(L, row);
    lua_rawseti(L, -2, ++n);
  }
  lua_setfield(L, -2, "traces");
}

std::vector<uint32_t> chosen(lua_State *L, const Options &o, size_t questions) {
  std::vector<uint32_t> all(questions);
  std::iota(all.begin(), all.end(), 0u);
  if (o.push("questions") != LUA_TNIL) {
    all.clear();
    for (const int32_t number : to_tokens(L, -1, "gcop.tts.evaluate: questions")) {
      if (number < 1 || static_cast<size_t>(number) > questions)
        o.refuse("questions", fmt::format("names question {}; this store has 1 to {}", number, questions));
      all.push_back(static_cast<uint32_t>(number - 1));
    }
    std::sort(all.begin(), all.end());
    if (all.empty() || std::adjacent_find(all.begin(), all.end()) != all.end())
      o.refuse("questions", "must name at least one question, and none twice");
  }
  lua_pop(L, 1);
  return all;
}

// A controller's text that somebody else wrote: which process may run it.
Result<const gcop_host_sandbox *> jail_for(lua_State *L, const Options &o, JailedJob &job) {
  Host &host = host_of(L);
  job.jailed = o.str("isolation", "jail") == "jail";
  job.cpu_ms = static_cast<uint32_t>(o.num("cpu_s", 30, 0.01, 3600) * 1000);
  if (!job.jailed && host.isolation().empty()) {
    log_warn("gcop.tts.evaluate: isolation = \"process\": what a model wrote runs without a jail");
    host.weaken("process");
  }
  const auto *sandbox = static_cast<const gcop_host_sandbox *>(host.registry().offered(GCOP_HOST_SANDBOX));
  if (!sandbox)
    return Error{Code::unsupported, "this program has no sandbox; a controller's text runs in nothing else", {}};
  return sandbox;
}

int evaluate(lua_State *L) {
  Host &host = host_of(L);
  Options o(L, 1, "gcop.tts.evaluate");
  o.push("store");
  auto store = object<tts::Store>(L, -1, kStore);
  lua_pop(L, 1);
  const bool foreign = o.has("text");
  if (foreign == o.has("controller"))
    o.refuse("controller", "is the name of a file, and text what such a file would hold: give one of them");
  for (const char *key : {"isolation", "cpu_s", "name"})
    if (!foreign && o.has(key)) o.refuse(key, "is for a controller given as text");
  tts::Shuffles shuffles;
  shuffles.questions = chosen(L, o, store->questions.size());
  shuffles.first = static_cast<uint64_t>(o.integer("first_seed", 0, 0, INT64_MAX - (1 << 20)));
  shuffles.count = static_cast<uint64_t>(o.integer("seeds", 100, 1, 1 << 20));
  const int64_t cores = std::max(1u, std::thread::hardware_concurrency());
  const int64_t threads = std::min(o.integer("threads", cores, 1, 256), static_cast<int64_t>(shuffles.count));
  const int64_t traced = o.integer("traces", 0, 0, 1 << 20);
  std::unique_ptr<Traces> traces;
  if (traced > 0) traces.reset(new Traces{shuffles.first + static_cast<uint64_t>(traced), {}, {}});

  JailedJob its{store, shuffles.questions, {}, {}, {}, {}, 0, true};
  const gcop_host_sandbox *sandbox = nullptr;
  its.params = o.has("params") ? o.json("params") : nlohmann::json::object();
  if (foreign) {
    its.text = o.str("text");
    its.name = o.str("name", "controller");
    auto jail = jail_for(L, o, its);
    if (!jail) return fail(L, jail.error());
    sandbox = *jail;
    its.shown_store = tts::without_golds(*store, its.questions);
  } else {
    auto text = controller_text(host, o.str("controller"));
    if (!text) return fail(L, text.error());
    std::tie(its.text, its.name) = std::move(*text);
  }
  const auto job = std::make_shared<Job>(
      Job{nullptr, std::move(traces),
          foreign ? nullptr : std::make_unique<Console::Bar>(host.console(), its.name, shuffles.count),
          static_cast<double>(host.loop().clock().steady_ns()), threads, std::move(its)});
  // The workers see the evaluation and what the job keeps for it, which lives until the last of them has reported.
  Job *const seen = job.get();
  const size_t questions = shuffles.questions.size();
  const uint64_t share = (shuffles.count + static_cast<uint64_t>(threads) - 1) / static_cast<uint64_t>(threads);
  job->evaluation = std::make_unique<tts::Evaluation>(
      std::move(shuffles), foreign ? std::min(kMostJailedShuffles, share) : 1,
      [seen, sandbox]() -> Result<std::unique_ptr<tts::Player>> {
        const JailedJob &what = seen->jailed;
        const auto &cancelled = seen->evaluation->cancelled();
        if (sandbox)
          return std::unique_ptr<tts::Player>(new JailedPlayer(*sandbox, what, seen->traces.get(), cancelled));
        auto made = Controller::make(what.text, what.name, what.params, cancelled, seen->traces.get());
        if (!made) return made.error();
        return std::unique_ptr<tts::Player>(
            new tts::LocalPlayer(what.store, what.questions, std::move(*made), cancelled));
      });
  if (job->bar)
    job->evaluation->on_played = [poster = host.loop().poster(), weak = std::weak_ptr<Job>(job)](uint64_t played) {
      poster.post([weak, played] {
        if (auto counted = weak.lock()) counted->bar->add(played, "");
      });
    };
  return scheduler_of(L).wait(L, On::host, [&host, job, seen, threads, questions](Wake wake) -> Scheduler::Cancel {
    std::function<void()> one_ended = [&host, job, wake, questions] {
      if (--job->running > 0) return;
      if (job->bar) job->bar->done();
      const double seconds = (static_cast<double>(host.loop().clock().steady_ns()) - job->began) * 1e-9;
      wake([job, questions, seconds](lua_State *waiting) {
        auto solved = job->evaluation->result();
        if (!solved) return fail(waiting, solved.error());
        push_evaluation(waiting, *job, *solved, questions, seconds);
        return 1;
      });
    };
    for (int64_t i = 0; i < threads; ++i)
      host.loop().work([seen, poster = host.loop().poster(), one_ended]() mutable {
        seen->evaluation->work();
        poster.post(std::move(one_ended));
      });
    return [job] { job->evaluation->cancel(); };
  });
}

}  // namespace

extern const Module tts_module;
const Module tts_module = {
    "tts",
    "Controllers of test-time compute",
    "How many answers to ask for, how far to follow each, and when to stop: a controller decides that, and recorded "
    "reasoning traces show what it costs and how often it is right (AutoTTS, arXiv 2605.08083). A controller is a Lua "
    "file that ends with `return function(env, params) ... end` and returns one of the answers its branches gave; "
    "scripts/gcop/tts/ has the published ones. It has plain Lua (math, table, string.format, sub and len, ipairs, "
    "pairs "
    "in sorted order, assert, error), `gcop.Env`, and nothing else: globals are read-only, the text is run anew for "
    "each "
    "question, and one question may take 50 million steps, 20 s of CPU time and 64 MiB.",
    {{"gcop.ReplayStore",
      "Recorded traces: questions, each with equally many branches.",
      {{"path", "string", "as given"}, {"questions", "integer", "how many"}, {"branches", "integer", "of a question"}}},
     {"gcop.Evaluation",
      "What a controller got from a store.",
      {{"solves", "integer", "questions times shuffles"},
       {"correct_total", "integer", "answers equal to the gold answer byte for byte, as the paper counts"},
       {"normalised_correct", "integer",
        "answers equal to it as values: blanks, $, \\boxed, leading zeros and such do "
        "not count"},
       {"cost_total", "integer", "tokens"},
       {"per_seed", "integer[][]", "{ correct, cost } of each shuffle"},
       {"per_question", "integer[][]", "{ correct, cost } of each question, over all shuffles"},
       {"seconds", "number", "that it took"},
       {"traces", "table[]?", "{ seed, question, correct, cost, events } of the traced shuffles"}}},
     {"gcop.Branch",
      "One line of reasoning, made by `env:open()`. A controller may add fields of its own.",
      {{"id", "integer", "1, 2, ... in the order of opening"},
       {"answer", "integer?",
        "what it says so far: a number that stands for a text. Equal answers are equal numbers; "
        "nothing else is to be read from them"},
       {"finished", "boolean", "it has come to its end; known one advance after its last probe"}}},
     {"gcop.Env",
      "One question as a controller meets it: a replayed one, or a live core. Wrong calls (a branch that has ended, "
      "was "
      "abandoned or never opened, or more branches than there are) are raised and cost nothing.",
      {}}},
    {},
    {{"gcop.tts.store",
      store,
      Waits::setup,
      "Reads recorded traces: a JSON list of { question, gold_answer, probe_freq, each_branch = { { probe answers, "
      "tokens, final answer }, ... } }.",
      {{"path", "string", "as given, or below the source tree"}},
      {},
      {{"store", "gcop.ReplayStore?", ""},
       {"err", "gcop.Error?", "names the question, branch and field that is wrong"}},
      "",
      "local store = assert(gcop.tts.store(gcop.args[1]))"},
     {"gcop.ReplayStore:question",
      store_question,
      Waits::no,
      "One question of the store.",
      {{"number", "integer", "from 1"}},
      {},
      {{"question", "table", "{ question, gold_answer, probe_freq, tokens }; tokens of all branches together"}},
      "",
      "print(store:question(1).question)"},
     {"gcop.tts.source",
      source,
      Waits::no,
      "The text of a controller, if it compiles.",
      {{"controller", "string", "a Lua file, or a module such as \"gcop.tts.cmc\""}},
      {},
      {{"text", "string?", ""}, {"err", "gcop.Error?", "there is no such file, or the line where it does not compile"}},
      "",
      "local text = assert(gcop.tts.source(\"gcop.tts.cmc\"))"},
     {"gcop.tts.evaluate",
      evaluate,
      Waits::yes,
      "Runs a controller on every question in every shuffle of the branches, on all cores. Shuffle `seed` is what "
      "CPython's random.Random(seed).shuffle makes of the branches, the same for all questions. The result does not "
      "depend on the number of threads.",
      {{"options", "table", ""}},
      {{"store", "gcop.ReplayStore", ""},
       {"controller", "string?", "a Lua file, or a module such as \"gcop.tts.cmc\": one's own; or"},
       {"text", "string?",
        "what such a file would hold, written by somebody else: it runs in processes of its own in the jail, which see "
        "neither questions nor gold answers, and what they say they did is done again outside"},
       {"name", "string?", "of a text, for messages; default \"controller\""},
       {"cpu_s", "number?", "CPU time that each process of a text may take; default 30"},
       {"isolation", "\"jail\"|\"process\"|nil",
        "of a text; default \"jail\". \"process\" has limits on time and memory and no other protection"},
       {"params", "table?", "what the controller gets as its second argument"},
       {"seeds", "integer?", "shuffles; default 100"},
       {"first_seed", "integer?", "default 0"},
       {"questions", "integer[]?", "numbers from 1; default all"},
       {"traces", "integer?", "of how many shuffles to keep what the controller traces; default 0"},
       {"threads", "integer?", "default: one for each core"}},
      {{"evaluation", "gcop.Evaluation?", ""},
       {"err", "gcop.Error?",
        "the controller raised, returned no answer, took too many steps or too much memory, with file and line"}},
      "",
      "local found, err = gcop.tts.evaluate { store = store, controller = \"gcop.tts.cmc\", params = { beta = 0.5 } }"},
     {"gcop.Env:open",
      nullptr,
      Waits::no,
      "Opens the next branch. It has no answer until it is advanced or read.",
      {},
      {},
      {{"branch", "gcop.Branch", ""}},
      "Raises when all are open.",
      "local branch = env:open()"},
     {"gcop.Env:advance",
      nullptr,
      Waits::yes,
      "Lets branches think on, side by side: each by one probe interval (the tokens that a store's probe_freq says), "
      "or "
      "as often as `times` says, and no further than to its end. Sets answer and finished.",
      {{"branches", "gcop.Branch|gcop.Branch[]", ""},
       {"times", "integer|integer[]|nil", "default 1; a list has one for each branch"}},
      {},
      {{"ended", "integer", "how many of them have finished by it"}},
      "",
      "env:advance(running)"},
     {"gcop.Env:read",
      nullptr,
      Waits::yes,
      "Reads branches to their ends at once. Sets answer and finished.",
      {{"branches", "gcop.Branch|gcop.Branch[]", ""}},
      {},
      {},
      "",
      "env:read(window)"},
     {"gcop.Env:abandon",
      nullptr,
      Waits::no,
      "Gives branches up: nothing more is paid for them. Before a live core their requests are cancelled.",
      {{"branches", "gcop.Branch|gcop.Branch[]", ""}},
      {},
      {},
      "",
      "env:abandon(branch)"},
     {"gcop.Env:vote",
      nullptr,
      Waits::no,
      "Counts a list. Of answers with equally many votes the one that comes first in the list wins.",
      {{"list", "(gcop.Branch|integer)[]", "branches, each voting for its answer, or answers"}},
      {},
      {{"winner", "integer?", "nil of an empty list"},
       {"first", "integer", "its votes"},
       {"second", "integer", "votes of the next answer: 0 where all agree"}},
      "",
      "local winner, first, second = env:vote(branches)"},
     {"gcop.Env:confidence",
      nullptr,
      Waits::no,
      "The chance that the leading answer is really the more frequent of the two: 1 - I_1/2(first + 1, second + 1), "
      "exact. 0 without votes.",
      {{"first", "integer", ""}, {"second", "integer", ""}},
      {},
      {{"chance", "number", ""}},
      "",
      "if env:confidence(first, second) > 0.95 then return winner end"},
     {"gcop.Env:limit",
      nullptr,
      Waits::no,
      "How many branches can be opened.",
      {},
      {},
      {{"branches", "integer", ""}},
      "",
      "while env:opened() < env:limit() do env:open() end"},
     {"gcop.Env:opened",
      nullptr,
      Waits::no,
      "How many branches have been opened.",
      {},
      {},
      {{"branches", "integer", ""}},
      "",
      "if env:opened() < 8 then env:open() end"},
     {"gcop.Env:cost",
      nullptr,
      Waits::no,
      "Tokens that this question has cost so far.",
      {},
      {},
      {{"tokens", "integer", ""}},
      "",
      "if env:cost() > params.budget then return winner end"},
     {"gcop.Env:trace",
      nullptr,
      Waits::no,
      "Remembers what happened, where gcop.tts.evaluate was asked for traces; else it does nothing.",
      {{"event", "string", ""}, {"...", "any", "names and values in turn"}},
      {},
      {},
      "",
      "env:trace(\"round\", \"step\", step, \"sure\", sure)"}}};

}  // namespace gcop::lua
