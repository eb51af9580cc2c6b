-- A controller of test-time compute before a live core: it decides how many answers to sample, how far to follow each, and
-- when to stop.
--   ./dev run recipes/autotts_solve.lua "A farmer has 12 hens; each lays 5 eggs a week. How many eggs in 3 weeks?"
--   ./dev run recipes/autotts_solve.lua --set tasks=gsm8k.jsonl --set count=3          the first tasks of a file
--   ... --set controller=gcop.tts.sc --set params='{"max_samples": 8}'                 another controller, module or file
--
--   needs   nothing but this machine; another core: --set core=openai:gpt-4o-mini (key in OPENAI_API_KEY)
--   change  prompt, probe and `answer` below are for questions whose answers are numbers
local number, expect = require "gcop.tts.number", require "gcop.tts.expect"
local option = gcop.option
local tasks_file = option("tasks", "", "task file whose answers are numbers, as GSM8K's rows; instead of a question")
local count = option("count", 3, "how many of its tasks, from the first")
local core_name = option("core", "local:qwen2.5-coder-0.5b-instruct", "the core that answers")
local controller = option("controller", "gcop.tts.cmc", "a Lua file or module")
local params = option("params", { beta = 0.2 }, "its settings, JSON")
local branches = option("branches", 64, "answers that it may sample")
local interval = option("interval", 64, "tokens between two looks at an answer")
local max_tokens = option("max_tokens", 384, "of one answer")
local temperature = option("temperature", 0.7, "of the answers")
local ahead = option("ahead", 0, "intervals that answers may run ahead: sooner done, more tokens")
local budget = option("budget_usd", 1.0, "hard cap on what calls may cost")

local asked = {}
for i, question in ipairs(gcop.args) do asked[i] = { prompt = question } end
if tasks_file ~= "" then
  for _, task in ipairs(gcop.tasks { tasks_file }.all) do
    if #asked < #gcop.args + count then asked[#asked + 1] = task end
  end
end
if #asked == 0 then error("autotts_solve needs a question, or --set tasks=FILE", 0) end
for name, n in pairs { branches = branches, interval = interval, max_tokens = max_tokens } do
  if n < 1 then error(("%s is %d; it must be 1 or more"):format(name, n), 0) end
end
local core = gcop.core { model = core_name, temperature = temperature, max_tokens = max_tokens }
gcop.store.set_budget(budget)
expect(core, core_name, "solve", #asked * branches, { interval = interval, max_tokens = max_tokens, probe_tokens = 12 })

for i, task in ipairs(asked) do
  local began = gcop.clock()
  local solved, err = gcop.tts.solve {
    core = core, controller = controller, params = params, branches = branches, interval = interval, ahead = ahead,
    prompt = task.prompt .. "\n\nPlease reason step by step. Put the final answer, a plain number, within \\boxed{}.",
    probe = { text = "\n\nThe final answer is \\boxed{", max_tokens = 12, stop = "}" },
    answer = number,
  }
  if not solved then error(err) end
  local ended, abandoned = 0, 0
  for _, branch in ipairs(solved.branches) do
    if branch.ended then ended = ended + 1 end
    if branch.abandoned then abandoned = abandoned + 1 end
  end
  local right = task.answer and (number("#### " .. task.answer) == solved.answer and "yes" or "no, " .. task.answer) or ""
  if i == 1 then print "| question | answer | right | tokens | answers sampled | to their end | given up | seconds |\n|---|---|---|---|---|---|---|---|" end
  print(("| %s | %s | %s | %d | %d | %d | %d | %.1f |"):format((task.prompt:sub(1, 40):gsub("[|\n]", " ")), solved.answer, right, solved.cost,
    solved.opened, ended, abandoned, gcop.clock() - began))
end
