-- The number that a worked answer ends with, in one spelling, so that equal numbers are equal votes: "1,200.50" and
-- "$1200.5" are "1200.5". It stands behind the last "####", in the last \boxed{} or behind the last "answer is"; a text
-- with none of them has no answer yet.

---@param text string
---@return string?
return function(text)
  local found
  for _, marked in ipairs { "####([^\n]*)", "\\boxed%s*{([^}]*)", "[Aa]nswer is:?([^\n]*)" } do
    for one in text:gmatch(marked) do found = one end
    if found then break end
  end
  local number = found and found:gsub("%f[%d.]%.(%d)", "0.%1"):gsub("(%d),(%d%d%d)", "%1%2"):gsub("(%d),(%d%d%d)", "%1%2"):match "%-?%$?%d+%.?%d*"
  if not number then return nil end
  local sign, whole, part = number:gsub("%$", ""):match "^(%-?)0*(%d+)%.?(%d-)0*$"
  if not whole then return nil end
  if part == "" and whole == "0" then sign = "" end
  return sign .. whole .. (part ~= "" and "." .. part or "")
end
