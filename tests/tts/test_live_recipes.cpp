// recipes/autotts_collect.lua and autotts_solve.lua against recorded calls, a real HTTP peer and wrong input.
#include <doctest/doctest.h>

#include <fstream>

#include <nlohmann/json.hpp>

#include "../core_http/peer.hpp"
#include "../lua/recipe.hpp"

using namespace gcop;
using nlohmann::json;

namespace {

bool has(const std::string &text, const std::string &part) {
  const bool found = text.find(part) != std::string::npos;
  if (!found) MESSAGE(text);
  return found;
}

std::string file(const std::filesystem::path &path) {
  std::ifstream in(path);
  REQUIRE_MESSAGE(in, path.string());
  return {std::istreambuf_iterator<char>(in), {}};
}

const std::string kAsk = "\n\nPlease reason step by step. Put the final answer, a plain number, within \\boxed{}.";
const std::string kProbe = "\n\nThe final answer is \\boxed{";

// Recorded calls of two samples of two questions: the first goes on for two intervals, the second says all at once.
std::string calls() {
  std::string lines;
  const auto add = [&](const std::string &question, int sample, const std::string &prefix, bool probe,
                       const std::string &text, int output, const char *finish) {
    json request = {{"messages", json::array({{{"role", "user"}, {"content", question + kAsk}}})},
                    {"prefix", prefix},
                    {"max_tokens", probe ? 12 : 4},
                    {"temperature", probe ? 0.0 : 0.5},
                    {"top_p", 1.0},
                    {"stop", probe ? json{"}"} : json::array()}};
    lines += json{{"request", request},
                  {"sample", sample},
                  {"reply", {{"text", text}, {"finish", finish}, {"input", 9}, {"output", output}}}}
                 .dump() +
             "\n";
  };
  for (const char *question : {"one?", "two?"}) {
    add(question, 0, "", false, "I think", 4, "length");
    add(question, 0, "I think" + kProbe, true, "1,007", 3, "stop");
    add(question, 0, "I think", false, " so. \\boxed{7}", 3, "stop");
    add(question, 1, "", false, "\\boxed{07.0}", 2, "stop");
  }
  return lines;
}

struct Outcome {
  Ran ran;
  std::string store, report;
};

Outcome run_recipe(const std::string &name, std::map<std::string, std::string> set, std::vector<std::string> args,
                   void (*change)(lua::Settings &) = nullptr) {
  Recipe recipe(file(std::string(GCOP_SOURCE_DIR "/recipes/") + name));
  recipe.settings.root = GCOP_SOURCE_DIR;
  recipe.keep = true;
  recipe.files["calls.jsonl"] = calls();
  recipe.files["tasks.jsonl"] = R"({"question": "one?", "answer": "so\n#### 7"})"
                                "\n"
                                R"({"question": "two?", "answer": "so\n#### 1,007.0"})"
                                "\n";
  recipe.files["empty.jsonl"] = "";
  for (auto &arg : args)
    if (arg.ends_with(".jsonl") && arg.find('/') == std::string::npos) arg = (recipe.folder() / arg).string();
  for (auto &[key, value] : set) {
    if (value == "replay") value = "replay:" + (recipe.folder() / "calls.jsonl").string();
    if (value.ends_with(".jsonl") && key == "tasks") value = (recipe.folder() / value).string();
  }
  recipe.settings.args = std::move(args);
  recipe.settings.set = std::move(set);
  if (change) change(recipe.settings);
  Outcome out{recipe.run(), "", ""};
  const auto store = recipe.folder() / "out/store.json", report = recipe.folder() / "out/report.json";
  if (std::filesystem::exists(store)) out.store = file(store);
  if (std::filesystem::exists(report)) out.report = file(report);
  return out;
}

const std::map<std::string, std::string> kSmall = {{"core", "replay"}, {"branches", "2"},    {"questions", "0"},
                                                   {"interval", "4"},  {"max_tokens", "20"}, {"temperature", "0.5"}};

std::map<std::string, std::string> with(std::map<std::string, std::string> set, const std::string &key,
                                        const std::string &value) {
  set[key] = value;
  return set;
}

}  // namespace

TEST_CASE("collect writes a store in the published form, which it evaluates") {
  const Outcome out = run_recipe("autotts_collect.lua", kSmall, {"tasks.jsonl"});
  REQUIRE_MESSAGE(out.ran.code == 0, out.ran.message);
  const json branches = json::parse(R"([[["1007", "7"], 7, "7"], [["7"], 2, "7"]])");
  const json finals = {"7", "7"};
  CHECK(json::parse(out.store) == json::array({{{"question", "one?"},
                                                {"gold_answer", "7"},
                                                {"probe_freq", 4},
                                                {"each_branch", branches},
                                                {"final_answers_trace", finals}},
                                               {{"question", "two?"},
                                                {"gold_answer", "1007"},
                                                {"probe_freq", 4},
                                                {"each_branch", branches},
                                                {"final_answers_trace", finals}}}));
  CHECK(has(out.ran.all(), "| MajorityVote | {\"max_samples\":2} | 50.0 % | 9 |"));
  const json report = json::parse(out.report);
  CHECK(report["evaluations"].size() == 1);
  CHECK(report["cost"].contains("core"));
}

TEST_CASE("collect stops at the budget, resumable, and says what is wrong") {
  peer::Peer http([](peer::Link &link, const peer::Request &) {
    link.write(peer::reply(peer::completion("#### 1")));
    return true;
  });
  auto paid = with(with(kSmall, "core", http.url() + "/v1#m"), "price", R"({"input": 1, "output": 1})");
  Outcome out = run_recipe("autotts_collect.lua", with(paid, "budget_usd", "0"), {"tasks.jsonl"});
  CHECK(out.ran.code == lua::Outcome::budget);
  CHECK(out.store.empty());
  CHECK(http.requests() == 0);
  out = run_recipe("autotts_collect.lua", with(paid, "budget_usd", "1"), {"tasks.jsonl"});
  REQUIRE_MESSAGE(out.ran.code == 0, out.ran.message);
  CHECK(http.requests() == 4);
  CHECK(json::parse(out.store)[0]["each_branch"][1][0] == json{"1"});

  const auto wrong = [](const std::string &key, const std::string &value, std::vector<std::string> args) {
    const Outcome o = run_recipe("autotts_collect.lua", with(kSmall, key, value), std::move(args));
    CHECK(o.ran.code == lua::Outcome::wrong);
    CHECK(o.store.empty());
    return o.ran.message;
  };
  for (const char *key : {"branches", "interval", "max_tokens", "parallel"})
    CHECK(has(wrong(key, "0", {"tasks.jsonl"}), std::string("--set ") + key + "=0: must be 1 or more"));
  CHECK(has(wrong("questions", "-1", {"tasks.jsonl"}), "--set questions=-1"));
  CHECK(has(wrong("temperature", "0", {"tasks.jsonl"}), "all traces of a question are the same"));
  CHECK(has(wrong("budget_usd", "-1", {"tasks.jsonl"}), "usd is -1"));
  CHECK(has(wrong("core", "nonsense", {"tasks.jsonl"}), "nonsense"));
  CHECK(has(wrong("price", "7", {"tasks.jsonl"}), "price"));
  CHECK(has(wrong("oops", "1", {"tasks.jsonl"}), "--set of 'oops'"));
  CHECK(has(wrong("branches", "2", {}), "autotts_collect needs a task file"));
  CHECK(has(wrong("branches", "2", {"missing.jsonl"}), "missing.jsonl"));
  CHECK(has(wrong("branches", "2", {"recipes/data/house_python.jsonl"}), "has no number as its answer"));
}

TEST_CASE("collect goes on where the budget stopped it: the same store, and no call paid twice") {
  peer::Peer http([](peer::Link &link, const peer::Request &request) {
    link.write(peer::reply(peer::completion(request.body.find("two?") == std::string::npos ? "#### 7" : "#### 8")));
    return true;
  });
  Recipe recipe(file(GCOP_SOURCE_DIR "/recipes/autotts_collect.lua"));
  recipe.settings.root = GCOP_SOURCE_DIR;
  recipe.keep = true;
  recipe.files["tasks.jsonl"] = R"({"question": "one?", "answer": "#### 7"})"
                                "\n"
                                R"({"question": "two?", "answer": "#### 7"})"
                                "\n";
  recipe.settings.args = {(recipe.folder() / "tasks.jsonl").string()};
  recipe.settings.set = with(with(kSmall, "core", http.url() + "/v1#m"), "price", R"({"input": 0, "output": 1000})");
  recipe.settings.set["parallel"] = "1";
  recipe.settings.set["budget_usd"] = "0.03";  // a call may cost 0.02 and costs 0.009
  Ran ran = recipe.run();
  CHECK_MESSAGE(ran.code == lua::Outcome::budget, ran.message);
  CHECK(http.requests() == 2);
  CHECK_FALSE(std::filesystem::exists(recipe.folder() / "out/store.json"));
  recipe.settings.set["budget_usd"] = "1";
  ran = recipe.run();
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  CHECK(http.requests() == 4);
  const std::string resumed = file(recipe.folder() / "out/store.json");
  std::filesystem::remove_all(recipe.folder() / "out");
  ran = recipe.run();
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  CHECK(http.requests() == 8);
  CHECK(file(recipe.folder() / "out/store.json") == resumed);
}

TEST_CASE("collect under --plan and --check calls nobody and tells the most it may cost") {
  Outcome out = run_recipe("autotts_collect.lua", kSmall, {"tasks.jsonl"}, [](lua::Settings &s) { s.planning = true; });
  CHECK_MESSAGE(out.ran.code == 0, out.ran.message);
  CHECK(out.store.empty());
  out = run_recipe("autotts_collect.lua", kSmall, {"tasks.jsonl"}, [](lua::Settings &s) { s.checking = true; });
  CHECK_MESSAGE(out.ran.code == 0, out.ran.message);
  out = run_recipe("autotts_collect.lua", kSmall, {}, [](lua::Settings &s) { s.checking = true; });
  CHECK(out.ran.code == lua::Outcome::wrong);
}

TEST_CASE("solve answers a question, and the first tasks of a file") {
  auto set = with(with(kSmall, "controller", "gcop.tts.sc"), "params", R"({"max_samples": 2})");
  set.erase("questions");
  Outcome out = run_recipe("autotts_solve.lua", set, {"one?"});
  REQUIRE_MESSAGE(out.ran.code == 0, out.ran.message);
  CHECK(has(out.ran.all(), "| one? | 7 |  | 9 | 2 | 2 | 0 | "));
  out = run_recipe("autotts_solve.lua", with(with(set, "tasks", "tasks.jsonl"), "count", "2"), {});
  REQUIRE_MESSAGE(out.ran.code == 0, out.ran.message);
  CHECK(has(out.ran.all(), "| one? | 7 | yes | 9 |"));
  CHECK(has(out.ran.all(), "| two? | 7 | no, 1,007.0 | 9 |"));
  out = run_recipe("autotts_solve.lua", set, {"unknown?"});
  CHECK(out.ran.code == lua::Outcome::failed);
  CHECK(has(out.ran.message, "branch with sample 0: core 'replay"));
  out = run_recipe("autotts_solve.lua", set, {});
  CHECK(out.ran.code == lua::Outcome::wrong);
  CHECK(has(out.ran.message, "autotts_solve needs a question"));
  out = run_recipe("autotts_solve.lua", with(set, "controller", "nobody"), {"one?"},
                   [](lua::Settings &s) { s.checking = true; });
  CHECK(out.ran.code != 0);
  CHECK(has(out.ran.message, "there is no controller 'nobody'"));
}

TEST_CASE("numbers are read in one spelling") {
  Recipe recipe(R"(
local number = require "gcop.tts.number"
for _, text in ipairs { "#### 18", "#### 1,200.50", "so \\boxed{$1,234,567.00}", "The answer is: -0.50.", "#### -0", "#### 007", "nothing 5",
    "#### x\n#### 5 apples", "#### .5", "#### 100", "#### 100.0", "#### $-5", "\\boxed{1} and \\boxed{2", "\\boxed{}", "####", "" } do
  print(number(text))
end)");
  recipe.settings.root = GCOP_SOURCE_DIR;
  const Ran ran = recipe.run();
  CHECK_MESSAGE(ran.code == 0, ran.message);
  CHECK(ran.all() == "18\n1200.5\n1234567\n-0.5\n0\n7\nnil\n5\n0.5\n100\n100\n-5\n2\nnil\nnil\nnil");
}
