#include "word_splitter.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <stdexcept>

#include "fault.hpp"
#include "utf8.hpp"

namespace gcop::guide_torch {
namespace {

// Oniguruma's \s is Unicode's White_Space; PCRE2's also has U+180E. So \s is written out, inside a class or outside.
std::string with_unicode_space(const std::string &pattern) {
  static const char *const kSpaces =
      R"(\x{09}-\x{0d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
  std::string out;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      char next = pattern[++i];
      if (next == 's') {
        out += in_class ? kSpaces : "[" + std::string(kSpaces) + "]";
      } else if (next == 'S' && !in_class) {
        out += "[^" + std::string(kSpaces) + "]";
      } else if (next == 'S') {
        fail("the tokenizer's split pattern has \\S inside a class, which is not supported: " + pattern,
             Code::unsupported);
      } else {
        out += c;
        out += next;
      }
      continue;
    }
    if (c == '[' && in_class)
      fail("the tokenizer's split pattern has a class inside a class, which is not supported: " + pattern,
           Code::unsupported);
    in_class = c == '[' || (in_class && c != ']');
    out += c;
  }
  return out;
}

}  // namespace

struct WordSplitter::Pattern {
  std::string source;
  std::unique_ptr<pcre2_code, void (*)(pcre2_code *)> code{nullptr, pcre2_code_free};
};

WordSplitter::WordSplitter(const std::vector<SplitStep> &steps) {
  for (const SplitStep &step : steps) {
    Pattern pattern;
    pattern.source = step.kind == SplitStep::Kind::regex ? step.pattern : step.individual ? "\\p{N}" : "\\p{N}+";
    std::string text = with_unicode_space(pattern.source);
    int error = 0;
    PCRE2_SIZE at = 0;
    pattern.code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), PCRE2_UTF | PCRE2_UCP,
                                     &error, &at, nullptr));
    if (!pattern.code) {
      PCRE2_UCHAR reason[160];
      pcre2_get_error_message(error, reason, sizeof reason);
      fail("the tokenizer's split pattern cannot be used (" + std::string(reinterpret_cast<char *>(reason)) +
               "): " + pattern.source,
           Code::unsupported);
    }
    pcre2_jit_compile(pattern.code.get(), PCRE2_JIT_COMPLETE);  // only faster: without JIT the same matches come out
    patterns_.push_back(std::move(pattern));
  }
}

WordSplitter::~WordSplitter() = default;

std::vector<std::string_view> WordSplitter::split(std::string_view text) const {
  std::vector<std::string_view> words;
  if (!text.empty()) words.push_back(text);
  for (const Pattern &pattern : patterns_) {
    std::unique_ptr<pcre2_match_data, void (*)(pcre2_match_data *)> match(
        pcre2_match_data_create_from_pattern(pattern.code.get(), nullptr), pcre2_match_data_free);
    if (!match) throw std::bad_alloc();
    std::vector<std::string_view> finer;
    for (std::string_view word : words) {
      auto subject = reinterpret_cast<PCRE2_SPTR>(word.data());
      size_t done = 0, from = 0;
      auto cut = [&](size_t to) {
        if (to > done) finer.push_back(word.substr(done, to - done));
        done = to;
      };
      while (from < word.size()) {
        int found =
            pcre2_match(pattern.code.get(), subject, word.size(), from, PCRE2_NO_UTF_CHECK, match.get(), nullptr);
        if (found == PCRE2_ERROR_JIT_STACKLIMIT)
          found = pcre2_match(pattern.code.get(), subject, word.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                              match.get(), nullptr);
        if (found == PCRE2_ERROR_NOMATCH) break;
        if (found < 0)
          throw std::runtime_error("the tokenizer's split pattern fails on a text of " + std::to_string(word.size()) +
                                   " bytes (PCRE2 error " + std::to_string(found) + "): " + pattern.source);
        const PCRE2_SIZE *span = pcre2_get_ovector_pointer(match.get());
        if (span[1] == span[0]) {
          if (span[0] >= word.size()) break;
          from = span[0] + code_point_at(word, span[0]).size;  // an empty match cuts nothing off
          continue;
        }
        cut(span[0]);
        cut(span[1]);
        from = span[1];
      }
      cut(word.size());
    }
    words = std::move(finer);
  }
  return words;
}

}  // namespace gcop::guide_torch
