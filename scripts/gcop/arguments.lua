-- What a stage was given, looked at before anything is paid for: --check comes this far, and no further. Names and types
-- were checked before, against the stage's row.

--- Raises an error at the recipe's line when there are no tasks, or a number is too small.
---@param stage string
---@param o table  what the stage was given
---@param least table<string, number>  the least value of each number
return function(stage, o, least)
  if o.tasks and #o.tasks == 0 then
    error(stage .. ": there are no tasks; does the task file have rows of this split (train, dev, test)?", 4)
  end
  for name, value in pairs(least) do
    if o[name] and not (o[name] >= value) then   -- NaN too
      error(("%s: %s is %s; it must be at least %s"):format(stage, name, tostring(o[name]), value), 4)
    end
  end
end
