// What a jailed controller's process writes on its standard output: frames, each a letter, a length and bytes. Both
// ends are built together and run on one machine.
#pragma once
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace gcop::lua::inside {

enum Frame : char {
  kTrace = 't',    // JSON: the events of the question that the next kSolved is about
  kSolved = 's',   // uint32: the answer; then what was done, as tts::Replay::record() writes it
  kRefused = 'r',  // why the text is no controller: the only frame
  kFailed = 'f',   // why the next question could not be solved: the last frame
  kEnd = 'z'       // all were solved: the last frame
};

inline void put_frame(std::string &out, Frame kind, std::string_view bytes) {
  const auto size = static_cast<uint32_t>(bytes.size());
  out += kind;
  out.append(reinterpret_cast<const char *>(&size), sizeof size);
  out += bytes;
}

// Takes the first frame off `rest`; false if there is no whole one.
inline bool next_frame(std::string_view &rest, char &kind, std::string_view &bytes) {
  uint32_t size = 0;
  if (rest.size() < 1 + sizeof size) return false;
  std::memcpy(&size, rest.data() + 1, sizeof size);
  if (rest.size() - 1 - sizeof size < size) return false;
  kind = rest[0];
  bytes = rest.substr(1 + sizeof size, size);
  rest.remove_prefix(1 + sizeof size + size);
  return true;
}

}  // namespace gcop::lua::inside
