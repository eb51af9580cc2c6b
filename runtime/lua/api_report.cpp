// gcop.report.write, gcop.report.read.
#include <fmt/format.h>

#include <fstream>

#include "lua/api.hpp"
#include "lua/bind.hpp"
#include "lua/host.hpp"
#include "report/report.hpp"

namespace gcop::lua {
namespace {

// What the host knows better than a recipe: how the run was started.
void add_origin(Host &host, nlohmann::json &report) {
  auto meta = host.store() ? host.store()->meta() : std::map<std::string, std::string>{};
  report["recipe"] = host.state().chunk_name(host.settings().recipe).substr(1);
  report["seed"] = host.settings().seed;
  report["profile"] = host.settings().profile;
  report["device"] = host.settings().device;
  report["options"] = nlohmann::json::object();
  for (const auto &option : host.options()) report["options"][option.name] = option.value;
  if (!host.isolation().empty()) report["isolation"] = host.isolation();
  report["commit"] = meta.contains("commit") ? meta["commit"] : "unknown";
  report.erase("resumed");
  if (host.settings().resumed > 0 && host.store()) {
    uint64_t answered = 0;
    for (const auto &row : host.store()->costs()) answered += row.hits;
    report["resumed"] = {{"times", host.settings().resumed}, {"answered", answered}};
  }
}

int write(lua_State *L) {
  Host &host = host_of(L);
  auto report = to_json(L, 1);
  add_origin(host, report);
  auto dir = host.out_path(".");
  if (!dir) raise(L, dir.error());
  if (auto written = report::write(*dir, report); !written) raise(L, written.error());
  return 0;
}

int read(lua_State *L) {
  std::string path(view(L, 1));
  std::ifstream in(path);
  if (!in) return fail(L, invalid(fmt::format("cannot read the report '{}'; name a report.json", path)));
  auto report = nlohmann::json::parse(in, nullptr, false);
  if (!report.is_object() || report.value("schema", nlohmann::json()) != 1)
    return fail(L, invalid(fmt::format("'{}' is not a report of schema 1", path)));
  push_json(L, report);
  return 1;
}

}  // namespace

extern const Module report_module;
const Module report_module = {
    "report",
    "Reports",
    "What a run found, for machines and for people.",
    {},
    {},
    {{"gcop.report.write",
      write,
      Waits::no,
      "Writes report.json (schema 1, see runtime/report/report.hpp) and report.html into the run's folder. recipe, "
      "seed, profile, device and commit are filled in; the page of a resumed run says so.",
      {{"report", "table", "stages, systems, paired, acceptance, grpo, cost; details goes into the HTML only"}},
      {},
      {},
      "Raises with the path of a field that is missing, of a wrong type or unknown.",
      "gcop.report.write { stages = {}, systems = systems, paired = paired }"},
     {"gcop.report.read",
      read,
      Waits::no,
      "The report.json of another run as a table, to pool or compare.",
      {{"path", "string", "a report.json; relative to the working directory"}},
      {},
      {{"report", "table?", ""}, {"err", "gcop.Error?", "invalid: not there, or no report of schema 1"}},
      "",
      "local report = assert(gcop.report.read(\"recipes/results/quick-seed1.json\"))"}}};

}  // namespace gcop::lua
