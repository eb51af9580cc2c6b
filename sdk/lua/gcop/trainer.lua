---@meta
-- Made by `gcop-run --emit-lua-meta`; the source is runtime/lua/.

--- The reward's constants, checked.
---@class gcop.RewardOrder
---@field outcomes {outcome: string, low: number, high: number}[] lowest first
---@field terms {name: string, acts: boolean, why: string}[] which terms can move an advantage, and how

gcop.trainer = {}

--- Group-relative advantages (GRPO). A missing reward leaves its group.
--- Raises when the lists do not fit.
---@param rewards (number|false)[] false: missing
---@param groups integer[] parallel: a number that the samples of one prompt share
---@param scaling "none"|"group"|"batch"|nil default "none": with binary rewards std scaling erases the harm term
---@return number[] advantages 0 where missing
---@return {groups: integer, dead_groups: integer, missing: integer} stats
function gcop.trainer.advantages(rewards, groups, scaling) end

gcop.reward = {}

---@class gcop.reward.check.Options
---@field malformed? number default -1
---@field leak? number default -0.5
---@field c_valid? number default 0.1
---@field w_judge? number default 0.2
---@field w_harm? number default 0.5
---@field judge_min? number J's scale; default 0
---@field judge_max? number default 1; equal to judge_min: no judge
---@field lambda? number reward per USD; default 0
---@field cost_max? number the dearest execution, USD; default 0
---@field scaling "none"|"group"|"batch"|nil as for the advantages
---@field binary? boolean r is 0 or 1; default true
---@field valid_varies? boolean malformed or leaking samples occur; default true

--- Checks the constants of R = I [ r + c_valid + w_judge J - w_harm max(0, -delta) - lambda C ]: malformed < leak < every honest failure < every honest success.
---@param options gcop.reward.check.Options
---@return gcop.RewardOrder? order
---@return gcop.Error? err names the pair that is out of order and the constant to change
function gcop.reward.check(options) end
