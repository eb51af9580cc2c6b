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

--- Declares an option that --set name=value overrides. The value has the default's type; a list is written a,b,c.
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

gcop.json = {}

--- JSON text with sorted keys. NaN and infinities become null, an empty table {} unless gcop.json.array marked it.
--- Raises for functions, userdata, mixed tables and tables that hold themselves.
---@param value any nil, booleans, numbers, strings, lists and tables with string keys
---@param pretty? boolean indented
---@return string text
function gcop.json.encode(value, pretty) end

--- The value of a JSON text; null becomes nil.
---@param text string
---@return any value
---@return gcop.Error? err when it is not JSON
function gcop.json.decode(text) end

--- Marks a table as a list, so that it is [] in JSON when empty.
---@param list? table default: a new table
---@return table list the same table
function gcop.json.array(list) end

--- SHA-256 of a text.
---@param text string
---@return string hex 64 lower-case digits
function gcop.sha256(text) end

--- A number in [0, 1) that depends on the run's seed, the label and what follows, and on nothing else: not on what was drawn before.
---@param label string what it is for
---@param ... string|integer which draw
---@return number value
function gcop.random(label, ...) end

--- A seed for a model's sampling, by the same rule.
---@param label string
---@param ... string|integer
---@return integer seed 53 bits
function gcop.seed_for(label, ...) end

--- A new list in an order that depends on the run's seed, the label and what follows.
---@param list any[]
---@param label string
---@param ... string|integer
---@return any[] list a new list
function gcop.shuffle(list, label, ...) end

--- Seconds on a clock that only goes forward, for durations.
---@return number seconds
function gcop.clock() end

gcop.files = {}

--- Writes a file of the run's folder; folders are made.
--- Raises when the path leads out of the folder or cannot be written.
---@param path string relative
---@param text string
function gcop.files.write(path, text) end

--- Reads a file of the run's folder.
---@param path string relative
---@return string? text
---@return gcop.Error? err
function gcop.files.read(path) end

--- Removes a file or folder of the run's folder, if it is there.
---@param path string relative
function gcop.files.remove(path) end
