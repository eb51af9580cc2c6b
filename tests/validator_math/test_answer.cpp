// What is read as a number, where the answer is found, and the extraction bugs that others' issue trackers tell of.
#include <doctest/doctest.h>

#include "answer.hpp"

using namespace gcop::validator_math;

namespace {

std::string value(std::string_view text) {
  const auto number = only_number(text);
  return number ? number->str() : "none";
}

// "rule: value" of an answer.
std::string found(std::string_view candidate) {
  const Answer a = find_answer(candidate);
  return a.rule + ": " + (a.value ? a.value->str() : "none");
}

}  // namespace

TEST_CASE("one number, however it is dressed") {
  for (const std::string eighteen : {"18",
                                     " 18 ",
                                     "18.",
                                     "18.00",
                                     "$18",
                                     "$18.",
                                     "\\$18",
                                     "**18**",
                                     "18 dollars",
                                     "x = 18",
                                     "+18",
                                     "3 * 6 = 18",
                                     "18%",
                                     "18\\%",
                                     "$18$",
                                     "\\text{ }18",
                                     "18\\text{ dollars}",
                                     "{18}",
                                     "0018",
                                     "1.8e1",
                                     "36/2",
                                     "\\frac{36}{2}",
                                     "\\dfrac{36}{2}",
                                     "17 2/2",
                                     "`18`",
                                     "18 \xe2\x82\xac",
                                     "\\mathbf{18}"})
    CHECK_MESSAGE(value(eighteen) == "18", eighteen);
  for (const std::string large : {"1,234", "$1,234.", "1{,}234", "1\\,234", "1\\!234", "1,234.0",
                                  "1\xe2\x80\xaf"
                                  "234",
                                  "1\xc2\xa0"
                                  "234"})
    CHECK_MESSAGE(value(large) == "1234", large);
  for (const std::string negative : {"-5",
                                     "\xe2\x88\x92"
                                     "5",
                                     "$-5", "-$5", "= -5", "( -5 )"})
    CHECK_MESSAGE(value(negative) == "-5", negative);
  CHECK(value("3/4") == "3/4");
  CHECK(value("0.75") == "3/4");
  CHECK(value(".75") == "3/4");
  CHECK(value("\\frac34") == "3/4");
  CHECK(value("1 1/2") == "3/2");
  CHECK(value("1\\frac{1}{2}") == "3/2");
  CHECK(value("-1/2") == "-1/2");
  CHECK(value("1.5e-3") == "3/2000");
  CHECK(value("123456789012345678901234567890") == "123456789012345678901234567890");
}

TEST_CASE("words and signs beside a number") {
  CHECK(value("1.5 million") == "1500000");
  CHECK(value("70k") == "70000");
  CHECK(value("$70K a year") == "70000");
  CHECK(value("2 Thousand") == "2000");
  CHECK(value("18 km") == "18");
  CHECK(value("18 millionaires") == "18");
  CHECK(value("minus 3") == "-3");
  CHECK(value("Negative 3") == "-3");
  CHECK(value("- 3") == "-3");
  CHECK(value("x = - 3") == "-3");
  CHECK(value("18 cm^2") == "18");
  CHECK(value("18 \\text{ cm}^{2}") == "18");
  CHECK(value("18 x^2") == "none");
  CHECK(value("18x^2") == "none");
  CHECK(value("10^3") == "none");
  CHECK(found("The answer is 10^3.") == "phrase: none");
  CHECK(found("which gives 10 ^ 3 = 1000") == "last: 1000");
  CHECK(found("The answer is 1.5 million dollars") == "phrase: 1500000");
  CHECK(found("The answer is minus 3.") == "phrase: -3");
  CHECK(found("16 - 7 is 9; 20 minus 3") == "last: 3");
  CHECK(found("it is - 3") == "last: 3");  // a dash
  CHECK(found("#### - 3") == "hash: -3");
}

TEST_CASE("what is no single number") {
  for (const std::string none : {"", "eighteen", "18 or 19", "3 apples and 5 pears", "x2", "1/0", "1,23", "12,34,567",
                                 "1/2/3 or 4", "10-12", "3 4/5 6", "\\frac", "1e999999"})
    CHECK_MESSAGE(value(none) == "none", none);
  CHECK(value(std::string(401, '9')) == "none");
  CHECK(value("18.5") != "18");
}

TEST_CASE("a number inside something else is not that number") {
  for (const std::string other : {"\\sqrt{18}", "18\\pi", "18^2", "2^{18}", "\\log 18", "\\pm 18", "\\approx 18"})
    CHECK_MESSAGE(value(other) == "none", other);
  CHECK(found("\\boxed{\\sqrt{18}}") == "boxed: none");
  CHECK(value("18^\\circ") == "18");
  CHECK(value("18^{\\circ}") == "18");
}

TEST_CASE("the rule that fires, and the last of a kind") {
  CHECK(found("9 eggs at $2 are \\boxed{18}") == "boxed: 18");
  CHECK(found("\\boxed{17}, no, \\boxed{\\$18}.") == "boxed: 18");
  CHECK(found("nested \\boxed{\\frac{36}{2}}") == "boxed: 18");
  CHECK(found("9 * 2 = 18\n#### 18") == "hash: 18");
  CHECK(found("#### 17\nWait.\n#### 18") == "hash: 18");
  CHECK(found("#### 17\nso \\boxed{18}") == "boxed: 18");
  CHECK(found("\\boxed{17}\n#### 18") == "hash: 18");
  CHECK(found("The answer is 18, as 9 * 2 = 18 and not 20.") == "phrase: 18");
  CHECK(found("**Answer:** $18.") == "phrase: 18");
  CHECK(found("so she makes 18 a day") == "last: 18");
  CHECK(found("\\boxed{18 or 19}") == "boxed: none");  // an answer, and not one number: no other rule makes it right
  CHECK(found("#### three") == "hash: none");
  CHECK(found("\\boxed{18") == "last: 18");  // cut off: no box
  CHECK(found("no idea") == ": none");
  CHECK(found("") == ": none");
}

TEST_CASE("a sum behind the phrase is what it comes to") {
  CHECK(found("So the answer is 16 - 3 - 4 = 9.") == "phrase: 9");
  CHECK(found("The answer is 16 eggs - 7 eggs = 9 eggs, at $2 each.") == "phrase: 9");
  CHECK(found("Answer: 3 * 4 = 12") == "phrase: 12");
  CHECK(found("Answer: \\(3 \\times 4 = 12\\)") == "phrase: 12");
  CHECK(found("The answer is 2(3 + 4) = 14.") == "phrase: 14");
  CHECK(found("The answer is $9 x 2 = $18 a day") == "phrase: 18");
  CHECK(found("The answer is 4 = 2 + 2") == "phrase: none");  // it ends in a sum that nobody has worked out
  CHECK(found("the answer is 16 - 7") == "phrase: none");
  CHECK(found("The answer is x = 5, as 2 * 5 = 10") == "phrase: 5");
  CHECK(found("The answer is 18 (9 * 2 = 18, or 36 / 2)") == "phrase: 18");
  CHECK(found("The answer is 18 - the sum of 3 x 4 = 12 and 6") == "phrase: 18");
  CHECK(found("The answer is 12 because 24 = 2 * 12") == "phrase: 12");
  CHECK(found("The answer is 18 since 3 x 4 = 12 and 12 + 6 = 18") == "phrase: 18");
  CHECK(found("The answer is 25% (5 of 20)") == "phrase: 25");
  CHECK(found("The answer is 3 apples and 5 pears") == "phrase: 3");
}

TEST_CASE("a phrase that heads a whole solution is not followed by the answer") {
  CHECK(found("Answer:\n\nStep 1: 16 - 7 = 9\nStep 2: 9 * 2 = 18") == "last: 18");
  CHECK(found("**Answer:**\n\nFirst there are 9. Then\n9 * 2 = 18") == "last: 18");
  CHECK(found("Answer:\n18\n\nExplanation: 9 at $2") == "phrase: 18");
  CHECK(found("**Answer**:\r\n\r\nShe makes $18 with 9 eggs.\r\n") == "phrase: 18");
  CHECK(found("**Answer:** 18\n\nBecause 9 * 2") == "phrase: 18");
  CHECK(found("The answer is\n18.") == "phrase: 18");
  CHECK(found("Is 17 the answer: no") == "last: 17");
}

TEST_CASE("known bugs of others") {
  CHECK(found("#### 18.") == "hash: 18");  // the official extractor and verl's fail on it
  CHECK(found("#### $18") == "hash: 18");
  CHECK(found("#### 1,234") == "hash: 1234");
  CHECK(found("It costs 3, 4, and 5") == "last: 5");  // a comma is no number (helm #4337)
  CHECK(found("That makes $29.00.") == "last: 29");   // lm-eval #3214
  CHECK(found("in total 1,234,567, or so") == "last: 1234567");
  // Ran on after the answer (sglang #29933).
  CHECK(found("#### 18\n\nQuestion: Tom has 7 cats.\nAnswer: 7 + 1\n#### 8") == "hash: 18");
  CHECK(found("She makes 18.\nQ: Tom has 7 cats. How many legs?\nA: 28") == "last: 18");
  CHECK(found("Let me restate.\nQuestion: what are 9 eggs at $2?\nThe answer is 18") == "phrase: 18");
  CHECK(found("He saves 20% of 90, so the answer is 18%.") == "phrase: 18");
  CHECK(found("From 5-3 follows 2") == "last: 2");
  CHECK(found("5-3") == "last: 3");
  CHECK(found("temperature: -3") == "last: -3");
}

TEST_CASE("long and hostile texts take their time once") {
  CHECK(found(std::string(200000, '{') + "\\boxed{18}") == "boxed: 18");
  CHECK(found("\\boxed{" + std::string(200000, '{')).substr(0, 2) == ": ");
  std::string frac;
  for (int i = 0; i < 20000; ++i) frac += "\\frac{";
  CHECK(found(frac + "18") == "last: 18");
  CHECK(found(std::string(100000, '9') + " 18") == "last: 18");
  CHECK(found(std::string("\xff\xfe\x00 18", 6)) == "last: 18");
  std::string questions = "a";
  for (int i = 0; i < 20000; ++i) questions += "\nQuestion: b";
  CHECK(found(questions + " 18") == "last: 18");
  std::string boxes;
  for (int i = 0; i < 20000; ++i) boxes += "\\boxed{";
  CHECK(found(boxes + "18") == "last: 18");
}
