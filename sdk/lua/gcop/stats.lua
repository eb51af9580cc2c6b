---@meta
-- Made by `gcop-run --emit-lua-meta`; the source is runtime/lua/.

--- A mean and its interval.
---@class gcop.Estimate
---@field mean number
---@field ci95 number[] {low, high}
---@field n integer units that the interval counts: values, families, tasks
---@field method string

--- A slope and its interval.
---@class gcop.Slope
---@field slope number
---@field ci95 number[]
---@field n integer
---@field method string

gcop.stats = {}

--- Mean and t interval of independent values.
---@param values number[]
---@return gcop.Estimate estimate
function gcop.stats.mean_ci(values) end

--- Mean of the family means and its t interval: the primary interval for grouped tasks.
--- Raises when the lengths differ.
---@param values number[]
---@param families string[] parallel; an empty name is a family of its own
---@return gcop.Estimate estimate
function gcop.stats.family(values, families) end

--- The same over several training seeds: a family's mean is averaged over the seeds first.
--- Raises when a family is missing in a seed.
---@param seeds {values: number[], families: string[]}[]
---@return gcop.Estimate estimate
function gcop.stats.pooled(seeds) end

--- Mean and percentile bootstrap over tasks, drawn from the run's seed. Secondary: it takes tasks for independent.
---@param values number[] paired differences
---@return gcop.Estimate estimate
function gcop.stats.bootstrap(values) end

--- Least-squares slope of y over x and its t interval.
--- Raises when the lengths differ or all x are equal.
---@param x number[]
---@param y number[]
---@return gcop.Slope slope
function gcop.stats.slope(x, y) end

--- Exact interval of a success probability.
---@param successes integer
---@param trials integer
---@return gcop.Estimate estimate
function gcop.stats.clopper_pearson(successes, trials) end

--- Two-sided p value of mean 0.
---@param values number[]
---@return number p
function gcop.stats.t_test(values) end

--- Holm's step-down: adjusted p values.
---@param p number[]
---@return number[] adjusted parallel
function gcop.stats.holm(p) end
