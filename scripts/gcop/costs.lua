-- What calls have cost: prints a line for each role, and returns USD by role as reports have it.
return function()
  local cost = {}
  for _, row in ipairs(gcop.store.costs()) do
    cost[row.role] = row.usd
    print(("%s: %d calls, %d tokens in, %d out, $%.4f"):format(row.role, row.calls, row.tokens_in, row.tokens_out, row.usd))
  end
  return cost
end
