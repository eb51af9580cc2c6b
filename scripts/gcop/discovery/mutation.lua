-- The proposer that needs no model: takes a good controller's text and changes some of its numbers.
local mutation = {}

-- Where the numbers of a Lua text are that may be changed: { from, to, text }. Numbers in names, strings and comments
-- are none; 0 and 1 are left alone, for they are mostly the structure of a program and not its settings.
function mutation.numbers(text)
  local found, at = {}, 1
  local skip = { "^%-%-%[%[.-%]%]", "^%-%-[^\n]*", "^%[%[.-%]%]", '^"[^"\n]*"', "^'[^'\n]*'", "^[%a_][%w_]*", "^0[xX]%x+" }
  while at <= #text do
    local stop
    for _, pattern in ipairs(skip) do
      local _, to = text:find(pattern, at)
      if to then stop = to break end
    end
    if not stop then
      local _, to = text:find("^%d+%.?%d*[eE][+-]?%d+", at)
      if not to then _, to = text:find("^%d+%.%d+", at) end
      if not to then _, to = text:find("^%d+", at) end
      if to then
        local number = text:sub(at, to)
        if tonumber(number) ~= 0 and tonumber(number) ~= 1 then found[#found + 1] = { from = at, to = to, text = number } end
      end
      stop = to or at
    end
    at = stop + 1
  end
  return found
end

local factors = { 0.33, 0.5, 0.7, 0.85, 1.2, 1.5, 2, 3 }

local function changed(number, draw)
  local factor = factors[1 + math.floor(#factors * draw)]
  local whole = math.tointeger(tonumber(number))
  if number:find "[%.eE]" or not whole then return ("%.4g"):format(tonumber(number) * factor) end
  local new = math.floor(whole * factor + 0.5)
  if new == whole then new = whole + (factor > 1 and 1 or -1) end
  return tostring(new)
end

-- `text` with other numbers in place of some: by the number's place in the list, as text.
local function with(text, numbers, new)
  local out, at = {}, 1
  for i, number in ipairs(numbers) do
    if new[i] then
      out[#out + 1] = text:sub(at, number.from - 1)
      out[#out + 1] = new[i]
      at = number.to + 1
    end
  end
  out[#out + 1] = text:sub(at)
  return table.concat(out)
end

-- A mutant of `text`: one number is changed, or with chances that halve two, three, four. What follows is the place that
-- the draws hang on, so that they are the same in a run that is resumed.
function mutation.mutant(text, ...)
  local numbers, place = mutation.numbers(text), { ... }
  if #numbers == 0 then return nil, "there is no number in it that could be changed" end
  local function draw(what, i) return gcop.random("mutation." .. what, i, table.unpack(place)) end
  local count, new = 1, {}
  while count < math.min(4, #numbers) and draw("more", count) < 0.5 do count = count + 1 end
  for i = 1, count do
    local which = 1 + math.floor(#numbers * draw("which", i))
    new[which] = changed(numbers[which].text, draw("how", i))
  end
  return with(text, numbers, new)
end

-- A child of two texts that differ in numbers only: each number from one of them, by lot. nil of others.
function mutation.child(a, b, ...)
  local of_a, of_b, new = mutation.numbers(a), mutation.numbers(b), {}
  if #of_a ~= #of_b then return nil end
  for i, number in ipairs(of_b) do
    if gcop.random("mutation.child", i, ...) < 0.5 then new[i] = number.text end
  end
  local all = {}
  for i, number in ipairs(of_b) do all[i] = number.text end
  return with(a, of_a, all) == b and with(a, of_a, new) or nil
end

-- Mutants of the best controllers so far, the better the more often; a third of them of a child of two.
---@param search gcop.discovery.Search
function mutation.propose(search, round, n)
  local best, proposals = search:ranked(6), {}
  for i = 1, n do
    local function parent(which) return best[1 + math.floor(#best * gcop.random("mutation.parent", round, i, which) ^ 2)] end
    local one, other = parent(1), parent(2)
    local child = one ~= other and gcop.random("mutation.pair", round, i) < 1 / 3 and mutation.child(one.text, other.text, round, i)
    local text, why = mutation.mutant(child or one.text, round, i)
    proposals[i] = { text = text, why = why, parent = child and one.id .. "+" .. other.id or one.id }
  end
  return proposals
end

return mutation
