-- A run: what its stages share. `gcop.run { guide =, core =, check =, ... }` returns an object whose methods are the
-- stages of the method; each is a file of its own that can be read from top to bottom.
--
-- Resuming: calls and checks are answered by the store when they were made before, and guide weights are saved at the
-- points named by stages, so a resumed run simply runs again and finds its own footsteps.
--
-- What each method takes and gives is in sdk/docs/lua.md, "A run and its stages" (rows in runtime/lua/api_run.cpp).
local arguments = require "gcop.arguments"

local Run = { __name = "gcop.Run" }
Run.__index = Run

-- A number caps the run; a table caps it in `total` and each role by its name.
local function set_budgets(usd)
  for role, cap in pairs(type(usd) == "table" and usd or { total = usd }) do
    if not ({ total = 1, teacher = 1, core = 1, judge = 1 })[role] then
      error(("gcop.run: budget_usd.%s caps nobody; it may say total, teacher, core and judge (gcop.store.set_budget caps a role of your own)"):format(tostring(role)), 4)
    end
    if type(cap) ~= "number" or cap < 0 then
      error(("gcop.run: budget_usd.%s is %s; it must be a number of dollars, 0 or more"):format(tostring(role), tostring(cap)), 4)
    end
    gcop.store.set_budget(cap, role ~= "total" and role or "")
  end
end

function Run.new(o)
  arguments("gcop.run", o, { max_strategy_tokens = 1, parallel = 1, seconds_per_call = 0 })
  local prompts = {}
  for name, default in pairs(gcop.prompts) do prompts[name] = default end
  for name, own in pairs(o.prompts or {}) do
    if not prompts[name] then error("gcop.run: there is no prompt '" .. tostring(name) .. "' to replace; see gcop.prompts in sdk/docs/lua.md", 3) end
    if type(own) ~= "function" then error("gcop.run: prompts." .. name .. " is " .. type(own) .. "; it must be a function that returns messages", 3) end
    prompts[name] = own
  end
  local run = setmetatable({
    guide = o.guide, core = o.core, check = o.check, prompts = prompts,
    max_strategy_tokens = o.max_strategy_tokens or 96,
    parallel = o.parallel or 32,
    seconds_per_call = o.seconds_per_call or 0.15,
    report = { stages = {}, systems = {}, paired = {} },
    strategies = {},   -- leak verdicts by task and strategy
  }, Run)
  set_budgets(o.budget_usd)
  local info = not gcop.planning and not gcop.checking and run.guide and run.guide:info() or {}
  if (info.training_bytes or 0) > 0 then
    gcop.log(("memory of the guide: weights %.1f GB, keys and values up to %.1f GB, training up to %.1f GB"):format(
      info.bytes / 1e9, info.kv_bytes / 1e9, info.training_bytes / 1e9))
  end
  return run
end

function Run:expect(stage, role, calls, core)
  if role == "guide" then return gcop.plan { stage = stage, role = role, calls = calls, seconds = calls * 0.5 } end
  local price, tokens_in, tokens_out = (core or self.core).price, (role == "core" and 150 or 300) * calls, 30 * calls
  local seconds = calls * self.seconds_per_call
  gcop.plan { stage = stage, role = role, calls = calls, tokens_in = tokens_in, tokens_out = tokens_out,
    usd = (tokens_in * price.input + tokens_out * price.output) / 1e6 + price.hour * seconds / 3600, seconds = seconds }
end

function Run:stage(name, fn)
  if gcop.planning or gcop.checking then return {} end
  gcop.log("stage " .. name)
  self.at = name   -- what calls are made for
  local before = (gcop.store.get("stage_time", name) or { seconds = 0 }).seconds
  local started = gcop.clock()
  local function note() gcop.store.put("stage_time", name, { seconds = before + gcop.clock() - started }) end
  -- Noted as it goes, so that a killed process's time counts too.
  local beat = gcop.spawn(function() while true do gcop.sleep(5) note() end end)
  local _ <close> = setmetatable({}, { __close = function() beat:cancel() end })   -- also when fn raises and a recipe goes on
  local result = fn()
  note()
  table.insert(self.report.stages, { name = name, seconds = before + gcop.clock() - started })
  return result
end

function Run:attempt(task, strategy, sample, messages)
  local err
  for try = 1, 3 do
    local reply, verdict
    reply, err = self.core:complete { messages = messages or self.prompts.core(task, strategy), sample = sample, role = "core", stage = self.at }
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

-- An answer that is no JSON object with a score in range is asked for again, twice; then there is no judgement, which is
-- not the same as a bad one.
function Run:judge(judge, task, strategy)
  local why
  for sample = 0, 2 do
    local reply, err = judge:complete { messages = self.prompts.judge(task, strategy), sample = sample, role = "judge", stage = self.at, max_tokens = 120 }
    if not reply and (err.code == "exhausted" or err.code == "cancelled") then error(err) end
    local score   -- the last object that has one: what stands before it was thought aloud
    for object in (reply and reply.text or ""):gmatch "%b{}" do
      local answer = gcop.json.decode(object)
      if type(answer) == "table" and answer.score ~= nil then score = answer.score end
    end
    if type(score) == "number" and score >= 0 and score <= 10 then return score / 10 end
    why = reply and "no score from 0 to 10 in: " .. reply.text:sub(1, 80) or err.message
  end
  gcop.warn(task.id .. ": the judge gave no score: " .. why)
  return nil, why
end

function Run:mean_score(results)
  if #results == 0 then return nil end
  local sum = 0
  for _, result in ipairs(results) do sum = sum + result.score end
  return sum / #results
end

function Run:parse(text)
  local strategy, why = gcop.strategy.parse(text)
  if not strategy then return nil, why end
  local tokens = #self.guide:encode(strategy)
  if tokens > self.max_strategy_tokens then
    return nil, ("%d tokens, at most %d are allowed"):format(tokens, self.max_strategy_tokens)
  end
  return strategy
end

-- Literals first, they cost nothing; then the strategy's own code against the tests: as cut out here, and as the validator
-- cuts it out of an answer. A check that could not run is no verdict and is not remembered as one.
function Run:leak(task, strategy)
  local key = task.id .. "\0" .. strategy
  if self.strategies[key] ~= nil then return self.strategies[key] or nil end
  local why, unknown = gcop.strategy.leaks(strategy, task), nil
  if not why then
    local programs = gcop.strategy.code_blocks(strategy, task)
    if #programs > 0 then programs[#programs + 1] = strategy end
    for _, code in ipairs(programs) do
      local verdict, err = self.check:check(task, code)
      if verdict and verdict.score >= 1 then why = "its code passes the tests without the core" break end
      if not verdict then
        if err.code == "exhausted" or err.code == "cancelled" then error(err) end
        unknown = err.message
      end
    end
  end
  if why or not unknown then self.strategies[key] = why or false else gcop.warn(task.id .. ": leak check: " .. unknown) end
  return why
end

function Run:baseline(o)
  arguments("baseline", o, { samples = 4 })   -- fewer draws say too little
  self:expect("baseline", "core", #o.tasks * o.samples)
  self.unguided = {}   -- under --check and --plan too: later stages see that it will be there
  return self:stage("baseline", function()
    local bar = gcop.progress("unguided baseline", #o.tasks)
    local unguided = {}
    gcop.map(o.tasks, { limit = self.parallel }, function(task)
      unguided[task.id] = self:mean_score(self:attempts(task, nil, o.samples))
      bar:add(1)
    end)
    bar:done()
    self.unguided = unguided
    return unguided
  end)
end

function Run:pick(tasks, n, label)
  if n < 0 then error("gcop.Run:pick: n is " .. n .. "; it must be 0 (all) or more", 3) end
  if n == 0 or n >= #tasks then return tasks end
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

return Run
