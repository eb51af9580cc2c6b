// Cuts text into the words that BPE works on: the steps of a tokenizer's pre_tokenizer, as PCRE2 patterns that match
// what Oniguruma matches in Hugging Face's library. Made by Tokenizer; then any thread, concurrently.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer.hpp"

namespace gcop::guide_torch {

class WordSplitter {
 public:
  explicit WordSplitter(const std::vector<SplitStep> &steps);  // throws Fault on a pattern that cannot be used
  ~WordSplitter();
  // `text` is valid UTF-8; the words lie in it, in order, without gaps.
  std::vector<std::string_view> split(std::string_view text) const;

 private:
  struct Pattern;
  std::vector<Pattern> patterns_;
};

}  // namespace gcop::guide_torch
