// Writes what a run found: report.json (schema 1) for machines, report.html for people. [run]; blocking, small files.
//
// report.json, schema 1; a section is present only if it ran. Keys are sorted, numbers in shortest form, so equal
// reports are equal bytes. null stands for a figure the data cannot give. Fields not named here are kept as they are:
// within a schema number fields are only added.
//   schema 1; recipe, profile, device, commit: string; seed: integer; options {name -> value}: the recipe's, as run
//   isolation    "process" if the recipe chose to run what models wrote without a jail; else absent
//   stages[]     {name, seconds}
//   systems[]    {name, n, k, mean, ci95 [lo, hi], alpha_exec, valid_rate, leak_rate, helped, harmed, latency_s,
//   cost_usd,
//                 tokens_in, tokens_out, utility, slices {slice -> {n, mean, ci95}}}; name: core core_icl core_notes
//                 guide_only gcop_base gcop_sft gcop_advisor_2step gcop_advisor_3step gcop_exectune
//   paired[]     {a, b, slice, n, families, diff, ci95, method}           diff = a - b; method "family_t",
//                "task_bootstrap"
//   acceptance   {proposed, malformed, leaked, undecided, tested, kept, kept_by_origin {origin -> count}, trials,
//                 trials_of_fixed, rule, m, need, cap, beta_fa, p1, power_at_p1, expected_bad, bad_share,
//                 certified_bad_95, good_share_95 (one round only), executability_least, executability_median (lower
//                 bounds of the kept ones), audit {n, successes, ci95} (if asked for)}; see strategy/certificate.hpp
//   sft          {examples, epochs, steps, losses[]}
//   grpo         {steps, reward_slope, reward_slope_ci95, kl (if kl_beta > 0), changed_greedy,
//                 history[] {step, reward, parts {name -> mean}, kl, valid_rate, leak_rate, unscored, ...}}
//   cost         {role -> USD}
//   unknown_calls[]  {role, model, stage, possible_usd}  sent and never answered: what they may have cost at most
//   evaluations[]    {store, method, params {name -> value}, solves, correct_total, normalised_correct, cost_total
//                (tokens), per_seed[] [correct, cost]}    controllers on replay stores
//   discovery    {start, proposer, rule, chosen, search_gain, rounds[] {round, proposals, failed, best, gain, score},
//                held_out[] {label, gain, ci95} or {label, failed}}    a search for controllers
//   tasks[]      {id, family, slice, unseen, scores {system -> score}}    what pooling over seeds needs
// `details` is for the HTML only (it may be large): a list of
//   {task, family, slice, unseen, prompt, systems {system -> {score, strategy, problem, output, feedback}}}
// `resumed`, too, for an unkilled run must have the same report.json: {times, answered}, how often the run was resumed
// and how many calls the store answered in the last process; absent if it was not.
#pragma once
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "base/result.hpp"

namespace gcop::report {

// The report as it goes into report.json: `schema` filled in, `details` and `resumed` left out, empty objects where a
// list belongs made lists (Lua has one empty table). Errors: Code::invalid with the path of the field that is missing
// or of a wrong type.
Result<nlohmann::json> checked(const nlohmann::json &report);

// Without times (stages' seconds, latency) and without the calls that a kill left open: what a run that was killed and
// resumed has in common, byte for byte, with one that was not.
nlohmann::json canonical(const nlohmann::json &report);

// Self-contained page: styles, pictures and data inside, no network. Nothing in the data can end a script or make
// markup.
Result<std::string> html(const nlohmann::json &report);

// Writes DIR/report.json and DIR/report.html, each by a temporary file and a rename, secrets redacted. Errors: as of
// checked(); Code::exhausted (disk full) or Code::denied with the path and the system's reason.
Result<> write(const std::string &dir, const nlohmann::json &report);

}  // namespace gcop::report
