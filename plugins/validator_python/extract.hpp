// Finds the program in a model's answer. Pure functions, any thread.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace gcop::validator_python {

// The last fenced block that defines `entry` (drafts come before what they become), else the last that defines any
// function, else the last that is labelled Python or not at all, else the whole text. A fence that is never closed runs
// to the end. Line ends become
// "\n"; the indentation of the fence itself is taken off.
std::string extract_code(std::string_view answer, std::string_view entry);

// The function that assert lines call, for rows without an entry point: the first called name that is no builtin of
// Python, else the first called name. Only to choose a block; the judge derives the name it tests from the parsed
// tests.
std::string guess_entry(const std::vector<std::string> &tests);

}  // namespace gcop::validator_python
