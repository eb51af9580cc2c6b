-- Branches of a live core, for gcop.tts.solve and gcop.tts.collect (their options and what they promise: sdk/docs/lua.md,
-- "Controllers before a live core"). A branch is one sampled answer of the core, made interval by interval.
local arguments = require "gcop.arguments"

-- What a branch is to say is started long before it is wanted, so everything here is a job: chunk k ends with the text
-- after k intervals, probe k with that and the answer asked for there. Both end with nil and an err if a call failed.
local Branch = {}
Branch.__index = Branch

local function new_branch(options, sample)
  return setmetatable({
    options = options, sample = sample,
    chunks = {}, n_chunks = 0, probes = {}, n_probes = 0,   -- jobs; those behind `told` are let go
    jobs = {},          -- that have not ended
    calls = {},         -- { interval =, probe =, tokens = }, to tell what the controller never asked for
    told = 0,           -- intervals of which the controller knows the answer
    at = { text = "", tokens = 0, ended = false },   -- as far as it was asked for
  }, Branch)
end

function Branch:start(fn)
  local job
  job = gcop.spawn(function()
    local result, more = fn()
    self.jobs[job] = nil
    return result, more
  end)
  self.jobs[job] = true
  return job
end

function Branch:cancel()
  for job in pairs(self.jobs) do job:cancel() end
  self.jobs = {}
end

function Branch:complete(call, request)
  local o = self.options
  self.calls[#self.calls + 1] = call
  request.messages, request.prompt, request.role, request.stage, request.sample = o.messages, o.prompt, o.role, o.stage, self.sample
  local reply, err = o.core:complete(request)
  if not reply then
    err.message = ("branch with sample %d: %s"):format(self.sample, err.message)
    return nil, err
  end
  call.tokens = reply.tokens_out
  return reply
end

-- An interval may end inside a character, which connectors show as U+FFFD; a text that is gone on from is whole.
local function whole(text)
  local _, bad = utf8.len(text)
  if bad and bad > #text - 3 then text = text:sub(1, bad - 1) end
  return (text:gsub("\u{FFFD}$", ""))
end

function Branch:go_on(at, k)
  local o = self.options
  local left = o.max_tokens - at.tokens
  local asked = o.core.continues and math.min(o.interval, left) or left
  local reply, err = self:complete({ interval = k }, { prefix = at.text ~= "" and at.text or nil, max_tokens = asked })
  if not reply then return nil, err end
  -- With fewer tokens than it was asked for the core could give no more, as at the end of its context.
  local ended = not o.core.continues or reply.finish ~= "length" or reply.tokens_out < asked or reply.tokens_out >= left
  local text = at.text .. reply.text
  return { text = ended and text or whole(text), tokens = at.tokens + reply.tokens_out, ended = ended }
end

function Branch:chunk(k)
  for i = self.n_chunks + 1, k do
    local before = self.chunks[i - 1]
    self.chunks[i] = self:start(function()
      local at, err = self.at, nil
      if before then at, err = before:wait() end
      if not at or at.ended then return at, err end
      return self:go_on(at, i)
    end)
    self.n_chunks = i
  end
  return self.chunks[k]
end

function Branch:probe(k)
  for i = self.n_probes + 1, k do
    local chunk, probe = self:chunk(i), self.options.probe
    self.probes[i] = self:start(function()
      local at, err = chunk:wait()
      if not at or at.ended or not probe then return at, err or at and at.text end
      local reply
      reply, err = self:complete({ interval = i, probe = true }, {
        prefix = at.text .. probe.text, max_tokens = probe.max_tokens or 16, stop = probe.stop, temperature = 0 })
      if not reply then return nil, err end
      return at, at.text .. probe.text .. reply.text
    end)
    self.n_probes = i
  end
  return self.probes[k]
end

-- Starts what is needed to tell the answer after interval k, or with none the final one. No branch has more intervals
-- than tokens, and most end sooner than they may: what is behind `most` is started when it is known to be there.
function Branch:ask(k)
  local o = self.options
  local most = self.told + math.ceil(o.max_tokens / o.interval)
  if k then
    self:probe(math.min(k, most))
  elseif not self.reading then
    self.reading = self:start(function()
      local at, err = self.at, nil
      local i = self.told
      while at and not at.ended do
        i = i + 1
        at, err = self:chunk(i):wait()
      end
      return at, err or at and at.text
    end)
  end
end

function Branch:extract(text)
  local answer = self.options.answer(text)
  if answer ~= nil and type(answer) ~= "string" then
    error(("%s: answer returned a %s; it must return a text, or nil where there is no answer"):format(self.options.name, type(answer)), 0)
  end
  return answer and answer ~= "" and answer or "ERR"
end

-- The answer after the next interval, or with `last` the final one; self.at is then where the branch stands. nil, err
-- when a call failed.
function Branch:tell(last)
  local k = self.told + 1
  local job = last and self.reading or self:probe(k)
  local at, text = job:wait()
  if not at then return nil, text end
  self.at, self.reached = at, last and math.huge or k
  self.chunks[k - 1], self.probes[k - 1] = nil, nil
  self.told = k
  return self:extract(text)
end

local least = { interval = 1, max_tokens = 1, branches = 1, ahead = 0 }

local function settle(name, o, stage)
  local function refuse(why) error(name .. ": " .. why, 5) end
  if (o.messages == nil) == (o.prompt == nil) then refuse "give either messages = { { role =, content = }, ... } or prompt = \"...\"" end
  if o.probe and o.probe.text == "" then refuse "probe.text is empty; leave probe out to take answers from the text so far" end
  if o.probe and (o.probe.max_tokens or 1) < 1 then refuse "probe.max_tokens must be at least 1" end
  local listed = type(o.sample) == "table" and o.sample
  local n = o.branches or listed and #listed or 64
  if n < 1 then refuse "sample is an empty list" end
  if n > 4096 then refuse("branches is " .. n .. "; at most 4096 can be opened") end
  if listed and #listed < n then refuse(("sample lists %d branches; branches is %d"):format(#listed, n)) end
  local samples, seen = {}, {}
  for i = 1, n do
    local sample = listed and listed[i] or not listed and (o.sample or 0) + i - 1
    if math.type(sample) ~= "integer" or sample < 0 then refuse(("sample of branch %d is %s; it must be a whole number, 0 or more"):format(i, tostring(sample))) end
    if seen[sample] then refuse(("sample %d is listed twice; a branch would vote twice"):format(sample)) end
    samples[i], seen[sample] = sample, true
  end
  return {
    name = name, core = o.core, messages = o.messages, prompt = o.prompt, answer = o.answer, probe = o.probe,
    interval = o.interval or 500, max_tokens = o.max_tokens or o.core.max_tokens, samples = samples,
    role = o.role or "core", stage = o.stage or stage, ahead = o.ahead or 0,
  }
end

-- Nothing stays in flight, however the function that holds it is left.
local function cancelled_with(branches)
  return setmetatable({}, { __close = function()
    for _, branch in pairs(branches) do branch:cancel() end
  end })
end

local live = {}

local function solved(turn, branches, samples)
  local ahead, rows = { calls = 0, tokens = 0 }, {}
  for id = 1, turn.opened do
    local branch = branches[id] or new_branch(nil, samples[id])
    rows[id] = { sample = branch.sample, text = branch.at.text, answer = branch.answer, tokens = branch.at.tokens,
      ended = branch.at.ended, abandoned = branch.abandoned or false }
    for _, call in ipairs(branch.calls) do
      if call.interval > (call.probe and branch.told_probes or branch.reached or 0) then
        ahead.calls, ahead.tokens = ahead.calls + 1, ahead.tokens + (call.tokens or 0)
      end
    end
  end
  return { answer = turn.answer, cost = turn.cost, opened = turn.opened, branches = rows, ahead = ahead, events = turn.events }
end

function live.solve(o)
  arguments("gcop.tts.solve", o, least)
  local options = settle("gcop.tts.solve", o, "solve")
  local controller, err = gcop.tts.controller { controller = o.controller, params = o.params, branches = #options.samples,
    interval = options.interval, traces = o.traces }
  if not controller then return nil, err end
  local branches = {}
  local _ <close> = cancelled_with(branches)

  -- Tells the controller what it needs of a branch.
  local function tell(id, branch, need)
    repeat
      branch.answer, err = branch:tell(not need.interval)
      if not branch.answer then return nil, err end
      if need.interval then
        branch.told_probes = branch.told
        controller:probe(id, branch.answer)
      end
      if branch.at.ended then controller:finish(id, branch.at.tokens, branch.answer) end
    until branch.at.ended or branch.told == need.interval
    return true
  end

  while true do
    local turn
    turn, err = controller:step()
    if not turn then return nil, err end
    for _, id in ipairs(turn.abandoned) do
      branches[id] = branches[id] or new_branch(options, options.samples[id])
      branches[id].abandoned = true
      branches[id]:cancel()
    end
    if turn.answer then return solved(turn, branches, options.samples) end
    if #turn.needs == 0 then gcop.sleep(0) end
    for _, need in ipairs(turn.needs) do   -- all requests first, then the answers
      branches[need.branch] = branches[need.branch] or new_branch(options, options.samples[need.branch])
      branches[need.branch]:ask(need.interval and need.interval + options.ahead)
    end
    for _, need in ipairs(turn.needs) do
      local told
      told, err = tell(need.branch, branches[need.branch], need)
      if not told then return nil, err end
    end
  end
end

function live.collect(o)
  arguments("gcop.tts.collect", o, least)
  local options = settle("gcop.tts.collect", o, "collect")
  local branches, failed = {}, nil
  local _ <close> = cancelled_with(branches)
  local rows = gcop.map(options.samples, { limit = #options.samples }, function(sample, i)
    local branch, answers = new_branch(options, sample), {}
    branches[i] = branch
    repeat
      branch:ask(branch.told + 2)   -- the core goes on while it is asked for its answer
      local answer, err = branch:tell()
      if not answer then
        failed = failed or err
        return false
      end
      answers[#answers + 1] = answer
    until branch.at.ended
    return { answers, branch.at.tokens, answers[#answers] }
  end)
  if failed then return nil, failed end
  return rows
end

return live
