#include "strategy/parse.hpp"

#include <algorithm>
#include <array>
#include <cctype>

namespace gcop::strategy {
namespace {

constexpr std::string_view kOpen = "<strategy>", kClose = "</strategy>";
struct Pair {
  std::string_view open, close;
};
constexpr std::array<Pair, 2> kThinking{{{"<thinking>", "</thinking>"}, {"<think>", "</think>"}}};

bool blank(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

size_t occurrences(std::string_view text, std::string_view tag) {
  size_t n = 0;
  for (size_t at = text.find(tag); at != std::string_view::npos; at = text.find(tag, at + tag.size())) ++n;
  return n;
}

// Shortest-form UTF-8 without surrogates and NUL.
bool readable(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    if (lead == 0) return false;
    const size_t length = lead < 0x80                   ? 1
                          : lead >= 0xC2 && lead < 0xE0 ? 2
                          : lead >= 0xE0 && lead < 0xF0 ? 3
                          : lead >= 0xF0 && lead < 0xF5 ? 4
                                                        : 0;
    if (length == 0 || i + length > text.size()) return false;
    uint32_t code = length == 1 ? lead : lead & (0x7Fu >> length);
    for (size_t k = 1; k < length; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if ((next & 0xC0u) != 0x80u) return false;
      code = code << 6 | (next & 0x3Fu);
    }
    if ((length == 3 && code < 0x800) || (length == 4 && (code < 0x10000 || code > 0x10FFFF)) ||
        (code >= 0xD800 && code < 0xE000))
      return false;
    i += length;
  }
  return true;
}

// The text after the thinking block, if there is one before the first <strategy>; an error if it never ends.
Result<std::string_view> without_thinking(std::string_view text) {
  const size_t strategy = std::min(text.find(kOpen), text.size());
  for (const Pair &tag : kThinking) {
    const size_t open = text.find(tag.open);
    if (open > strategy) continue;
    const size_t close = text.find(tag.close, open);
    if (close == std::string_view::npos) return invalid(std::string(tag.open) + " is never closed");
    return text.substr(close + tag.close.size());
  }
  return text;
}

}  // namespace

size_t count_tokens(std::string_view text) {
  size_t tokens = 0, letters = 0;
  auto end_word = [&] {
    tokens += (letters + 5) / 6;
    letters = 0;
  };
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80 && std::isalpha(byte)) {
      ++letters;
      continue;
    }
    end_word();
    if (c == '\n' || (byte < 0x80 && !blank(c)) || byte >= 0xC0) ++tokens;
  }
  end_word();
  return tokens;
}

Result<std::string> parse(std::string_view text, size_t max_tokens) {
  if (!readable(text)) return invalid("not valid UTF-8 text");
  auto rest = without_thinking(text);
  if (!rest) return rest.error();
  const size_t opens = occurrences(*rest, kOpen), closes = occurrences(*rest, kClose);
  if (opens == 0) return invalid(closes ? "</strategy> without <strategy>" : "no <strategy> block");
  if (opens > 1) return invalid("more than one <strategy>");
  if (closes == 0) return invalid("no </strategy> after <strategy>: cut off, or never closed");
  if (closes > 1) return invalid("more than one </strategy>");
  const size_t open = rest->find(kOpen), close = rest->find(kClose);
  if (close < open) return invalid("</strategy> comes before <strategy>");
  for (const Pair &tag : kThinking)
    if (rest->find(tag.open) != std::string_view::npos || rest->find(tag.close) != std::string_view::npos)
      return invalid(std::string(tag.open) + " must be one block before <strategy>, not inside, after or again");
  const std::string_view body = trimmed(rest->substr(open + kOpen.size(), close - open - kOpen.size()));
  const bool says_something = std::any_of(body.begin(), body.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x80 || std::isalnum(byte);
  });
  if (!says_something) return invalid("the <strategy> block is empty");
  const size_t tokens = max_tokens ? count_tokens(body) : 0;
  if (tokens > max_tokens)
    return invalid("the strategy has about " + std::to_string(tokens) + " tokens, more than the budget of " +
                   std::to_string(max_tokens));
  return std::string(body);
}

}  // namespace gcop::strategy
