-- Pools finished runs over training seeds: ./dev run recipes/pool.lua recipes/results/seed1.json recipes/results/seed2.json ...
-- Systems: mean over seeds (each seed). Per slice: each seed's difference, and the pooled family interval (a task's
-- difference is averaged over seeds first, then families count equally: d +- t(F-1, .975) sd / sqrt F). Prints Markdown;
-- spends nothing.
if #gcop.args < 2 then error("pool needs two or more report.json files", 0) end

local reports = {}
for i, path in ipairs(gcop.args) do
  local report, err = gcop.report.read(path)
  if not report then error(err.message, 0) end
  if not report.tasks then error(path .. ": no evaluation in this report", 0) end
  for j = 1, i - 1 do
    if reports[j].seed == report.seed then error(("%s and %s are both of seed %d; pool different ones"):format(gcop.args[j], path, report.seed), 0) end
  end
  reports[i] = report
end

local slices = {
  { "house", function(t) return t.slice == "house" and not t.unseen end },
  { "unseen", function(t) return t.slice == "house" and t.unseen end },
  { "plain", function(t) return t.slice == "plain" end },
}
local pairs_shown = {
  { "gcop_exectune", "core" }, { "gcop_sft", "core" }, { "gcop_base", "core" }, { "core_notes", "core" }, { "gcop_exectune", "gcop_sft" },
}

local function signed(x) return ("%+.3f"):format(x) end

local lines = { "| slice | difference | per seed | pooled, 95 % (family) | families × tasks |", "|---|---|---|---|---|" }
for _, slice in ipairs(slices) do
  for _, pair in ipairs(pairs_shown) do
    local sum, count, family, per_seed = {}, {}, {}, {}
    for s, report in ipairs(reports) do
      local of_seed = {}
      for _, task in ipairs(report.tasks) do
        local a, b = task.scores[pair[1]], task.scores[pair[2]]
        if a and b and slice[2](task) then
          sum[task.id], count[task.id] = (sum[task.id] or 0) + a - b, (count[task.id] or 0) + 1
          family[task.id] = task.family ~= "" and task.family or task.id
          of_seed[#of_seed + 1] = a - b
        end
      end
      if #of_seed > 0 then per_seed[s] = signed(gcop.stats.mean_ci(of_seed).mean) end
    end
    local ids, diffs, families, distinct, n_families = {}, {}, {}, {}, 0
    for id in pairs(sum) do ids[#ids + 1] = id end
    table.sort(ids)
    for i, id in ipairs(ids) do
      diffs[i], families[i] = sum[id] / count[id], family[id]
      if not distinct[family[id]] then distinct[family[id]] = true n_families = n_families + 1 end
    end
    if n_families > 1 then
      local pooled = gcop.stats.family(diffs, families)
      lines[#lines + 1] = ("| %s | %s − %s | %s | %s [%s, %s] | %d × %d |"):format(slice[1], pair[1], pair[2], table.concat(per_seed, ", "),
        signed(pooled.mean), signed(pooled.ci95[1]), signed(pooled.ci95[2]), n_families, #ids)
    end
  end
end

local shown = { core = "core alone", guide_only = "guide alone", core_notes = "core + all kept expert notes", gcop_base = "GCoP(Base), untrained guide",
  gcop_sft = "GCoP(SFT)", gcop_exectune = "**GCoP(ExecTune)**" }
print "| system | house | unseen | plain | well formed | leaks |\n|---|---|---|---|---|---|"
for _, system in ipairs(reports[1].systems) do
  local function over_seeds(value, format)
    local each, sum = {}, 0
    for i, report in ipairs(reports) do
      for _, s in ipairs(report.systems) do
        if s.name == system.name then each[i], sum = format(value(s)), sum + value(s) end
      end
    end
    local mean = format(sum / #reports)
    for _, one in ipairs(each) do
      if one ~= mean then return mean .. " (" .. table.concat(each, ", ") .. ")" end
    end
    return mean
  end
  local function number(x) return ("%.3f"):format(x) end
  local function percent(x) return ("%.1f %%"):format(100 * x) end
  local function slice(name) return system.slices[name] and over_seeds(function(s) return s.slices[name].mean end, number) or "-" end
  print("| " .. table.concat({ shown[system.name] or system.name, slice "house", slice "unseen", slice "plain",
    over_seeds(function(s) return s.valid_rate end, percent), over_seeds(function(s) return s.leak_rate end, percent) }, " | ") .. " |")
end
print("\n" .. table.concat(lines, "\n"))

for _, report in ipairs(reports) do
  local a, g, seconds = report.acceptance, report.grpo, 0
  for _, stage in ipairs(report.stages) do seconds = seconds + stage.seconds end
  print(("\nseed %d: %.0f minutes"):format(report.seed, seconds / 60))
  if a then
    local origins = {}
    for origin, n in pairs(a.kept_by_origin) do origins[#origins + 1] = origin .. " " .. n end
    table.sort(origins)
    print(("  acceptance: %d proposed, %d tested, %d kept (%s)"):format(a.proposed, a.tested, a.kept, table.concat(origins, ", ")))
  end
  if g then
    local ci = g.reward_slope_ci95   -- none of two steps
    local slope = not g.reward_slope and "unknown" or ("%+.4f a step"):format(g.reward_slope) .. (ci and (" [%+.4f, %+.4f]"):format(ci[1], ci[2]) or "")
    print(("  GRPO: reward slope %s, KL from SFT %s, greedy strategies changed %.0f %%"):format(slope, g.kl and ("%.4f"):format(g.kl) or "not measured", 100 * (g.changed_greedy or 0)))
  end
end
