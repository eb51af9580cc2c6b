-- Stage 2, supervised fine-tuning on kept strategies: completion-only loss on token ids (nothing is rendered twice).
local arguments = require "gcop.arguments"

return function(run, o)
  arguments("sft", o, { epochs = 1, batch = 1, lr = 0 })
  local guide = run.guide
  run.fine_tuned = true
  run:expect("sft", "guide", (gcop.planning and run.expected_kept or #o.data) * o.epochs)
  return run:stage("sft", function()
    local dir = "weights/sft"
    guide:copy("current", "base")
    if #o.data == 0 then
      gcop.warn("sft: no strategy was kept, so there is nothing to learn from; the guide stays as it is")
      guide:copy("current", "sft")
      run.report.sft = { examples = 0 }
      return
    end
    local done = gcop.store.get("stage", "sft")
    if done then
      guide:load(dir, { weights = "current" })
      guide:copy("current", "sft")
      run.report.sft = done
      gcop.log("sft: taken from " .. dir)
      return
    end

    local stop = guide:info().eos
    local examples = {}
    for i, row in ipairs(o.data) do
      local tokens, mask = guide:render(run.prompts.guide(row.task)), {}
      for j = 1, #tokens do mask[j] = 0 end
      for _, id in ipairs(guide:encode(run.prompts.wrap(row.strategy))) do
        tokens[#tokens + 1], mask[#mask + 1] = id, 1
      end
      tokens[#tokens + 1], mask[#mask + 1] = stop, 1
      examples[i] = { tokens = tokens, mask = mask }
    end

    local per_epoch = math.ceil(#examples / o.batch)
    local total, step, losses = per_epoch * o.epochs, 0, {}
    local bar = gcop.progress("sft", total)
    for epoch = 1, o.epochs do
      local order = gcop.shuffle(examples, "sft", epoch)
      for first = 1, #order, o.batch do
        step = step + 1
        local batch = table.move(order, first, math.min(first + o.batch - 1, #order), 1, {})
        local warm = math.min(1, step / math.max(1, 0.1 * total))
        local stats = guide:train {
          sequences = batch, loss = { objective = "nll" },
          optimizer = { lr = o.lr * warm * (1 - 0.9 * step / total), weight_decay = 0.01, max_grad_norm = 1 },
        }
        losses[#losses + 1] = stats.loss
        gcop.store.put("step", ("sft/%05d"):format(step), { loss = stats.loss, grad_norm = stats.grad_norm })
        bar:add(1, ("loss %.3f"):format(stats.loss))
      end
    end
    bar:done()
    guide:copy("current", "sft")
    guide:save(dir, { weights = "sft" })
    run.report.sft = { examples = #examples, epochs = o.epochs, steps = total, losses = losses }
    gcop.store.put("stage", "sft", run.report.sft)
  end)
end
