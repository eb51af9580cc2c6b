-- Discovers controllers of test-time compute (AutoTTS, arXiv 2605.08083) on recorded traces:
--   ./dev run recipes/autotts_discover.lua STORE.json [STORE.json ...] [--set held_out=OTHER.json,...]
--
--   does    rounds of proposals, each measured in the jail on half of the stores' questions; the best by a fixed rule is
--           compared with the start once, at the end, on what no proposal saw: the other questions, other shuffles, other stores
--   change  --set proposer=mutation     changes numbers of the best controllers so far; needs no model, spends nothing
--           --set proposer=openai:NAME  a model writes controllers; also local:NAME, http://host:port/v1#MODEL, replay:FILE
--           --set start=FILE.lua        what to begin with and to beat
--   leaves  archive/ID/ of each proposal: controller.lua, result.json, traces.jsonl; best.lua; report.html with the curves
local Search, curve = require "gcop.discovery.search", require "gcop.discovery.curve"
local option = gcop.option
local proposer = option("proposer", "mutation", "who proposes: mutation, or a model as gcop.core names it")
local start = option("start", "gcop.tts.cmc", "the controller to begin with and to beat: a Lua file or module")
local rounds = option("rounds", { quick = 4, standard = 8 }, "rounds; each sees what the ones before it found")
local proposals = option("proposals", 0, "in a round; 0: 48 mutants, or 4 of a model")
local seeds = option("seeds", 50, "shuffles of the search; held-out data is measured on as many others")
local held_out = option("held_out", gcop.json.array(), "further stores, for the last comparison only: paths, separated by commas")
local betas = option("betas", { 0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0 }, "settings of the knob, rising")
local cpu_s = option("cpu_s", 20.0, "CPU time that a proposal may take for one setting on one store")
local isolation = option("isolation", "jail", "jail, or process: limits on time and memory, and no other protection")
local budget = option("budget_usd", 5.0, "hard cap on what the proposer may cost")
local max_tokens = option("max_tokens", 6000, "of a model's proposal")
local temperature = option("temperature", 0.8, "of a model's proposals")

if #gcop.args == 0 then error("autotts_discover needs at least one replay store: the path of a JSON file", 0) end
local function load_all(paths)
  local stores = {}
  for i, path in ipairs(paths) do
    local store, err = gcop.tts.store(path)
    if not store then error(err.message, 0) end
    stores[i] = store
  end
  return stores
end
local stores = load_all(gcop.args)
-- By what is in a store: another path to the same traces holds nothing out.
local function content(store)
  local parts = {}
  for q = 1, store.questions do parts[q] = store:question(q) end
  return gcop.sha256(gcop.json.encode(parts))
end
local searched_stores, others = {}, load_all(held_out)
for _, store in ipairs(stores) do
  local what = content(store)
  if searched_stores[what] then error(("%s and %s hold the same traces"):format(searched_stores[what], store.path), 0) end
  searched_stores[what] = store.path
end
for _, store in ipairs(others) do
  local same = searched_stores[content(store)]
  if same then error(("%s holds the traces of %s, which is searched; it cannot be held out too"):format(store.path, same), 0) end
end
for i = 2, #betas do
  if not (betas[i] > betas[i - 1]) then error(("betas must rise; %s comes after %s"):format(betas[i], betas[i - 1]), 0) end
end
if isolation ~= "jail" and isolation ~= "process" then error(("isolation is '%s'; it must be jail or process"):format(isolation), 0) end
if not (cpu_s >= 0.01 and cpu_s <= 3600) then error(("cpu_s is %s; it must be 0.01 to 3600"):format(cpu_s), 0) end
if seeds > 1000000 then error("seeds is " .. seeds .. "; it must be at most 1000000", 0) end
if rounds < 1 or proposals < 0 or seeds < 1 then error("rounds and seeds must be 1 or more, proposals 0 or more", 0) end
if proposals == 0 then proposals = proposer == "mutation" and 48 or 4 end

-- Half of the questions, by lot: the same half of every store, for stores of one benchmark share their questions.
local order, half, rest = {}, {}, {}
for q = 1, stores[1].questions do order[q] = q end
for i, q in ipairs(gcop.shuffle(order, "search half")) do table.insert(i <= #order // 2 and half or rest, q) end
table.sort(half)
table.sort(rest)
for _, store in ipairs(stores) do
  if store.questions ~= #order then error(("%s has %d questions, %s has %d; search stores of one benchmark"):format(store.path, store.questions, stores[1].path, #order), 0) end
end
if #half == 0 then error(stores[1].path .. " has one question; half of them is to be held out, so there must be two or more", 0) end

local propose
if proposer == "mutation" then
  propose = require "gcop.discovery.mutation".propose
  gcop.plan { stage = "discover", calls = 0, seconds = 0.7 * rounds * proposals }
else
  local core, model = gcop.core { model = proposer, temperature = temperature, max_tokens = max_tokens }, require "gcop.discovery.model"
  gcop.store.set_budget(budget)
  local calls = rounds * proposals
  gcop.plan { stage = "discover", role = "proposer", calls = calls, tokens_in = 12000 * calls, tokens_out = 2500 * calls,
    usd = calls * (12000 * core.price.input + 2500 * core.price.output) / 1e6, seconds = proposer:find "^local:" and 90 * calls or 0 }
  propose = function(search, round, n) return model.propose(search, core, round, n) end
end
local search = Search.new { stores = stores, questions = half, first_seed = 0, seeds = seeds, betas = betas, start = start, cpu_s = cpu_s, isolation = isolation }
if gcop.planning or gcop.checking then return end

-- 1. The search.
local began = gcop.clock()
search:measure_start()
local bar, history = gcop.progress("proposals", rounds * proposals), {}
for round = 1, rounds do
  local failed = 0
  search:judge(round, propose(search, round, proposals), function(c)
    if not c.gain then failed = failed + 1 end
    bar:add(1, ("best %+.2f points"):format(100 * search:ranked(1)[1].score))
  end)
  local best = search:ranked(1)[1]
  history[round] = { round = round, proposals = proposals, failed = failed, best = best.id, gain = best.gain, score = best.score }
  print(("round %d: %d proposals, %d failed; best so far %s, %+.2f points above the start, %+.2f less its changes"):format(
    round, proposals, failed, best.id, 100 * best.gain, 100 * best.score))
end
bar:done()
local searched = gcop.clock()

-- 2. The choice, by Search.rule.
local best = search:ranked(1)[1]
gcop.files.write("best.lua", best.text)
print(("chosen: %s (best.lua), by the rule: %s"):format(best.id, Search.rule))

-- 3. Held-out data, looked at once.
local comparisons, evaluations = gcop.json.array(), gcop.json.array()
local function show(c, where, measured, set)
  for s, store in ipairs(set.stores) do
    for b, beta in ipairs(betas) do
      local e = measured[s][b]
      evaluations[#evaluations + 1] = { store = store.path .. where, method = c.id == "start" and start or c.id, params = { beta = beta }, solves = e.solves,
        correct_total = e.correct_total, normalised_correct = e.normalised_correct, cost_total = e.cost_total, per_seed = e.per_seed }
    end
  end
end
show(search.start, " (search)", search.start.measured, search.set)
if best.id == "start" then
  print "no proposal is above the start on the search set: there is nothing to compare on held-out data"
else
  show(best, " (search)", best.measured, search.set)
  print "\n| held-out data | gain at the start's cost, points | 95 % (bootstrap over questions) |\n|---|---|---|"
  local function compare(label, where, set)
    local result = search:held_out(best, set, label)
    if result.failed then
      print(("| %s | failed: %s | |"):format(label, result.failed))
      comparisons[#comparisons + 1] = { label = label, failed = result.failed }
      return
    end
    print(("| %s | %+.2f | %+.2f to %+.2f |"):format(label, 100 * result.gain, 100 * result.ci95[1], 100 * result.ci95[2]))
    comparisons[#comparisons + 1] = { label = label, gain = result.gain, ci95 = result.ci95 }
    show(search.start, where, result.base, set)
    show(best, where, result.measured, set)
  end
  compare("other questions and shuffles of the searched stores", " (held out)", { stores = stores, questions = rest, first_seed = seeds, seeds = seeds })
  for _, store in ipairs(others) do
    local all = {}
    for q = 1, store.questions do all[q] = q end
    compare(store.path:match "[^/]+$" .. ", all questions, other shuffles", " (held out)", { stores = { store }, questions = all, first_seed = seeds, seeds = seeds })
  end
end

local cost = require "gcop.costs"()
gcop.report.write { evaluations = evaluations, cost = next(cost) and cost or nil, unknown_calls = next(cost) and gcop.store.unknown_calls() or nil,
  discovery = { start = start, proposer = proposer, rule = Search.rule, chosen = best.id, search_gain = best.gain, rounds = history, held_out = comparisons },
  stages = { { name = "discover", seconds = searched - began }, { name = "held out", seconds = gcop.clock() - searched } } }
