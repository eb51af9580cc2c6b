---@meta
-- Made by `gcop-run --emit-lua-meta`; the source is runtime/lua/.

--- How a branch that goes on is asked for its answer.
---@class gcop.Probe
---@field text string put behind the text so far: the answer is to follow it
---@field max_tokens? integer default 16
---@field stop string|string[]|nil where the answer ends, as "\n"

--- What a controller made of a live core.
---@class gcop.Solved
---@field answer string
---@field cost integer tokens as env:cost() counts them
---@field opened integer branches
---@field branches gcop.SolvedBranch[] the opened ones
---@field ahead {calls: integer, tokens: integer} calls that the controller never asked for, and tokens of those of them that were answered
---@field events? table[] what the controller traced

--- A branch afterwards.
---@class gcop.SolvedBranch
---@field sample integer
---@field text string as far as the controller asked for it
---@field answer? string nil: it was opened only
---@field tokens integer of the text
---@field ended boolean by itself, or at max_tokens
---@field abandoned boolean

--- A controller that is run step by step.
---@class gcop.Controller
local Controller = {}

gcop.tts = {}

---@class gcop.tts.solve.Options
---@field core gcop.Core its temperature should not be 0, or all branches are the same
---@field messages? gcop.Message[] the question, or
---@field prompt? string as one user message
---@field answer (fun(text: string): string?) the answer that a text gives; nil or "" counts as the answer ERR. It sees a whole branch, or one so far with the probe and what came of it
---@field probe? gcop.Probe how a branch that goes on is asked for its answer; without one `answer` sees the text so far as it is. A core that cannot continue an answer needs none
---@field interval? integer tokens between two probes; default 500
---@field max_tokens? integer of a branch, which ends there; default: the core's
---@field branches? integer how many there are; default 64, or as many as `sample` lists
---@field sample integer|integer[]|nil the core's sample index of the first one, or of each; default 0
---@field role? string who pays, as in gcop.Core:complete; default "core"
---@field stage? string what for; default "solve" or "collect"
---@field controller string a Lua file, or a module such as "gcop.tts.cmc"
---@field params? table what the controller gets as its second argument
---@field ahead? integer intervals that a branch may run ahead of what was asked for, which saves time; what turns out not to be wanted is cancelled, and what of it was paid is told apart. Default 0: no token that the controller did not ask for
---@field traces? boolean keep what the controller traces

--- Lets a controller answer a question with a core.
--- Waits.
--- Raises what `answer` raises. Calls in flight are cancelled when it returns, raises, or is cancelled itself.
---@param options gcop.tts.solve.Options
---@return gcop.Solved? solved
---@return gcop.Error? err the controller is wrong, with file and line; or a call failed: then it names the branch
function gcop.tts.solve(options) end

---@class gcop.tts.collect.Options
---@field core gcop.Core its temperature should not be 0, or all branches are the same
---@field messages? gcop.Message[] the question, or
---@field prompt? string as one user message
---@field answer (fun(text: string): string?) the answer that a text gives; nil or "" counts as the answer ERR. It sees a whole branch, or one so far with the probe and what came of it
---@field probe? gcop.Probe how a branch that goes on is asked for its answer; without one `answer` sees the text so far as it is. A core that cannot continue an answer needs none
---@field interval? integer tokens between two probes; default 500
---@field max_tokens? integer of a branch, which ends there; default: the core's
---@field branches? integer how many there are; default 64, or as many as `sample` lists
---@field sample integer|integer[]|nil the core's sample index of the first one, or of each; default 0
---@field role? string who pays, as in gcop.Core:complete; default "core"
---@field stage? string what for; default "solve" or "collect"

--- Follows branches to their ends and probes each after every interval: rows of a store's each_branch.
--- Waits.
--- As gcop.tts.solve.
---@param options gcop.tts.collect.Options
---@return any[]? branches each { probe answers, tokens, final answer }, in the order of their samples
---@return gcop.Error? err a call failed; it names the branch
function gcop.tts.collect(options) end

---@class gcop.tts.controller.Options
---@field controller string a Lua file or a module
---@field params? table its second argument
---@field branches? integer how many can be opened; default 64
---@field interval? integer tokens that an advance costs; default 500
---@field traces? boolean keep what it traces

--- A controller to be run step by step, for who has branches of another kind: gcop.tts.solve is made of it (scripts/gcop/tts/live.lua).
---@param options gcop.tts.controller.Options
---@return gcop.Controller? controller
---@return gcop.Error? err it is not there, or no Lua
function gcop.tts.controller(options) end

--- Goes on until the controller has an answer or needs a branch to go further than it is known. A step with neither has used up its time: call gcop.sleep(0), then the next one.
--- Raises after its end.
---@return {needs: {branch: integer, interval: integer?}[], abandoned: integer[], opened: integer, cost: integer, answer: string?, events: table[]?}? turn needs: branches, and the interval up to which each is wanted, or none: to its end; abandoned: since the last step
---@return gcop.Error? err the controller raised or took too much; it is over
function Controller:step() end

--- Tells it what a branch says after its next interval.
--- Raises when the branch has ended.
---@param branch integer from 1
---@param answer string
function Controller:probe(branch, answer) end

--- Tells it that a branch has ended.
--- Raises when the branch has ended already.
---@param branch integer from 1
---@param tokens integer of the whole branch
---@param answer string the final one
function Controller:finish(branch, tokens, answer) end
