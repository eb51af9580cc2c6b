-- Records a store of reasoning traces from a live core, for controllers of test-time compute to be replayed on:
--   ./dev run recipes/autotts_collect.lua TASKS.jsonl [TASKS.jsonl ...]       tasks whose answers are numbers, as GSM8K's rows
--
--   needs   nothing but this machine; another core: --set core=openai:gpt-4o-mini (key in OPENAI_API_KEY). A core that can
--           continue an answer (a local model) is asked for its answer so far after every `interval` tokens; of another one
--           a trace has its final answer only
--   makes   store.json in the run's folder, in the published form; ./dev run recipes/autotts_replay.lua runs/.../store.json
--           --set controller=mine.lua evaluates on it. `branch` b of question q is the core's sample b - 1
--   killed  ./dev run --resume runs/... goes on: no answered call is paid again, and the store is the same to the byte
--   change  prompt and probe below; `answer`, which reads an answer out of a text: any Lua function will do
local number, expect = require "gcop.tts.number", require "gcop.tts.expect"
local option = gcop.option
local core_name = option("core", "local:qwen2.5-coder-0.5b-instruct", "the core that is recorded")
local key_env = option("key_env", "", "environment variable that holds the key of a core at a URL")
local price = option("price", {}, "USD per million tokens of an API core that recipes/prices.toml does not know: {\"input\": 1, \"output\": 2}")
local budget = option("budget_usd", 5.0, "hard cap on what calls may cost")
local questions = option("questions", { quick = 5, standard = 30 }, "how many of the tasks, from the first; 0 = all")
local branches = option("branches", { quick = 8, standard = 64 }, "traces of each question")
local interval = option("interval", 64, "tokens between two probes")
local max_tokens = option("max_tokens", 384, "of a trace, which ends there")
local temperature = option("temperature", 0.7, "of the traces; probes are greedy")
local parallel = option("parallel", 16, "traces in flight")
local probe = { text = "\n\nThe final answer is \\boxed{", max_tokens = 12, stop = "}" }
local function prompt(task)
  return task.prompt .. "\n\nPlease reason step by step. Put the final answer, a plain number, within \\boxed{}."
end

if #gcop.args == 0 then error("autotts_collect needs a task file, as GSM8K's JSONL", 0) end
for name, n in pairs { branches = branches, interval = interval, max_tokens = max_tokens, parallel = parallel } do
  if n < 1 then error(("--set %s=%d: must be 1 or more"):format(name, n), 0) end
end
if questions < 0 then error("--set questions=" .. questions .. ": must be 0 (all) or more", 0) end
if temperature <= 0 then error("--set temperature=" .. temperature .. ": must be above 0, or all traces of a question are the same", 0) end

if type(price) ~= "table" then error("--set price: must be a table such as {\"input\": 1, \"output\": 2}", 0) end

local tasks = {}
for _, task in ipairs(gcop.tasks(gcop.args).all) do
  if questions == 0 or #tasks < questions then
    task.gold = task.answer and number("#### " .. task.answer)
    if not task.gold then error(("%s: the task has no number as its answer"):format(task.where or task.id), 0) end
    tasks[#tasks + 1] = task
  end
end
if #tasks == 0 then error("there are no tasks in the files", 0) end
local core = gcop.core { model = core_name, temperature = temperature, max_tokens = max_tokens, max_in_flight = core_name:find "^local:" and 32 or nil,
  key_env = key_env ~= "" and key_env or nil, price = next(price) and price or nil }
gcop.store.set_budget(budget)

expect(core, core_name, "collect", #tasks * branches, { interval = interval, max_tokens = max_tokens, probe_tokens = probe.max_tokens })

local began, pairs_left = gcop.clock(), {}
for _, task in ipairs(tasks) do
  for b = 1, branches do pairs_left[#pairs_left + 1] = { task = task, sample = b - 1 } end
end
local bar
local traces = gcop.map(pairs_left, { limit = parallel }, function(one)
  local rows, err = gcop.tts.collect { core = core, prompt = prompt(one.task), probe = probe, answer = number,
    interval = interval, max_tokens = max_tokens, branches = 1, sample = one.sample }
  if not rows then error(err) end   -- the budget (exit code 3) or the core failed: what was paid is kept, --resume goes on
  bar = bar or gcop.progress("traces", #pairs_left)
  bar:add(1)
  return rows[1]
end)
bar:done()

local store = {}
for q, task in ipairs(tasks) do
  local each, finals = {}, {}
  for b = 1, branches do
    each[b] = traces[(q - 1) * branches + b]
    finals[b] = each[b][3]
  end
  store[q] = { question = task.prompt, gold_answer = task.gold, probe_freq = interval, each_branch = each, final_answers_trace = finals }
end
gcop.files.write("store.json", gcop.json.encode(store))
local path = gcop.out_dir .. "/store.json"
print(("%d questions, %d traces each: %s"):format(#tasks, branches, path))

-- What the store says of two controllers: all traces, and as bold a search as so many traces allow.
local collected = assert(gcop.tts.store(path))
local evaluations = {}
local settings = { { "MajorityVote", "gcop.tts.sc", { max_samples = branches } } }
if branches >= 4 then settings[2] = { "CMC", "gcop.tts.cmc", { beta = math.min(10, (branches - 4) // 6) / 10 } } end
print "| method | settings | accuracy | tokens per question |\n|---|---|---|---|"
for i, setting in ipairs(settings) do
  local e = assert(gcop.tts.evaluate { store = collected, controller = setting[2], params = setting[3] })
  print(("| %s | %s | %.1f %% | %.0f |"):format(setting[1], gcop.json.encode(setting[3]), 100 * e.correct_total / e.solves, e.cost_total / e.solves))
  evaluations[i] = { store = "store.json", method = setting[1], params = setting[3], solves = e.solves, correct_total = e.correct_total,
    normalised_correct = e.normalised_correct, cost_total = e.cost_total, per_seed = e.per_seed }
end
local cost = require "gcop.costs"()
gcop.report.write { evaluations = evaluations, cost = cost, unknown_calls = gcop.store.unknown_calls(), stages = { { name = "collect", seconds = gcop.clock() - began } } }
