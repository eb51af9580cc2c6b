-- One timed round of `./dev bench guide`: 16 sequences of 64 tokens after a prompt of about 64. Prints tokens per second.
local guide = gcop.guide { model = "smollm2-135m-instruct" }
local prompt = guide:render { { role = "user", content = gcop.args[1] } }
guide:sample { prompt = prompt, n = 2, max_tokens = 4, temperature = 1, seed = 1 }   -- pages in, threads up
local started, tokens = gcop.clock(), 0
local batch = gcop.map({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 }, { limit = 16 }, function(i)
  -- Each prompt differs in its first word, so that nothing is shared and both sides do the same work.
  local own = guide:render { { role = "user", content = i .. " " .. gcop.args[1] } }
  return guide:sample { prompt = own, n = 1, max_tokens = 64, temperature = 1, seed = i }
end)
for _, rollouts in ipairs(batch) do tokens = tokens + #rollouts[1].tokens end
print(gcop.json.encode { tokens = tokens, seconds = gcop.clock() - started })
