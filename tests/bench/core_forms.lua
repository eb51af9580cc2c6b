-- ./dev bench guide core_forms: what rounding a local core's weights costs. The same MBPP test problems, greedy, with the
-- weights in fp32, bf16 and 7 bits; prints one JSON line for each form.
local file, count = gcop.args[1], tonumber(gcop.args[2])
local prompts = require "gcop.prompts"
local tests = gcop.validator { "python", cpu_ms = 2000, mem_mb = 256 }
local tasks = table.move(gcop.tasks { file }.test, 1, count, 1, {})
local exact
for _, form in ipairs { "fp32", "bf16", "int8" } do
  local core = gcop.core { model = "local:qwen2.5-coder-0.5b-instruct", temperature = 0, max_tokens = 192, max_in_flight = 16,
    config = { compute = form } }
  local started = gcop.clock()
  local answers = gcop.map(tasks, { limit = 16 }, function(task)
    local reply = core:complete { messages = prompts.core(task), sample = 0, role = "core" }
    return { text = reply.text, tokens = reply.tokens_out }
  end)
  local seconds, out, solved, same, agreed, length = gcop.clock() - started, 0, 0, 0, 0, 0
  exact = exact or answers
  for i, verdict in ipairs(gcop.map(tasks, { limit = 4 }, function(task, n) return tests:check(task, answers[n].text) end)) do
    local ours, theirs = answers[i].text, exact[i].text
    local n = 0
    while n < #theirs and ours:byte(n + 1) == theirs:byte(n + 1) do n = n + 1 end
    solved, out, same = solved + verdict.score, out + answers[i].tokens, same + (ours == theirs and 1 or 0)
    agreed, length = agreed + n, length + #theirs
  end
  print(gcop.json.encode { form = form, tasks = #tasks, solved = solved, same_answers = same, agreed_before_first_difference = agreed / length,
    tokens_per_second = out / seconds })
end
