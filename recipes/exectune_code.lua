-- ExecTune on code: a small guide model learns to write strategies that a black-box core model can execute.
--
--   needs   nothing but this machine: the guide (135M) and the core (0.5B) are local models, fetched on the first run
--   takes   on 2 cores, quick: 10 minutes; standard: 37 to 42 minutes; full wants a GPU
--   change  --set core=openai:gpt-4o-mini uses an API core (key in OPENAI_API_KEY); --set tasks=FILE your own tasks;
--           prompts are in scripts/gcop/prompts.lua, reward terms in scripts/gcop/reward.lua, stages beside them
--
-- The method (Guide-Core Policies, arXiv 2604.09741), top to bottom below:
--   accept   a teacher proposes strategies, the core executes them, those that work are kept
--   sft      the guide learns to write what was kept
--   grpo     the guide writes, the core executes, the guide moves towards what worked better
--   evaluate guide + core against the core alone, on tasks nobody has seen
local option = gcop.option
local tasks_file = option("tasks", "recipes/data/house_python.jsonl", "task file, JSONL")
local guide_name = option("guide", { quick = "smollm2-135m-instruct", full = "qwen3-1.7b" }, "guide model: name, HF directory or .gguf")
local core_name = option("core", "local:qwen2.5-coder-0.5b-instruct", "the core that executes strategies")
local teacher_name = option("teacher", "local:qwen2.5-coder-0.5b-instruct", "the model that proposes and refines strategies")
local budget = option("budget_usd", 5.0, "hard cap on what API calls may cost")
local budget_teacher = option("budget_teacher_usd", 0.0, "of it, the teacher may spend so much; 0 = no cap of its own")
local price_in = option("price_in", 0.0, "USD per million input tokens of an API core or teacher that recipes/prices.toml does not know")
local price_out = option("price_out", 0.0, "USD per million output tokens of it")
local free = option("free", false, "an API core or teacher without a price costs nothing")
local key_env = option("key_env", "", "environment variable that holds the key of a core at a URL")
local train_tasks = option("train_tasks", { quick = 52, standard = 0 }, "train tasks used, spread over families; 0 = all")
local test_tasks = option("test_tasks", { quick = 60, standard = 0 }, "test tasks used, spread over families; 0 = all")
local split = option("split", "test", "what is evaluated; dev while settings are tuned")
local eval_samples = option("eval_samples", { quick = 1, standard = 4 }, "k: executions per test task and system")
local m = option("m", { quick = 4, standard = 6 }, "acceptance promises what a test of so many executions does")
local keep = option("keep", { quick = 1, standard = 2 }, "kept strategies wanted per task")
local refine = option("refine", 1, "failures of a task that the teacher is asked to mend")
local epochs = option("epochs", { quick = 6, standard = 4 }, "SFT epochs")
local sft_lr = option("sft_lr", 1e-4, "SFT learning rate")
local lora = option("lora", 0, "rank of a low-rank adapter to train; 0 trains all weights")
local steps = option("steps", { quick = 5, standard = 14 }, "GRPO steps")
local prompts_per_step = option("prompts", { quick = 6, standard = 12 }, "GRPO tasks per step that teach something")
local group = option("group", 8, "GRPO strategies per task")
local reward_samples = option("reward_samples", 4, "executions per strategy in GRPO")
local grpo_lr = option("grpo_lr", 5e-6, "GRPO learning rate")

local tasks   = gcop.tasks { tasks_file }
local function given(x) return x ~= 0 and x or nil end
local price   = (given(price_in) or given(price_out)) and { input = given(price_in), output = given(price_out) }
local function api(model, o)   -- what only a core behind an API has
  if not model:find "^local:" then o.price, o.free, o.key_env = price, free and not price or nil, key_env ~= "" and key_env or nil end
  o.model, o.max_in_flight = model, 32
  return gcop.core(o)
end
local core    = api(core_name, { temperature = 0.2, max_tokens = 192 })
local teacher = api(teacher_name, { temperature = 0.7, max_tokens = 128 })
local guide   = gcop.guide { model = guide_name, lora = given(lora) and { rank = lora } }
-- A Lua function will do as well: gcop.validator { function(task, answer) return answer == task.answer end }
local tests   = gcop.validator { "python", cpu_ms = 2000, mem_mb = 256 }

local run = gcop.run { guide = guide, core = core, check = tests, max_strategy_tokens = 80,
  budget_usd = { total = budget, teacher = given(budget_teacher) } }
local train = run:pick(tasks.train, train_tasks, "train")
local test  = run:pick(tasks[split] or error("split is '" .. split .. "'; it is train, dev or test", 0), test_tasks, split)

-- How well does the core do alone? Measured once, used by the reward and to see where guidance would only do harm.
run:baseline { tasks = train, samples = 4 }

-- 1. Acceptance: what a strategy must show before the guide may learn from it.
local kept = run:accept {
  tasks = train, teacher = teacher,
  tau = 0.8, epsilon = 0.2, m = m,      -- as good as asking for 80 % of m executions, in fewer (gcop.strategy.plan)
  proposals = 1, refine = refine, keep = keep,
  neutral = "Do just what the request says.",   -- for tasks that the core solves alone
}

-- 2. Supervised fine-tuning on what was kept.
run:sft { data = kept, epochs = epochs, batch = 8, lr = sft_lr }

-- 3. GRPO with the shaped reward. Malformed and leaking strategies are gated before the core is asked.
run:grpo {
  tasks = train, steps = steps, prompts = prompts_per_step, group = group, samples = reward_samples,
  lr = grpo_lr, kl_beta = 0.05, temperature = 0.7, max_tokens = 96, save_every = 5,
  reward = gcop.reward.gated { malformed = -1, leak = -0.5, c_valid = 0.1, w_harm = 0.5 },
}

-- 4. Evaluation on the test split. `core_notes` is the control: every kept note of an expert in the core's prompt, no guide.
local notes, seen = {}, {}
for _, row in ipairs(kept) do
  if row.origin == "expert" and row.task.slice ~= "plain" and not seen[row.strategy] then
    seen[row.strategy] = true
    notes[#notes + 1] = row.strategy
  end
end
run:evaluate {
  tasks = test, samples = eval_samples, notes = notes, max_tokens = 96,
  systems = { "core", "guide_only", "core_notes", "gcop_base", "gcop_sft", "gcop_exectune" },
}

-- 5. policy/, report.json, report.html.
run:finish { policy = { core = core_name } }
