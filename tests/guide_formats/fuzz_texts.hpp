// Deterministic texts and digests, made identically by tests/reference/fuzz_texts.py: change both or neither.
#pragma once
#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "files.hpp"
#include "utf8.hpp"

namespace gcop::guide_torch {

inline uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

// splitmix64, one stream for each seed.
class Draws {
 public:
  explicit Draws(uint64_t seed) : state_(mix(seed + 1)) {}
  uint64_t below(uint64_t n) { return mix(state_ += 0x9E3779B97F4A7C15u) % n; }
  template <class T>
  const T &one(const std::vector<T> &table) {
    return table[below(table.size())];
  }

 private:
  uint64_t state_;
};

class Digest {
 public:
  void add(uint64_t v) {
    value_ = (value_ ^ v) * 0x9E3779B97F4A7C15u;
    value_ ^= value_ >> 29;
  }
  void add_ids(std::span<const int32_t> ids) {
    add(ids.size());
    for (int32_t id : ids) add(static_cast<uint64_t>(id));
  }
  void add_text(std::string_view text) {
    add(text.size());
    for (size_t at = 0; at < text.size(); at += 8) {
      uint64_t word = 0;
      std::memcpy(&word, text.data() + at, std::min<size_t>(8, text.size() - at));
      add(word);
    }
  }
  std::string hex() const {
    std::string out;
    for (int shift = 60; shift >= 0; shift -= 4) out += "0123456789abcdef"[value_ >> shift & 15];
    return out;
  }

 private:
  uint64_t value_ = 0;
};

class FuzzTexts {
 public:
  using Ranges = std::vector<std::pair<uint32_t, uint32_t>>;

  FuzzTexts() {
    Json json = golden("fuzz_pieces");
    json["words"].get_to(words_);
    json["blanks"].get_to(blanks_);
    json["specials"].get_to(specials_);
    json["ranges"].get_to(ranges_);
    json["marks"].get_to(marks_);
  }

  std::string piece(Draws &draws) const {
    std::string out;
    switch (draws.below(11)) {
      case 0:
      case 1:
      case 2:
        if (draws.below(2)) out = " ";
        return out + draws.one(words_);
      case 3: {  // neighbours from one script
        auto [low, high] = draws.one(ranges_);
        for (uint64_t n = 1 + draws.below(6); n > 0; --n) append_utf8(out, low + pick(draws, high - low + 1));
        return out;
      }
      case 4:
        for (uint64_t n = 1 + draws.below(6); n > 0; --n) code_point(draws, ranges_, out);
        return out;
      case 5: {
        const std::string &blank = draws.one(blanks_);
        uint64_t most = draws.below(16) == 0 ? 100 : 5;
        return repeated(blank, 1 + draws.below(most));
      }
      case 6:
        for (uint64_t n = 1 + draws.below(12); n > 0; --n) out += static_cast<char>('0' + draws.below(10));
        return out;
      case 7: return draws.one(specials_);
      case 8:
        code_point(draws, ranges_, out);
        for (uint64_t n = 1 + draws.below(4); n > 0; --n) code_point(draws, marks_, out);
        return out;
      case 9: {
        const std::string &word = draws.one(words_);
        uint64_t most = draws.below(8) == 0 ? 40 : 4;
        return repeated(word, 1 + draws.below(most));
      }
      default:
        for (uint64_t n = 1 + draws.below(8); n > 0; --n) out += draws.one(blanks_);
        return out;
    }
  }

  std::string text(uint64_t number) const {
    Draws draws(number);
    uint64_t most = draws.below(8) == 0 ? 30 : 6;
    std::string out;
    for (uint64_t n = 1 + draws.below(most); n > 0; --n) out += piece(draws);
    return out;
  }

 private:
  static uint32_t pick(Draws &draws, uint32_t n) { return static_cast<uint32_t>(draws.below(n)); }
  static void code_point(Draws &draws, const Ranges &ranges, std::string &out) {
    auto [low, high] = draws.one(ranges);
    append_utf8(out, low + pick(draws, high - low + 1));
  }
  static std::string repeated(const std::string &text, uint64_t times) {
    std::string out;
    for (; times > 0; --times) out += text;
    return out;
  }

  std::vector<std::string> words_, blanks_, specials_;
  Ranges ranges_, marks_;
};

// Any ids; half of them from the vocabulary's start, where the single bytes are.
inline std::vector<int32_t> fuzz_ids(uint64_t number, uint64_t vocab) {
  Draws draws(number);
  std::vector<int32_t> ids;
  for (uint64_t n = 1 + draws.below(16); n > 0; --n) {
    bool few = draws.below(2);
    ids.push_back(static_cast<int32_t>(draws.below(few ? std::min<uint64_t>(vocab, 320) : vocab)));
  }
  return ids;
}

// Every code point where its class, its composing and its combining class show.
inline std::string code_point_text(uint32_t first, uint32_t count) {
  std::string out;
  for (uint32_t value = first; value < first + count; ++value) {
    if (value >= 0xd800 && value < 0xe000) continue;
    std::string c;
    append_utf8(c, value);
    out += "a\u0315" + c + "\u0334 1" + c + c + "'" + c + " " + c + "\u0301\n " + c;
  }
  return out;
}

}  // namespace gcop::guide_torch
