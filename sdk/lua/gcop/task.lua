---@meta
-- Made by `gcop-run --emit-lua-meta`; the source is runtime/lua/.

--- One problem. A table of these fields made by a recipe works as well; then validators get the table itself as the row.
---@class gcop.Task
---@field id string unique in the run
---@field family? string convention or topic; the unit of the grouped interval. Empty: a family of its own
---@field slice? string "house", "plain", or ""
---@field split? string "train", "dev" or "test"
---@field unseen? boolean its family has no row in train
---@field prompt string
---@field entry_point? string the function that is asked for
---@field tests? string[] assertions
---@field answer? string where a number is asked for: the number, or a text that ends with it
---@field notes? string[] expert notes, train rows only
---@field solution? string the reference solution
---@field row? string the whole row as JSON: what validators get
---@field where? string file:line

--- Tasks by split, in the order of the files.
---@class gcop.Tasks
---@field all gcop.Task[]
---@field train gcop.Task[]
---@field dev gcop.Task[]
---@field test gcop.Task[]

--- Loads task files: rows of ours ({"id", "family", "split", "prompt", "entry_point", "tests", ...}) and the rows of MBPP, HumanEval and GSM8K. A row of ours may have "test", the text of a test file, instead of "tests". A relative path is looked up from the working directory, then from the source tree. The literals of all tests are kept for gcop.strategy.leaks.
--- Raises with file:line of the row that is missing a field, is no JSON, or repeats an id.
---@param paths string[]
---@return gcop.Tasks tasks
function gcop.tasks(paths) end
