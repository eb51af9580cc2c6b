#include "strategy/python_text.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace gcop::strategy {
namespace {

bool word_start(char c) {
  const auto b = static_cast<unsigned char>(c);
  return b >= 0x80 || std::isalpha(b) || c == '_';
}
bool digit(char c) { return c >= '0' && c <= '9'; }
bool word_part(char c) { return word_start(c) || digit(c); }

void append_utf8(std::string &out, unsigned code) {
  if (code < 0x80) {
    out += char(code);
    return;
  }
  if (code < 0x800) {
    out += char(0xC0 | code >> 6);
    out += char(0x80 | (code & 0x3F));
    return;
  }
  out += char(0xE0 | (code >> 12 & 0xF));
  out += char(0x80 | (code >> 6 & 0x3F));
  out += char(0x80 | (code & 0x3F));
}

std::string unescaped(std::string_view body, bool raw) {
  if (raw) return std::string(body);
  std::string out;
  for (size_t i = 0; i < body.size(); ++i) {
    if (body[i] != '\\' || i + 1 == body.size()) {
      out += body[i];
      continue;
    }
    const char c = body[++i];
    const size_t hex = c == 'x' ? 2 : c == 'u' ? 4 : 0;
    if (hex && i + hex < body.size()) {
      append_utf8(out, unsigned(std::strtoul(std::string(body.substr(i + 1, hex)).c_str(), nullptr, 16)));
      i += hex;
    } else if (c == 'n')
      out += '\n';
    else if (c == 't')
      out += '\t';
    else if (c == 'r')
      out += '\r';
    else if (c == '\\' || c == '\'' || c == '"')
      out += c;
    else if (c != '\n') {
      out += '\\';
      out += c;
    }
  }
  return out;
}

// End of the number that starts at i: digits, dots, exponents, hex, underscores.
size_t number_end(std::string_view s, size_t i) {
  const bool based =
      s[i] == '0' && i + 1 < s.size() && std::string_view("xXoObB").find(s[i + 1]) != std::string_view::npos;
  size_t end = based ? i + 2 : i;
  bool dot = based;
  for (; end < s.size(); ++end) {
    const char c = s[end];
    if (digit(c) || c == '_' || (based && std::isxdigit(static_cast<unsigned char>(c)))) continue;
    if (c == '.' && !dot && (end + 1 == s.size() || !word_start(s[end + 1]))) {
      dot = true;
      continue;
    }
    const bool exponent =
        !based && (c == 'e' || c == 'E') && end + 1 < s.size() &&
        (digit(s[end + 1]) || ((s[end + 1] == '-' || s[end + 1] == '+') && end + 2 < s.size() && digit(s[end + 2])));
    if (!exponent) break;
    ++end;
    dot = true;
  }
  return end;
}

constexpr std::array<std::string_view, 35> kKeywords{
    "False", "None",     "True",  "and",    "as",   "assert", "async",  "await",    "break",
    "class", "continue", "def",   "del",    "elif", "else",   "except", "finally",  "for",
    "from",  "global",   "if",    "import", "in",   "is",     "lambda", "nonlocal", "not",
    "or",    "pass",     "raise", "return", "try",  "while",  "with",   "yield"};

}  // namespace

bool keyword(std::string_view text) { return std::find(kKeywords.begin(), kKeywords.end(), text) != kKeywords.end(); }

bool identifier(std::string_view text) {
  return !text.empty() && word_start(text[0]) && std::all_of(text.begin(), text.end(), word_part) && !keyword(text);
}

std::string canonical_number(std::string_view text) {
  std::string plain;
  for (const char c : text)
    if (c != '_') plain += c;
  const bool based = plain.size() > 2 && plain[0] == '0' && std::isalpha(static_cast<unsigned char>(plain[1]));
  if (based) {
    const char kind = char(std::tolower(static_cast<unsigned char>(plain[1])));
    return std::to_string(std::strtoull(plain.c_str() + 2, nullptr, kind == 'x' ? 16 : kind == 'o' ? 8 : 2));
  }
  if (plain.find_first_not_of("0123456789") == std::string::npos) {
    const size_t first = std::min(plain.find_first_not_of('0'), plain.size() - 1);
    return plain.substr(first);  // an integer of any length, exactly
  }
  const double value = std::strtod(plain.c_str(), nullptr);
  char out[40];
  std::snprintf(out, sizeof out, std::fabs(value) < 1e15 && value == std::floor(value) ? "%.0f" : "%.15g", value);
  return out;
}

std::vector<PyToken> tokenize(std::string_view s) {
  std::vector<PyToken> tokens;
  for (size_t i = 0; i < s.size();) {
    const char c = s[i];
    if (c == '\n') {
      tokens.push_back({PyToken::newline, "\n", "", i});
      ++i;
      continue;
    }
    if (std::isspace(static_cast<unsigned char>(c))) {
      ++i;
      continue;
    }
    if (c == '#') {
      i = std::min(s.find('\n', i), s.size());
      continue;
    }
    size_t quote = i;
    while (quote < s.size() && quote < i + 2 && std::string_view("rRbBuUfF").find(s[quote]) != std::string_view::npos)
      ++quote;
    if (quote < s.size() && (s[quote] == '"' || s[quote] == '\'')) {
      const bool raw = s.substr(i, quote - i).find_first_of("rR") != std::string_view::npos;
      const std::string_view triple = s.substr(quote, 3);
      const bool is_triple = triple.size() == 3 && triple[1] == triple[0] && triple[2] == triple[0];
      const std::string_view mark = is_triple ? triple : s.substr(quote, 1);
      size_t end = quote + mark.size();
      while (end < s.size() && s.substr(end, mark.size()) != mark && (is_triple || s[end] != '\n'))
        end += s[end] == '\\' && end + 1 < s.size() ? 2 : 1;
      const std::string_view body = s.substr(quote + mark.size(), end - quote - mark.size());
      const bool closed = end < s.size() && s.substr(end, mark.size()) == mark;
      end = std::min(closed ? end + mark.size() : end, s.size());
      tokens.push_back({PyToken::string, std::string(s.substr(i, end - i)), unescaped(body, raw), i});
      i = end;
    } else if (word_start(c)) {
      size_t end = i + 1;
      while (end < s.size() && word_part(s[end])) ++end;
      tokens.push_back({PyToken::name, std::string(s.substr(i, end - i)), "", i});
      i = end;
    } else if (digit(c) || (c == '.' && i + 1 < s.size() && digit(s[i + 1]))) {
      const size_t end = number_end(s, i);
      tokens.push_back({PyToken::number, std::string(s.substr(i, end - i)), canonical_number(s.substr(i, end - i)), i});
      i = end;
    } else {
      static constexpr std::array<std::string_view, 14> kTwo{
          "==", "!=", "<=", ">=", "->", ":=", "+=", "-=", "*=", "/=", "**", "//", "%=", "|="};
      const bool two = std::find(kTwo.begin(), kTwo.end(), s.substr(i, 2)) != kTwo.end();
      tokens.push_back({PyToken::op, std::string(s.substr(i, two ? 2 : 1)), "", i});
      i += two ? 2 : 1;
    }
  }
  return tokens;
}

bool signed_here(const std::vector<PyToken> &tokens, size_t i) {
  if (i == 0 || tokens[i - 1].text != "-") return false;
  if (i == 1) return true;
  const PyToken &before = tokens[i - 2];
  if (before.kind == PyToken::name) return keyword(before.text) && before.text != "None";
  return before.kind == PyToken::newline ||
         (before.kind == PyToken::op && before.text != ")" && before.text != "]" && before.text != "}");
}

size_t behind_bracket(const std::vector<PyToken> &tokens, size_t open) {
  int depth = 0;
  for (size_t i = open; i < tokens.size(); ++i) {
    if (tokens[i].kind != PyToken::op || tokens[i].text.size() != 1) continue;
    if (std::string_view("([{").find(tokens[i].text) != std::string_view::npos) ++depth;
    if (std::string_view(")]}").find(tokens[i].text) != std::string_view::npos && --depth == 0) return i + 1;
  }
  return tokens.size();
}

}  // namespace gcop::strategy
