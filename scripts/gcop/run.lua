-- A run: what its stages share. `gcop.run { guide =, core =, check =, ... }` returns an object whose methods are the
-- stages of the method; each is a file of its own that can be read from top to bottom.
--
-- Resuming: calls and checks are answered by the store when they were made before, and guide weights are saved at the
-- points named by stages, so a resumed run simply runs again and finds its own footsteps.
local arguments = require "gcop.arguments"

local Run = {}
Run.__index = Run

--- Starts a run.
---@param o {guide: gcop.Guide, core: gcop.Core, check: gcop.Validator, prompts: table?, temperature: number?,
---          max_strategy_tokens: integer?, budget_usd: number?, price: {input: number, output: number}?,
---          seconds_per_call: number?}  price (USD per million tokens) and seconds are for --plan
---@return gcop.Run
local function new(o)
  for _, name in ipairs { "guide", "core", "check" } do
    if not o[name] then error("gcop.run needs " .. name .. " = ...", 2) end
  end
  local run = setmetatable({
    guide = o.guide, core = o.core, check = o.check,
    prompts = o.prompts or require "gcop.prompts",
    max_strategy_tokens = o.max_strategy_tokens or 96,
    parallel = o.parallel or 32,
    price = o.price, seconds_per_call = o.seconds_per_call or 0.25,
    report = { stages = {}, systems = {}, paired = {} },
    strategies = {},   -- leak verdicts by task and strategy
  }, Run)
  if o.budget_usd then gcop.store.set_budget(o.budget_usd) end
  return run
end

--- For --plan: what a stage expects to ask of a role. Tokens are what the starter tasks need: about 150 in and 30 out
--- for an execution, 300 in and 30 out for a proposal.
function Run:expect(stage, role, calls)
  local tokens_in, tokens_out = 150 * calls, 30 * calls
  if role == "teacher" then tokens_in, tokens_out = 300 * calls, 30 * calls end
  local price = self.price or { input = 0, output = 0 }
  gcop.plan { stage = stage, role = role, calls = calls, tokens_in = tokens_in, tokens_out = tokens_out,
    usd = (tokens_in * price.input + tokens_out * price.output) / 1e6, seconds = calls * self.seconds_per_call }
end

--- Runs fn as the stage `name`: its time and its costs go into the report. Under --plan and --check nothing runs.
function Run:stage(name, fn)
  if gcop.planning or gcop.checking then return {} end
  gcop.log("stage " .. name)
  local started = gcop.clock()
  local result = fn()
  table.insert(self.report.stages, { name = name, seconds = gcop.clock() - started })
  return result
end

--- One execution of a strategy (nil: the core alone) by the core, and its verdict.
--- Infrastructure failures are tried again and then left out; they are never a score.
---@param task gcop.Task
---@param strategy string|nil
---@param sample integer  which draw this is; the same draw is never paid twice
---@param messages table|nil  instead of prompts.core(task, strategy)
---@return {score: number, text: string, feedback: string, reply: gcop.Reply}|nil, gcop.Error|nil
function Run:attempt(task, strategy, sample, messages)
  local err
  for try = 1, 3 do
    local reply, verdict
    reply, err = self.core:complete { messages = messages or self.prompts.core(task, strategy), sample = sample, role = "core" }
    if reply then
      verdict, err = self.check:check(task, reply.text)
      if verdict then
        return { score = verdict.score, text = reply.text, feedback = verdict.feedback or "", reply = reply, verdict = verdict }
      end
    end
    if err.code == "exhausted" or err.code == "cancelled" then error(err) end
    if not err.retryable then break end
    gcop.sleep(try)
  end
  gcop.warn(task.id .. ": " .. err.message)
  return nil, err
end

--- Draws `samples` executions side by side. Returns those that ran.
function Run:attempts(task, strategy, samples, first, messages)
  local draws = {}
  for i = 1, samples do draws[i] = (first or 0) + i - 1 end
  local results = gcop.map(draws, { limit = samples }, function(sample)
    return self:attempt(task, strategy, sample, messages) or false
  end)
  local ran = {}
  for _, result in ipairs(results) do if result then ran[#ran + 1] = result end end
  return ran
end

local function mean_score(results)
  if #results == 0 then return nil end
  local sum = 0
  for _, result in ipairs(results) do sum = sum + result.score end
  return sum / #results
end
Run.mean_score = mean_score

--- The strategy inside a guide's or teacher's text, or nil and why it is not well formed.
function Run:parse(text)
  local strategy, why = gcop.strategy.parse(text)
  if not strategy then return nil, why end
  local tokens = #self.guide:encode(strategy)
  if tokens > self.max_strategy_tokens then
    return nil, ("%d tokens, at most %d are allowed"):format(tokens, self.max_strategy_tokens)
  end
  return strategy
end

--- Why a strategy leaks its task's answer, or nil. Literals first (free), then its code is run against the tests.
--- No paid call is made for a leaking strategy.
function Run:leak(task, strategy)
  local key = task.id .. "\0" .. strategy
  if self.strategies[key] ~= nil then return self.strategies[key] or nil end
  local why = gcop.strategy.leaks(strategy, task)
  if not why then
    for _, code in ipairs(gcop.strategy.code_blocks(strategy, task)) do
      local verdict = self.check:check(task, code)
      if verdict and verdict.score >= 1 then why = "its code passes the tests without the core" break end
    end
  end
  self.strategies[key] = why or false
  return why
end

--- Unguided success of the core on each task: the mean of n >= 4 draws, measured once.
---@return table<string, number>  by task id
function Run:baseline(o)
  arguments("baseline", o, { samples = 4 })   -- fewer draws say too little
  self:expect("baseline", "core", #o.tasks * o.samples)
  return self:stage("baseline", function()
    local bar = gcop.progress("unguided baseline", #o.tasks)
    local unguided = {}
    gcop.map(o.tasks, { limit = self.parallel }, function(task)
      unguided[task.id] = mean_score(self:attempts(task, nil, o.samples))
      bar:add(1)
    end)
    bar:done()
    self.unguided = unguided
    return unguided
  end)
end

--- At most n tasks (nil or 0: all), spread evenly over families, the same ones for the same seed.
function Run.pick(tasks, n, label)
  if not n or n == 0 or n >= #tasks then return tasks end
  local by_family, families = {}, {}
  for _, task in ipairs(gcop.shuffle(tasks, "pick", label)) do
    local family = task.family ~= "" and task.family or task.id
    if not by_family[family] then
      by_family[family] = {}
      families[#families + 1] = family
    end
    table.insert(by_family[family], task)
  end
  table.sort(families)
  families = gcop.shuffle(families, "pick families", label)
  local picked, round = {}, 1
  while #picked < n do
    for _, family in ipairs(families) do
      local task = by_family[family][round]
      if task and #picked < n then picked[#picked + 1] = task end
    end
    round = round + 1
  end
  return picked
end

Run.accept = require "gcop.accept"
Run.sft = require "gcop.sft"
Run.grpo = require "gcop.grpo"
Run.evaluate = require "gcop.evaluate"
Run.finish = require "gcop.finish"

return { new = new }
