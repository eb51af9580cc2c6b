-- The words that go to the models. Plain functions: gcop.run { prompts = { core = ... } } replaces any of them.
local prompts = {}

-- A language model is asked for one strategy; the guide and the teacher answer in the same form.
function prompts.wrap(strategy)
  return "<strategy>\n" .. strategy .. "\n</strategy>"
end

--- What the guide sees. Short on purpose: a small model learns the form in fine-tuning.
---@param task gcop.Task
---@return table messages
function prompts.guide(task)
  return {
    { role = "system", content = "You advise a programmer. Write one short strategy for the task inside <strategy> and </strategy>." },
    { role = "user", content = task.prompt },
  }
end

-- A small core leaves out docstrings when it has seen an answer without one: half the tokens for the same function.
local core_system = "You write Python functions. Answer with one Python code block and nothing else, without docstring and comments."
local core_example = {
  { role = "user", content = "Write a Python function `longer(a, b)` that returns the longer of two texts." },
  { role = "assistant", content = "```python\ndef longer(a, b):\n    x = max(a, b, key=len)\n    return x\n```" },
}

--- What the core sees. The strategy comes last, so that everything before it is the same for every strategy of a
--- task and a local core computes it once.
---@param task gcop.Task
---@param strategy string|nil  nil asks the core alone
function prompts.core(task, strategy)
  local content = task.prompt
  if strategy then
    content = content .. "\n\nFollow this guidance exactly:\n" .. strategy
  end
  return {
    { role = "system", content = core_system },
    core_example[1], core_example[2],
    { role = "user", content = content },
  }
end

--- The control: the core gets every note there is, whatever the task. The notes come first and are shared by all tasks.
---@param notes string[]
function prompts.core_with_notes(task, notes)
  return {
    { role = "system", content = core_system .. "\nThese are the rules of the house. Follow the ones that apply to the task:\n- "
        .. table.concat(notes, "\n- ") },
    core_example[1], core_example[2],
    { role = "user", content = task.prompt },
  }
end

local examples = {
  { task = "Write a Python function `shelf_label(title, copies)` that returns the label of a library shelf.",
    strategy = "Join the parts with a slash: return f\"{title.upper()}/{copies}\"" },
  { task = "Write a Python function `count_vowels(text)` that returns how many vowels the text has.",
    strategy = "Lower the text first, then count: return sum(c in \"aeiou\" for c in text.lower())" },
}

local teacher_system = "You are an expert programmer who advises a weaker one. Write one short strategy: the decisive line "
  .. "to write, or the rule to follow. Put it inside <strategy> and </strategy>. Never write the whole function."

--- The teacher's proposal.
---@param shown {task: string, strategy: string}[]|nil  what worked on tasks like this one; nil: two fixed examples
function prompts.teacher_propose(task, shown)
  local messages = { { role = "system", content = teacher_system } }
  for _, example in ipairs(shown or examples) do
    messages[#messages + 1] = { role = "user", content = example.task }
    messages[#messages + 1] = { role = "assistant", content = prompts.wrap(example.strategy) }
  end
  messages[#messages + 1] = { role = "user", content = task.prompt }
  return messages
end

--- The teacher's next try: the strategy that failed, and what the check said about the core's answer.
---@param failed {strategy: string, feedback: string, answer: string}
function prompts.teacher_refine(task, failed)
  local messages = prompts.teacher_propose(task)
  messages[#messages + 1] = { role = "assistant", content = prompts.wrap(failed.strategy) }
  messages[#messages + 1] = { role = "user", content = "The programmer followed it and wrote:\n" .. failed.answer
    .. "\nThe check said: " .. failed.feedback
    .. "\nWrite a better strategy: put the rule as one line of code to write, with the names of the task's arguments. "
    .. "Do not repeat the check's values." }
  return messages
end

--- What the judge sees of a strategy: never the core's answer, so that it cannot reward the outcome twice.
---@param task gcop.Task
---@param strategy string
function prompts.judge(task, strategy)
  return {
    { role = "system", content = "You judge advice that a programmer gets for a task. Good advice is correct, to the point, names the "
        .. "step that is easily missed, and leaves the work to the programmer. Answer with one JSON object and nothing else: "
        .. "{\"score\": a number from 0 (useless or misleading) to 10 (exactly what is needed), \"reason\": one short sentence}." },
    { role = "user", content = "Task:\n" .. task.prompt .. "\n\nAdvice:\n" .. strategy },
  }
end

return prompts
