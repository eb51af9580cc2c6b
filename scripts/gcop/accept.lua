-- Stage 1, acceptance. A teacher proposes a strategy, the target core executes it up to m times, and the plan keeps or
-- drops it; the result is certain before m draws are spent more often than not, and then no more are paid for.
-- What fails goes back to the teacher with the feedback; at the end the teacher sees what worked on the tasks most
-- alike and proposes once more where too little was kept.
--
-- Where the core alone already meets tau, bad advice passes too, as long as the core ignores it; the guide would learn
-- it, and a task like this one would pay. There the neutral strategy is the first proposal and, when kept, the only one.
local arguments = require "gcop.arguments"
local nearest = require "gcop.nearest"

return function(run, o)
  arguments("accept", o, { keep = 1, proposals = 0, refine = 0 })
  if o.neutral and not run.unguided then error("accept: neutral needs run:baseline before it, which says what the core solves alone", 3) end
  local plan = gcop.strategy.plan { tau = o.tau, epsilon = o.epsilon, m = o.m }
  local counts = { proposed = 0, malformed = 0, leaked = 0, tested = 0, kept = 0, trials = 0, kept_by_origin = {}, tested_by_origin = {} }

  -- One draw at a time: the next is paid for only if the decision is still open.
  local function test(task, strategy)
    local successes, trials, missing, failed = 0, 0, 0, nil
    while true do
      local decision = plan:decide(successes, trials)
      if decision then return decision == "keep", successes, trials, failed end
      local result = run:attempt(task, strategy, trials + missing)
      if result then
        trials = trials + 1
        successes = successes + (result.score >= 1 and 1 or 0)
        if result.score < 1 then failed = { strategy = strategy, answer = result.text, feedback = result.feedback } end
      else
        missing = missing + 1
        if missing > 2 then return nil, successes, trials end
      end
    end
  end

  local function ask_teacher(messages, sample)
    local reply, err = o.teacher:complete { messages = messages, sample = sample, role = "teacher", max_tokens = run.max_strategy_tokens + 32 }
    if reply then return reply.text end
    if err.code == "exhausted" or err.code == "cancelled" then error(err) end
    gcop.warn("teacher: " .. err.message)
  end

  -- What the teacher is shown the second time: the best kept strategy of each task near this one.
  local function shown_for(task, near, of_task)
    local shown = {}
    for _, other in ipairs(near(task, function(t) return of_task[t.id][1] and of_task[t.id][1].origin ~= "neutral" end, 3)) do
      table.insert(shown, 1, { task = other.prompt, strategy = of_task[other.id][1].strategy })
    end
    return shown
  end

  -- Which of several failures is refined: the one that worked most often, the latest of equals.
  local function most_promising(failures)
    local best = nil
    for i, failed in ipairs(failures) do
      if not best or failed.rate >= failures[best].rate then best = i end
    end
    return best
  end

  local tried = {}   -- by task: what was proposed before
  for _, task in ipairs(o.tasks) do tried[task.id] = {} end

  -- One task. The first time with its own notes and refinement, the second time (shown ~= nil) with examples.
  local function accept_task(task, kept, shown)
    local seen, failures = tried[task.id], {}

    local function consider(strategy, origin)
      if seen[strategy] or #kept >= o.keep then return end
      seen[strategy] = true
      counts.proposed = counts.proposed + 1
      if run:leak(task, strategy) then counts.leaked = counts.leaked + 1 return end
      local keep, successes, trials, failed = test(task, strategy)
      if keep == nil then return end
      counts.tested = counts.tested + 1
      counts.trials = counts.trials + trials
      counts.tested_by_origin[origin] = (counts.tested_by_origin[origin] or 0) + 1
      local row = { task = task.id, strategy = strategy, origin = origin, successes = successes, trials = trials, kept = keep }
      gcop.store.put("strategy", task.id .. "/" .. gcop.sha256(strategy):sub(1, 16), row)
      if keep then
        counts.kept = counts.kept + 1
        counts.kept_by_origin[origin] = (counts.kept_by_origin[origin] or 0) + 1
        kept[#kept + 1] = { task = task, strategy = strategy, origin = origin, successes = successes, trials = trials }
      elseif failed then
        failed.origin, failed.rate = origin, successes / trials
        failures[#failures + 1] = failed
      end
    end

    local function consider_text(text, origin)
      if not text then return end
      local strategy = run:parse(text)
      if strategy then consider(strategy, origin)
      else counts.proposed, counts.malformed = counts.proposed + 1, counts.malformed + 1 end
    end

    if o.neutral and (run.unguided[task.id] or 0) >= plan.tau then
      consider(o.neutral, "neutral")
      if #kept > 0 then return kept end
    end
    if shown then
      for i = 1, o.proposals do
        consider_text(ask_teacher(run.prompts.teacher_propose(task, shown), i - 1), "teacher+neighbours")
      end
      return kept
    end
    -- The teacher's own proposals come first, so that experts' notes do not crowd them out.
    for i = 1, o.proposals do
      consider_text(ask_teacher(run.prompts.teacher_propose(task), i - 1), "teacher")
    end
    for _, note in ipairs(task.notes or {}) do consider(note, "expert") end
    for round = 1, o.refine do
      local failed = table.remove(failures, most_promising(failures))
      if not failed or #kept >= o.keep then break end
      consider_text(ask_teacher(run.prompts.teacher_refine(task, failed), round), failed.origin:match "^%a+" .. "+refined")
    end
    return kept
  end

  -- Most strategies fail their first draw; a kept one takes `need` draws or a few more.
  local notes = 0
  for _, task in ipairs(o.tasks) do notes = notes + #(task.notes or {}) end
  local proposals = #o.tasks * (o.proposals * 2 + o.refine)
  run:expect("accept", "teacher", proposals, o.teacher)
  run:expect("accept", "core", (proposals + notes) * 1.3 + #o.tasks * o.keep * plan.need * 0.5)
  run.expected_kept = math.floor(#o.tasks * o.keep * 0.7)
  return run:stage("accept", function()
    local kept, of_task = {}, {}
    local function all(label, tasks, examples)
      local bar = gcop.progress(label, #tasks)
      gcop.map(tasks, { limit = run.parallel }, function(task)
        of_task[task.id] = accept_task(task, of_task[task.id] or {}, examples and examples[task.id])
        bar:add(1, ("%d kept of %d tested"):format(counts.kept, counts.tested))
      end)
      bar:done()
    end
    all("acceptance", o.tasks)
    local again, examples, near = {}, {}, nearest(o.tasks)
    for _, task in ipairs(o.tasks) do
      local settled = #of_task[task.id] >= o.keep or (of_task[task.id][1] or {}).origin == "neutral"
      local shown = settled and {} or shown_for(task, near, of_task)
      if #shown > 0 then again[#again + 1], examples[task.id] = task, shown end
    end
    if o.proposals > 0 then all("acceptance, second look", again, examples) end
    for _, task in ipairs(o.tasks) do
      for _, row in ipairs(of_task[task.id]) do kept[#kept + 1] = row end
    end
    counts.beta_fa = plan.beta_fa
    counts.m, counts.need = plan.m, plan.need
    for key, value in pairs(plan:certify(counts.tested, counts.kept)) do counts[key] = value end
    run.report.acceptance = counts
    run.kept = kept
    gcop.log(("accepted %d of %d tested strategies in %d executions (false accept at most %.3f each)")
      :format(counts.kept, counts.tested, counts.trials, plan.beta_fa))
    return kept
  end)
end
