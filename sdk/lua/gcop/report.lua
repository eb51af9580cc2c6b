---@meta
-- Made by `gcop-run --emit-lua-meta`; the source is runtime/lua/.

gcop.report = {}

--- Writes report.json (schema 1, see runtime/report/report.hpp) and report.html into the run's folder. recipe, seed, profile, device and commit are filled in; the page of a resumed run says so.
--- Raises with the path of a field that is missing, of a wrong type or unknown.
---@param report table stages, systems, paired, acceptance, grpo, cost; details goes into the HTML only
function gcop.report.write(report) end

--- The report.json of another run as a table, to pool or compare.
---@param path string a report.json; relative to the working directory
---@return table? report
---@return gcop.Error? err invalid: not there, or no report of schema 1
function gcop.report.read(path) end
