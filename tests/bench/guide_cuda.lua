-- Timed work of `./dev bench guide_cuda`, one JSON object a line. Weights are random, shapes those of Qwen3-1.7B but for
-- its head norms, or with `--set tiny=true` small ones on the CPU, which shows that the script works and nothing else.
local tiny = gcop.option("tiny", false, "small shapes on the CPU's reference path")
local full = { layers = 28, hidden = 2048, heads = 16, kv_heads = 8, intermediate = 6144, vocab = 151936, context = 2048 }
local small = { layers = 2, hidden = 64, heads = 4, kv_heads = 2, intermediate = 96, context = 256 }
local guide = gcop.guide { random = tiny and small or full, device = tiny and "cpu_reference" or "cuda",
                           config = { max_batch = 256 } }
local divide = tiny and 16 or 1

local function tokens(n, first)
  local out = {}
  for i = 1, n do out[i] = 1 + (first * 7919 + i * 31) % 250 end
  return out
end
local function example(prompt, completion, advantage)
  local all, mask = {}, {}
  for i, t in ipairs(prompt) do all[i], mask[i] = t, 0 end
  for _, t in ipairs(completion) do all[#all + 1], mask[#mask + 1] = t, 1 end
  return { tokens = all, mask = mask, advantage = advantage }
end
local function report(row) print(gcop.json.encode(row)) end
local function timed(work)
  local started = gcop.clock()
  local result = work()
  return gcop.clock() - started, result
end

-- Decode: context is 512 on average, half of the sampled tokens before and half after it. The prompt's part is timed
-- alone, with one token sampled, and taken away.
for _, batch in ipairs { 1, 64, 256 } do
  local new = 128 // divide
  local prompt = 512 // divide - new // 2
  local function sample(n, first)
    local list = {}
    for i = 1, batch do list[i] = i end
    local all = gcop.map(list, { limit = batch }, function(i)
      local rollouts = assert(guide:sample { prompt = tokens(prompt, first + i), n = 1, max_tokens = n, temperature = 1, seed = i })
      return #rollouts[1].tokens
    end)
    local sum = 0
    for _, count in ipairs(all) do sum = sum + count end
    return sum
  end
  sample(4, 1000)   -- captures the graphs
  local best
  for round = 1, 3 do
    local start_s = timed(function() return sample(1, 2000 * round) end)
    local whole_s, drawn = timed(function() return sample(new, 2000 * round + 500) end)
    local rate = (drawn - batch) / (whole_s - start_s)
    best = math.max(best or 0, rate)
  end
  report { bench = "decode", batch = batch, context = 512 // divide, tokens_per_s = best }
end

-- Training: packed sequences of 1,024 tokens.
local length, count = 1024 // divide, 16
local batch = {}
for i = 1, count do
  batch[i] = example(tokens(1, i), tokens(length - 1, i + 50))
end
guide:train { sequences = batch, optimizer = { lr = 0 } }
local best
for _ = 1, 3 do
  local seconds = timed(function() return guide:train { sequences = batch, optimizer = { lr = 0 } } end)
  best = math.max(best or 0, length * count / seconds)
end
report { bench = "train", length = length, tokens_per_s = best }

-- GRPO: 32 prompts of 250 tokens, 8 strategies of 300 each, without core and judge.
local prompts, group, prompt, new = 32 // divide, 8, 250 // divide, 300 // divide
local ids = {}
for i = 1, prompts do ids[i] = i end
local rollout_s, groups = timed(function()
  return gcop.map(ids, { limit = prompts }, function(i)
    return assert(guide:sample { prompt = tokens(prompt, 9000 + i), n = group, max_tokens = new, temperature = 1, seed = i })
  end)
end)
local sequences, drawn = {}, 0
for i, rollouts in ipairs(groups) do
  for j, r in ipairs(rollouts) do
    drawn = drawn + #r.tokens
    sequences[#sequences + 1] = example(tokens(prompt, 9000 + i), r.tokens, j % 2 == 0 and 0.5 or -0.5)
  end
end
local train_s = timed(function()
  return guide:train { sequences = sequences, loss = { objective = "policy", max_len = new }, optimizer = { lr = 0 } }
end)
report { bench = "grpo_step", rollout_s = rollout_s, train_s = train_s, drawn = drawn }
