---@meta
-- Made by `gcop-run --emit-lua-meta`; the source is runtime/lua/.

--- A validator. Field: name.
---@class gcop.Validator
---@field name string
local Validator = {}

--- What a check found.
---@class gcop.Verdict
---@field score number 0 to 1
---@field passed integer assertions that held
---@field total integer assertions there are
---@field feedback string for a teacher or a person; empty when all passed
---@field detail? table for reports
---@field cached boolean answered by the store

---@class gcop.validator.Options
---@field [1] string|(fun(task: gcop.Task, answer: string): number|boolean|table, string?) "python": unit tests in a sandbox; "math": the number of tasks with an answer, its config grade = "strict" counts marked answers only; another plugin's name or path; or a function. It gets the task with all fields of its row and the core's output, may wait and call cores, and returns a score from 0 to 1 or a boolean, then perhaps a feedback; or a table { score =, feedback =, passed =, total =, detail = }; or nil and an err: no verdict. What else it does is an err, never a score
---@field name? string of a function, in messages; default "lua"
---@field version? string of a function: with its place and its file's text it says which verdicts of the store are its own; change it when something else that the function reads changes
---@field cpu_ms? integer CPU time of a check
---@field wall_ms? integer wall time of a check
---@field mem_mb? integer memory of a check, 32 or more
---@field isolation? string python: "jail" (default), or "process": no jail, only limits on time and memory; verdicts and the report say so
---@field max_in_flight? integer checks at the same time; default: CPU cores, 64 for a function
---@field timeout_ms? integer for the verdict; default 120000
---@field config? table added to the plugin's configuration

--- Starts a validator. What "python" runs is in a task's row: tests, test_list or test, the first that is there, a list of statements with asserts (MBPP) or the text of one test file: with check(candidate) (HumanEval, needs entry_point), or test functions and classes as pytest and unittest run them, which take the answer's names by `from solution import f`. test_setup_code runs before them. The program is the last fenced block of an answer that defines the entry point. Plain data, dates and named tuples cross between it and the tests; what it does to lists, dicts and sets that it was passed is seen where it returns None; its own objects can be called and asked for attributes, but a test that compares them fails. Of pytest there are raises, approx, fail, param, mark.parametrize and plain fixtures; anything else of it is an err.
--- Waits.
--- Raises when the plugin or its sandbox does not start.
---@param options gcop.validator.Options
---@return gcop.Validator validator
function gcop.validator(options) end

--- Checks a candidate answer of a task. The same check is not done twice.
--- Waits.
---@param task gcop.Task
---@param candidate string the core's output, whole: the validator extracts what it checks
---@return gcop.Verdict? verdict
---@return gcop.Error? err the check could not run
function Validator:check(task, candidate) end
