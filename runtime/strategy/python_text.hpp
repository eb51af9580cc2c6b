// Just enough of Python's lexical rules to see literals, names and brackets in tests and in code that a strategy holds.
// Never fails: an unfinished string ends with its line. Pure functions, any thread; used by leak.cpp and
// code_blocks.cpp.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace gcop::strategy {

struct PyToken {
  enum Kind { name, number, string, op, newline } kind = op;
  std::string text;   // as written; a newline's is "\n"
  std::string value;  // number: canonical value; string: the characters it stands for (of f-strings as written)
  size_t begin = 0;   // byte offset
};

std::vector<PyToken> tokenize(std::string_view python);  // comments and blanks are left out

// "1_000", "1000.0", "1e3" and "0x3E8" are all "1000".
std::string canonical_number(std::string_view text);

// Whether the - before a number at tokens[i] is a sign: it follows no operand.
bool signed_here(const std::vector<PyToken> &tokens, size_t i);

// Index just behind the bracket that closes the one at tokens[open]; tokens.size() if none does.
size_t behind_bracket(const std::vector<PyToken> &tokens, size_t open);

bool identifier(std::string_view text);  // and no keyword
bool keyword(std::string_view text);

}  // namespace gcop::strategy
