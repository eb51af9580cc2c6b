-- For --plan: what branches of a live core cost at most, each as long as it may be.
---@param core gcop.Core
---@param model string  as the recipe names it
---@param stage string
---@param n integer  branches
---@param o { interval: integer, max_tokens: integer, probe_tokens: integer }
return function(core, model, stage, n, o)
  local steps = core.continues and math.ceil(o.max_tokens / o.interval) or 1
  local tokens_in = n * (200 * (2 * steps - 1) + o.interval * steps * (steps - 1))
  local tokens_out = n * (o.max_tokens + o.probe_tokens * (steps - 1))
  local seconds = model:find "^local:" and tokens_out / 80 or 0   -- a 0.5B core on 2 CPU cores
  gcop.plan { stage = stage, role = "core", calls = n * (2 * steps - 1), tokens_in = tokens_in, tokens_out = tokens_out,
    usd = (tokens_in * core.price.input + tokens_out * core.price.output) / 1e6 + core.price.hour * seconds / 3600, seconds = seconds }
end
