// The tokens of a chat template, between jinja_lex.cpp and jinja_parse.cpp.
#pragma once
#include <string>
#include <vector>

namespace gcop::guide_torch::jinja {

struct Token {
  enum class Kind { text, open_output, open_block, close, name, string, integer, real, op, end } kind;
  std::string text;
  int line;
};

// Ends with a token of kind end; throws Fault.
std::vector<Token> lex_template(const std::string &source);

}  // namespace gcop::guide_torch::jinja
