#include "reward/order.hpp"

#include <cmath>
#include <cstdio>

namespace gcop::reward {
namespace {

std::string number(double x) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", x);
  return text;
}

std::string interval(const Range &r) {
  return r.low == r.high ? number(r.low) : number(r.low) + " .. " + number(r.high);
}

Result<> plausible(const Constants &c) {
  const struct {
    const char *name;
    double value, low;
  } fields[] = {{"malformed", c.malformed, -1e6},
                {"leak", c.leak, -1e6},
                {"c_valid", c.c_valid, -1e6},
                {"w_judge", c.w_judge, 0},
                {"w_harm", c.w_harm, 0},
                {"judge_min", c.judge_min, -1e6},
                {"judge_max", c.judge_max, c.judge_min},
                {"lambda", c.lambda, 0},
                {"cost_max", c.cost_max, 0}};
  for (const auto &f : fields)
    if (!std::isfinite(f.value) || f.value < f.low)
      return invalid("reward constant " + std::string(f.name) + " = " + number(f.value) +
                     " must be a number of at least " + number(f.low));
  return Unit{};
}

std::vector<Term> terms_of(const Constants &c) {
  const bool judge = c.w_judge > 0 && c.judge_max > c.judge_min, cost = c.lambda > 0 && c.cost_max > 0;
  std::vector<Term> terms;
  terms.push_back({"task", true, "differs between the samples of a group that the core solves sometimes"});
  terms.push_back({"c_valid", c.c_valid - std::max(c.malformed, c.leak) != 0 && c.valid_varies,
                   c.valid_varies
                       ? "sets honest samples apart from malformed and leaking ones; among honest samples it is a "
                         "constant and cancels"
                       : "cannot act: every sample is valid, and a constant cancels against the group's mean"});
  terms.push_back({"w_judge", judge,
                   c.w_judge <= 0 ? "cannot act: the weight is 0"
                   : judge        ? "moves R by at most " + number(c.w_judge * (c.judge_max - c.judge_min))
                                  : "cannot act: there is no judge (judge_min equals judge_max)"});
  Term harm{"w_harm", c.w_harm > 0, "cannot act: the weight is 0"};
  if (c.w_harm > 0 && c.binary && c.scaling == Scaling::group && !judge && !cost && !c.valid_varies) {
    harm.acts = false;
    harm.why =
        "cannot act: with binary r and all samples valid, R is affine in r within a group, and dividing by the group's "
        "deviation takes the slope out; use scaling = \"none\"";
  } else if (c.w_harm > 0 && c.binary && c.scaling == Scaling::group) {
    harm.why =
        "acts only through groups in which the judge, the cost or malformed samples vary too; elsewhere the group's "
        "deviation divides it out: use scaling = \"none\"";
  } else if (c.w_harm > 0 && c.binary) {
    harm.why =
        "acts as a weight of the task: A = (1 + " + number(c.w_harm) + " u)(r - mean), u the task's unguided success";
  } else if (c.w_harm > 0)
    harm.why = "acts on samples that score below the task's unguided mean";
  terms.push_back(harm);
  terms.push_back({"lambda", cost,
                   c.lambda <= 0 ? "cannot act: lambda is 0"
                   : cost        ? "moves R by at most " + number(c.lambda * c.cost_max)
                                 : "cannot act: cost_max is 0 (a free core)"});
  return terms;
}

}  // namespace

Result<Order> check(const Constants &c) {
  if (auto ok = plausible(c); !ok) return ok.error();
  const double judge_low = c.c_valid + c.w_judge * c.judge_min, judge_high = c.c_valid + c.w_judge * c.judge_max,
               cost = c.lambda * c.cost_max;
  const double worst_failure = judge_low - c.w_harm - cost;  // r = 0 where the core alone always succeeds: Delta = -1
  Order order;
  order.outcomes = {{"malformed", c.malformed, c.malformed},
                    {"leak", c.leak, c.leak},
                    {"failure", worst_failure, judge_high},
                    {"success", 1 + judge_low - cost, 1 + judge_high}};
  static const char *const kRemedy[] = {"lower malformed or raise leak",
                                        "lower leak, raise c_valid, or lower w_harm or lambda: else a guide learns "
                                        "that giving the answer away beats an honest try",
                                        "lower w_judge or lambda, so that w_judge (J_max - J_min) + lambda C_max stays "
                                        "below 1: else a failure that reads well beats a success"};
  for (size_t i = 0; i + 1 < order.outcomes.size(); ++i) {
    const Range &below = order.outcomes[i], &above = order.outcomes[i + 1];
    if (below.high < above.low) continue;
    return invalid("reward constants: every " + below.outcome + " (" + interval(below) + ") must score below every " +
                   above.outcome + " (" + interval(above) + "); " + kRemedy[i]);
  }
  order.terms = terms_of(c);
  return order;
}

}  // namespace gcop::reward
