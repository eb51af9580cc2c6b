#include "utf8.hpp"

#include <array>

namespace gcop::guide_torch {
namespace {

// How many of the bytes at `at` are the start of one character, and whether it is complete.
struct Prefix {
  size_t size;
  bool complete, cut;
};

Prefix prefix_at(std::string_view text, size_t at) {
  auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  uint8_t lead = byte(at);
  if (lead < 0x80) return {1, true, false};
  size_t length = lead >= 0xc2 && lead <= 0xdf ? 2 : (lead & 0xf0) == 0xe0 ? 3 : lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
  if (length == 0) return {1, false, false};
  // The second byte's range keeps out overlong forms, surrogates and values above U+10FFFF.
  uint8_t low = lead == 0xe0   ? 0xa0
                : lead == 0xf0 ? 0x90
                               : 0x80,
          high = lead == 0xed   ? 0x9f
                 : lead == 0xf4 ? 0x8f
                                : 0xbf;
  for (size_t i = 1; i < length; ++i, low = 0x80, high = 0xbf) {
    if (at + i == text.size()) return {i, false, true};
    if (byte(at + i) < low || byte(at + i) > high) return {i, false, false};
  }
  return {length, true, false};
}

// Printable bytes stand for themselves, the 68 others for U+0100 onward in order.
struct Spelling {
  std::array<uint32_t, 256> of_byte{};
  std::array<int, 512> byte_of{};
  Spelling() {
    byte_of.fill(-1);
    uint32_t next = 256;
    for (int b = 0; b < 256; ++b) {
      bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
      of_byte[b] = printable ? static_cast<uint32_t>(b) : next++;
      byte_of[of_byte[b]] = b;
    }
  }
};

const Spelling &spelling() {
  static const Spelling table;
  return table;
}

}  // namespace

std::string valid_utf8(std::string_view bytes, bool drop_cut_end) {
  std::string out;
  out.reserve(bytes.size());
  for (size_t at = 0; at < bytes.size();) {
    Prefix prefix = prefix_at(bytes, at);
    if (prefix.complete)
      out.append(bytes.substr(at, prefix.size));
    else if (!(prefix.cut && drop_cut_end))
      out += "\xef\xbf\xbd";
    at += prefix.size;
  }
  return out;
}

CodePoint code_point_at(std::string_view text, size_t at) {
  auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(text[at + i])); };
  uint32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xe0) return {(lead & 31) << 6 | (byte(1) & 63), 2};
  if (lead < 0xf0) return {(lead & 15) << 12 | (byte(1) & 63) << 6 | (byte(2) & 63), 3};
  return {(lead & 7) << 18 | (byte(1) & 63) << 12 | (byte(2) & 63) << 6 | (byte(3) & 63), 4};
}

void append_utf8(std::string &out, uint32_t c) {
  auto put = [&](uint32_t byte) { out += static_cast<char>(byte); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xc0 | c >> 6), put(0x80 | (c & 63));
  } else if (c < 0x10000) {
    put(0xe0 | c >> 12), put(0x80 | (c >> 6 & 63)), put(0x80 | (c & 63));
  } else {
    put(0xf0 | c >> 18), put(0x80 | (c >> 12 & 63)), put(0x80 | (c >> 6 & 63)), put(0x80 | (c & 63));
  }
}

std::string spell_bytes(std::string_view bytes) {
  std::string out;
  for (char c : bytes) append_utf8(out, spelling().of_byte[static_cast<uint8_t>(c)]);
  return out;
}

std::optional<std::string> unspell_bytes(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    auto [value, size] = code_point_at(text, at);
    if (value >= 512 || spelling().byte_of[value] < 0) return std::nullopt;
    out += static_cast<char>(spelling().byte_of[value]);
    at += size;
  }
  return out;
}

}  // namespace gcop::guide_torch
