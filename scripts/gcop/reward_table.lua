-- What --check says of a reward that was made by gcop.reward.gated: what every outcome earns, and which terms can move
-- an advantage under the scaling that GRPO will use.
local constants_of = setmetatable({}, { __mode = "k" })
local M = {}

function M.remember(reward, constants) constants_of[reward] = constants end

---@param reward function  a recipe's own function has no table and is passed over
---@param scaling string
---@param samples integer  executions per strategy: with one the task's score is 0 or 1
---@param judged boolean
function M.show(reward, scaling, samples, judged)
  local made = constants_of[reward]
  if not made then return end
  local c = { scaling = scaling, binary = samples == 1 }
  for key, value in pairs(made) do c[key] = value end
  if not judged then c.judge_min, c.judge_max = 0, 0 end
  local order, err = gcop.reward.check(c)
  if not order then error(err.message, 4) end
  print "reward of an outcome      from      to"
  for _, row in ipairs(order.outcomes) do print(("  %-18s %8.3f %8.3f"):format(row.outcome, row.low, row.high)) end
  print(("terms of an honest outcome, scaling = %q"):format(scaling))
  for _, term in ipairs(order.terms) do print(("  %-10s %s"):format(term.name, term.why)) end
end

return M
