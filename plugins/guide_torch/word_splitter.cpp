#include "word_splitter.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <stdexcept>

#include "fault.hpp"
#include "utf8.hpp"

namespace gcop::guide_torch {
namespace {

// Oniguruma's \s is Unicode's White_Space; PCRE2's also has U+180E.
const char *const kSpaces =
    R"(\x{09}-\x{0d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
// PCRE2 10.42 has Unicode 14's letters and numbers, Oniguruma 16's, and the digits step is Rust's, which has 17's.
const char *const kLetters =
    R"(\p{L}\x{1c89}\x{1c8a}\x{a7cb}-\x{a7cd}\x{a7da}-\x{a7dc}\x{105c0}-\x{105f3}\x{10d4a}-\x{10d65}\x{10d6f}-\x{10d85})"
    R"(\x{10ec2}-\x{10ec4}\x{1123f}\x{11240}\x{11380}-\x{11389}\x{1138b}\x{1138e}\x{11390}-\x{113b5}\x{113b7}\x{113d1})"
    R"(\x{113d3}\x{11bc0}-\x{11be0}\x{11f02}\x{11f04}-\x{11f10}\x{11f12}-\x{11f33}\x{1342f}\x{13441}-\x{13446})"
    R"(\x{13460}-\x{143fa}\x{16100}-\x{1611d}\x{16d40}-\x{16d6c}\x{18cff}\x{1b132}\x{1b155}\x{1df25}-\x{1df2a})"
    R"(\x{1e030}-\x{1e06d}\x{1e4d0}-\x{1e4eb}\x{1e5d0}-\x{1e5ed}\x{1e5f0}\x{2b739}\x{2ebf0}-\x{2ee5d}\x{31350}-\x{323af})";
const char *const kNumbers =
    R"(\p{N}\x{10d40}-\x{10d49}\x{116d0}-\x{116e3}\x{11bf0}-\x{11bf9}\x{11f50}-\x{11f59}\x{16130}-\x{16139})"
    R"(\x{16d70}-\x{16d79}\x{1ccf0}-\x{1ccf9}\x{1d2c0}-\x{1d2d3}\x{1e4f0}-\x{1e4f9}\x{1e5f1}-\x{1e5fa})";
const char *const kStepDigits = R"(\x{11de0}-\x{11de9}\x{16ff4}-\x{16ff6})";

// The pattern with these classes written out, inside a class or outside.
std::string as_pcre2(const std::string &pattern) {
  std::string out;
  bool in_class = false;
  auto put = [&](const std::string &ranges) { out += in_class ? ranges : "[" + ranges + "]"; };
  for (size_t i = 0; i < pattern.size(); ++i) {
    char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      if (pattern.compare(i, 5, "\\p{L}") == 0 || pattern.compare(i, 5, "\\p{N}") == 0) {
        put(pattern[i + 3] == 'L' ? kLetters : kNumbers);
        i += 4;
        continue;
      }
      char next = pattern[++i];
      if (next == 's') {
        put(kSpaces);
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

// The Digits step: each numeric character is a word, or each run of them.
std::string digits_pattern(bool individual) {
  return "[" + std::string(kNumbers) + kStepDigits + "]" + (individual ? "" : "+");
}

}  // namespace

struct WordSplitter::Pattern {
  std::string source;
  std::unique_ptr<pcre2_code, void (*)(pcre2_code *)> code{nullptr, pcre2_code_free};
};

WordSplitter::WordSplitter(const std::vector<SplitStep> &steps) {
  for (const SplitStep &step : steps) {
    Pattern pattern;
    bool regex = step.kind == SplitStep::Kind::regex;
    pattern.source = regex ? step.pattern : digits_pattern(step.individual);
    std::string text = regex ? as_pcre2(step.pattern) : pattern.source;
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
    std::unique_ptr<pcre2_match_context, void (*)(pcre2_match_context *)> context(pcre2_match_context_create(nullptr),
                                                                                  pcre2_match_context_free);
    if (!context) throw std::bad_alloc();
    std::vector<std::string_view> finer;
    for (std::string_view word : words) {
      // A step back for each character is what honest patterns need; a stranger's may try every way to cut.
      pcre2_set_match_limit(context.get(),
                            static_cast<uint32_t>(std::min<size_t>(100'000 + 32 * word.size(), 1u << 30)));
      auto subject = reinterpret_cast<PCRE2_SPTR>(word.data());
      size_t done = 0, from = 0;
      auto cut = [&](size_t to) {
        if (to > done) finer.push_back(word.substr(done, to - done));
        done = to;
      };
      while (from < word.size()) {
        int found =
            pcre2_match(pattern.code.get(), subject, word.size(), from, PCRE2_NO_UTF_CHECK, match.get(), context.get());
        if (found == PCRE2_ERROR_JIT_STACKLIMIT)
          found = pcre2_match(pattern.code.get(), subject, word.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                              match.get(), context.get());
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
