-- Stage 3, GRPO with the shaped reward. The guide writes a group of strategies per task; malformed and leaking ones are
-- gated before anything is paid for; the core executes the rest k times each; the guide is moved towards the strategies
-- that did better than their group (arXiv 2402.03300; centred without std scaling, arXiv 2503.20783).
local arguments = require "gcop.arguments"
local reward_table = require "gcop.reward_table"

-- A rollout temperature below 1 fills a group with what the guide could well have said, not with what it never says.
return function(run, o)
  arguments("grpo", o, { steps = 1, prompts = 1, group = 2, samples = 1, lr = 0, kl_beta = 0, max_tokens = 1, save_every = 1 })
  if not run.unguided then error("grpo: run:baseline is needed before it; the reward compares with the core alone", 3) end
  local guide = run.guide
  local schedule = o.schedule or function(step) return { lr = o.lr * math.min(1, step / 3) } end
  local scaling, temperature, save_every = o.scaling or "none", o.temperature or 1, o.save_every or 5
  if gcop.checking then reward_table.show(o.reward, scaling, o.samples, o.judge ~= nil) end

  -- Rewards of one group. Equal strategies share their executions; a strategy met in an earlier step is free. Where one
  -- draw each earns all the same, the group would teach nothing, and the other draws are not paid for.
  local function score_group(task, rollouts)
    local episodes, executed = {}, {}
    for _, rollout in ipairs(rollouts) do
      local strategy, why = nil, "cut at the token limit"
      if not rollout.truncated then strategy, why = run:parse(rollout.text) end
      if strategy and not episodes[strategy] then
        local leak = run:leak(task, strategy)
        episodes[strategy] = { leak = leak, results = {}, unguided = run.unguided[task.id] or 0 }
        if not leak then executed[#executed + 1] = strategy end
      end
      rollout.strategy = strategy
      rollout.episode = strategy and episodes[strategy] or { malformed = why }
    end

    local function draw(first, samples)
      gcop.map(executed, { limit = o.group }, function(strategy)
        local episode = episodes[strategy]
        for _, result in ipairs(run:attempts(task, strategy, samples, first)) do table.insert(episode.results, result) end
        episode.score = run:mean_score(episode.results)
        if o.judge and not episode.judge then episode.judge = run:judge(o.judge, task, strategy) end
      end)
      local rewards, parts, low, high = {}, {}, math.huge, -math.huge
      for i, rollout in ipairs(rollouts) do
        local episode = rollout.episode
        if episode.malformed or episode.leak or episode.score and (episode.judge or not o.judge) then
          rewards[i], parts[i] = o.reward(episode)
          if type(rewards[i]) ~= "number" or rewards[i] ~= rewards[i] or math.abs(rewards[i]) == math.huge then
            error(("grpo: the reward of %s is %s; it must be a finite number"):format(task.id, tostring(rewards[i])), 0)
          end
          low, high = math.min(low, rewards[i]), math.max(high, rewards[i])
        else
          rewards[i] = false   -- infrastructure lost every draw, or the judge gave no score
        end
      end
      return rewards, parts, high - low < 1e-9
    end
    local rewards, parts, alike = draw(0, 1)
    if not alike and o.samples > 1 then rewards, parts, alike = draw(1, o.samples - 1) end
    return rewards, parts, alike
  end

  local function one_step(step, next_task)
    local groups, seen, sum, count, sums, zero = {}, 0, 0, 0, {}, 0
    local sampled, valid, leaks, unscored = 0, 0, 0, 0
    local limit = 3 * o.prompts   -- refills: tasks whose group is all alike teach nothing
    while #groups < o.prompts and seen < limit do
      -- A quarter more than are missing: a second, small round would leave the core half idle.
      local tasks, wanted = {}, math.ceil(1.25 * (o.prompts - #groups))
      for _ = 1, math.min(wanted, limit - seen) do tasks[#tasks + 1] = next_task() end
      seen = seen + #tasks
      local scored = gcop.map(tasks, { limit = #tasks }, function(task)
        local prompt = guide:render(run.prompts.guide(task))
        local rollouts, err = guide:sample { prompt = prompt, n = o.group, max_tokens = o.max_tokens, temperature = temperature,
          seed = gcop.seed_for("grpo", step, task.id) }
        if not rollouts then error(err) end
        local rewards, parts, alike = score_group(task, rollouts)
        return { task = task, prompt = prompt, rollouts = rollouts, rewards = rewards, parts = parts, alike = alike }
      end)
      for _, group in ipairs(scored) do
        for i, r in ipairs(group.rewards) do
          if r then
            sum, count = sum + r, count + 1
            for name, value in pairs(group.parts[i] or {}) do sums[name] = (sums[name] or 0) + value end
          else
            unscored = unscored + 1
          end
          local episode = group.rollouts[i].episode
          sampled = sampled + 1
          if episode.leak then leaks = leaks + 1 elseif not episode.malformed then valid = valid + 1 end
        end
        if group.alike then zero = zero + 1 else groups[#groups + 1] = group end
      end
    end
    for name, value in pairs(sums) do sums[name] = value / count end
    return groups, { step = step, reward = count > 0 and sum / count or 0, parts = sums, rollouts = count,
      unscored = unscored, groups = #groups, zero_variance = zero, valid_rate = valid / sampled, leak_rate = leaks / sampled }
  end

  local function train(groups, step)
    local rewards, ids, rollouts = {}, {}, {}
    for g, group in ipairs(groups) do
      for i, rollout in ipairs(group.rollouts) do
        rewards[#rewards + 1], ids[#ids + 1] = group.rewards[i], g
        rollouts[#rollouts + 1] = { prompt = group.prompt, tokens = rollout.tokens, logprobs = rollout.logprobs, version = rollout.weights_version }
      end
    end
    local advantages = gcop.trainer.advantages(rewards, ids, scaling)
    local sequences, full = {}, {}
    for i, rollout in ipairs(rollouts) do
      if rewards[i] then   -- one without advantage still counts in the loss's mean
        local tokens = table.move(rollout.prompt, 1, #rollout.prompt, 1, {})
        local mask, old = {}, {}
        for j = 1, #tokens do mask[j], old[j] = 0, 0 end
        for j, id in ipairs(rollout.tokens) do
          tokens[#tokens + 1], mask[#mask + 1], old[#old + 1] = id, 1, rollout.logprobs[j]
        end
        full[#full + 1] = tokens
        sequences[#sequences + 1] = { tokens = tokens, mask = mask, old_logprobs = temperature == 1 and old or nil, advantage = advantages[i],
          weights_version = rollout.version }
      end
    end
    if o.kl_beta > 0 then
      local reference = guide:score { weights = "sft", sequences = full }
      for i, sequence in ipairs(sequences) do sequence.ref_logprobs = reference[i] end
    end
    return guide:train {
      sequences = sequences,
      loss = { objective = "policy", reduction = "dr_grpo", ratio = "token", clip_low = 0.2, clip_high = 0.28, kl_beta = o.kl_beta, max_len = o.max_tokens },
      optimizer = { lr = schedule(step).lr, max_grad_norm = 1 },
    }
  end

  run:expect("grpo", "core", o.steps * o.prompts * o.group * o.samples * 0.4)   -- equal strategies share their draws
  if o.judge then run:expect("grpo", "judge", o.steps * o.prompts * o.group * 0.4, o.judge) end
  run:expect("grpo", "guide", o.steps * o.prompts * o.group)
  return run:stage("grpo", function()
    local dir = "weights/grpo"
    local state = gcop.store.get("stage", "grpo") or { step = 0 }
    if not run.fine_tuned then guide:copy("current", "sft") end   -- the reference is then what the guide came with
    if state.step > 0 then
      guide:load(state.dir, { weights = "current" })
      gcop.log(("grpo: goes on after step %d"):format(state.step))
    else
      guide:copy("sft", "current")   -- also clears the optimizer, which holds SFT's moments unless the run was resumed here
    end
    -- Tasks in shuffled rounds; where the run stands is a pure count, so a resumed run meets the same tasks.
    local taken, round, order = state.taken or 0, 0, {}
    local function next_task()
      local wanted = taken // #o.tasks + 1
      if wanted ~= round then round, order = wanted, gcop.shuffle(o.tasks, "grpo", wanted) end
      taken = taken + 1
      return order[(taken - 1) % #o.tasks + 1]
    end

    local bar = gcop.progress("grpo", o.steps - state.step)
    for step = state.step + 1, o.steps do
      local groups, row = one_step(step, next_task)
      if #groups > 0 then
        local stats = train(groups, step)
        for _, name in ipairs { "loss", "entropy", "clip_frac", "grad_norm", "ratio_max" } do row[name] = stats[name] end
        if o.kl_beta > 0 then row.kl = stats.kl end   -- else it was not computed
      end
      gcop.store.put("step", ("grpo/%05d"):format(step), row)
      for g, group in ipairs(groups) do
        for i, rollout in ipairs(group.rollouts) do
          gcop.store.put("score", ("grpo/%05d/%02d/%02d"):format(step, g, i), { task = group.task.id, text = rollout.text,
            reward = group.rewards[i], parts = group.parts[i], version = rollout.weights_version })
        end
      end
      if step % save_every == 0 or step == o.steps then
        local at = ("%s-%05d"):format(dir, step)
        guide:save(at, { weights = "current", optimizer = step < o.steps })
        gcop.store.put("stage", "grpo", { step = step, taken = taken, dir = at })
        if state.dir then gcop.files.remove(state.dir) end
        state.dir = at
      end
      bar:add(1, ("reward %.3f"):format(row.reward) .. (row.kl and (", kl %.4f"):format(row.kl) or ""))
    end
    bar:done()

    local steps, xs, ys, kl = {}, {}, {}, nil
    for i, entry in ipairs(gcop.store.list("step", "grpo/")) do
      steps[i], xs[i], ys[i] = entry.value, entry.value.step, entry.value.reward
      kl = entry.value.kl or kl
    end
    local slope = #xs > 1 and gcop.stats.slope(xs, ys) or {}
    run.report.grpo = { steps = #steps, reward_slope = slope.slope, reward_slope_ci95 = slope.ci95, kl = kl, kl_beta = o.kl_beta or 0, history = steps }
  end)
end
