-- Stage 4, evaluation by the protocol of the design: k fresh executions per task and system, paired differences on the
-- same tasks, families as the unit of the primary interval. Malformed and leaking strategies count as failures.
local arguments = require "gcop.arguments"

local systems = {}

-- Each system: fun(run, task, o) -> strategy or nil, why, messages
function systems.core() return nil, nil end

function systems.core_notes(run, task, o)
  return nil, nil, run.prompts.core_with_notes(task, o.notes)
end

local function guided(weights)
  return function(run, task, o)
    local rollouts, err = run.guide:sample { messages = run.prompts.guide(task), n = 1, max_tokens = o.max_tokens,
      temperature = 0, weights = weights, seed = gcop.seed_for("evaluate", weights, task.id) }
    if not rollouts then error(err) end
    local strategy, why = nil, "cut at the token limit"
    if not rollouts[1].truncated then strategy, why = run:parse(rollouts[1].text) end
    if not strategy then return nil, "malformed: " .. why end
    local leak = run:leak(task, strategy)
    if leak then return strategy, "leak: " .. leak end
    return strategy
  end
end
systems.gcop_base = guided "base"
systems.gcop_sft = guided "sft"
systems.gcop_exectune = guided "current"

local function mean(list, field)
  local sum = 0
  for _, row in ipairs(list) do sum = sum + (field and row[field] or row) end
  return #list > 0 and sum / #list or 0
end

-- The guide asked for the function itself: how much of the result could be the guide's own knowledge?
local function guide_only(run, task, o)
  local rollouts, err = run.guide:sample { messages = run.prompts.core(task), n = o.samples, max_tokens = 160,
    temperature = 0.2, weights = "current", seed = gcop.seed_for("guide_only", task.id) }
  if not rollouts then error(err) end
  local row = { task = task, results = {}, valid = true }
  for i, rollout in ipairs(rollouts) do
    local verdict, problem = run.check:check(task, rollout.text)
    if not verdict then error(problem) end
    row.results[i] = { score = verdict.score, text = rollout.text, feedback = verdict.feedback or "",
      reply = { tokens_in = 0, tokens_out = #rollout.tokens, price_usd = 0, latency_s = 0 } }
  end
  return row
end

local function evaluate_task(run, name, task, o)
  if name == "guide_only" then return guide_only(run, task, o) end
  local strategy, why, messages = systems[name](run, task, o)
  local row = { task = task, strategy = strategy, why = why, results = {},
    valid = not (why and why:find "^malformed"), leak = why and why:find "^leak" and true or false }
  if not why then row.results = run:attempts(task, strategy, o.samples, o.first_sample, messages) end
  return row
end

-- Mean score of a row; invalid strategies are failures, executions that infrastructure lost are left out.
local function score_of(run, row)
  if not row.valid or row.leak then return 0 end
  return run:mean_score(row.results)
end

local slices = {
  { "all", function() return true end },
  { "house", function(task) return task.slice == "house" and not task.unseen end },
  { "unseen", function(task) return task.slice == "house" and task.unseen end },
  { "plain", function(task) return task.slice == "plain" end },
}

local function summarise(run, name, rows, o, baseline)
  local scores, cost, tokens_in, tokens_out, latency, calls, valid, leaks, helped, harmed = {}, 0, 0, 0, 0, 0, 0, 0, 0, 0
  for _, row in ipairs(rows) do
    local score = score_of(run, row)
    if score then
      scores[#scores + 1] = score
      local unguided = baseline[row.task.id]
      if unguided then
        if score > unguided + 0.5 then helped = helped + 1 elseif score < unguided - 0.5 then harmed = harmed + 1 end
      end
    end
    valid, leaks = valid + (row.valid and 1 or 0), leaks + (row.leak and 1 or 0)
    for _, result in ipairs(row.results) do
      cost, tokens_in, tokens_out = cost + result.reply.price_usd, tokens_in + result.reply.tokens_in, tokens_out + result.reply.tokens_out
      latency, calls = latency + result.reply.latency_s, calls + 1
    end
  end
  local all = gcop.stats.mean_ci(scores)
  local system = { name = name, n = #scores, k = o.samples, mean = all.mean, ci95 = all.ci95,
    valid_rate = valid / #rows, leak_rate = leaks / #rows, helped = helped, harmed = harmed,
    latency_s = calls > 0 and latency / calls or 0, cost_usd = cost, tokens_in = tokens_in, tokens_out = tokens_out,
    utility = all.mean - o.lambda * cost / math.max(1, calls), slices = {} }
  if name:find "^gcop_" then system.alpha_exec, system.alpha_exec_ci95 = all.mean, all.ci95 end
  for _, slice in ipairs(slices) do
    local of_slice = {}
    for _, row in ipairs(rows) do
      if slice[2](row.task) then of_slice[#of_slice + 1] = score_of(run, row) end
    end
    if #of_slice > 0 and slice[1] ~= "all" then
      local s = gcop.stats.mean_ci(of_slice)
      system.slices[slice[1]] = { n = #of_slice, mean = s.mean, ci95 = s.ci95 }
    end
  end
  return system
end

local function compare(run, a, b, rows_a, rows_b)
  local by_id = {}
  for _, row in ipairs(rows_b) do by_id[row.task.id] = score_of(run, row) end
  local out = {}
  for _, slice in ipairs(slices) do
    local diffs, families, count, seen = {}, {}, 0, {}
    for _, row in ipairs(rows_a) do
      local x, y = score_of(run, row), by_id[row.task.id]
      if x and y and slice[2](row.task) then
        diffs[#diffs + 1] = x - y
        families[#families + 1] = row.task.family ~= "" and row.task.family or row.task.id
        if not seen[families[#families]] then seen[families[#families]] = true count = count + 1 end
      end
    end
    if #diffs > 1 and count > 1 then
      local family = gcop.stats.family(diffs, families)
      out[#out + 1] = { a = a, b = b, slice = slice[1], n = #diffs, families = count, diff = family.mean, ci95 = family.ci95, method = "family_t" }
      local boot = gcop.stats.bootstrap(diffs)
      out[#out + 1] = { a = a, b = b, slice = slice[1], n = #diffs, families = count, diff = boot.mean, ci95 = boot.ci95, method = "task_bootstrap" }
    end
  end
  return out
end

return function(run, given)
  local o = {}
  for name, value in pairs(given) do o[name] = value end
  o.lambda = o.lambda or 0
  arguments("evaluate", o, { samples = 1, lambda = 0 })
  if o.lambda == math.huge then error("evaluate: lambda is inf; it must be a number", 3) end
  local named, ids = {}, {}
  for _, name in ipairs(o.systems) do
    if named[name] then error(("evaluate: the system %s is named twice"):format(name), 3) end
    named[name] = true
    if name ~= "guide_only" and not systems[name] then error("evaluate: there is no system '" .. tostring(name) .. "'; known: core, core_notes, guide_only, gcop_base, gcop_sft, gcop_exectune", 3) end
  end
  for i, task in ipairs(o.tasks) do
    if type(task.id) ~= "string" then error(("evaluate: tasks[%d] has no id; it names the task in the store and in reports"):format(i), 3) end
    if ids[task.id] then error(("evaluate: two tasks have the id '%s'; ids tell tasks apart, so that each needs its own"):format(task.id), 3) end
    ids[task.id] = true
  end
  for _, name in ipairs(o.systems) do
    if (name == "gcop_base" or name == "gcop_sft") and not run.fine_tuned then error(("evaluate: the system %s needs run:sft before it"):format(name), 3) end
  end
  o.max_tokens = o.max_tokens or run.max_strategy_tokens
  o.first_sample = 1000   -- fresh draws: training used the numbers below
  local core_calls, guide_calls = 0, 0
  for _, name in ipairs(o.systems) do   -- core_notes, too: under --plan nobody knows whether there will be notes
    if name == "guide_only" then guide_calls = guide_calls + #o.tasks * o.samples
    else core_calls = core_calls + #o.tasks * o.samples end
    if name:find "^gcop_" then guide_calls = guide_calls + #o.tasks end
  end
  if core_calls > 0 then run:expect("evaluate", "core", core_calls) end
  if guide_calls > 0 then run:expect("evaluate", "guide", guide_calls) end
  return run:stage("evaluate", function()
    local names = {}
    for _, name in ipairs(o.systems) do
      if name == "core_notes" and #(o.notes or {}) == 0 then gcop.warn("evaluate: core_notes is left out, there are no notes")
      else names[#names + 1] = name end
    end
    local bar = gcop.progress("evaluation", #o.tasks * #names)
    local jobs, rows = {}, {}
    for _, name in ipairs(names) do
      rows[name] = {}
      for i, task in ipairs(o.tasks) do jobs[#jobs + 1] = { name = name, i = i, task = task } end
    end
    gcop.map(jobs, { limit = run.parallel }, function(job)
      rows[job.name][job.i] = evaluate_task(run, job.name, job.task, o)
      bar:add(1, job.name)
    end)
    bar:done()
    local baseline = {}
    for _, row in ipairs(rows.core or {}) do baseline[row.task.id] = score_of(run, row) end
    for _, name in ipairs(names) do
      table.insert(run.report.systems, summarise(run, name, rows[name], o, name ~= "core" and baseline or {}))
    end
    for _, name in ipairs(names) do
      if name ~= "core" and rows.core then
        for _, row in ipairs(compare(run, name, "core", rows[name], rows.core)) do table.insert(run.report.paired, row) end
      end
    end
    if rows.gcop_exectune and rows.gcop_sft then
      for _, row in ipairs(compare(run, "gcop_exectune", "gcop_sft", rows.gcop_exectune, rows.gcop_sft)) do table.insert(run.report.paired, row) end
      local changed = 0
      for i, row in ipairs(rows.gcop_exectune) do
        if row.strategy ~= rows.gcop_sft[i].strategy then changed = changed + 1 end
      end
      if run.report.grpo then run.report.grpo.changed_greedy = changed / #o.tasks end
    end

    -- For pooling over seeds: scores by task. For people: every task with what each system did.
    run.details, run.report.tasks = {}, {}
    for i, task in ipairs(o.tasks) do
      local detail = { task = task.id, family = task.family, slice = task.slice, prompt = task.prompt, systems = {} }
      local compact = { id = task.id, family = task.family, slice = task.slice, unseen = task.unseen, scores = {} }
      for _, name in ipairs(names) do
        local row = rows[name][i]
        local shown = row.results[1]
        for _, result in ipairs(row.results) do if result.score < 1 then shown = result break end end
        detail.systems[name] = { score = score_of(run, row), strategy = row.strategy, problem = row.why,
          output = shown and shown.text, feedback = shown and shown.feedback }
        compact.scores[name] = score_of(run, row)
      end
      run.details[i], run.report.tasks[i] = detail, compact
    end
  end)
end
