// Bytes to valid UTF-8 and the byte-level spelling of tokens. Pure functions, any thread.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace gcop::guide_torch {

// Every maximal run of bytes that begins no character becomes U+FFFD. drop_cut_end leaves out a character whose bytes
// are right so far but end with the text.
std::string valid_utf8(std::string_view bytes, bool drop_cut_end);

// The code point at text[at] and its length in bytes; the text is valid UTF-8.
struct CodePoint {
  uint32_t value;
  size_t size;
};
CodePoint code_point_at(std::string_view text, size_t at);
void append_utf8(std::string &out, uint32_t code_point);

// Byte-level spelling: each byte as one printable character (space is U+0120 and so on), as GPT-2 introduced it.
std::string spell_bytes(std::string_view bytes);
std::optional<std::string> unspell_bytes(std::string_view spelling);  // nullopt = has other characters

}  // namespace gcop::guide_torch
