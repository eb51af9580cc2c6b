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

}  // namespace

Answer find_answer(std::string_view candidate) {
  const std::string_view text = first_answered(candidate);
  std::string_view boxed, line;
  const size_t box = last_boxed(text, &boxed), hash = last_hash(text, &line);
  if (box != kNone && (hash == kNone || box > hash)) return {"boxed", std::string(boxed), only_number(boxed)};
  if (hash != kNone) return {"hash", std::string(line), only_number(line)};
  const size_t phrase = last_phrase(lowered(text));
  for (const bool last : {false, true}) {
    if (!last && phrase == kNone) continue;
    const std::string words = plain(last ? text : text.substr(phrase));
    const std::vector<Span> numbers = numbers_in(words);
    if (numbers.empty()) continue;
    const Span at = last ? numbers.back() : numbers.front();
    const std::string found = words.substr(at.begin, at.end - at.begin);
    return {last ? "last" : "phrase", found, value_of(found)};
  }
  return {};
}

std::optional<Number> gold_value(std::string_view answer) {
  std::string_view line;
  return only_number(last_hash(answer, &line) == kNone ? answer : line);
}

}  // namespace gcop::validator_math
