---@meta
-- Made by `gcop-run --emit-lua-meta`; the source is runtime/lua/.

--- A task started by gcop.spawn.
---@class gcop.Job
local Job = {}

---@class gcop.map.Options
---@field limit? integer how many run side by side; default 64

--- Calls fn(item, index) for each item, at most `limit` side by side, and gives the first results in the items' order.
--- Waits.
--- An error in one item cancels the others and is raised here with the item's index and traceback.
---@param items any[] a list
---@param options gcop.map.Options
---@param fn fun(item: any, index: integer): any, any runs as a task of its own
---@return any[] results results[i] is fn's first result for items[i]
---@return any[] others others[i] is its second result, such as an err
function gcop.map(items, options, fn) end

--- Runs functions side by side and waits for all of them.
--- Waits.
--- As for gcop.map.
---@param functions function[] a list of functions without arguments
---@return any[] results first results, in order
---@return any[] others second results
function gcop.all(functions) end

--- Runs functions side by side until the first one ends; the others are cancelled.
--- Waits.
--- If the first to end ends with an error, that error is raised.
---@param functions function[] a list of functions without arguments
---@return any result the winner's first result
---@return integer index the winner's place in the list
function gcop.race(functions) end

--- Starts fn(...) as a task and goes on. The run ends when all tasks have ended.
--- An error that nobody waits for is shown at once and fails the run at its end.
---@param fn function the task
---@param ... any its arguments
---@return gcop.Job job to wait for it or to cancel it
function gcop.spawn(fn, ...) end

--- Waits until the task has ended.
--- Waits.
--- Raises the task's error.
---@return any  what its function returned; nil and an err if it was cancelled
function Job:wait() end

--- Ends the task where it waits. Its pending call is cancelled.
function Job:cancel() end

--- Whether the task has ended.
---@return boolean ended
function Job:ended() end

--- Waits some time.
--- Waits.
---@param seconds number 0 lets other tasks run
function gcop.sleep(seconds) end

--- Ends the run here, successfully (exit code 0). Nothing after it runs.
--- Waits.
---@param message? string shown at the end
function gcop.finish(message) end
