#include "answer.hpp"

#include <algorithm>
#include <cctype>

namespace gcop::validator_math {
namespace {

constexpr size_t kNone = std::string_view::npos;

// Of the last "\boxed{...}" that is closed; its start.
size_t last_boxed(std::string_view text, std::string_view *inner) {
  const std::vector<size_t> closing = closing_braces(text);
  for (size_t at = text.rfind("\\boxed"); at != kNone; at = at == 0 ? kNone : text.rfind("\\boxed", at - 1)) {
    const size_t open = text.find_first_not_of(' ', at + 6);
    if (open == kNone || closing[open] == kNone) continue;
    *inner = text.substr(open + 1, closing[open] - open - 1);
    return at;
  }
  return kNone;
}

size_t last_hash(std::string_view text, std::string_view *line) {
  const size_t at = text.rfind("####");
  if (at == kNone) return kNone;
  const size_t end = std::min(text.find('\n', at), text.size()),
               start = std::min(text.find_first_not_of(' ', at + 4), end);
  *line = text.substr(start, end - start);
  return at;
}

constexpr std::string_view kPhrases[] = {"answer is", "answer:", "answer =", "answer**:"};

// Behind the last phrase of a text in lower case.
size_t last_phrase(std::string_view lower) {
  size_t best = kNone;
  for (const std::string_view phrase : kPhrases)
    if (const size_t at = lower.rfind(phrase); at != kNone && (best == kNone || at + phrase.size() > best))
      best = at + phrase.size();
  return best;
}

std::string lowered(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

// Up to the next question that the model asks itself behind an answer.
std::string_view first_answered(std::string_view text) {
  size_t answered = std::min(text.find("####"), text.find("\\boxed"));
  const std::string lower = lowered(text);
  for (const std::string_view phrase : kPhrases) answered = std::min(answered, lower.find(phrase));
  if (answered == kNone) {
    const std::vector<Span> numbers = numbers_in(text);
    if (numbers.empty()) return text;
    answered = numbers.front().end;
  }
  size_t cut = kNone;
  for (const std::string_view start : {"\nQuestion:", "\nQ:", "\nProblem:"})
    cut = std::min(cut, text.find(start, answered));
  return text.substr(0, cut);
}

bool letter(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; }

// What stands between two numbers: an operator, an equals sign, or something that ends the sum. One unit may follow
// the first number: "16 eggs - 7 eggs = 9 eggs".
enum class Between { operation, equals, words };
Between between(std::string_view gap, bool next_is_negative) {
  static constexpr std::string_view kOperators[] = {"\\times", "\\cdot", "\\div", "\xc3\x97", "\xc3\xb7", "=", "+",
                                                    "-",       "/",      "x",     "(",        ")",        "%"};
  size_t at = 0;
  const auto spaces = [&] {
    while (at < gap.size() && gap[at] == ' ') ++at;
  };
  spaces();
  bool unit = false, equals = false, any = false;
  if (at + 1 < gap.size() && letter(gap[at]) && letter(gap[at + 1])) {
    while (at < gap.size() && letter(gap[at])) ++at;
    unit = true;
    spaces();
  }
  while (at < gap.size()) {
    const auto sign = std::find_if(std::begin(kOperators), std::end(kOperators),
                                   [&](std::string_view s) { return gap.substr(at).starts_with(s); });
    if (sign == std::end(kOperators)) return Between::words;
    equals = equals || *sign == "=";
    any = any || (*sign != "%" && *sign != ")" && !(*sign == "(" && at > 0));  // "18 (9 of each)" is a remark
    at += sign->size();
    spaces();
  }
  if (equals) return Between::equals;
  return any || next_is_negative || (!unit && gap.find('%') == kNone && gap.find('(') == kNone) ? Between::operation
                                                                                                : Between::words;
}

// The number that a text begins with, or what the sum that it begins with comes to, if it says so: 9 of
// "16 - 3 - 4 = 9".
Answer first_answer(const std::string &words, const std::vector<Span> &numbers) {
  Span at = numbers[0];
  bool is_sum = false;  // where the last equals sign left us
  for (size_t i = 1; i < numbers.size(); ++i) {
    const Span &next = numbers[i];
    const std::string_view gap = std::string_view(words).substr(numbers[i - 1].end, next.begin - numbers[i - 1].end);
    const Between what = between(gap, words[next.begin] == '-');
    if (what == Between::words) break;
    is_sum = what == Between::operation;
    at = is_sum ? Span{at.begin, next.end} : next;
  }
  const std::string found = words.substr(at.begin, at.end - at.begin);
  return {"phrase", found, is_sum ? std::nullopt : value_at(words, at)};
}

// Behind "answer:", up to the end of its line, or the line below. Nothing where it is the heading of a whole solution.
std::string_view answer_line(std::string_view text) {
  const auto line_at = [&](size_t from) { return text.substr(from, text.find('\n', from) - from); };
  const std::string_view line = line_at(0);
  const size_t below = text.find_first_not_of(" *_:\r\n", 0);
  if (below == kNone || below < line.size()) return line;
  const std::string_view next = line_at(below);
  const std::string words = plain(next);
  const std::vector<Span> numbers = numbers_in(words);
  const bool alone = text.find_first_not_of(" \r\n", below + next.size()) == kNone,
             bare = numbers.size() == 1 && std::find_if(words.begin(), words.end(), letter) >=
                                               words.begin() + static_cast<std::ptrdiff_t>(numbers[0].begin);
  return alone || bare ? next : std::string_view();
}

}  // namespace

Answer find_answer(std::string_view candidate) {
  const std::string_view text = first_answered(candidate);
  std::string_view boxed, line;
  const size_t box = last_boxed(text, &boxed), hash = last_hash(text, &line);
  if (box != kNone && (hash == kNone || box > hash)) return {"boxed", std::string(boxed), only_number(boxed)};
  if (hash != kNone) return {"hash", std::string(line), only_number(line)};
  if (const size_t phrase = last_phrase(lowered(text)); phrase != kNone) {
    const std::string words = plain(answer_line(text.substr(phrase)));
    const std::vector<Span> numbers = numbers_in(words);
    if (!numbers.empty()) return first_answer(words, numbers);
  }
  const std::string words = plain(text);
  const std::vector<Span> numbers = numbers_in(words);
  if (numbers.empty()) return {};
  const std::string found = words.substr(numbers.back().begin, numbers.back().end - numbers.back().begin);
  return {"last", found, value_at(words, numbers.back())};
}

std::optional<Number> gold_value(std::string_view answer) {
  std::string_view line;
  return only_number(last_hash(answer, &line) == kNone ? answer : line);
}

}  // namespace gcop::validator_math
