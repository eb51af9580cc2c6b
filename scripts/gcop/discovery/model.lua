-- The proposer that is a model: a core reads the manual, the baselines, what was tried and how it went, and writes a
-- controller. It sees what was measured on the search set, and nothing else.
local curve = require "gcop.discovery.curve"
local model = {}

local system = [[You design controllers of test-time compute. A controller decides, for one question, how many branches of reasoning to open, how far to follow each, which to give up, and when to stop and answer. It is a Lua file that ends with `return function(env, params) ... end` and returns one of the answers its branches gave.

What counts: accuracy first, at equal cost in tokens; lower cost at equal accuracy. params.beta, from 0 to 1, is the only knob: a higher beta never spends less, beta 0 is cheap, beta 1 is thorough. A named function `schedule(beta)` gives all settings. Adapt both how wide and how deep. Open at most 64 branches. Few parameters; no tricks that only fit the questions at hand: other questions and other models count in the end.

The file has math, table, string.format/sub/len, ipairs, pairs, assert, error, and env; nothing else. Globals are read-only. Call env:trace where something is decided.

Answer with one short paragraph on the idea, and then the whole file in one ```lua block.]]

local function shortened(text, most)
  return #text <= most and text or text:sub(1, most) .. "\n... (cut off)"
end

local function percent(x) return ("%.2f %%"):format(100 * x) end

-- A controller's curves as a table: a line for each setting, accuracy and cost on each store.
local function curves(search, c)
  local lines = {}
  for b, beta in ipairs(search.betas) do
    local parts = { ("beta %s:"):format(beta) }
    for s in ipairs(search.set.stores) do
      local e = c.measured[s][b]
      parts[#parts + 1] = ("store %d %s for %.1fk tokens;"):format(s, percent(e.correct_total / e.solves), e.cost_total / e.solves / 1000)
    end
    lines[b] = table.concat(parts, " ")
  end
  return table.concat(lines, "\n")
end

-- Some of a candidate's traced questions: wrong ones first, the dearest first.
local function traces(id)
  local text, rows = gcop.files.read("archive/" .. id .. "/traces.jsonl"), {}
  for line in (text or ""):gmatch "[^\n]+" do rows[#rows + 1] = gcop.json.decode(line) end
  table.sort(rows, function(a, b)
    if a.correct ~= b.correct then return b.correct end
    if a.cost ~= b.cost then return a.cost > b.cost end
    return a.question < b.question
  end)
  local shown = {}
  for i = 1, math.min(3, #rows) do
    local row = rows[i]
    shown[i] = ("%s, %d tokens\n%s"):format(row.correct and "right" or "wrong", row.cost, shortened(gcop.json.encode(row.events), 1500))
  end
  return table.concat(shown, "\n\n")
end

---@param search gcop.discovery.Search
---@return gcop.Message[]
function model.messages(search)
  local best = search:ranked(3)
  local parts = { "# What a controller can call\n\n" .. gcop.manual "gcop.Env" .. gcop.manual "gcop.Branch" }
  local function add(text) parts[#parts + 1] = text end
  add("# The controller to beat\n\n```lua\n" .. search.start.text .. "```\n\n" .. curves(search, search.start))
  for _, name in ipairs { "gcop.tts.asc", "gcop.tts.parallel_probe" } do
    add(("# A published one, %s\n\n```lua\n%s```"):format(name, assert(gcop.tts.source(name))))
  end
  if #search.candidates > 0 then
    local lines = {}
    for _, c in ipairs(search.candidates) do
      lines[#lines + 1] = ("%s: %s"):format(c.id, c.gain and ("gain %+.2f points"):format(100 * c.gain) or "failed: " .. shortened(c.why, 200))
    end
    while #lines > 40 do table.remove(lines, 1) end
    add("# What was tried\n\nGain: accuracy above the controller to beat, at its cost.\n\n" .. table.concat(lines, "\n"))
  end
  for _, c in ipairs(best) do
    if c.id ~= "start" then
      add(("# Among the best so far: %s, gain %+.2f points\n\n```lua\n%s```\n\n%s"):format(c.id, 100 * c.gain, shortened(c.text, 8000), curves(search, c)))
    end
  end
  local seen = traces(best[1].id)
  if seen ~= "" then add("# Traces of " .. best[1].id .. "\n\n" .. seen) end
  add "# Your turn\n\nWrite a better controller."
  return { { role = "system", content = system }, { role = "user", content = table.concat(parts, "\n\n") } }
end

-- The controller in a model's answer: its last ```lua block.
function model.text_of(answer)
  local text
  for block in answer:gmatch "```lua%s*\n(.-)```" do text = block end
  return text
end

---@param search gcop.discovery.Search
---@param core gcop.Core
function model.propose(search, core, round, n)
  local messages, draws = model.messages(search), {}
  for i = 1, n do draws[i] = i - 1 end
  local drawn = gcop.map(draws, { limit = n }, function(draw)
    local reply, err = core:complete { messages = messages, sample = (round - 1) * n + draw, role = "proposer", stage = "discover" }
    if not reply then
      if err.code == "exhausted" or err.code == "cancelled" then error(err) end
      return { why = "the proposer failed: " .. err.message }
    end
    local text = model.text_of(reply.text)
    return { text = text, why = not text and "no ```lua block in the answer: " .. shortened(reply.text, 100) or nil }
  end)
  return drawn
end

return model
