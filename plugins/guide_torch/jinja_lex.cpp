#include <cstdint>
#include <cstdlib>

#include "jinja.hpp"
#include "jinja_tokens.hpp"
#include "utf8.hpp"

namespace gcop::guide_torch::jinja {
namespace {

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_name(char c, bool first) {
  return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (!first && c >= '0' && c <= '9');
}

// Splits a template into text and the tokens of its tags, with Jinja's white-space rules.
class Lexer {
 public:
  explicit Lexer(const std::string &source) {
    for (size_t i = 0; i < source.size(); ++i) {  // Jinja reads every kind of line end as \n
      if (source[i] == '\r' && i + 1 < source.size() && source[i + 1] == '\n') continue;
      source_ += source[i] == '\r' ? '\n' : source[i];
    }
    if (source_.ends_with('\n')) source_.pop_back();
  }

  std::vector<Token> run() {
    while (at_ < source_.size()) {
      size_t open = source_.find('{', at_);
      while (open != std::string::npos &&
             (open + 1 >= source_.size() || std::string("{%#").find(source_[open + 1]) == std::string::npos))
        open = source_.find('{', open + 1);
      std::string text = source_.substr(at_, open == std::string::npos ? open : open - at_);
      int line = line_;
      advance(text.size());
      if (open == std::string::npos) {
        put(Token::Kind::text, text, line);
        break;
      }
      char type = source_[open + 1];
      advance(2);
      if (here('-')) {
        while (!text.empty() && is_space(text.back())) text.pop_back();
        advance(1);
      } else if (here('+')) {
        advance(1);
      } else if (type != '{') {
        size_t start = text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n') + 1;
        bool blank = true;
        for (size_t i = start; i < text.size(); ++i) blank = blank && is_space(text[i]);
        if (blank && (start > 0 || line_starting_)) text.resize(start);
      }
      if (!text.empty()) put(Token::Kind::text, text, line);
      if (type == '#') {
        size_t end = source_.find("#}", at_);
        if (end == std::string::npos) fail_at(line_, "a comment is not closed", Code::invalid);
        char mark = end > at_ ? source_[end - 1] : ' ';
        advance(end + 2 - at_);
        close(mark, true);
      } else {
        tag(type);
      }
    }
    put(Token::Kind::end, "", line_);
    return std::move(tokens_);
  }

 private:
  bool here(char c) const { return at_ < source_.size() && source_[at_] == c; }
  void put(Token::Kind kind, std::string text, int line) { tokens_.push_back({kind, std::move(text), line}); }
  void advance(size_t n) {
    for (; n > 0; --n) line_ += source_[at_++] == '\n';
  }
  // The white space after a tag that ended with `mark` before its closing.
  void close(char mark, bool block) {
    line_starting_ = false;
    if (mark == '-') {
      while (at_ < source_.size() && is_space(source_[at_])) {
        line_starting_ = source_[at_] == '\n';
        advance(1);
      }
    } else if (mark != '+' && block && here('\n')) {
      advance(1);
      line_starting_ = true;
    }
  }

  void tag(char type) {
    std::string end = type == '{' ? "}}" : "%}";
    put(type == '{' ? Token::Kind::open_output : Token::Kind::open_block, "", line_);
    int depth = 0;
    while (true) {
      while (at_ < source_.size() && is_space(source_[at_])) advance(1);
      if (at_ >= source_.size()) fail_at(line_, "a tag is not closed", Code::invalid);
      char c = source_[at_];
      if (depth == 0) {
        char mark = c == '-' || c == '+' ? c : ' ';
        if (source_.compare(at_ + (mark != ' '), 2, end) == 0) {
          put(Token::Kind::close, "", line_);
          advance(2 + (mark != ' '));
          return close(mark, type == '%');
        }
      }
      if (c == '\'' || c == '"') {
        string(c);
      } else if (is_name(c, true)) {
        size_t size = 1;
        while (at_ + size < source_.size() && is_name(source_[at_ + size], false)) ++size;
        put(Token::Kind::name, source_.substr(at_, size), line_);
        advance(size);
      } else if (c >= '0' && c <= '9') {
        number();
      } else {
        std::string op(1, c);
        for (const char *candidate : {"//", "**", "==", "!=", "<=", ">="})
          if (source_.compare(at_, 2, candidate) == 0) op = candidate;
        if (op.size() == 1 && std::string("+-*/%<>=()[]{},.:|~").find(c) == std::string::npos)
          fail_at(line_, "the character '" + op + "' has no meaning", Code::invalid);
        if (c == '(' || c == '[' || c == '{') ++depth;
        if (c == ')' || c == ']' || c == '}') --depth;
        put(Token::Kind::op, op, line_);
        advance(op.size());
      }
    }
  }

  void number() {
    size_t size = 0;
    bool real = false;
    auto digit = [&](size_t i) {
      return at_ + i < source_.size() && source_[at_ + i] >= '0' && source_[at_ + i] <= '9';
    };
    while (digit(size)) ++size;
    if (at_ + size < source_.size() && source_[at_ + size] == '.' && digit(size + 1)) {
      real = true;
      ++size;
      while (digit(size)) ++size;
    }
    if (size > 18 || (at_ + size < source_.size() && is_name(source_[at_ + size], false)))
      fail_at(line_, "a number is written in a way that is not supported");
    put(real ? Token::Kind::real : Token::Kind::integer, source_.substr(at_, size), line_);
    advance(size);
  }

  void string(char quote) {
    int line = line_;
    std::string out;
    for (advance(1);; advance(1)) {
      if (at_ >= source_.size()) fail_at(line, "a string is not closed", Code::invalid);
      char c = source_[at_];
      if (c == quote) break;
      if (c != '\\') {
        out += c;
        continue;
      }
      advance(1);
      if (at_ >= source_.size()) fail_at(line, "a string is not closed", Code::invalid);
      c = source_[at_];
      static const std::string kFrom = "ntrbfav0\\'\"", kTo = std::string("\n\t\r\b\f\a\v\0\\'\"", 11);
      size_t known = kFrom.find(c);
      size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
      if (known != std::string::npos) {
        out += kTo[known];
      } else if (digits > 0) {
        std::string hex = source_.substr(at_ + 1, digits);
        uint64_t value = std::strtoul(hex.c_str(), nullptr, 16);
        if (hex.size() != digits || hex.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos ||
            value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
          fail_at(line, "the escape \\" + std::string(1, c) + hex + " is not supported");
        append_utf8(out, static_cast<uint32_t>(value));
        advance(digits);
      } else {
        fail_at(line, "the escape \\" + std::string(1, c) + " is not supported");
      }
    }
    advance(1);
    put(Token::Kind::string, out, line);
  }

  std::string source_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> lex_template(const std::string &source) { return Lexer(source).run(); }

}  // namespace gcop::guide_torch::jinja
