---@meta
-- Made by `gcop-run --emit-lua-meta`; the source is runtime/lua/.

--- An acceptance plan: keep when at least `need` of `m` executions succeed.
---@class gcop.Plan
---@field tau number
---@field epsilon number
---@field m integer
---@field need integer ceil(tau m)
---@field beta_fa number the chance that a strategy with executability tau - epsilon or less is kept; exact
local Plan = {}

--- What the data support, over all tested strategies, refinement rounds counted.
---@class gcop.Certificate
---@field expected_bad number kept ones with executability tau - epsilon or less, in expectation
---@field certified_bad_95 integer with 95 % confidence no more than this

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
---@field tau? number default 0.8
---@field epsilon? number default 0.2
---@field m? integer default 16

--- An acceptance plan.
--- Raises unless 0 < tau <= 1, 0 < epsilon < tau, 1 <= m.
---@param options gcop.strategy.plan.Options
---@return gcop.Plan plan
function gcop.strategy.plan(options) end

--- The decision as soon as it is certain.
---@param successes integer
---@param trials integer at most m; failures of infrastructure are no trials
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

--- How many of the kept strategies may be bad.
---@param tested integer every refinement counted
---@param kept integer
---@return gcop.Certificate certificate
function Plan:certify(tested, kept) end
