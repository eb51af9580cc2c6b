---@meta
-- Made by `gcop-run --emit-lua-meta`; the source is runtime/lua/.

--- A guide. Field: name.
---@class gcop.Guide
---@field name string
local Guide = {}

--- A small randomly initialised model over bytes, for tests and tries; further fields as the plugin takes them. Defaults as of guide_torch.
---@class gcop.RandomModel
---@field layers? integer default 2
---@field hidden? integer default 64; a multiple of 16 heads
---@field heads? integer default 4
---@field kv_heads? integer default heads
---@field intermediate? integer default 128
---@field context? integer tokens; default 1024

--- A low-rank adapter (LoRA, arXiv 2106.09685): each target matrix W becomes W + alpha / rank * B A, and only A and B are trained. Sampling, scoring and training use the sum.
---@class gcop.Lora
---@field rank integer 1 to 1024
---@field alpha? number default 2 rank
---@field targets? string[] of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj; default all

--- What the guide sampled.
---@class gcop.Rollout
---@field text string without special tokens
---@field tokens integer[] the end token included if there is one
---@field logprobs number[] nats, of each token under the sampling weights at temperature 1, untruncated
---@field truncated boolean ended by max_tokens
---@field weights_version integer which weights, of all names; a change gives the next number
---@field reused integer prompt tokens whose keys and values were shared, not computed

---@class gcop.guide.Options
---@field model? string a name of recipes/models.toml, a Hugging Face directory, or a .gguf file
---@field random? gcop.RandomModel instead: random weights
---@field lora? gcop.Lora train a low-rank adapter instead of all weights
---@field template? table<string, boolean|string> variables that the model's chat template reads: { enable_thinking = false } (Qwen3), { date_string = "26 Jul 2024" } (Llama 3); one that it does not read is refused
---@field device? string cpu (default) or cuda, which has not been run on a device yet
---@field name? string for reports and errors
---@field plugin? string default "guide_torch"
---@field config? table added to the plugin's: threads, max_batch, kv_bytes, context (less than the model's), training = false (memory for it is not asked for at the start), prefix_reuse
---@field timeout_ms? integer for a call; default 1800000

--- Loads a guide. Guides of the same model and configuration share one instance.
--- Waits.
--- Raises when the model is unknown, damaged, or cannot be fetched.
---@param options gcop.guide.Options
---@return gcop.Guide guide
function gcop.guide(options) end

--- The model's chat template (ChatML's where it has none) over messages, the start of its answer included.
---@param messages gcop.Message[]
---@return integer[] tokens
function Guide:render(messages) end

--- Tokens of a text, without special ones added.
---@param text string
---@return integer[] tokens
function Guide:encode(text) end

--- Text of tokens.
---@param tokens integer[]
---@return string text
function Guide:decode(tokens) end

--- Architecture, parameters, context, vocabulary, eos, device, bytes.
---@return table<string, any> info
function Guide:info() end

---@class gcop.Guide.sample.Options
---@field prompt? integer[] tokens, or
---@field messages? gcop.Message[] rendered by the chat template
---@field n? integer default 1
---@field max_tokens? integer default 128
---@field temperature? number default 1; 0: greedy
---@field top_p? number default 1: off
---@field top_k? integer default 0: off
---@field seed? integer default: the run's; use gcop.seed_for
---@field stop? string|string[] kept in the text
---@field weights? string default "current"

--- Draws n answers of one prompt, which is computed once. Token t's draw is a function of the seed, n's index and t.
--- Waits.
---@param options gcop.Guide.sample.Options
---@return gcop.Rollout[]? rollouts n of them
---@return gcop.Error? err
function Guide:sample(options) end

--- Weights `from` become the version `to` as well; a copy to "current" also clears the optimizer.
--- Waits.
--- Raises when there is no version `from`.
---@param from string
---@param to string
function Guide:copy(from, to) end

--- Forgets a version other than "current".
--- Waits.
--- Raises when there is none.
---@param name string
function Guide:drop(name) end

---@class gcop.Guide.save.Options
---@field weights? string default "current"
---@field optimizer? boolean also its moments and step, to go on training

--- Writes a Hugging Face directory (config.json, model.safetensors, tokenizer files). A guide with a low-rank adapter writes the merged weights, and the adapter into DIR/adapter as PEFT reads it. A model saved there before is replaced, whole or not at all; a directory that holds anything else is refused.
--- Waits.
--- Raises when the disk is full or read-only, or a weight is no finite number.
---@param dir string relative: inside the run's folder
---@param options? gcop.Guide.save.Options
function Guide:save(dir, options) end

---@class gcop.Guide.load.Options
---@field weights? string default "current"

--- Reads such a directory into a version; into "current" with the optimizer, which begins anew if the directory has none. A guide with a low-rank adapter also reads a PEFT directory; weights without an adapter become its new base.
--- Waits.
--- Raises when it is damaged or of another shape.
---@param dir string relative: inside the run's folder
---@param options? gcop.Guide.load.Options
function Guide:load(dir, options) end
