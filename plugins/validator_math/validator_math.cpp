// validator_math: is the number in a model's answer the task's? Exact rational arithmetic, no sandbox. check() is
// called on any thread and answers at once.
#include <gcop/plugin.hpp>
#include <nlohmann/json.hpp>

#include "answer.hpp"

namespace gcop::validator_math {
namespace {

using Json = nlohmann::json;
constexpr size_t kLongest = size_t{1} << 20;  // of an answer that is read: its end

class MathValidator : public sdk::Validator {
 public:
  MathValidator(sdk::Host, std::string_view config_json) {
    const Json config = Json::parse(config_json.empty() ? "{}" : config_json, nullptr, false);
    if (!config.is_object()) throw sdk::Failure(GCOP_INVALID, "validator_math: the configuration is no JSON object");
    for (const auto &[key, value] : config.items()) {
      if (key != "grade")
        throw sdk::Failure(GCOP_INVALID, "validator_math: unknown setting '" + key + "'; it takes grade");
      if (value != "strict" && value != "lenient")
        throw sdk::Failure(GCOP_INVALID,
                           "validator_math: 'grade' is " + value.dump() + "; it must be \"strict\" or \"lenient\"");
      strict_ = value == "strict";
    }
    identity_ = std::string("validator_math/0.2.0 grade=") + (strict_ ? "strict" : "lenient");
  }

  std::string_view identity() const override { return identity_; }

  void check(sdk::Check what, sdk::Completion<sdk::Verdict> &&completion) override {
    const Json task = Json::parse(what.task_json, nullptr, false);
    const auto field = task.is_object() ? task.find("answer") : task.end();
    if (!task.is_object() || field == task.end() || !(field->is_string() || field->is_number()))
      return completion.fail(GCOP_INVALID,
                             "validator_math: the task has no \"answer\", a number or a text that ends with one");
    const std::string gold_text = field->is_string() ? field->get<std::string>() : field->dump();
    const std::optional<Number> gold = gold_value(gold_text);
    if (!gold)
      return completion.fail(GCOP_INVALID,
                             "validator_math: the task's \"answer\" is no single number: " + gold_text.substr(0, 80));
    std::string_view candidate = what.candidate;
    if (candidate.size() > kLongest) candidate.remove_prefix(candidate.size() - kLongest);
    const Answer answer = find_answer(candidate);
    const bool right = answer.value && *answer.value == *gold;
    const bool marked = answer.rule == "boxed" || answer.rule == "hash";
    sdk::Verdict verdict;
    verdict.total = 1;
    verdict.passed = right && (marked || !strict_);
    verdict.score = verdict.passed;
    const std::string shown = answer.text.substr(0, 80);
    if (answer.rule.empty())
      verdict.feedback = "there is no number in the answer";
    else if (!answer.value)
      verdict.feedback = "the answer is no single number: " + shown;
    else if (!right)
      verdict.feedback = "the answer " + shown + " is not right";
    else if (!verdict.passed)
      verdict.feedback = "the answer is not marked; write it as \\boxed{...} or after ####";
    verdict.detail_json =
        Json{{"rule", answer.rule}, {"answer", shown}, {"strict", right && marked}, {"lenient", right}}.dump(
            -1, ' ', false, Json::error_handler_t::replace);
    completion.ok(verdict);
  }

 private:
  bool strict_ = false;
  std::string identity_;
};

}  // namespace
}  // namespace gcop::validator_math

GCOP_PLUGIN(gcop::validator_math::MathValidator, "org.gcop.validator_math", "0.2.0",
            "numbers as answers: integers, decimals, fractions, simple LaTeX; exact",
            R"({"type":"object","properties":{"grade":{"enum":["strict","lenient"]}},"additionalProperties":false})")
