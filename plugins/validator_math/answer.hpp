// Where in a model's text the answer is, and which rule says so. Pure functions, any thread; linear in the text.
//
// Rules, the first that applies:
//   boxed, hash   the last \boxed{...} or "#### ..." line: the answer the prompt asked for
//   phrase        the last "answer is ..." or "answer: ...", on its line or alone on the line below: its first number,
//   or
//                 what the sum comes to that it begins with, as in "the answer is 16 - 3 - 4 = 9"
//   last          the last number of all
// A model that runs on and asks itself the next question is cut there: a line that begins with "Question:", "Q:" or
// "Problem:" ends the text if an answer (for `last`: a number) stands before it.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "number.hpp"

namespace gcop::validator_math {

struct Answer {
  std::string rule;             // "boxed", "hash", "phrase", "last", or "" where there is no number at all
  std::string text;             // what the rule found, as it stands
  std::optional<Number> value;  // none: that is no single number
};
Answer find_answer(std::string_view candidate);

// What a task's "answer" says: the number, or GSM8K's whole worked answer that ends with "#### number".
std::optional<Number> gold_value(std::string_view answer);

}  // namespace gcop::validator_math
