-- Controllers of test-time compute on recorded traces: ./dev run recipes/autotts_replay.lua STORE.json [STORE.json ...]
-- Prints accuracy and cost of each setting on each store; report.html has the curves, report.json every shuffle's figures.
-- Spends nothing. Another controller: --set controller=FILE.lua --set params='[{"beta": 0.1}, {"beta": 0.2}]'
local option = gcop.option
local seeds = option("seeds", 100, "shuffles of the branches")
local controller = option("controller", "", "a Lua file or module to evaluate, instead of the published methods")
local params = option("params", {}, "its settings: a JSON list of tables, one evaluation each; or one table")

if seeds < 1 then error("seeds is " .. seeds .. "; it must be 1 or more", 0) end
if type(params) ~= "table" then error("params must be a JSON list of tables, or one table", 0) end
if next(params) and controller == "" then error("params are for --set controller=FILE; the published methods have theirs", 0) end

local settings = {   -- the paper's, by the names its code has for them; needs: branches
  { method = "MajorityVote", controller = "gcop.tts.sc", params = { max_samples = 64 }, needs = 64 },
  { method = "ASC", controller = "gcop.tts.asc", params = { max_samples = 64, threshold = 0.95 }, needs = 64 },
  { method = "ESC", controller = "gcop.tts.esc", params = { max_samples = 64, window_size = 8 }, needs = 64 },
  { method = "Parallel_Probe", controller = "gcop.tts.parallel_probe", params = { num_chains = 64, T = 40, prune_patience = 7, warm_up = 15 }, needs = 64 },
}
for _, beta in ipairs { 0, 0.2, 0.4, 0.5, 0.6, 0.8, 1.0 } do
  settings[#settings + 1] = { method = "CMC", controller = "gcop.tts.cmc", params = { beta = beta }, needs = 4 + 60 * beta }
end
if controller ~= "" then
  local _, wrong = gcop.tts.source(controller)
  if wrong then error(wrong.message, 0) end
  settings = {}
  for i, one in ipairs(#params > 0 and params or { params }) do
    if type(one) ~= "table" then error("params must be a JSON list of tables, or one table", 0) end
    settings[i] = { method = controller:match "([^/]+)%.lua$" or controller, controller = controller, params = one, needs = 0 }
  end
end
if #gcop.args == 0 then error("autotts_replay needs at least one replay store: the path of a JSON file", 0) end

local function shown(one)
  local names, parts = {}, {}
  for name in pairs(one) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do parts[i] = name .. "=" .. tostring(one[name]) end
  return table.concat(parts, " ")
end

local began, evaluations, failed = gcop.clock(), gcop.json.array(), {}
local function failure(what, err)
  failed[#failed + 1] = ("%s: %s"):format(what, err.message)
  print("| failed | " .. failed[#failed] .. " |")
end

local stores = {}
for _, path in ipairs(gcop.args) do
  local store, err = gcop.tts.store(path)
  if store then stores[#stores + 1] = store else failure(path, err) end
end
if #failed > 0 and (#stores == 0 or gcop.checking or gcop.planning) then error(table.concat(failed, "\n"), 0) end
gcop.plan { stage = "evaluate", calls = 0 }
if gcop.planning or gcop.checking then return end
for _, store in ipairs(stores) do
  print(("\n%s: %d questions, %d branches each, %d shuffles"):format(store.path, store.questions, store.branches, seeds))
  print "| method | settings | accuracy | as values | thousand tokens per question | seconds |\n|---|---|---|---|---|---|"
  for _, setting in ipairs(settings) do
    local e, err
    if setting.needs > store.branches then
      print(("| %s | %s | left out: it may open %d branches | | | |"):format(setting.method, shown(setting.params), setting.needs))
      goto continue
    end
    e, err = gcop.tts.evaluate { store = store, controller = setting.controller, params = setting.params, seeds = seeds }
    if e then
      print(("| %s | %s | %.2f %% | %.2f %% | %.1f | %.2f |"):format(setting.method, shown(setting.params), 100 * e.correct_total / e.solves,
        100 * e.normalised_correct / e.solves, e.cost_total / e.solves / 1000, e.seconds))
      evaluations[#evaluations + 1] = { store = store.path, method = setting.method, params = setting.params, solves = e.solves,
        correct_total = e.correct_total, normalised_correct = e.normalised_correct, cost_total = e.cost_total, per_seed = e.per_seed }
    else
      failure(setting.method .. " " .. shown(setting.params), err)
    end
    ::continue::
  end
end

gcop.report.write { evaluations = evaluations, stages = { { name = "evaluate", seconds = gcop.clock() - began } } }
if #failed > 0 then
  error(("%d of the evaluations or stores failed, the first: %s; %d evaluations are in the report"):format(#failed, failed[1], #evaluations), 0)
end
