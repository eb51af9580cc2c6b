// Exact numbers in text: 18, -1,234.50, 3/4, 1 1/2, \frac{3}{4}, 1.5e3, 18%, $18. Pure functions, any thread; time is
// linear in the text. A number of more than 400 digits is none.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/multiprecision/cpp_int.hpp>

namespace gcop::validator_math {

using Number = boost::multiprecision::cpp_rational;

// For every "{" the index of the "}" that closes it, elsewhere npos.
std::vector<size_t> closing_braces(std::string_view text);

// Text in which LaTeX and Markdown around numbers, currency signs, unicode minus and separators inside numbers are
// plain: "\boldsymbol{\$1{,}234}" becomes "1234". What is no number keeps its words.
std::string plain(std::string_view text);

// A number in plain text, [begin, end) in bytes. A comma belongs to it only between groups of three digits, a minus
// only where nothing is subtracted, a dot only between digits.
struct Span {
  size_t begin, end;
};
std::vector<Span> numbers_in(std::string_view plain_text);

// What the number at a span says with the words beside it: "1.5 million", "70k", "minus 3". Nothing for a power.
std::optional<Number> value_at(std::string_view plain_text, Span at);

// The value of a text that holds one number, units or not ("18 dollars", "x = 18"); nothing if it holds none or
// several. Of an equation only what follows the last "=" counts.
std::optional<Number> only_number(std::string_view text);

}  // namespace gcop::validator_math
