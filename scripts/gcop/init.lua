-- Loaded before every recipe: the parts of the gcop table that are written in Lua. Each stands behind the argument
-- checks of its row in runtime/lua/api_run.cpp, from which the manual is made too.
local checked = gcop.checked
gcop.checked = nil

local function behind_checks(prefix, functions)
  for name, fn in pairs(functions) do
    if type(fn) == "function" then functions[name] = checked(prefix .. name, fn) end
  end
  return functions
end

gcop.prompts = behind_checks("gcop.prompts.", require "gcop.prompts")
gcop.reward.gated = checked("gcop.reward.gated", require "gcop.reward")

local live = require "gcop.tts.live"
gcop.tts.solve = checked("gcop.tts.solve", live.solve)
gcop.tts.collect = checked("gcop.tts.collect", live.collect)

local Run, new = require "gcop.run"
new, Run.new = Run.new, nil
behind_checks("gcop.Run:", Run)
gcop.run = checked("gcop.run", new)
