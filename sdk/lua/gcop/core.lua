---@meta
-- Made by `gcop-run --emit-lua-meta`; the source is runtime/lua/.

--- A core.
---@class gcop.Core
---@field name string
---@field identity string part of the cache key
---@field continues boolean it can go on from the start of an answer (`prefix`); of a Lua function it is assumed
---@field max_tokens integer of an answer, where a call does not say
---@field price gcop.Price zeros if it is free
local Core = {}

--- One turn of a conversation.
---@class gcop.Message
---@field role "system"|"user"|"assistant"
---@field content string

--- USD per million tokens, by class; each token is in one class.
---@class gcop.Price
---@field input? number
---@field output? number reasoning included
---@field cache_read? number default: as input
---@field cache_write? number default: as input
---@field tiers? gcop.PriceTier[] rates of longer prompts
---@field hour? number USD for an hour in which the machine works on this core's calls; calls at the same time share it
---@field read? string of a listed price: the day it was read off the provider's page

--- Rates of a call whose prompt has more tokens than `above`, cached ones included.
---@class gcop.PriceTier
---@field above integer
---@field input? number
---@field output? number
---@field cache_read? number
---@field cache_write? number

--- What a core written in Lua gets.
---@class gcop.Request
---@field messages gcop.Message[]
---@field prompt string the last user message
---@field prefix string start of the answer, or ""
---@field max_tokens integer
---@field temperature number
---@field top_p number
---@field seed integer a function of the run's seed, the request and the sample
---@field sample integer
---@field role string

--- A core's answer.
---@class gcop.Reply
---@field text string
---@field finish string "stop", "length", ...
---@field model string as served
---@field tokens_in integer all input classes
---@field tokens_out integer reasoning included
---@field cost_usd number 0 for a cached answer
---@field price_usd number what such a call costs, cached or not
---@field latency_s number
---@field cached boolean answered by the store: nothing was sent or paid

---@class gcop.core.Options
---@field model? string "local:NAME" (a model of recipes/models.toml, a Hugging Face directory or a .gguf file, run here), "openai:NAME", "http://host:port/v1#MODEL" (any server that speaks the OpenAI API), "replay:FILE" (recorded calls)
---@field script? (fun(request: gcop.Request): string|table) a core in Lua: returns the text, or { text =, usage = { input =, output = }, finish = }; it may wait, and ends when its call is cancelled
---@field plugin? string another plugin, by name or path
---@field config? table the plugin's configuration; with model, added to it
---@field template? table<string, boolean|string> of a local model: variables that its chat template reads, as for gcop.guide
---@field name? string for reports and errors
---@field temperature? number default 0: greedy
---@field top_p? number default 1
---@field max_tokens? integer default 512
---@field stop? string|string[] where the answer ends; not part of it
---@field extra? table provider parameters, sent as they are
---@field max_in_flight? integer calls at the same time, further ones wait in order; default 32 for a local model, else 16
---@field timeout_ms? integer for a call; default 600000
---@field base_url? string of an OpenAI-compatible API
---@field key_env? string environment variable with the key; default OPENAI_API_KEY for openai:
---@field price? gcop.Price default: that of recipes/prices.toml; a model that is in no list needs one, or free = true
---@field batch? boolean its calls go to a batch API: the listed share of the listed price
---@field free? boolean calls cost nothing; default for local models, servers on this machine, replay and scripts

--- Makes a core. Cores of the same model and configuration share one instance.
--- Waits.
--- Raises when the model is unknown or has no price, a file or the key is missing, or the plugin does not start.
---@param options gcop.core.Options
---@return gcop.Core core
function gcop.core(options) end

---@class gcop.Core.complete.Options
---@field messages? gcop.Message[] the conversation, or
---@field prompt? string one user message
---@field sample? integer tells repeated draws of one request apart; default 0
---@field role? string who pays: "core" (default), "teacher", "judge", ...
---@field stage? string what for: "accept", "grpo", ..., for the report
---@field max_tokens? integer default: the core's
---@field temperature? number likewise
---@field top_p? number likewise
---@field stop? string|string[] likewise
---@field prefix? string start of the answer to go on from, if the core can

--- Asks the core. The same request with the same `sample` is never paid twice.
--- Waits.
--- When more than 10 of the last 100 calls failed, the run ends (exit code 1).
---@param options gcop.Core.complete.Options
---@return gcop.Reply? reply
---@return gcop.Error? err when reply is nil; code "exhausted": the budget, memory or disk ran out
function Core:complete(options) end
