-- Stage 5: what the run leaves behind. policy/ (the trained guide with its prompts), report.json, report.html.
return function(run, o)
  if gcop.planning then gcop.finish() end
  local guide = run.guide
  if o and o.policy then
    guide:save("policy/guide", { weights = "current" })
    gcop.files.write("policy/policy.json", gcop.json.encode { schema = 1, core = o.policy.core,
      guide = { dir = "guide", messages = run.prompts.guide { id = "", prompt = "{{prompt}}" }, max_tokens = run.max_strategy_tokens, temperature = 0 },
      core_prompt = run.prompts.core({ id = "", prompt = "{{prompt}}" }, "{{strategy}}") })
  end
  run.report.cost = {}
  for _, row in ipairs(gcop.store.costs()) do run.report.cost[row.role] = row.usd end
  run.report.details = run.details
  gcop.report.write(run.report)
end
