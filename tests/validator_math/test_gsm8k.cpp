// All gold answers of GSM8K that are there: 7,473 of train and 500 of test.
#include <doctest/doctest.h>

#include <fstream>

#include <nlohmann/json.hpp>

#include "answer.hpp"

using namespace gcop::validator_math;

namespace {

// As people write it: 1,234,567.
std::string with_commas(std::string digits) {
  for (int at = static_cast<int>(digits.size()) - 3; at > (digits[0] == '-'); at -= 3)
    digits.insert(static_cast<size_t>(at), ",");
  return digits;
}

}  // namespace

TEST_CASE("GSM8K: every gold answer is read, is found in its own working, and only it is right") {
  size_t rows = 0, with_comma = 0, negative = 0;
  for (const char *name : {"gsm8k_train.jsonl", "gsm8k_test500.jsonl"}) {
    std::ifstream file(std::string(GCOP_SOURCE_DIR "/../shared/data/") + name);
    if (!file) {
      MESSAGE("skipped: ../shared/data/" << name << " is absent");
      return;
    }
    for (std::string line; std::getline(file, line); ++rows) {
      const std::string working = nlohmann::json::parse(line)["answer"];
      CAPTURE(working);
      const auto gold = gold_value(working);
      REQUIRE(gold);
      const std::string digits = gold->str();
      REQUIRE(digits.find('/') == std::string::npos);
      with_comma += working.find(',', working.rfind("####")) != std::string::npos;
      negative += digits[0] == '-';
      const auto reads = [&](const std::string &answer, const char *rule) {
        const Answer found = find_answer(answer);
        return found.rule == rule && found.value == gold;
      };
      const std::string commas = with_commas(digits), unsign = digits[0] == '-' ? digits.substr(1) : digits;
      if (!reads(working, "hash") || !reads("so it is \\boxed{" + commas + "}.", "boxed") ||
          !reads("\\boxed{" + digits + ".00\\text{ dollars}}", "boxed") || !reads("#### " + commas + ".", "hash") ||
          !reads("The answer is " + commas + ".", "phrase") || !reads("2 and 3 make **" + digits + "**!", "last") ||
          !reads("\\boxed{\\frac{" + digits + "}{1}}", "boxed") ||
          !reads(working + "\n\nQuestion: and then?\n#### 987654321", "hash"))
        FAIL("not read back: ", digits);
      if (reads("#### " + digits + ".5", "hash") || reads("#### " + digits + "1", "hash") ||
          reads("#### " + unsign + " or " + unsign, "hash") ||
          reads("\\boxed{" + std::string("1/") + unsign + "7}", "boxed"))
        FAIL("taken for right: ", digits);
    }
  }
  CHECK(rows == 7973);
  MESSAGE(rows << " golds, " << with_comma << " with commas, " << negative << " negative");
}
