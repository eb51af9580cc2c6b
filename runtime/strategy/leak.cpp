#include "strategy/leak.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <set>

#include "strategy/python_text.hpp"

namespace gcop::strategy {
namespace {

// One `assert entry(...) == value` taken apart.
struct Test {
  std::vector<std::string> inputs, expected;  // literals in normal form
  std::string call, value;                    // compact text; value empty if the test is no plain comparison
  size_t value_literals = 0;
};

std::string literal_of(const std::vector<PyToken> &tokens, size_t i) {
  if (tokens[i].kind == PyToken::string) return "'" + tokens[i].value;
  return (signed_here(tokens, i) ? "-" : "") + tokens[i].value;
}

bool is_literal(const PyToken &t) { return t.kind == PyToken::string || t.kind == PyToken::number; }

// The tokens without blanks, all strings in one kind of quotes: what two spellings of the same value share.
std::string compact(const std::vector<PyToken> &tokens, size_t begin, size_t end) {
  std::string out;
  for (size_t i = begin; i < end; ++i) {
    const PyToken &t = tokens[i];
    if (t.kind == PyToken::string)
      out += "'" + t.value + "'";
    else if (t.kind == PyToken::name && !out.empty() && std::isalnum(static_cast<unsigned char>(out.back())))
      out += " " + t.text;
    else
      out += t.kind == PyToken::number ? t.value : t.text;
  }
  return out;
}

std::string compact(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::isspace(static_cast<unsigned char>(c)) || c == '`') continue;
    out += c == '"' ? '\'' : c;
  }
  return out;
}

Test take_apart(const std::string &source, const std::string &entry) {
  Test test;
  auto tokens = tokenize(source);
  std::erase_if(tokens, [](const PyToken &t) { return t.kind == PyToken::newline; });
  size_t call = tokens.size(), call_end = tokens.size(), equals = tokens.size(), end = tokens.size();
  int depth = 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const std::string &text = tokens[i].text;
    const bool op = tokens[i].kind == PyToken::op;
    if (call == tokens.size() && tokens[i].kind == PyToken::name && (text == entry || text == "candidate") &&
        i + 1 < tokens.size() && tokens[i + 1].text == "(") {
      call = i;
      call_end = behind_bracket(tokens, i + 1);
    }
    if (op && (text == "(" || text == "[" || text == "{")) ++depth;
    if (op && (text == ")" || text == "]" || text == "}")) --depth;
    if (depth == 0 && op && text == "==" && equals == tokens.size()) equals = i;
    if (depth == 0 && op && text == "," && end == tokens.size()) end = i;  // the assert's message is no expected value
  }
  for (size_t i = 0; i < end; ++i) {
    if (!is_literal(tokens[i])) continue;
    (i > call && i < call_end ? test.inputs : test.expected).push_back(literal_of(tokens, i));
  }
  if (call == tokens.size()) return test;
  test.call = compact(tokens, call, call_end);
  const size_t first = !tokens.empty() && tokens[0].text == "assert" ? 1 : 0;
  if (equals < end) {
    const bool right = call < equals;
    const size_t from = right ? equals + 1 : first, to = right ? end : equals;
    test.value = compact(tokens, from, to);
    for (size_t i = from; i < to; ++i) test.value_literals += is_literal(tokens[i]);
  } else if (call == first && call_end == end)
    test.value = "True";
  return test;
}

std::vector<Test> tests_of(const Task &task) {
  std::vector<Test> tests;
  for (const std::string &source : task.tests) {
    std::vector<size_t> starts;  // one row may hold a function with many asserts
    for (const PyToken &t : tokenize(source))
      if (t.kind == PyToken::name && t.text == "assert") starts.push_back(t.begin);
    if (starts.empty()) starts.push_back(0);
    for (size_t i = 0; i < starts.size(); ++i)
      tests.push_back(
          take_apart(source.substr(starts[i], i + 1 < starts.size() ? starts[i + 1] - starts[i] : std::string::npos),
                     task.entry_point));
  }
  return tests;
}

std::vector<std::string> keys_of(const Test &test) {
  std::vector<std::string> keys = test.inputs;
  keys.insert(keys.end(), test.expected.begin(), test.expected.end());
  if (test.value_literals >= 3) keys.push_back("=" + test.value);
  return keys;
}

bool everyday_number(const std::string &value) {
  static const std::set<std::string> kKnown{"12",    "15",      "16",
                                            "18",    "20",      "24",
                                            "25",    "28",      "29",
                                            "30",    "31",      "32",
                                            "40",    "48",      "50",
                                            "52",    "60",      "64",
                                            "75",    "90",      "99",
                                            "127",   "128",     "180",
                                            "200",   "255",     "256",
                                            "300",   "360",     "365",
                                            "366",   "400",     "500",
                                            "512",   "999",     "1024",
                                            "3600",  "86400",   "0.5",
                                            "0.25",  "0.75",    "0.1",
                                            "0.2",   "0.05",    "0.01",
                                            "0.001", "1.5",     "2.5",
                                            "3.14",  "3.14159", "3.141592653589793"};
  const std::string magnitude = value[0] == '-' ? value.substr(1) : value;
  if (magnitude.size() == 1 || kKnown.count(magnitude)) return true;
  return magnitude[0] == '1' && magnitude.find_first_not_of('0', 1) == std::string::npos;  // powers of ten
}

// Numbers that advice on a sum names whatever the sum is: steps and fingers, hours, months, percent.
bool counting_number(const std::string &value) {
  static const std::set<std::string> kKnown{"12", "24", "52", "60", "100", "365", "1000"};
  return value.size() == 1 || value == "10" || kKnown.count(value) > 0;
}

bool trivial(const std::string &literal) {
  if (literal[0] != '\'') return everyday_number(literal);
  std::string text = literal.substr(1);
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return char(std::tolower(c)); });
  static const std::set<std::string> kWords{"true", "false", "none", "null", "yes", "no", "utf-8", "ascii", "nan"};
  const bool marks_only =
      std::none_of(text.begin(), text.end(), [](unsigned char c) { return c >= 0x80 || std::isalnum(c); });
  return text.size() < 3 || marks_only || kWords.count(text) > 0;
}

bool telling_input(const std::string &literal) {
  if (literal[0] == '\'') return literal.size() > 8;
  return std::count_if(literal.begin(), literal.end(), [](unsigned char c) { return std::isdigit(c); }) >= 4;
}

bool word(char c) {
  const auto b = static_cast<unsigned char>(c);
  return b >= 0x80 || std::isalnum(b) || c == '_';
}

// Values of the numbers in prose. Not numbers of their own: parts of names, format specs (:.2f), list markers (" 3. ").
std::set<std::string> numbers_in(std::string_view text) {
  std::set<std::string> found;
  for (size_t i = 0; i < text.size();) {
    const bool start =
        std::isdigit(static_cast<unsigned char>(text[i])) && (i == 0 || (!word(text[i - 1]) && text[i - 1] != '.'));
    if (!start) {
      ++i;
      continue;
    }
    size_t end = i;
    std::string digits;
    auto is_digit = [&](size_t k) { return k < text.size() && std::isdigit(static_cast<unsigned char>(text[k])); };
    while (is_digit(end) || (end < text.size() && text[end] == '_' && is_digit(end + 1)) ||
           (end < text.size() && text[end] == ',' && is_digit(end + 1) && is_digit(end + 2) && is_digit(end + 3) &&
            !is_digit(end + 4))) {
      if (text[end] != ',' && text[end] != '_') digits += text[end];
      ++end;
    }
    const std::string plain(text.substr(i, end - i));
    std::string fraction;
    if (end < text.size() && text[end] == '.' && is_digit(end + 1)) {
      fraction = '.';
      for (++end; is_digit(end); ++end) fraction += text[end];
    }
    const bool name = end < text.size() && word(text[end]) && text[end] != 'e' && text[end] != 'E';
    const bool format = i > 0 && (text[i - 1] == ':' || text[i - 1] == '%') && name;
    size_t line = i;
    while (line > 0 && (text[line - 1] == ' ' || text[line - 1] == '\t')) --line;
    const bool marker = (line == 0 || text[line - 1] == '\n') && fraction.empty() && end < text.size() &&
                        (text[end] == '.' || text[end] == ')');
    if (!name && !format && !marker) {
      const bool minus = i > 0 && text[i - 1] == '-' && (i == 1 || (!word(text[i - 2]) && text[i - 2] != ')'));
      std::string value = minus ? "-" : "";
      value += canonical_number(digits + fraction);
      found.insert(std::move(value));
      // "1,234" may be a thousand or two numbers: both readings count.
      for (size_t at = 0; plain.find(',') != std::string::npos && at <= plain.size();) {
        const size_t comma = std::min(plain.find(',', at), plain.size());
        found.insert(canonical_number(plain.substr(at, comma - at)));
        at = comma + 1;
      }
    }
    i = end;
  }
  return found;
}

// Is the string quoted in the text: in quotes or backticks, or bare when it is long and no ordinary word?
bool quoted(const std::string &text, const std::string &value) {
  static const std::array<std::pair<const char *, const char *>, 5> kQuotes{
      {{"'", "'"}, {"\"", "\""}, {"`", "`"}, {"\u2018", "\u2019"}, {"\u201c", "\u201d"}}};
  for (const auto &[open, close] : kQuotes)
    if (text.find(open + value + close) != std::string::npos) return true;
  const bool ordinary = std::all_of(value.begin(), value.end(), [](unsigned char c) { return std::islower(c); });
  if (value.size() < 6 || ordinary) return false;
  for (size_t at = text.find(value); at != std::string::npos; at = text.find(value, at + 1)) {
    const bool left = at == 0 || !word(text[at - 1]) || !word(value.front());
    const size_t end = at + value.size();
    if (left && (end == text.size() || !word(text[end]) || !word(value.back()))) return true;
  }
  return false;
}

bool contains_folded(const std::string &text, const std::string &part) {
  auto same = [](unsigned char a, unsigned char b) { return std::tolower(a) == std::tolower(b); };
  return std::search(text.begin(), text.end(), part.begin(), part.end(), same) != text.end();
}

std::string shown(const std::string &literal) {
  if (literal[0] != '\'') return literal;
  return literal.size() > 60 ? literal.substr(0, 57) + "...'" : literal + "'";
}

}  // namespace

std::vector<std::string> literals(std::string_view python) {
  const auto tokens = tokenize(python);
  std::vector<std::string> found;
  for (size_t i = 0; i < tokens.size(); ++i)
    if (is_literal(tokens[i])) found.push_back(literal_of(tokens, i));
  return found;
}

void LiteralIndex::add(const Task &task) {
  const auto [entry, fresh] = tasks_.emplace(task.id, tasks_.size());
  if (!fresh) return;
  for (const Test &test : tests_of(task))
    for (const std::string &key : keys_of(test)) {
      auto &numbers = where_[key];
      if (numbers.empty() || numbers.back() != entry->second) numbers.push_back(entry->second);
    }
}

size_t LiteralIndex::elsewhere(const std::string &literal, const std::string &task_id) const {
  const auto found = where_.find(literal);
  if (found == where_.end()) return 0;
  const auto self = tasks_.find(task_id);
  const bool here =
      self != tasks_.end() && std::binary_search(found->second.begin(), found->second.end(), self->second);
  return found->second.size() - here;
}

std::optional<std::string> literal_leak(const std::string &strategy, const Task &task, const LiteralIndex *index) {
  const auto said = numbers_in(strategy), asked = numbers_in(task.prompt);
  const std::string tight = compact(strategy), tight_prompt = compact(task.prompt);
  auto own = [&](const std::string &literal) { return !index || index->elsewhere(literal, task.id) == 0; };
  auto holds = [&](const std::string &literal) {
    if (trivial(literal) || !own(literal)) return false;
    if (literal[0] != '\'') return said.count(literal) > 0 && asked.count(literal) == 0;
    const std::string value = literal.substr(1);
    return quoted(strategy, value) && !contains_folded(task.prompt, value);
  };
  if (!task.answer.empty()) {  // GSM8K's whole working ends with it
    const size_t mark = task.answer.rfind("####");
    const auto with_groups = [](std::string text) {  // 1,234 is 1234
      for (size_t at = text.find(','); at != std::string::npos; at = text.find(',', at))
        if (at > 0 && at + 3 < text.size() && std::isdigit(static_cast<unsigned char>(text[at - 1])) &&
            std::all_of(&text[at + 1], &text[at + 4], [](unsigned char c) { return std::isdigit(c); }))
          text.erase(at, 1);
        else
          ++at;
      return numbers_in(text);
    };
    const auto told = with_groups(strategy), known = with_groups(task.prompt);
    for (const std::string &number : with_groups(mark == std::string::npos ? task.answer : task.answer.substr(mark)))
      if (!counting_number(number) && told.count(number) && !known.count(number))
        return "holds " + number + ", the answer of this task";
  }
  for (const Test &test : tests_of(task)) {
    for (const std::string &literal : test.expected)
      if (holds(literal)) return "holds " + shown(literal) + ", which this task's tests expect";
    for (const std::string &literal : test.inputs)
      if (telling_input(literal) && holds(literal))
        return "holds " + shown(literal) + ", an input of this task's tests";
    if (test.value_literals >= 3 && own("=" + test.value) && tight.find(compact(test.value)) != std::string::npos &&
        tight_prompt.find(compact(test.value)) == std::string::npos)
      return "holds " + test.value + ", which this task's tests expect";
    const std::string call = compact(test.call), value = compact(test.value);
    const size_t at = call.empty() || value.empty() ? std::string::npos : tight.find(call);
    constexpr size_t kNear = 24;  // "f(2, 3) == 5", "f(2,3)->5", "f(2,3) should return 5"
    if (at == std::string::npos || tight_prompt.find(call) != std::string::npos) continue;
    const size_t behind = at + call.size(), answer = tight.find(value, behind);
    if (answer != std::string::npos && answer - behind <= kNear)
      return "quotes the test " + test.call + " with its answer";
  }
  return std::nullopt;
}

}  // namespace gcop::strategy
