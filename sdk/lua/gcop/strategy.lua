---@meta
-- Made by `gcop-run --emit-lua-meta`; the source is runtime/lua/.

--- An acceptance plan: after which successes in how many executions a strategy is kept or dropped.
---@class gcop.Plan
---@field tau number
---@field epsilon number
---@field m integer executions of the fixed test whose promise the plan keeps
---@field rule string
---@field p1 number
---@field rounds_of integer
---@field need integer ceil(tau m), what the fixed test asks for
---@field cap integer executions of one strategy, at most
---@field beta_fa number the chance that a strategy with executability tau - epsilon or less is kept; exact
---@field power_at_p1 number the chance that one with executability p1 is kept; exact
local Plan = {}

--- What the data support, over all tested strategies, refinement rounds counted.
---@class gcop.Certificate
---@field expected_bad number how many kept ones have executability tau - epsilon or less: an estimate from the rejected, on average not too low, which may be 0 by chance; certified_bad_95 is the bound
---@field bad_share? number the same estimate as a share of the kept
---@field certified_bad_95 integer with 95 % confidence no more than this
---@field good_share_95? number of a single round: with 95 % confidence at least this share is good

gcop.strategy = {}

--- The text inside <strategy> and </strategy>. A <thinking> block before it is dropped.
---@param text string
---@param max_tokens? integer default 400, counted as by count_tokens; 0: no bound
---@return string? strategy
---@return string? reason why there is none
function gcop.strategy.parse(text, max_tokens) end

--- Tokens by a count that belongs to no model, so that one bound means the same for all.
---@param text string
---@return integer n
function gcop.strategy.count_tokens(text) end

--- Whether a strategy holds literals that occur in this task's tests only. The tasks of gcop.tasks are the others.
---@param strategy string
---@param task gcop.Task
---@return string? reason nil: it does not leak
function gcop.strategy.leaks(strategy, task) end

--- The programs a strategy could be hiding. If one passes the task's tests, the strategy leaks.
---@param strategy string
---@param task gcop.Task|string the task, or only its entry point
---@return string[] programs longest first
function gcop.strategy.code_blocks(strategy, task) end

---@class gcop.strategy.plan.Options
---@field tau? number the share of executions a strategy should win; default 0.8
---@field epsilon? number tau - epsilon and less is bad; default 0.2
---@field m? integer default 16
---@field rule "sprt"|"curtailed"|"fixed"|nil sprt (default): the test with the fewest executions; curtailed: the fixed test's decisions, as soon as they are certain; fixed: always m executions
---@field p1? number the executability that should be kept; default (1 + tau) / 2
---@field rounds_of? integer executions that start together, as batch APIs want; default 1

--- An acceptance plan. All rules promise what the fixed test of m executions does: no more than its chance of keeping a strategy at tau - epsilon, no less than its chance of keeping one at p1.
--- Raises unless 0 < tau <= 1, 0 < epsilon < tau, tau - epsilon < p1 <= 1, 1 <= m <= 1000 (sprt: 128), 1 <= rounds_of <= m.
---@param options gcop.strategy.plan.Options
---@return gcop.Plan plan
function gcop.strategy.plan(options) end

---@class gcop.strategy.smallest_m.Options
---@field tau? number default 0.8
---@field epsilon? number default 0.2
---@field p1? number default (1 + tau) / 2
---@field rho? number the share of tested strategies that will be kept; default 0.5
---@field bad_share? number bad ones among the kept, at most; default 0.05
---@field power? number the chance that one at p1 is kept, at least; default 0.9

--- The smallest m that promises what is wanted of the kept strategies.
--- Raises where m = 1000 does not do.
---@param options gcop.strategy.smallest_m.Options
---@return integer m
function gcop.strategy.smallest_m(options) end

--- The decision as soon as it is certain.
---@param successes integer
---@param trials integer at most cap; failures of infrastructure are no trials
---@return "keep"|"drop"|nil decision nil: go on
function Plan:decide(successes, trials) end

--- The chance that a strategy of executability p is kept.
---@param p number
---@return number power
function Plan:power(p) end

--- Executions until the decision, for executability p.
---@param p number
---@return number trials
function Plan:expected_trials(p) end

--- A lower confidence bound of a kept strategy's executability, early stopping taken into account.
---@param successes integer when it was kept
---@param trials integer
---@param alpha? number the chance that it is too high; default 0.05. For all kept ones: 0.05 * kept / tested
---@return number p
function Plan:lower_bound(successes, trials, alpha) end

---@class gcop.Plan.certify.Options
---@field tested integer every refinement counted
---@field kept integer
---@field single_round? boolean every strategy was proposed before any outcome was known

--- How many of the kept strategies may be bad. True whatever was proposed after what outcome, but good_share_95.
---@param options gcop.Plan.certify.Options
---@return gcop.Certificate certificate
function Plan:certify(options) end
