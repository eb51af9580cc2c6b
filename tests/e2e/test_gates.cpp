// What never reaches a paid call: strategies that are malformed or give the answer away.
#include "run.hpp"

using namespace e2e;

TEST_CASE(
    "a judge's score enters the reward; malformed and leaking strategies never reach it; no score is no judgement") {
  TempDir dir;
  const auto ran = recipe(dir, R"lua(
-- The guide is untrained and writes noise, so that the strategies it is credited with are set here. Its training fails on
-- them, and the recipe goes on.
local written = { "<strategy>\nadd one\n</strategy>", "<strategy>\nwrite 77123\n</strategy>", "noise", "<strategy>\nmumble\n</strategy>" }
local core = gcop.core { script = function(request)
  return "```python\ndef f(x):\n    return " .. (request.messages[#request.messages].content:find "add one" and "x + 1" or "77123") .. "\n```"
end }
local asked, answers = {}, { ["add one"] = { '{"score": 8, "reason": "short"}' }, mumble = { "eleven", '{"score": 11}', '{"score": "9"}' } }
local judge = gcop.core { script = function(request)
  local advice = request.messages[#request.messages].content:match "Advice:\n(.*)"
  asked[#asked + 1] = advice
  return answers[advice][request.sample + 1]
end }
local task = { id = "t", prompt = "plus", entry_point = "f", tests = { "assert f(77122) == 77123", "assert f(1) == 2" }, split = "train" }
local run = gcop.run { guide = gcop.guide { random = {} }, core = core, check = gcop.validator { "python" } }
answers["think"] = { "<think>maybe {\"score\": 2}, {not json}</think> {\"score\": 8, \"reason\": \"{x}\"} as {\"said\": 1}" }
print("alone", run:judge(judge, task, "add one"), (run:judge(judge, task, "mumble")), run:judge(judge, task, "think"))
local before = #asked
run:baseline { tasks = { task }, samples = 4 }
local guide = run.guide
run.guide = setmetatable({ sample = function()
  local out = {}
  for i, text in ipairs(written) do
    out[i] = { text = text, tokens = guide:encode(text), logprobs = {}, weights_version = 1, truncated = false }
  end
  return out
end }, { __index = function(_, name) return function(_, ...) return guide[name](guide, ...) end end })
local seen = {}
local ok, err = pcall(run.grpo, run, { tasks = { task }, steps = 1, prompts = 1, group = 4, samples = 1, lr = 0, kl_beta = 0, max_tokens = 40, judge = judge,
  reward = function(episode)
    local kind = episode.malformed and "malformed" or episode.leak and "leak" or "honest"
    seen[#seen + 1] = kind .. ":" .. tostring(episode.judge)
    return episode.judge or -1
  end })
table.sort(seen)
print("seen", table.concat(seen, " "), "asked anew", #asked - before)
)lua");
  CHECK_MESSAGE(ran.said.find("alone\t0.8\tnil\t0.8\n") != std::string::npos, ran.said);
  CHECK_MESSAGE(
      ran.said.find("seen\thonest:0.8 honest:0.8 leak:nil leak:nil malformed:nil malformed:nil\tasked anew\t0\n") !=
          std::string::npos,
      ran.said);
}

TEST_CASE("strategies without a score are counted, and are well formed all the same") {
  TempDir dir;
  const auto ran = recipe(dir, R"lua(
local core = gcop.core { script = function() return "def f(x): return x + 1" end }
local judge = gcop.core { script = function() return "I would rather not" end }
local task = { id = "t", prompt = "plus", entry_point = "f", tests = { "assert f(77122) == 77123" }, split = "train" }
local run = gcop.run { guide = gcop.guide { random = {} }, core = core, check = gcop.validator { "python" } }
run:baseline { tasks = { task }, samples = 4 }
local guide = run.guide
run.guide = setmetatable({ sample = function()
  local out = {}
  for i, text in ipairs { "<strategy>\nmumble\n</strategy>", "<strategy>\nhum\n</strategy>", "<strategy>\nadd\n</strategy>", "noise" } do
    out[i] = { text = text, tokens = guide:encode(text), logprobs = {}, weights_version = 1, truncated = false }
  end
  return out
end }, { __index = function(_, name) return function(_, ...) return guide[name](guide, ...) end end })
run:grpo { tasks = { task }, steps = 1, prompts = 1, group = 4, samples = 1, lr = 0, kl_beta = 0, max_tokens = 40, judge = judge,
  reward = gcop.reward.gated() }
local row = run.report.grpo.history[1]
print("row", row.valid_rate, row.leak_rate, row.unscored, row.rollouts, row.reward, row.groups)
)lua");
  CHECK_MESSAGE(ran.said.find("row\t0.75\t0.0\t9\t3\t-1.0\t0\n") != std::string::npos, ran.said);
}

TEST_CASE("a strategy whose own code passes the tests leaks: no stage pays a core for it") {
  TempDir dir;
  const auto ran = recipe(dir, R"lua(
-- In the strategy's code nothing is a literal of the tests; only running it shows what it is.
local code = "Do this:\n```python\ny = x + x\nreturn y\n```"
local paid = 0
local core = gcop.core { script = function() paid = paid + 1 return "no idea" end }
local teacher = gcop.core { script = function() return "<strategy>\n" .. code .. "\n</strategy>" end }
local task = { id = "t", prompt = "double", entry_point = "f", tests = { "assert f(3) == 6", "assert f(20) == 40" }, split = "train" }
local run = gcop.run { guide = gcop.guide { random = {} }, core = core, check = gcop.validator { "python" } }
print("alone", run:leak(task, code), run:leak(task, "`x * 2`"), run:leak(task, "`x * 3`"), run:leak(task, "double it"))
local broken = { check = function() return nil, { code = "unavailable", message = "no sandbox", retryable = true } end }
local works = run.check
run.check = broken
local unknown = run:leak(task, "`2 * x`")
run.check = works
print("unknown", unknown, run:leak(task, "`2 * x`"))

pcall(run.accept, run, { tasks = { task }, teacher = teacher, m = 3, proposals = 2, refine = 1, keep = 1 })
local a = run.report.acceptance or {}
print("accept", paid, a.leaked and a.leaked > 0, a.tested)
run.unguided = { t = 0 }
local guide = run.guide
run.guide = setmetatable({ sample = function()
  local text = "<strategy>\n" .. code .. "\n</strategy>"
  local one = { text = text, tokens = guide:encode(text), logprobs = {}, weights_version = 1, truncated = false }
  return { one, one }
end }, { __index = function(_, name) return function(_, ...) return guide[name](guide, ...) end end })
local why
pcall(run.grpo, run, { tasks = { task }, steps = 1, prompts = 1, group = 2, samples = 1, lr = 0, kl_beta = 0, max_tokens = 60,
  reward = function(episode) why = episode.leak return -0.5 end })   -- its training fails on them
print("grpo", paid, why)
run:evaluate { tasks = { task }, samples = 2, systems = { "gcop_exectune" } }
local system = run.report.systems[1] or {}
print("evaluate", paid, system.leak_rate)
)lua");
  const std::string reason = "its code passes the tests without the core";
  for (const std::string &line :
       {"alone\t" + reason + "\t" + reason + "\tnil\tnil\n", "unknown\tnil\t" + reason + "\n",
        std::string("accept\t0\ttrue\t0\n"), "grpo\t0\t" + reason + "\n", std::string("evaluate\t0\t1.0\n")})
    CHECK_MESSAGE(ran.said.find(line) != std::string::npos, ran.said);
}
