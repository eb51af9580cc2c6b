---@meta
-- Made by `gcop-run --emit-lua-meta`; the source is runtime/lua/.

--- One training sequence; lists run parallel to tokens.
---@class gcop.Sequence
---@field tokens integer[]
---@field mask (0|1)[] 1: this token is predicted and counts
---@field old_logprobs? number[] of the samples; absent: on policy
---@field ref_logprobs? number[] for the KL; absent: none
---@field advantage? number needed for objective "policy"
---@field weights_version? integer of its sample; refused unless it is that of all others and of "current"

--- See gcop_loss_options in gcop/plugin.h for the formulas.
---@class gcop.Loss
---@field objective "nll"|"policy"|nil default "nll": mean over masked tokens
---@field reduction "dr_grpo"|"dapo"|"grpo"|nil default "dr_grpo"
---@field ratio "token"|"sequence"|nil default "token"
---@field clip_low? number default 0.2
---@field clip_high? number default 0.28
---@field clip_delta? number two-sided clip; 0 (default): off
---@field kl_beta? number 0 (default): off
---@field max_len? integer dr_grpo's constant length, needed for it: the most tokens a completion may have

--- AdamW; weight decay applies to matrices only.
---@class gcop.Optimizer
---@field lr? number default 1e-5
---@field beta1? number default 0.9
---@field beta2? number default 0.999
---@field eps? number default 1e-8
---@field weight_decay? number default 0
---@field max_grad_norm? number default 1; 0: off

--- What one step did.
---@class gcop.TrainStats
---@field loss number
---@field kl number mean k3 against ref_logprobs, nats
---@field entropy number nats
---@field clip_frac number
---@field ratio_max number
---@field grad_norm number before clipping
---@field n_tokens integer masked ones
---@field weights_version integer

---@class gcop.Guide
local Guide = {}

---@class gcop.Guide.score.Options
---@field sequences integer[][]
---@field weights? string default "current"

--- Log-probability of every token given those before it; 0 for the first.
--- Waits.
--- Raises what the engine says.
---@param options gcop.Guide.score.Options
---@return number[][] logprobs nats, parallel to sequences
function Guide:score(options) end

---@class gcop.Guide.train.Options
---@field sequences gcop.Sequence[]
---@field loss? gcop.Loss default: NLL
---@field optimizer? gcop.Optimizer
---@field expect_version? integer weights_version of the samples; refused if it is another

--- One optimizer step on the weights "current".
--- Waits.
--- Raises what the engine says; the weights are then as they were, and the batch is in failed-batch.json in the run's folder.
---@param options gcop.Guide.train.Options
---@return gcop.TrainStats stats
function Guide:train(options) end
