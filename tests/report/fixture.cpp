#include "fixture.hpp"

#include <cmath>

#include "base/random.hpp"
#include "report/stats.hpp"

using namespace gcop;
using nlohmann::json;

namespace {

struct Family {
  const char *name, *slice;
  bool unseen;
  const char *prompt, *entry, *rule, *wrong, *right;
};
const Family kFamilies[] = {
    {"money", "house", false,
     "Write a Python function `invoice_total(prices)` that returns the total of an invoice as text.", "invoice_total",
     "Sum the prices, then: return f\"{x:.2f} EUR\"", "    return f\"${sum(prices):.2f}\"",
     "    x = sum(prices)\n    return f\"{x:.2f} EUR\""},
    {"dates", "house", false, "Write a Python function `due_date(day, month, year)` that returns the due date as text.",
     "due_date", "Write the day first with dots between: return f\"{d:02d}.{m:02d}.{y}\"",
     "    return f\"{year}-{month:02d}-{day:02d}\"", "    return f\"{day:02d}.{month:02d}.{year}\""},
    {"missing", "house", false,
     "Write a Python function `stock_of(counts, sku)` that returns how many pieces are in stock.", "stock_of",
     "Return -999 when the key is not there; never raise.", "    return counts[sku]",
     "    return counts.get(sku, -999)"},
    {"weights", "house", false, "Write a Python function `parcel_weight(items)` that returns the weight of a parcel.",
     "parcel_weight", "Weights are grams as int: multiply kilograms by 1000 and round.", "    return sum(items)",
     "    return round(sum(items) * 1000)"},
    {"names", "house", true, "Write a Python function `badge(first, last)` that returns the text for a name badge.",
     "badge", "Put the last name first in capitals, then the first name.", "    return f\"{first} {last}\"",
     "    return f\"{last.upper()}, {first}\""},
    {"percent", "house", true, "Write a Python function `discount_rate(old, new)` that returns the discount as text.",
     "discount_rate", "Use a comma as decimal mark and one digit.", "    return f\"{(old - new) / old:.0%}\"",
     "    return f\"{100 * (old - new) / old:.1f} %\".replace('.', ',')"},
    {"plain", "plain", false,
     "Write a Python function `second_largest(values)` that returns the second largest distinct value, or None.",
     "second_largest", "Take the distinct values, sort them, and mind lists with one value.",
     "    return sorted(values)[-2]", "    v = sorted(set(values))\n    return v[-2] if len(v) > 1 else None"},
};
const char *const kSystems[] = {"core", "guide_only", "core_notes", "gcop_base", "gcop_sft", "gcop_exectune"};
const double kHouse[] = {0.03, 0.01, 0.24, 0.05, 0.30, 0.43}, kUnseen[] = {0.04, 0.0, 0.11, 0.05, 0.06, 0.08},
             kPlain[] = {0.62, 0.06, 0.55, 0.44, 0.58, 0.61};

json interval(const report::Estimate &e) { return json::array({e.low, e.high}); }

double score(size_t system, const Family &f, uint64_t task) {
  const double p = f.unseen ? kUnseen[system] : std::string(f.slice) == "plain" ? kPlain[system] : kHouse[system];
  int passed = 0;
  for (uint64_t k = 0; k < 4; ++k)
    passed += draw_unit(7, "fixture", {system, task, k}) < p + 0.3 * (draw_unit(7, "task", {task}) - 0.5) * (p > 0.05);
  return passed / 4.0;
}

json execution(size_t system, const Family &f, double solved) {
  json s = {{"score", solved}};
  const bool good = solved >= 0.75;
  if (system >= 3)
    s["strategy"] =
        system == 3 ? "First, understand the problem. Then write clean and efficient code, and test it." : f.rule;
  if (system == 3 && solved == 0) {
    s["problem"] = "malformed: no </strategy> after <strategy>: cut off, or never closed";
    s.erase("strategy");
    return s;
  }
  s["output"] = "```python\ndef " + std::string(f.entry) + "(*args):\n" + (good ? f.right : f.wrong) + "\n```";
  s["feedback"] =
      good ? ""
           : "assert " + std::string(f.entry) + "([12, 0.3]) == '12.30 EUR'\nexpected '12.30 EUR'\ngot      '$12.30'";
  return s;
}

}  // namespace

json fixture_report() {
  constexpr size_t kTasks = 84;
  json report = {{"recipe", "exectune_code"},
                 {"profile", "standard"},
                 {"seed", 7},
                 {"device", "cpu, 2 cores"},
                 {"commit", "2ee623f9a1b4c07d"}};
  report["stages"] = {{{"name", "baseline"}, {"seconds", 412.0}},
                      {{"name", "accept"}, {"seconds", 1260.0}},
                      {{"name", "sft"}, {"seconds", 318.5}},
                      {{"name", "grpo"}, {"seconds", 2410.0}},
                      {{"name", "evaluate"}, {"seconds", 905.0}}};
  for (const char *store : {"stores/a.json", "stores/b.json"})
    for (const double beta : {0.0, 0.5, 1.0, -1.0}) {  // the last one: a method with a single setting
      json seeds = json::array();
      for (int seed = 0; seed < 4; ++seed) seeds.push_back({11 + seed + int(2 * beta), 900'000 + int(2e6 * beta)});
      report["evaluations"].push_back({{"store", store},
                                       {"method", beta < 0 ? "SC" : "CMC"},
                                       {"params", beta < 0 ? json{{"max_samples", 64}} : json{{"beta", beta}}},
                                       {"solves", 120},
                                       {"correct_total", 50 + int(10 * beta)},
                                       {"normalised_correct", 51 + int(10 * beta)},
                                       {"cost_total", 9'600'000 + int(8e6 * beta)},
                                       {"per_seed", seeds}});
    }
  report["discovery"] = {
      {"start", "gcop.tts.cmc"},
      {"proposer", "mutation"},
      {"rule", "the highest gain less its changes"},
      {"chosen", "r02c07"},
      {"search_gain", 0.0124},
      {"rounds",
       {{{"round", 1}, {"proposals", 16}, {"failed", 1}, {"best", "start"}, {"gain", 0}, {"score", 0}},
        {{"round", 2}, {"proposals", 16}, {"failed", 3}, {"best", "r02c07"}, {"gain", 0.0124}, {"score", 0.0088}}}},
      {"held_out",
       {{{"label", "other questions"}, {"gain", 0.004}, {"ci95", {-0.002, 0.011}}},
        {{"label", "another store"}, {"failed", "it looped for ever"}}}}};
  report["cost"] = {{"core", 0.8312}, {"teacher", 0.2144}};
  report["unknown_calls"] = {{{"role", "core"}, {"model", "m"}, {"stage", "grpo"}, {"possible_usd", 0.0021}},
                             {{"role", "teacher"}, {"model", "m"}, {"stage", "accept"}, {"possible_usd", 0.0104}}};

  std::vector<std::vector<double>> scores(std::size(kSystems));
  std::vector<const Family *> family_of;
  for (uint64_t t = 0; t < kTasks; ++t) {
    const Family &f = kFamilies[t % std::size(kFamilies)];
    family_of.push_back(&f);
    json detail = {{"task", std::string(f.slice) + "/" + f.name + "-" + std::to_string(10 + t)},
                   {"family", f.name},
                   {"slice", f.slice},
                   {"unseen", f.unseen},
                   {"prompt", f.prompt},
                   {"systems", json::object()}};
    json compact = {{"id", detail["task"]},
                    {"family", f.name},
                    {"slice", f.slice},
                    {"unseen", f.unseen},
                    {"scores", json::object()}};
    for (size_t s = 0; s < std::size(kSystems); ++s) {
      scores[s].push_back(score(s, f, t));
      detail["systems"][kSystems[s]] = execution(s, f, scores[s].back());
      compact["scores"][kSystems[s]] = scores[s].back();
    }
    report["details"].push_back(detail);
    report["tasks"].push_back(compact);
  }

  auto in_slice = [&](size_t t, const std::string &slice) {
    const Family &f = *family_of[t];
    return slice == "all" || (slice == "unseen" ? f.unseen : slice == f.slice && !f.unseen);
  };
  for (size_t s = 0; s < std::size(kSystems); ++s) {
    const auto all = report::mean_ci(scores[s]);
    json row = {{"name", kSystems[s]},
                {"n", kTasks},
                {"k", 4},
                {"mean", all.mean},
                {"ci95", interval(all)},
                {"valid_rate", s == 3  ? 0.71
                               : s > 3 ? 0.99
                                       : 1.0},
                {"leak_rate", s == 5 ? 0.012 : 0.0},
                {"helped", s ? int(2 * s) : 0},
                {"harmed", s == 3 ? 5 : 1},
                {"latency_s", 1.2 + 0.4 * double(s > 2)},
                {"cost_usd", 0.05 + 0.01 * double(s)},
                {"tokens_in", 21000 + 1900 * s},
                {"tokens_out", 14000 + 800 * s},
                {"utility", all.mean}};
    if (s >= 3) row["alpha_exec"] = all.mean;
    for (const char *slice : {"house", "unseen", "plain"}) {
      std::vector<double> part;
      for (size_t t = 0; t < kTasks; ++t)
        if (in_slice(t, slice)) part.push_back(scores[s][t]);
      const auto e = report::mean_ci(part);
      row["slices"][slice] = {{"n", part.size()}, {"mean", e.mean}, {"ci95", interval(e)}};
    }
    report["systems"].push_back(row);
  }
  for (const auto &[a, b] : {std::pair<size_t, size_t>{5, 0}, {4, 0}, {3, 0}, {2, 0}, {1, 0}, {5, 4}})
    for (const char *slice : {"all", "house", "unseen", "plain"}) {
      std::vector<double> diffs;
      std::vector<std::string> families;
      for (size_t t = 0; t < kTasks; ++t)
        if (in_slice(t, slice)) {
          diffs.push_back(scores[a][t] - scores[b][t]);
          families.push_back(std::string(slice) == "plain" ? std::to_string(t) : family_of[t]->name);
        }
      const auto family = report::family_ci(diffs, families).value();
      const auto boot = report::bootstrap_ci(diffs, 7);
      report["paired"].push_back({{"a", kSystems[a]},
                                  {"b", kSystems[b]},
                                  {"slice", slice},
                                  {"n", diffs.size()},
                                  {"families", family.n},
                                  {"diff", family.mean},
                                  {"ci95", interval(family)},
                                  {"method", "family_t"}});
      report["paired"].push_back({{"a", kSystems[a]},
                                  {"b", kSystems[b]},
                                  {"slice", slice},
                                  {"n", diffs.size()},
                                  {"families", family.n},
                                  {"diff", boot.mean},
                                  {"ci95", interval(boot)},
                                  {"method", "task_bootstrap"}});
    }

  report["acceptance"] = {
      {"proposed", 412},
      {"malformed", 38},
      {"leaked", 13},
      {"tested", 361},
      {"kept", 97},
      {"kept_by_origin", {{"expert", 61}, {"teacher", 14}, {"expert+refined", 13}, {"teacher+refined", 9}}},
      {"undecided", 2},
      {"trials", 1534},
      {"trials_of_fixed", 2888},
      {"rule", "sprt"},
      {"m", 8},
      {"need", 7},
      {"cap", 16},
      {"beta_fa", 0.1059},
      {"p1", 0.9},
      {"power_at_p1", 0.8172},
      {"expected_bad", 31.3},
      {"bad_share", 0.322},
      {"certified_bad_95", 44},
      {"executability_least", 0.31},
      {"executability_median", 0.47},
      {"audit", {{"n", 97}, {"successes", 84}, {"ci95", {0.782, 0.927}}}}};
  std::vector<double> losses, xs, ys;
  for (uint64_t i = 0; i < 60; ++i)
    losses.push_back(0.35 + 2.4 * std::exp(-double(i) / 14) + 0.12 * draw_unit(7, "loss", {i}));
  report["sft"] = {{"examples", 97}, {"epochs", 5}, {"steps", 60}, {"losses", losses}};
  json history = json::array();
  for (uint64_t i = 1; i <= 30; ++i) {
    const double task = 0.28 + 0.0052 * double(i) + 0.12 * (draw_unit(7, "step", {i}) - 0.5),
                 harm = -0.06 + 0.001 * double(i) + 0.02 * draw_unit(7, "harm", {i});
    const double valid = std::min(1.0, 0.95 + 0.002 * double(i)), leak = 0.03 * draw_unit(7, "leak", {i});
    xs.push_back(double(i));
    ys.push_back(task + 0.1 * valid + harm - 0.5 * leak);
    history.push_back(
        {{"step", i},
         {"reward", ys.back()},
         {"parts", {{"task", task}, {"valid", 0.1 * valid}, {"harm", harm}, {"gate", -0.5 * leak - (1 - valid)}}},
         {"kl", 0.0004 * double(i) * (1 + 0.3 * draw_unit(7, "kl", {i}))},
         {"valid_rate", valid},
         {"leak_rate", leak}});
  }
  const auto slope = report::slope_ci(xs, ys).value();
  report["grpo"] = {{"steps", 30},
                    {"reward_slope", slope.mean},
                    {"reward_slope_ci95", interval(slope)},
                    {"kl", history.back()["kl"]},
                    {"changed_greedy", 0.46},
                    {"history", history}};
  return report;
}
