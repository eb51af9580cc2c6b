#include "fault.hpp"

#include "utf8.hpp"

namespace gcop::guide_torch {

std::string presentable(const std::string &message) {
  constexpr size_t kHead = 600, kTail = 300;
  std::string text = valid_utf8(message, false);
  if (text.size() > kHead + kTail) {
    size_t tail = text.size() - kTail;
    while ((static_cast<unsigned char>(text[tail]) & 0xc0) == 0x80) ++tail;  // at the start of a character
    text = valid_utf8(text.substr(0, kHead), true) + " ... " + text.substr(tail);
  }
  for (char &c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  return text;
}

}  // namespace gcop::guide_torch
