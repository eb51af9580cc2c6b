#include "report/report.hpp"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <initializer_list>

#include <nlohmann/json.hpp>

#include "base/secret.hpp"
#include "report/page.hpp"

namespace gcop::report {
namespace {

using nlohmann::json;

enum class Kind { text, count, number, interval, counts, money, named, list };
struct Field {
  const char *name;
  Kind kind;
  bool required = true;
};
using Fields = std::initializer_list<Field>;

const Fields kTop{{"recipe", Kind::text, false}, {"profile", Kind::text, false}, {"device", Kind::text, false},
                  {"commit", Kind::text, false}, {"seed", Kind::count, false},   {"cost", Kind::money, false}};
const Fields kStage{{"name", Kind::text}, {"seconds", Kind::number}};
const Fields kSystem{{"name", Kind::text},
                     {"n", Kind::count},
                     {"k", Kind::count},
                     {"mean", Kind::number},
                     {"ci95", Kind::interval},
                     {"alpha_exec", Kind::number, false},
                     {"valid_rate", Kind::number, false},
                     {"leak_rate", Kind::number, false},
                     {"helped", Kind::count, false},
                     {"harmed", Kind::count, false},
                     {"latency_s", Kind::number, false},
                     {"cost_usd", Kind::number, false},
                     {"tokens_in", Kind::count, false},
                     {"tokens_out", Kind::count, false},
                     {"utility", Kind::number, false}};
const Fields kPaired{{"a", Kind::text},        {"b", Kind::text},         {"slice", Kind::text},
                     {"n", Kind::count},       {"families", Kind::count}, {"diff", Kind::number},
                     {"ci95", Kind::interval}, {"method", Kind::text}};
const Fields kAcceptance{{"proposed", Kind::count},        {"tested", Kind::count},          {"kept", Kind::count},
                         {"kept_by_origin", Kind::counts}, {"trials", Kind::count},          {"beta_fa", Kind::number},
                         {"expected_bad", Kind::number},   {"certified_bad_95", Kind::count}};
const Fields kAudit{{"n", Kind::count}, {"successes", Kind::count}, {"ci95", Kind::interval}};
const Fields kGrpo{
    {"steps", Kind::count},      {"reward_slope", Kind::number},          {"reward_slope_ci95", Kind::interval},
    {"kl", Kind::number, false}, {"changed_greedy", Kind::number, false}, {"history", Kind::list, false}};
const Fields kUnknown{
    {"role", Kind::text}, {"model", Kind::text}, {"stage", Kind::text}, {"possible_usd", Kind::number}};
const Fields kEvaluation{{"store", Kind::text},       {"method", Kind::text},
                         {"solves", Kind::count},     {"correct_total", Kind::count},
                         {"cost_total", Kind::count}, {"normalised_correct", Kind::count, false},
                         {"per_seed", Kind::list},    {"params", Kind::named}};
const Fields kDiscovery{{"start", Kind::text},   {"proposer", Kind::text},      {"rule", Kind::text},
                        {"chosen", Kind::text},  {"search_gain", Kind::number}, {"rounds", Kind::list},
                        {"held_out", Kind::list}};
const Fields kTask{{"id", Kind::text}, {"scores", Kind::money}};

constexpr const char *kPageOnly[] = {"details", "resumed"};

bool is_list(const json &value) { return value.is_array() || (value.is_object() && value.empty()); }
bool is_number(const json &value) { return value.is_number() || value.is_null(); }
bool is_count(const json &value) {
  return value.is_null() || value.is_number_integer() ||
         (value.is_number_float() && std::isfinite(value.get<double>()) &&
          value.get<double>() == double(int64_t(value.get<double>())));
}

// An empty Lua table may stand for a list or an object: it becomes what belongs there. Returns what is wrong, or "".
std::string fit(json &value, Kind kind) {
  switch (kind) {
    case Kind::text: return value.is_string() ? "" : "must be text";
    case Kind::number: return is_number(value) ? "" : "must be a number, or absent";
    case Kind::count:
      if (!is_count(value)) return "must be a whole number";
      if (value.is_number_float()) value = int64_t(value.get<double>());
      return "";
    case Kind::interval:
      if (is_list(value) && value.empty()) value = json::array({nullptr, nullptr});
      return value.is_null() || (value.is_array() && value.size() == 2 && is_number(value[0]) && is_number(value[1]))
                 ? ""
                 : "must be an interval {low, high}";
    case Kind::list:
      if (!is_list(value)) return "must be a list";
      if (value.empty()) value = json::array();
      return "";
    case Kind::named:
      if (value.is_array() && value.empty()) value = json::object();
      return value.is_object() ? "" : "must be a table with names";
    case Kind::counts:
    case Kind::money:
      if (value.is_array() && value.empty()) value = json::object();
      if (!value.is_object()) return "must be a table from names to numbers";
      for (auto &[name, entry] : value.items())
        if (!is_number(entry) || (kind == Kind::counts && !is_count(entry)))
          return "." + name + " must be a " + (kind == Kind::counts ? "whole " : "") + "number";
      return "";
  }
  return "";
}

Result<> fit_all(json &object, const Fields &fields, const std::string &path) {
  if (!object.is_object()) return invalid("report: " + path + " must be a table with names");
  for (const Field &field : fields) {
    const auto found = object.find(field.name);
    if (found == object.end()) {
      if (field.required && field.kind != Kind::number && field.kind != Kind::interval)
        return invalid("report: " + path + " lacks '" + field.name + "' (schema 1)");
      if (field.required) object[field.name] = nullptr;  // a NaN that Lua dropped: the data cannot give this figure
      continue;
    }
    if (const std::string wrong = fit(*found, field.kind); !wrong.empty())
      return invalid("report: " + path + "." + field.name + (wrong[0] == '.' ? "" : " ") + wrong + " (schema 1)");
  }
  return Unit{};
}

Result<> fit_list(json &report, const char *name, const Fields &fields) {
  const auto found = report.find(name);
  if (found == report.end()) return Unit{};
  if (const std::string wrong = fit(*found, Kind::list); !wrong.empty())
    return invalid("report: " + std::string(name) + " " + wrong + " (schema 1)");
  for (size_t i = 0; i < found->size(); ++i)
    if (auto ok = fit_all((*found)[i], fields, std::string(name) + "[" + std::to_string(i + 1) + "]"); !ok) return ok;
  return Unit{};
}

std::string dumped(const json &value, int indent) {
  return value.dump(indent, ' ', false, json::error_handler_t::replace);
}

// In a <script> only "<" could end it or open a comment; the others keep the text plain in any reader.
std::string for_script(const json &value) {
  std::string out;
  for (const char c : dumped(value, -1)) {
    if (c == '<')
      out += "\\u003c";
    else if (c == '>')
      out += "\\u003e";
    else if (c == '&')
      out += "\\u0026";
    else
      out += c;
  }
  return out;
}

Result<> write_file(const std::string &path, const std::string &text) {
  const std::string part = path + ".part";
  auto failed = [&](int reason) {
    std::remove(part.c_str());
    return Error{
        reason == ENOSPC ? Code::exhausted : Code::denied,
        "cannot write " + path + ": " + std::strerror(reason) + "; free space or check the folder's permissions",
        {}};
  };
  std::FILE *file = std::fopen(part.c_str(), "wb");
  if (!file) return failed(errno);
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  const int reason = errno;
  if (std::fclose(file) != 0 || !written) return failed(written ? errno : reason);
  if (std::rename(part.c_str(), path.c_str()) != 0) return failed(errno);
  return Unit{};
}

}  // namespace

Result<json> checked(const json &report) {
  if (!report.is_object()) return invalid("report: must be a table with names (schema 1)");
  json out = report;
  for (const char *name : kPageOnly) out.erase(name);
  out["schema"] = 1;
  if (auto ok = fit_all(out, kTop, "report"); !ok) return ok.error();
  const struct {
    const char *name;
    const Fields *fields;
  } lists[] = {{"stages", &kStage}, {"systems", &kSystem},         {"paired", &kPaired},
               {"tasks", &kTask},   {"evaluations", &kEvaluation}, {"unknown_calls", &kUnknown}};
  for (const auto &[name, fields] : lists)
    if (auto ok = fit_list(out, name, *fields); !ok) return ok.error();
  if (out.contains("acceptance")) {
    json &acceptance = out["acceptance"];
    if (auto ok = fit_all(acceptance, kAcceptance, "acceptance"); !ok) return ok.error();
    if (acceptance.contains("audit"))
      if (auto ok = fit_all(acceptance["audit"], kAudit, "acceptance.audit"); !ok) return ok.error();
  }
  if (out.contains("discovery"))
    if (auto ok = fit_all(out["discovery"], kDiscovery, "discovery"); !ok) return ok.error();
  if (out.contains("grpo"))
    if (auto ok = fit_all(out["grpo"], kGrpo, "grpo"); !ok) return ok.error();
  return out;
}

json canonical(const json &report) {
  json out = report;
  for (const char *name : kPageOnly) out.erase(name);
  out.erase("unknown_calls");
  const struct { const char *list, *time; } times[] = {{"stages", "seconds"}, {"systems", "latency_s"}};
  for (const auto &[list, time] : times)
    if (out.contains(list))
      for (auto &row : out[list]) row.erase(time);
  return out;
}

Result<std::string> html(const json &report) {
  auto data = checked(report);
  if (!data) return data.error();
  for (const char *name : kPageOnly)
    if (report.contains(name)) (*data)[name] = report[name];
  const Page &parts = page();
  const struct {
    std::string_view name, text;
  } slots[] = {{"{{style}}", parts.style},
               {"{{charts}}", parts.charts},
               {"{{sections}}", parts.sections},
               {"{{tasks}}", parts.tasks}};
  const std::string script_data = for_script(*data);
  std::string out;
  for (std::string_view rest = parts.html; !rest.empty();) {
    const size_t open = std::min(rest.find("{{"), rest.size());
    out += rest.substr(0, open);
    rest.remove_prefix(open);
    if (rest.empty()) break;
    const size_t close = rest.find("}}") + 2;
    const std::string_view slot = rest.substr(0, close);
    if (slot == "{{data}}") out += script_data;
    for (const auto &[name, text] : slots)
      if (slot == name) out += text;
    rest.remove_prefix(close);
  }
  return out;
}

Result<> write(const std::string &dir, const json &report) {
  auto data = checked(report);
  if (!data) return data.error();
  auto page_text = html(report);
  if (!page_text) return page_text.error();
  if (auto ok = write_file(dir + "/report.json", redact(dumped(*data, 2)) + "\n"); !ok) return ok;
  return write_file(dir + "/report.html", redact(*page_text));
}

}  // namespace gcop::report
