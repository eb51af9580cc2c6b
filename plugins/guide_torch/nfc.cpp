#include "nfc.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <stdexcept>

#include "utf8.hpp"

namespace gcop::guide_torch {
namespace {

// The library's tables are Unicode 9's. Marks that came later, which utf8proc reorders or composes, stay there where
// they are and part what is around them. From the differences that every code point showed (utf8proc: Unicode 15).
constexpr struct {
  uint32_t first, last;
} kLaterMarks[] = {{0x7fd, 0x7fd},     {0x898, 0x89f},     {0x8ca, 0x8d3},     {0x9fe, 0x9fe},     {0xc3c, 0xc3c},
                   {0xd3b, 0xd3c},     {0xeba, 0xeba},     {0x1715, 0x1715},   {0x1abf, 0x1ace},   {0x1df6, 0x1dfa},
                   {0xa82c, 0xa82c},   {0x10d24, 0x10d27}, {0x10eab, 0x10eac}, {0x10efd, 0x10eff}, {0x10f46, 0x10f50},
                   {0x10f82, 0x10f85}, {0x11070, 0x11070}, {0x1133b, 0x1133b}, {0x1145e, 0x1145e}, {0x11839, 0x1183a},
                   {0x11930, 0x11930}, {0x1193d, 0x1193e}, {0x11943, 0x11943}, {0x119e0, 0x119e0}, {0x11a34, 0x11a34},
                   {0x11a47, 0x11a47}, {0x11a99, 0x11a99}, {0x11d42, 0x11d42}, {0x11d44, 0x11d45}, {0x11d97, 0x11d97},
                   {0x11f41, 0x11f42}, {0x16ff0, 0x16ff1}, {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae},
                   {0x1e2ec, 0x1e2ef}, {0x1e4ec, 0x1e4ef}};

bool later_mark(uint32_t c) {
  if (c < kLaterMarks[0].first) return false;
  auto after = std::upper_bound(std::begin(kLaterMarks), std::end(kLaterMarks), c,
                                [](uint32_t value, const auto &range) { return value < range.first; });
  return c <= std::prev(after)->last;
}

void append_composed(std::string &out, std::string_view text) {
  utf8proc_uint8_t *composed = nullptr;
  auto size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t *>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                   &composed, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  if (size < 0) throw std::runtime_error(std::string("NFC normalisation: ") + utf8proc_errmsg(size));
  out.append(reinterpret_cast<char *>(composed), static_cast<size_t>(size));
  std::free(composed);
}

}  // namespace

std::string nfc(std::string_view text) {
  if (std::all_of(text.begin(), text.end(), [](char c) { return static_cast<uint8_t>(c) < 0x80; }))
    return std::string(text);
  std::string out;
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    auto [value, size] = code_point_at(text, at);
    if (later_mark(value)) {
      append_composed(out, text.substr(done, at - done));
      out.append(text.substr(at, size));
      done = at + size;
    }
    at += size;
  }
  append_composed(out, text.substr(done));
  return out;
}

}  // namespace gcop::guide_torch
