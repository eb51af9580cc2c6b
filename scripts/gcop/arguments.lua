-- What a stage was given, looked at before anything is paid for: --check comes this far, and no further.

--- Raises an error at the recipe's line when there are no tasks, or a number is missing or too small.
---@param stage string
---@param o table  what the stage was given
---@param least table<string, number>  the numbers it needs, with the least value of each
return function(stage, o, least)
  if o.tasks and #o.tasks == 0 then
    error(stage .. ": there are no tasks; does the task file have rows of this split (train, dev, test)?", 3)
  end
  for name, value in pairs(least) do
    if type(o[name]) ~= "number" or o[name] < value or o[name] ~= o[name] then
      error(("%s: %s is %s; it must be a number of at least %s"):format(stage, name, tostring(o[name]), value), 3)
    end
  end
end
