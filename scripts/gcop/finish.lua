-- Stage 5: what the run leaves behind. policy/ (the trained guide with its prompts), report.json, report.html.

-- The systems as text: what a run ends with on the terminal.
local function table_of(systems)
  local lines = { ("%-16s %5s %-22s %-7s %-7s %-7s %6s %6s %9s"):format(
    "system", "n x k", "mean, 95 %", "house", "unseen", "plain", "valid", "leak", "USD") }
  for _, s in ipairs(systems) do
    local function slice(name) return s.slices[name] and ("%.3f"):format(s.slices[name].mean) or "-" end
    local interval = s.ci95[1] == s.ci95[1] and (" [%.3f, %.3f]"):format(s.ci95[1], s.ci95[2]) or ", no interval"   -- NaN: one task
    lines[#lines + 1] = ("%-16s %2dx%-2d %-22s %-7s %-7s %-7s %6.2f %6.2f %9.4f"):format(
      s.name, s.n, s.k, (s.mean == s.mean and ("%.3f"):format(s.mean) or "-") .. interval, slice "house", slice "unseen", slice "plain", s.valid_rate, s.leak_rate, s.cost_usd)
  end
  return table.concat(lines, "\n")
end

return function(run, o)
  if gcop.planning or gcop.checking then gcop.finish() end
  local guide = run.guide
  if o and o.policy then
    guide:save("policy/guide", { weights = "current" })
    gcop.files.write("policy/policy.json", gcop.json.encode { schema = 1, core = o.policy.core,
      guide = { dir = "guide", messages = run.prompts.guide { id = "", prompt = "{{prompt}}" }, max_tokens = run.max_strategy_tokens, temperature = 0 },
      core_prompt = run.prompts.core({ id = "", prompt = "{{prompt}}" }, "{{strategy}}") })
  end
  run.report.cost = {}
  for _, row in ipairs(gcop.store.costs()) do run.report.cost[row.role] = row.usd end
  run.report.unknown_calls = gcop.store.unknown_calls()
  run.report.details = run.details
  gcop.report.write(run.report)
  print(table_of(run.report.systems))
  local possible = 0
  for _, call in ipairs(run.report.unknown_calls) do possible = possible + call.possible_usd end
  if #run.report.unknown_calls > 0 then
    print(("%d calls were sent and never answered; they may have been billed up to $%.6g, which the budget holds"):format(#run.report.unknown_calls, possible))
  end
  print(("%s are in %s"):format(o and o.policy and "report.html, report.json and policy/" or "report.html and report.json", gcop.out_dir))
end
