-- A search for controllers of test-time compute (AutoTTS, arXiv 2605.08083): who proposes them is open, who measures
-- them is this. A proposal runs in the jail and sees neither gold answers nor held-out data; it is kept with its curve
-- and its traces, ranked by what it reaches above the start at the start's own costs, and shown to the next round.
local curve = require "gcop.discovery.curve"

---@class gcop.discovery.Search
local Search = {}
Search.__index = Search

-- What a change must bring, or the search learns the few questions that it sees by heart (runtime/docs/adr/0010).
local per_line, most_lines = 0.001, 10
Search.rule = "the highest gain on the search set, less 0.1 points for each line that the start does not have, at most 1 point; gain: accuracy "
  .. "above the start's at the start's cost, mean over stores and settings; of equal ones the first"

-- How many lines of `text` are not lines of `start`.
local function new_lines(text, start)
  local known, n = {}, 0
  for line in start:gmatch "[^\n]+" do known[line] = (known[line] or 0) + 1 end
  for line in text:gmatch "[^\n]+" do
    if (known[line] or 0) > 0 then known[line] = known[line] - 1 elseif line:find "%S" then n = n + 1 end
  end
  return n
end

--- What is measured, and on what.
---@param o { stores: gcop.ReplayStore[], questions: integer[], first_seed: integer, seeds: integer, betas: number[], start: string, cpu_s: number, isolation: string }
function Search.new(o)
  local text, wrong = gcop.tts.source(o.start)
  if not text then error(wrong.message, 0) end
  local self = setmetatable({ set = o, betas = o.betas, cpu_s = o.cpu_s, isolation = o.isolation, candidates = {}, by_text = {} }, Search)
  self.start = { id = "start", round = 0, text = text }
  return self
end

-- Why a controller's knob is none: a higher setting spends less than a lower one.
function Search:not_monotone(measured)
  local before
  for b, beta in ipairs(self.betas) do
    local cost = 0
    for s in ipairs(measured) do cost = cost + measured[s][b].cost_total end
    if before and cost < before then
      return ("its budget is not monotone: beta %s spends %d tokens, beta %s only %d"):format(self.betas[b - 1], before, beta, cost)
    end
    before = cost
  end
end

-- Evaluates a text with every setting on every store: by store, by setting. nil and why, if one of them fails.
function Search:measure(text, name, set, traced)
  local items = {}
  for s, store in ipairs(set.stores) do
    for b, beta in ipairs(self.betas) do items[#items + 1] = { s = s, b = b, store = store, beta = beta } end
  end
  local function one(item)
    local e, err = gcop.tts.evaluate { store = item.store, text = text, name = name, params = { beta = item.beta },
      questions = set.questions, first_seed = set.first_seed, seeds = set.seeds, threads = 1, cpu_s = self.cpu_s, isolation = self.isolation,
      traces = item.beta == traced and 1 or nil }
    if not e then
      if err.code ~= "invalid" then error(err) end   -- of the machine, not of the proposal
      return { failed = ("beta %s on %s: %s"):format(item.beta, item.store.path, err.message) }
    end
    e.seconds = nil
    return e
  end
  local measured = {}
  for s = 1, #set.stores do measured[s] = {} end
  local first = one(items[1])   -- most mistakes show at once
  local results = first.failed and { first } or gcop.map(items, { limit = 4 }, one)
  for i, e in ipairs(results) do
    if e.failed then return nil, e.failed end
    measured[items[i].s][items[i].b] = e
  end
  return measured
end

-- Results are kept in the run's store by what was measured, so that a resumed run measures nothing twice. Traces go to
-- archive/ID/traces.jsonl before that.
function Search:kept(text, name, what, set, traced)
  local paths = {}
  for s, store in ipairs(set.stores) do paths[s] = store.path end
  local key = gcop.sha256(gcop.json.encode { text, what, paths, set.questions, set.first_seed, set.seeds, self.betas, self.isolation })
  local row = gcop.store.get("discovery", key)
  if not row then
    local measured, why = self:measure(text, name, set, traced)
    local lines = {}
    for s, evaluations in ipairs(measured or {}) do
      for _, e in ipairs(evaluations) do
        for _, trace in ipairs(e.traces or {}) do
          trace.store = paths[s]
          lines[#lines + 1] = gcop.json.encode(trace)
        end
        e.traces = nil
      end
    end
    if #lines > 0 then gcop.files.write("archive/" .. name .. "/traces.jsonl", table.concat(lines, "\n") .. "\n") end
    row = { measured = measured, why = why }
    gcop.store.put("discovery", key, row)
  end
  return row.measured, row.why
end

function Search:measure_start()
  local start, why = self.start, nil
  start.measured, why = self:kept(start.text, "start", "search", self.set, self.betas[(#self.betas + 1) // 2])
  if not start.measured then error("the search's start, " .. self.set.start .. ", failed: " .. why, 0) end
  start.gain, start.score = 0, 0
  self:archive(start)
end

-- Measures a round's proposals: { text, why, parent } each; no text: why there is none.
function Search:judge(round, proposals, on_each)
  for i, proposal in ipairs(proposals) do
    local c = { id = ("r%02dc%02d"):format(round, i), round = round, parent = proposal.parent, text = proposal.text, why = proposal.why }
    local twin = c.text and (c.text == self.start.text and self.start or self.by_text[c.text])
    if not c.text then
      c.why = c.why or "nothing was proposed"
    elseif twin then
      c.why = "the same as " .. twin.id
    else
      self.by_text[c.text] = c
      c.measured, c.why = self:kept(c.text, c.id, "search", self.set, self.betas[(#self.betas + 1) // 2])
      c.why = c.why or self:not_monotone(c.measured)
      if not c.why then
        c.gain = curve.mean_gain(c.measured, self.start.measured)
        c.score = c.gain - per_line * math.min(most_lines, new_lines(c.text, self.start.text))
      end
    end
    self.candidates[#self.candidates + 1] = c
    self:archive(c)
    if on_each then on_each(c) end
  end
end

-- The best so far, the start among them: by Search.rule.
function Search:ranked(n)
  local all = { self.start }
  for _, c in ipairs(self.candidates) do if c.score then all[#all + 1] = c end end
  for i, c in ipairs(all) do c.place = i end
  table.sort(all, function(a, b) return a.score > b.score or (a.score == b.score and a.place < b.place) end)
  local best = {}
  for i = 1, math.min(n, #all) do best[i] = all[i] end
  return best
end

-- archive/ID/: the controller, and its curves or why it failed.
function Search:archive(c)
  local folder = "archive/" .. c.id .. "/"
  if c.text then gcop.files.write(folder .. "controller.lua", c.text) end
  local result = { id = c.id, round = c.round, parent = c.parent, failed = c.why, gain = c.gain, score = c.score }
  if c.measured then
    result.curves = gcop.json.array()
    for s, store in ipairs(self.set.stores) do
      local points = gcop.json.array()
      for b, e in ipairs(c.measured[s]) do
        points[b] = { beta = self.betas[b], solves = e.solves, correct = e.correct_total, cost = e.cost_total }
      end
      result.curves[s] = { store = store.path, points = points }
    end
  end
  gcop.files.write(folder .. "result.json", gcop.json.encode(result, true) .. "\n")
end

-- Measures the start and the chosen controller on data that no proposal was ever measured on. To be called once, when
-- the choice is made.
function Search:held_out(chosen, set, label)
  local base, why = self:kept(self.start.text, "start", label, set)
  if not base then error("the search's start failed on " .. label .. ": " .. why, 0) end
  local measured
  measured, why = self:kept(chosen.text, chosen.id, label, set)
  if not measured then return { label = label, failed = why } end
  return { label = label, base = base, measured = measured, gain = curve.mean_gain(measured, base), ci95 = curve.interval(measured, base, label) }
end

return Search
