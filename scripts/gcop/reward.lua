-- The shaped reward of ExecTune: a function from an episode (gcop.Episode in sdk/docs/lua.md) to a number and its parts.
--   R = I [ r + c_valid + w_judge J - w_harm max(0, -delta) - lambda C ]      (arXiv 2604.09741; DESIGN section 1)
local reward_table = require "gcop.reward_table"
local defaults = { malformed = -1, leak = -0.5, c_valid = 0.1, w_judge = 0.2, w_harm = 0.5, lambda = 0 }

-- Constants that break malformed < leak < honest failure < honest success are refused: a guide would otherwise be paid
-- for writing nonsense where the core fails anyway.
return function(constants)
  local c = {}
  for key, value in pairs(defaults) do c[key] = value end
  for key, value in pairs(constants or {}) do c[key] = value end
  local ok, err = gcop.reward.check(c)
  if not ok then error(err.message, 3) end

  local function reward(episode)
    if episode.malformed then return c.malformed, { malformed = c.malformed } end
    if episode.leak then return c.leak, { leak = c.leak } end
    -- J and the cost count within the bounds that the order of outcomes was checked for.
    local judge = math.min(math.max(episode.judge or 0, c.judge_min or 0), c.judge_max or 1)
    local parts = {
      task = episode.score,
      valid = c.c_valid,
      judge = c.w_judge * judge,
      harm = -c.w_harm * math.max(0, (episode.unguided or 0) - episode.score),
      cost = -c.lambda * math.min(episode.cost or 0, c.cost_max or 0),
    }
    return parts.task + parts.valid + parts.judge + parts.harm + parts.cost, parts
  end
  reward_table.remember(reward, c)
  return reward
end
