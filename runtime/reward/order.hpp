// Checks the constants of the shaped reward before anything is spent (`--check`). Pure functions, any thread.
//   R = I [ r + c_valid + w_judge J - w_harm max(0, -Delta) - lambda C ];  malformed and leaking have their own
//   constants.
// Required (DESIGN, trap 2): malformed < leak < every honest failure < every honest success, that is
//   malformed < leak,  leak < c_valid + w_judge J_min - w_harm - lambda C_max,  w_judge (J_max - J_min) + lambda C_max
//   < 1.
#pragma once
#include <string>
#include <vector>

#include "base/result.hpp"
#include "flow.hpp"

namespace gcop::reward {

struct Constants {
  double malformed = -1, leak = -0.5;
  double c_valid = 0.1, w_judge = 0.2, w_harm = 0.5;
  double judge_min = 0, judge_max = 1;  // J's scale; equal = no judge
  double lambda = 0, cost_max = 0;      // reward per USD; the dearest execution in USD
  Scaling scaling = Scaling::none;
  bool binary = true;        // r is 0 or 1 (tests pass or not)
  bool valid_varies = true;  // malformed or leaking samples occur
};

struct Range {
  std::string outcome;
  double low = 0, high = 0;
};  // "malformed", "leak", "failure", "success"
struct Term {
  std::string name;
  bool acts = false;
  std::string why;
};  // "task", "c_valid", "w_judge", "w_harm", "lambda"

struct Order {
  std::vector<Range> outcomes;  // lowest first: the table that --check prints
  std::vector<Term> terms;      // which of them can move an advantage, and how (trap 1)
};

// Errors: Code::invalid; names the pair of outcomes out of order, the figures, and the constant to change.
Result<Order> check(const Constants &constants);

}  // namespace gcop::reward
