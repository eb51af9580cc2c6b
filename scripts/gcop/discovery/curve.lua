-- What a controller is worth: its accuracy at a cost, and how far that is above another's.
--
-- A curve is a list of points { cost =, accuracy = }, one for each setting of a controller's knob: tokens per question,
-- and the share of right answers. Between two settings lies what a mix of them reaches, drawn by lot for each question;
-- beyond the dearest, the dearest.
local curve = {}

---@param points { cost: number, accuracy: number }[]  in the order of cost
---@param cost number  tokens per question
---@return number?  nil below the cheapest setting
function curve.accuracy_at(points, cost)
  local low
  for _, high in ipairs(points) do
    if high.cost >= cost then
      if high.cost == cost then return high.accuracy end
      return low and low.accuracy + (cost - low.cost) / (high.cost - low.cost) * (high.accuracy - low.accuracy)
    end
    low = high
  end
  return low.accuracy
end

-- The mean over the base's settings of what `points` reaches above it at its cost. What is cheaper than the cheapest of
-- `points` is left to the base and gains nothing.
function curve.gain(points, base)
  local sum = 0
  for _, at in ipairs(base) do sum = sum + (curve.accuracy_at(points, at.cost) or at.accuracy) - at.accuracy end
  return sum / #base
end

-- Points of a measured controller on one store: over all questions, or over those named by their place, once for each
-- time a place is named.
function curve.points(evaluations, places)
  local points = {}
  for i, e in ipairs(evaluations) do
    local correct, cost, n = e.correct_total, e.cost_total, e.solves
    if places then
      correct, cost, n = 0, 0, #places * (e.solves // #e.per_question)
      for _, q in ipairs(places) do correct, cost = correct + e.per_question[q][1], cost + e.per_question[q][2] end
    end
    points[i] = { cost = cost / n, accuracy = correct / n }
  end
  table.sort(points, function(a, b) return a.cost < b.cost or (a.cost == b.cost and a.accuracy < b.accuracy) end)
  return points
end

-- The mean gain over stores; both controllers measured with the same stores, questions and settings.
function curve.mean_gain(measured, base, places)
  local sum = 0
  for s = 1, #base do sum = sum + curve.gain(curve.points(measured[s], places), curve.points(base[s], places)) end
  return sum / #base
end

-- 95 % percentile interval of the mean gain over 1,000 bootstrap samples of the questions.
function curve.interval(measured, base, label)
  local n, gains = #base[1][1].per_question, {}
  for d = 1, 1000 do
    local places = {}
    for i = 1, n do places[i] = 1 + math.floor(n * gcop.random(label, d, i)) end
    gains[d] = curve.mean_gain(measured, base, places)
  end
  table.sort(gains)
  local function at(share) return gains[math.max(1, math.ceil(share * #gains))] end
  return { at(0.025), at(0.975) }
end

return curve
