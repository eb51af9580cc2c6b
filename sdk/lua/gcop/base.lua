---@meta
-- Made by `gcop-run --emit-lua-meta`; the source is runtime/lua/.

--- An expected failure, as the second result after nil. tostring gives its text.
---@class gcop.Error
---@field code "cancelled"|"timeout"|"invalid"|"unavailable"|"unsupported"|"internal"|"denied"|"exhausted" what kind; exhausted: memory, disk or the budget ran out
---@field message string names the thing, the value and the remedy
---@field retryable boolean another try may help (timeout, unavailable)
---@field where? string file:line
---@field traceback? string of the task that failed

--- A step's progress: one line, rewritten on a terminal, repeated every 5 s elsewhere, with rate and time left.
---@class gcop.Progress
local Progress = {}

---@class gcop
---@field args string[] arguments after the recipe's name
---@field profile "quick"|"standard"|"full" as chosen by --profile
---@field seed integer as chosen by --seed
---@field device string what the run computes on
---@field out_dir string the run's folder; empty under --check and --plan
---@field planning boolean true under --plan: nothing is called, the first call that waits ends the run
---@field checking boolean true under --check: likewise
gcop = {}

--- Declares an option that --set name=value overrides. The value has the default's type; a list is written a,b,c. Declare all of them before the first call that waits: there the names given with --set are checked.
--- Raises when --set gives a value of another type. Unknown --set keys end the run with exit code 2.
---@param name string
---@param default any a value, or { quick =, standard =, full = }; a missing profile takes the nearest smaller one's
---@param doc? string one line
---@return any value
function gcop.option(name, default, doc) end

--- The options declared so far.
---@return table<string, any> values name to value
function gcop.options() end

---@class gcop.plan.Options
---@field stage string
---@field role? string who is called: "core", "teacher", "guide", ...
---@field calls? number
---@field tokens_in? number
---@field tokens_out? number
---@field usd? number
---@field seconds? number

--- A line of what --plan prints at the end: what a step expects to call and to cost. Without --plan it is kept and not shown.
---@param options gcop.plan.Options
function gcop.plan(options) end

--- What the manual says of a function, or of a class and its methods: for a model that is to write Lua.
--- Raises when the manual has no such name.
---@param name string
---@return string text Markdown, as in sdk/docs/lua.md
function gcop.manual(name) end

--- One line for people; kept as an event of the run.
---@param text string
function gcop.log(text) end

--- A warning, also shown under --quiet.
---@param text string
function gcop.warn(text) end

--- Starts the progress of a step.
---@param label string
---@param total? integer its length, if known
---@return gcop.Progress bar
function gcop.progress(label, total) end

--- Some more is done.
---@param n? integer default 1
---@param text? string shown at the end of the line
function Progress:add(n, text) end

--- The step is over; the line stays.
function Progress:done() end
