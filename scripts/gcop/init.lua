-- Loaded before every recipe: what the runtime adds to the gcop table in Lua.
gcop.run = require("gcop.run").new
