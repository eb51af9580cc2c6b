#include "number.hpp"

#include <algorithm>
#include <cstdlib>
#include <iterator>

namespace gcop::validator_math {
namespace {

constexpr size_t kMostDigits = 400;

bool digit(char c) { return c >= '0' && c <= '9'; }
bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// Reads forward through a text; past its end every character is NUL.
struct Reader {
  std::string_view text;
  size_t at = 0;
  const std::vector<size_t> *closing = nullptr;
  char peek(size_t ahead = 0) const { return at + ahead < text.size() ? text[at + ahead] : '\0'; }
  bool take(std::string_view what) {
    if (!text.substr(at).starts_with(what)) return false;
    at += what.size();
    return true;
  }
  // "{...}" with braces in balance, or one character; nothing at the end or where a brace stays open.
  std::optional<std::string_view> argument() {
    if (peek() != '{') return at < text.size() ? std::optional(text.substr(at++, 1)) : std::nullopt;
    const size_t close = (*closing)[at];
    if (close == std::string_view::npos) return {};
    const std::string_view inner = text.substr(at + 1, close - at - 1);
    at = close + 1;
    return inner;
  }
};

bool three_digits(const Reader &r) {
  return digit(r.peek()) && digit(r.peek(1)) && digit(r.peek(2)) && !digit(r.peek(3));
}

// "\frac{3}{4}" and "\frac34": its parts as they stand.
bool take_fraction(Reader &r, std::string &out) {
  const size_t start = r.at;
  for (const std::string_view name : {"\\frac", "\\dfrac", "\\tfrac"}) {
    if (!r.take(name)) continue;
    const auto above = r.argument(), below = above ? r.argument() : std::nullopt;
    if (!below) break;
    if (!out.empty() && digit(out.back())) out += ' ';  // one and a half
    out.append(*above).append("/").append(*below);
    return true;
  }
  r.at = start;
  return false;
}

// Where a number's digits end: groups of three behind commas, or plain digits.
size_t digits_end(std::string_view text, size_t at) {
  size_t end = at;
  while (end < text.size() && digit(text[end])) ++end;
  if (end - at > 3) return end;
  const auto group = [&](size_t comma) {
    const Reader r{text, comma + 1};
    return comma < text.size() && text[comma] == ',' && three_digits(r);
  };
  while (group(end)) end += 4;
  return end;
}

// Past the digits, dot and exponent of an unsigned number that begins at `at`.
size_t unsigned_end(std::string_view text, size_t at) {
  size_t end = digit(text[at]) ? digits_end(text, at) : at;
  if (end + 1 < text.size() && text[end] == '.' && digit(text[end + 1]))
    for (++end; end < text.size() && digit(text[end]);) ++end;
  if (end < text.size() && (text[end] == 'e' || text[end] == 'E')) {
    size_t power = end + 1;
    if (power < text.size() && (text[power] == '-' || text[power] == '+')) ++power;
    const size_t first = power;
    while (power < text.size() && digit(text[power])) ++power;
    if (power > first && (power == text.size() || !letter(text[power]))) end = power;
  }
  return end;
}

// Past an unsigned number and what makes it a fraction: "/4", or " 1/2" after a whole one.
size_t fraction_end(std::string_view text, size_t at) {
  const size_t end = unsigned_end(text, at);
  const auto over = [&](size_t slash) -> size_t {
    if (slash + 1 >= text.size() || text[slash] != '/' || !digit(text[slash + 1])) return slash;
    return unsigned_end(text, slash + 1);
  };
  if (const size_t further = over(end); further > end) return further;
  if (end + 1 < text.size() && text[end] == ' ' && digit(text[end + 1])) {
    const size_t above = digits_end(text, end + 1), below = over(above);
    if (below > above) return below;
  }
  return end;
}

std::optional<Number> unsigned_value(std::string_view text) {
  std::string digits;
  long power = 0;
  bool fraction = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == ',') continue;
    if (text[i] == '.') {
      fraction = true;
    } else if (text[i] == 'e' || text[i] == 'E') {
      const std::string exponent(text.substr(i + 1, 8));
      power += std::strtol(exponent.c_str(), nullptr, 10);
      break;
    } else {
      digits += text[i];
      power -= fraction;
    }
  }
  if (digits.empty() || digits.size() > kMostDigits || std::abs(power) > static_cast<long>(kMostDigits)) return {};
  digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size() - 1));  // a leading 0 would mean octal
  const Number whole{boost::multiprecision::cpp_int(digits)};
  const Number scale{
      boost::multiprecision::pow(boost::multiprecision::cpp_int(10), static_cast<unsigned>(std::abs(power)))};
  return power < 0 ? Number(whole / scale) : Number(whole * scale);
}

}  // namespace

std::vector<size_t> closing_braces(std::string_view text) {
  std::vector<size_t> closing(text.size(), std::string_view::npos), open;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '{') open.push_back(i);
    if (text[i] != '}' || open.empty()) continue;
    closing[open.back()] = i;
    open.pop_back();
  }
  return closing;
}

std::string plain(std::string_view text) {
  static constexpr std::string_view kGone[] = {"\\left", "\\right", "^\\circ",      "^{\\circ}", "\\!",
                                               "\\$",    "$",       "\xe2\x82\xac", "\xc2\xa3"},
                                    kSpaces[] = {"\\,", "\\;",      "\\:",          "\\ ",
                                                 "~",   "\xc2\xa0", "\xe2\x80\xaf", "\xe2\x80\x89"},
                                    kWrappers[] = {"\\text",   "\\textbf",     "\\textit", "\\mathrm",      "\\mathbf",
                                                   "\\mathit", "\\boldsymbol", "\\mbox",   "\\displaystyle"};
  std::string out;
  const std::vector<size_t> closing = closing_braces(text);
  Reader r{text, 0, &closing};
  const auto any = [&](const auto &what) {
    return std::any_of(std::begin(what), std::end(what), [&](std::string_view w) { return r.take(w); });
  };
  while (r.at < text.size()) {
    const bool after_digit = !out.empty() && digit(out.back());
    if (take_fraction(r, out)) continue;
    if (after_digit && r.take("{,}")) {
      if (!three_digits(r)) out += ", ";
      continue;
    }
    if (any(kSpaces)) {  // inside a number a separator, elsewhere a space
      if (!after_digit || !three_digits(r)) out += ' ';
      continue;
    }
    if (any(kGone)) continue;
    if (r.take("\xe2\x88\x92") || r.take("\xe2\x80\x93")) {  // minus, en dash
      out += '-';
      continue;
    }
    if (r.take("\\%")) {
      out += '%';
      continue;
    }
    const size_t before = r.at;
    if (any(kWrappers) && !letter(r.peek())) {
      out += ' ';
      continue;
    }
    r.at = before;
    const char c = text[r.at++];
    out += c == '*' || c == '_' || c == '`' || c == '{' || c == '}' ? ' ' : c;
  }
  return out;
}

std::vector<Span> numbers_in(std::string_view text) {
  std::vector<Span> out;
  for (size_t i = 0; i < text.size();) {
    const bool dotted = text[i] == '.' && i + 1 < text.size() && digit(text[i + 1]);
    const char before = i > 0 ? text[i - 1] : ' ';
    if ((!digit(text[i]) && !dotted) || letter(before)) {  // x2 is a name
      const bool name = letter(before) && digit(text[i]);
      ++i;
      while (name && i < text.size() && digit(text[i])) ++i;
      continue;
    }
    size_t begin = i;
    if (before == '-') {  // a sign, unless it stands right behind what is subtracted from
      const char left = i > 1 ? text[i - 2] : ' ';
      if (!digit(left) && !letter(left) && left != ')' && left != '%') begin = i - 1;
    }
    const size_t end = fraction_end(text, i);
    out.push_back({begin, end});
    i = end;
  }
  return out;
}

namespace {

std::optional<Number> value_of(std::string_view number) {
  const bool negative = number.starts_with('-');
  if (negative) number.remove_prefix(1);
  const size_t slash = number.find('/'), space = number.find(' ');
  std::optional<Number> value;
  if (slash == std::string_view::npos) {
    value = unsigned_value(number);
  } else {
    const size_t above = space == std::string_view::npos ? 0 : space + 1;
    const auto top = unsigned_value(number.substr(above, slash - above)),
               bottom = unsigned_value(number.substr(slash + 1));
    const auto whole = above == 0 ? std::optional<Number>(0) : unsigned_value(number.substr(0, space));
    if (!top || !bottom || !whole || *bottom == 0) return {};
    value = *whole + *top / *bottom;
  }
  if (value && negative) value = -*value;
  return value;
}

std::string_view trimmed_end(std::string_view text) { return text.substr(0, text.find_last_not_of(' ') + 1); }

bool ends_with_word(std::string_view text, std::string_view word) {
  if (text.size() < word.size()) return false;
  const std::string_view tail = text.substr(text.size() - word.size());
  if (!std::equal(tail.begin(), tail.end(), word.begin(),
                  [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b; }))
    return false;
  return text.size() == word.size() || !letter(text[text.size() - word.size() - 1]);
}

// "minus 3", "negative 3", and a minus that stands apart, but not what is subtracted.
bool negated(std::string_view before) {
  before = trimmed_end(before);
  for (const std::string_view word : {"minus", "negative", "-"})
    if (ends_with_word(before, word)) {
      before = trimmed_end(before.substr(0, before.size() - word.size()));
      return before.empty() || (!digit(before.back()) && !letter(before.back()) && before.back() != ')') ||
             (word != "-" && !digit(before.back()));
    }
  return false;
}

// The unit "cm^2" is no power of the number before it.
std::string without_unit_powers(std::string text) {
  for (size_t at = text.find('^'); at != std::string::npos; at = text.find('^', at + 1)) {
    size_t unit_end = at, end = at + 1;
    while (unit_end > 0 && text[unit_end - 1] == ' ') --unit_end;
    size_t begin = unit_end;
    while (begin > 0 && letter(text[begin - 1])) --begin;
    static constexpr std::string_view kUnits[] = {"m",     "cm",     "mm",   "km",     "in",     "ft",    "yd", "mi",
                                                  "units", "inches", "feet", "meters", "metres", "miles", "s"};
    const bool unit =
        begin > 0 && text[begin - 1] == ' ' &&
        std::find(std::begin(kUnits), std::end(kUnits), text.substr(begin, unit_end - begin)) != std::end(kUnits);
    if (!unit) continue;
    while (end < text.size() && (text[end] == ' ' || text[end] == '-')) ++end;
    while (end < text.size() && digit(text[end])) ++end;
    text.replace(at, end - at, end - at, ' ');
  }
  return text;
}

}  // namespace

std::optional<Number> value_at(std::string_view text, Span at) {
  std::optional<Number> value = value_of(text.substr(at.begin, at.end - at.begin));
  if (!value) return {};
  std::string_view after = text.substr(at.end);
  if (after.starts_with('^')) return {};
  const auto word_ends = [&](size_t n) { return n >= after.size() || !letter(after[n]); };
  unsigned zeros = 0;
  if ((after.starts_with('k') || after.starts_with('K')) && word_ends(1)) zeros = 3;
  if (after.starts_with('M') && word_ends(1)) zeros = 6;
  after.remove_prefix(std::min(after.find_first_not_of(' '), after.size()));
  if (after.starts_with('^')) return {};
  for (const auto &[word, n] :
       {std::pair{std::string_view("thousand"), 3u}, {"million", 6u}, {"billion", 9u}, {"trillion", 12u}})
    if (ends_with_word(after.substr(0, word.size()), word) && word_ends(word.size())) zeros = n;
  *value *= boost::multiprecision::pow(boost::multiprecision::cpp_int(10), zeros);
  return negated(text.substr(0, at.begin)) ? Number(-*value) : *value;
}

std::optional<Number> only_number(std::string_view text) {
  const std::string all = without_unit_powers(plain(text));
  std::string_view rest = all;
  if (const size_t equals = rest.rfind('='); equals != std::string_view::npos) rest.remove_prefix(equals + 1);
  for (size_t i = 0; i < rest.size(); ++i)  // a root, a power, a constant: the value is another
    if (rest[i] == '^' || (rest[i] == '\\' && i + 1 < rest.size() && letter(rest[i + 1]))) return {};
  const std::vector<Span> found = numbers_in(rest);
  if (found.size() != 1) return {};
  return value_at(rest, found[0]);
}

}  // namespace gcop::validator_math
