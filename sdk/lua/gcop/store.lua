---@meta
-- Made by `gcop-run --emit-lua-meta`; the source is runtime/lua/.

--- What a role spent, earlier processes of the run included.
---@class gcop.Cost
---@field role string
---@field usd number
---@field possible_usd number held for calls whose outcome nobody knows
---@field calls integer
---@field failed integer
---@field hits integer answered from the store by this process
---@field unknown integer begun and never answered
---@field tokens_in integer
---@field tokens_out integer

--- A call whose outcome nobody knows.
---@class gcop.UnknownCall
---@field role string
---@field model string
---@field stage string
---@field possible_usd number what it may have cost at most

gcop.store = {}

--- Keeps a row; overwrites.
--- Raises when the disk is full.
---@param kind string a table-like name: "strategy", "step", ...
---@param key string unique within its kind
---@param value any as gcop.json.encode takes it
function gcop.store.put(kind, key, value) end

--- A kept row.
---@param kind string
---@param key string
---@return any value nil if there is none
function gcop.store.get(kind, key) end

--- Rows of a kind in the order of their keys.
---@param kind string
---@param prefix? string of the keys
---@return {key: string, value: any}[] rows
function gcop.store.list(kind, prefix) end

--- Costs by role.
---@return gcop.Cost[] costs
function gcop.store.costs() end

--- USD spent by the run so far.
---@return number usd
function gcop.store.spent() end

--- A hard cap on what the run, or one role in it, may spend, earlier processes included. A call that does not fit is refused, and the run ends with exit code 3, also when the recipe goes on without it; a recipe that calls gcop.finish() after a refusal says that it is done, and ends with 0.
---@param usd number 0 forbids every paid call
---@param role? string "teacher", "core", "judge", ...
function gcop.store.set_budget(usd, role) end

--- Calls that were sent and whose outcome nobody knows: the process was killed, or the call was cancelled, timed out or cut off. They may have been billed, so that a budget holds what they cost at most.
---@return gcop.UnknownCall[] calls in the order they began
function gcop.store.unknown_calls() end

--- Writes the settled calls of a finished run as JSON lines, which model = "replay:FILE" answers from.
--- Raises when there is no run, or another process uses it.
---@param run string its folder
---@param file string in this run's folder
---@return integer calls how many there were
function gcop.store.record(run, file) end
