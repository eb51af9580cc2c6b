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

--- A hard cap on what the run may spend, earlier processes included. A call that does not fit is refused, and the run ends with exit code 3.
---@param usd number 0 forbids every paid call
function gcop.store.set_budget(usd) end
