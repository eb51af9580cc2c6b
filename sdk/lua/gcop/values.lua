---@meta
-- Made by `gcop-run --emit-lua-meta`; the source is runtime/lua/.

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
