---@meta
-- Made by `gcop-run --emit-lua-meta`; the source is runtime/lua/.

--- Recorded traces: questions, each with equally many branches.
---@class gcop.ReplayStore
---@field path string as given
---@field questions integer how many
---@field branches integer of a question
local ReplayStore = {}

--- What a controller got from a store.
---@class gcop.Evaluation
---@field solves integer questions times shuffles
---@field correct_total integer answers equal to the gold answer byte for byte, as the paper counts
---@field normalised_correct integer answers equal to it as values: blanks, $, \boxed, leading zeros and such do not count
---@field cost_total integer tokens
---@field per_seed integer[][] { correct, cost } of each shuffle
---@field per_question integer[][] { correct, cost } of each question, over all shuffles
---@field seconds number that it took
---@field traces? table[] { seed, question, correct, cost, events } of the traced shuffles

--- One line of reasoning, made by `env:open()`. A controller may add fields of its own.
---@class gcop.Branch
---@field id integer 1, 2, ... in the order of opening
---@field answer? integer what it says so far: a number that stands for a text. Equal answers are equal numbers; nothing else is to be read from them
---@field finished boolean it has come to its end; known one advance after its last probe

--- One question as a controller meets it: a replayed one, or a live core. Wrong calls (a branch that has ended, was abandoned or never opened, or more branches than there are) are raised and cost nothing.
---@class gcop.Env
local Env = {}

gcop.tts = {}

--- Reads recorded traces: a JSON list of { question, gold_answer, probe_freq, each_branch = { { probe answers, tokens, final answer }, ... } }.
--- Waits.
---@param path string as given, or below the source tree
---@return gcop.ReplayStore? store
---@return gcop.Error? err names the question, branch and field that is wrong
function gcop.tts.store(path) end

--- One question of the store.
---@param number integer from 1
---@return table question { question, gold_answer, probe_freq, tokens }; tokens of all branches together
function ReplayStore:question(number) end

--- The text of a controller, if it compiles.
---@param controller string a Lua file, or a module such as "gcop.tts.cmc"
---@return string? text
---@return gcop.Error? err there is no such file, or the line where it does not compile
function gcop.tts.source(controller) end

---@class gcop.tts.evaluate.Options
---@field store gcop.ReplayStore
---@field controller? string a Lua file, or a module such as "gcop.tts.cmc": one's own; or
---@field text? string what such a file would hold, written by somebody else: it runs in processes of its own in the jail, which see neither questions nor gold answers, and what they say they did is done again outside
---@field name? string of a text, for messages; default "controller"
---@field cpu_s? number CPU time that each process of a text may take; default 30
---@field isolation "jail"|"process"|nil of a text; default "jail". "process" has limits on time and memory and no other protection
---@field params? table what the controller gets as its second argument
---@field seeds? integer shuffles; default 100
---@field first_seed? integer default 0
---@field questions? integer[] numbers from 1; default all
---@field traces? integer of how many shuffles to keep what the controller traces; default 0
---@field threads? integer default: one for each core

--- Runs a controller on every question in every shuffle of the branches, on all cores. Shuffle `seed` is what CPython's random.Random(seed).shuffle makes of the branches, the same for all questions. The result does not depend on the number of threads.
--- Waits.
---@param options gcop.tts.evaluate.Options
---@return gcop.Evaluation? evaluation
---@return gcop.Error? err the controller raised, returned no answer, took too many steps or too much memory, with file and line
function gcop.tts.evaluate(options) end

--- Opens the next branch. It has no answer until it is advanced or read.
--- Raises when all are open.
---@return gcop.Branch branch
function Env:open() end

--- Lets branches think on, side by side: each by one probe interval (the tokens that a store's probe_freq says), or as often as `times` says, and no further than to its end. Sets answer and finished.
--- Waits.
---@param branches gcop.Branch|gcop.Branch[]
---@param times integer|integer[]|nil default 1; a list has one for each branch
---@return integer ended how many of them have finished by it
function Env:advance(branches, times) end

--- Reads branches to their ends at once. Sets answer and finished.
--- Waits.
---@param branches gcop.Branch|gcop.Branch[]
function Env:read(branches) end

--- Gives branches up: nothing more is paid for them. Before a live core their requests are cancelled.
---@param branches gcop.Branch|gcop.Branch[]
function Env:abandon(branches) end

--- Counts a list. Of answers with equally many votes the one that comes first in the list wins.
---@param list (gcop.Branch|integer)[] branches, each voting for its answer, or answers
---@return integer? winner nil of an empty list
---@return integer first its votes
---@return integer second votes of the next answer: 0 where all agree
function Env:vote(list) end

--- The chance that the leading answer is really the more frequent of the two: 1 - I_1/2(first + 1, second + 1), exact. 0 without votes.
---@param first integer
---@param second integer
---@return number chance
function Env:confidence(first, second) end

--- How many branches can be opened.
---@return integer branches
function Env:limit() end

--- How many branches have been opened.
---@return integer branches
function Env:opened() end

--- Tokens that this question has cost so far.
---@return integer tokens
function Env:cost() end

--- Remembers what happened, where gcop.tts.evaluate was asked for traces; else it does nothing.
---@param event string
---@param ... any names and values in turn
function Env:trace(event, ...) end
