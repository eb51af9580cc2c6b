// Writes what a run found: report.json (schema 1) for machines, report.html for people. [run]; blocking, small files.
//
// report.json, schema 1; a section is present only if it ran. Keys are sorted, numbers in shortest form, so equal
// reports are equal bytes.
//   schema 1; recipe, profile, device, commit: string; seed: integer
//   stages[]     {name, seconds}
//   systems[]    {name, n, k, mean, ci95 [lo, hi], alpha_exec, valid_rate, leak_rate, helped, harmed, latency_s,
//   cost_usd,
//                 tokens_in, tokens_out, utility}; name: core core_icl core_notes guide_only gcop_base gcop_sft
//                 gcop_advisor_2step gcop_advisor_3step gcop_exectune
//   paired[]     {a, b, slice, n, families, diff, ci95, method}           diff = a - b
//   acceptance   {proposed, tested, kept, kept_by_origin {origin -> count}, trials, beta_fa, expected_bad,
//   certified_bad_95} grpo         {steps, reward_slope, reward_slope_ci95, kl, changed_greedy} cost         {role ->
//   USD}
// `details` goes into the HTML only (it may be large); all of it is optional:
//   details.notes[]   sentences for the reader ("k = 1: a quick run")
//   details.slices[]  {system, slice, n, mean, ci95}                      systems by slice: house, plain, unseen ...
//   details.steps[]   {step, reward, parts {name -> value}, kl, valid, leak}
//   details.calls[]   {role, calls, hits, unknown, usd, possible_usd, tokens_in, tokens_out}
//   details.tasks[]   {id, family, slice, prompt, diff, systems [{name, score, strategy, output, feedback}]}
#pragma once
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "base/result.hpp"

namespace gcop::report {

// The report in schema 1 without `details`. Fills in `schema`; empty objects where a list belongs become lists (Lua has
// one empty table). Errors: Code::invalid with the path of the field that is missing, of a wrong type or unknown.
Result<nlohmann::json> checked(const nlohmann::json &report);

// Without times (stages' seconds, latency): what byte-equality tests compare.
nlohmann::json canonical(const nlohmann::json &report);

// Self-contained page: styles, pictures and data inside, no network. Nothing in the data can end a script or make
// markup.
Result<std::string> html(const nlohmann::json &report);

// Writes DIR/report.json and DIR/report.html, each by a temporary file and a rename. Errors: as of checked();
// Code::internal with the path and the system's reason when a file cannot be written.
Result<> write(const std::string &dir, const nlohmann::json &report);

}  // namespace gcop::report
