// Recorded reasoning traces: what AutoTTS (arXiv 2605.08083) replays instead of asking a model again. Plain values,
// any thread; a loaded store is shared and never changed.
//
// A file is a JSON list of questions {question, gold_answer, probe_freq, each_branch}; a branch is [probe answers,
// tokens, final answer], probe k being what the branch answered after k * probe_freq tokens, nominally: the tokens of
// a whole branch may be fewer or more than its probes say. `final_answers_trace`, the branches' final answers once
// more, may be there. All questions have equally many branches, and no two are the same.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace gcop::tts {

// Answers are interned per question: ids from 0, equal ids for equal bytes, and nothing else is said about them.
constexpr int64_t kNotEnded = -1;  // tokens of a live branch (live.hpp) that goes on
struct Branch {
  uint32_t first, probes;  // in Question::probes
  int64_t tokens;
  uint32_t final_answer;
};

struct Question {
  std::string text, gold;
  int64_t probe_freq = 0;
  std::vector<Branch> branches;
  std::vector<uint32_t> probes;  // of all branches, one after the other
  std::vector<std::string> answers;
  struct Grade {
    bool correct, normalised;  // equal to the gold answer byte for byte; equal to it as grade.hpp reads both
  };
  std::vector<Grade> grades;  // of each answer
};

struct Store {
  std::string path;
  std::vector<Question> questions;  // at least one
  uint32_t branches = 0;            // of each question; 1 to kMostBranches
};
constexpr uint32_t kMostBranches = 4096;

// Errors name the file, the question and branch (from 1), the field, its value and what is expected.
Result<Store> parse(std::string_view json_text, const std::string &path);
Result<Store> load(const std::string &path);  // blocking

// Some of its questions in the file's form, without what could tell a right answer: numbers stand for the texts of
// questions and answers, and there is no gold answer. What a replay costs and which answers are equal stays the same.
std::string without_golds(const Store &store, std::span<const uint32_t> questions);

}  // namespace gcop::tts
