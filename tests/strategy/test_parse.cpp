#include <doctest/doctest.h>

#include <random>

#include "strategy/parse.hpp"

using gcop::strategy::count_tokens;
using gcop::strategy::parse;

TEST_CASE("well formed blocks") {
  const struct {
    const char *text, *strategy;
  } rows[] = {
      {"<strategy>Round half up.</strategy>", "Round half up."},
      {"  \n<strategy>\n  Do x.\n  Then y.\n</strategy>\n\n", "Do x.\n  Then y."},
      {"<thinking>hm</thinking><strategy>Do x</strategy>", "Do x"},
      {"<think>hm</think>\n<strategy>Do x</strategy>", "Do x"},
      {"<thinking>maybe <strategy>bad</strategy>?</thinking> <strategy>Do x</strategy>", "Do x"},
      {"Sure! Here it is:\n<strategy>Do x</strategy>\nHope this helps.", "Do x"},
      {"<strategy>compare a < b and b > c</strategy>", "compare a < b and b > c"},
      {"<strategy>use <b>bold</b> tags</strategy>", "use <b>bold</b> tags"},
      {"<strategy>\xC3\xA9t\xC3\xA9</strategy>", "\xC3\xA9t\xC3\xA9"},
      {"<strategy>\xE2\x82\xAC</strategy>", "\xE2\x82\xAC"},
      {"<strategy>7</strategy>", "7"},
  };
  for (const auto &row : rows) {
    CAPTURE(row.text);
    const auto got = parse(row.text);
    REQUIRE(got);
    CHECK(*got == row.strategy);
  }
}

TEST_CASE("malformed ones, each with its reason") {
  const struct {
    std::string text;
    const char *reason;
  } rows[] = {
      {"", "no <strategy> block"},
      {"Just do it.", "no <strategy> block"},
      {"<Strategy>x</Strategy>", "no <strategy> block"},
      {"< strategy>x</ strategy>", "no <strategy> block"},
      {"<strategy>x", "cut off"},
      {"<strategy>x</strategy", "cut off"},
      {"x</strategy>", "without <strategy>"},
      {"</strategy>x<strategy>", "before <strategy>"},
      {"<strategy>a</strategy><strategy>b</strategy>", "more than one <strategy>"},
      {"<strategy><strategy>a</strategy></strategy>", "more than one <strategy>"},
      {"<strategy>a</strategy></strategy>", "more than one </strategy>"},
      {"<strategy></strategy>", "empty"},
      {"<strategy> \n\t </strategy>", "empty"},
      {"<strategy>...</strategy>", "empty"},
      {"<strategy>[ ]</strategy>", "empty"},
      {"<thinking>hm<strategy>x</strategy>", "never closed"},
      {"<think>hm<strategy>x</strategy>", "never closed"},
      {"<strategy>a<thinking>b</thinking></strategy>", "one block before"},
      {"<strategy>a</strategy><thinking>b</thinking>", "one block before"},
      {"<thinking>a</thinking><thinking>b</thinking><strategy>c</strategy>", "one block before"},
      {"a</thinking><strategy>c</strategy>", "one block before"},
      {"<thinking>a <strategy>x</thinking> b</strategy>", "without <strategy>"},
      {"<strategy>a\xFF</strategy>", "UTF-8"},
      {"<strategy>\xED\xA0\x80</strategy>", "UTF-8"},
      {"<strategy>\xC0\xAF</strategy>", "UTF-8"},
      {"<strategy>\xE2\x82</strategy>", "UTF-8"},
      {std::string("<strategy>a\0b</strategy>", 23), "UTF-8"},
  };
  for (const auto &row : rows) {
    CAPTURE(row.text);
    const auto got = parse(row.text);
    REQUIRE_FALSE(got);
    CAPTURE(got.error().message);
    CHECK(got.error().message.find(row.reason) != std::string::npos);
    CHECK(got.error().code == gcop::Code::invalid);
  }
}

TEST_CASE("the token budget counts the block, not what surrounds it") {
  const std::string ten = "one two six ten was not the new day";  // nine short words
  CHECK(count_tokens(ten) == 9);
  CHECK(count_tokens("return f\"{x:.2f}\"") == 10 + 1);  // return f " { x : . 2 f } "
  CHECK(count_tokens("internationalisation") == 4);
  CHECK(count_tokens("\xE2\x82\xAC\xE2\x82\xAC") == 2);
  CHECK(parse("<strategy>" + ten + "</strategy>" + std::string(4000, 'x'), 9));
  const auto over = parse("<strategy>" + ten + "</strategy>", 8);
  REQUIRE_FALSE(over);
  CHECK(over.error().message.find("budget of 8") != std::string::npos);
  CHECK(parse("<strategy>" + std::string(100000, 'a') + "</strategy>", 0));
}

TEST_CASE("any mixture of tags and bytes parses or is refused, and what parses holds no tag") {
  const std::string parts[] = {
      "<strategy>", "</strategy>", "<thinking>", "</thinking>", "<think>",  "</think>", "a",    " ",
      "\n",         "<",           ">",          "/",           "strategy", "\xC3\xA9", "\xFF", std::string(1, '\0')};
  std::mt19937 draw(11);
  int accepted = 0;
  for (int i = 0; i < 200000; ++i) {
    std::string text = i % 2 ? "<strategy>" : "";
    for (unsigned k = draw() % 9; k-- > 0;) text += parts[draw() % std::size(parts)];
    const auto got = parse(text, 5);
    if (!got) {
      if (got.error().message.empty()) FAIL("a refusal without a reason");
      continue;
    }
    ++accepted;
    for (const char *tag : {"<strategy>", "</strategy>", "<thinking>", "</thinking>", "<think>", "</think>"})
      if (got->find(tag) != std::string::npos) FAIL("kept a tag: ", text);
    if (got->empty() || count_tokens(*got) > 5) FAIL("empty or over budget: ", text);
    // parse is idempotent: a strategy put back into a block is itself
    const auto again = parse("<strategy>" + *got + "</strategy>", 5);
    if (!again || *again != *got) FAIL("not the same again: ", text);
  }
  CHECK(accepted > 500);
}
