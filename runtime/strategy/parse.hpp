// Reads a strategy out of what a guide (or a teacher) wrote. Pure functions, any thread.
//
// I = 1 (the gate of the shaped reward, DESIGN "Vocabulary and equations") when the text holds
//   - exactly one <strategy> and one </strategy>, in this order;
//   - outside an optional <thinking>...</thinking> (or <think>...</think>) before it, which is dropped, whatever it
//   holds;
//   - with something to read inside (a letter or a digit), in valid UTF-8 without NUL;
//   - of at most `max_tokens`, by the count below.
// Prose before, between and after the blocks is tolerated and dropped: small guides like to introduce what they say,
// and only what stands inside the block reaches the core.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace gcop::strategy {

constexpr size_t kDefaultMaxTokens = 400;

// The trimmed text of the block. Errors: Code::invalid; the message is the reason, fit for a log and for a teacher
// that has to write again ("no </strategy> after <strategy>: cut off, or never closed").
// max_tokens 0 = no bound.
Result<std::string> parse(std::string_view text, size_t max_tokens = kDefaultMaxTokens);

// Tokens by a count that belongs to no model, so that one budget means the same for every guide and teacher:
// a word costs one token per six letters begun, a digit, a mark and a character beyond ASCII one each, a line break
// one, blanks nothing. Close to what byte-level BPE vocabularies make of English and code.
size_t count_tokens(std::string_view text);

}  // namespace gcop::strategy
