-- Which tasks are alike: cosine of their prompts' words, rare words counting more (tf-idf). Plain text, no model.

--- @param pool gcop.Task[]
--- @return fun(task: gcop.Task, accept: fun(task: gcop.Task): boolean, n: integer): gcop.Task[]  the n most alike, nearest first
return function(pool)
  local function words_of(task)
    local words = {}
    for word in task.prompt:lower():gmatch "%a+" do words[word] = (words[word] or 0) + 1 end
    return words
  end

  local seen_in, bags = {}, {}
  for _, task in ipairs(pool) do
    bags[task.id] = words_of(task)
    for word in pairs(bags[task.id]) do seen_in[word] = (seen_in[word] or 0) + 1 end
  end
  local function vector(task)
    local weights, norm = {}, 0
    for word, count in pairs(bags[task.id] or words_of(task)) do
      local weight = count * math.log(1 + #pool / (1 + (seen_in[word] or 0)))
      weights[word], norm = weight, norm + weight * weight
    end
    return weights, math.sqrt(norm)
  end

  return function(task, accept, n)
    local own, norm = vector(task)
    local found = {}
    for _, other in ipairs(pool) do
      if other.id ~= task.id and accept(other) then
        local weights, other_norm = vector(other)
        local dot = 0
        for word, weight in pairs(weights) do dot = dot + weight * (own[word] or 0) end
        found[#found + 1] = { task = other, near = dot / (norm * other_norm) }
      end
    end
    table.sort(found, function(a, b)
      if a.near ~= b.near then return a.near > b.near end
      return a.task.id < b.task.id
    end)
    local tasks = {}
    for i = 1, math.min(n, #found) do tasks[i] = found[i].task end
    return tasks
  end
end
