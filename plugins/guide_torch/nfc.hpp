// Unicode NFC as Hugging Face's tokenizers library computes it. Pure, any thread.
#pragma once
#include <string>
#include <string_view>

namespace gcop::guide_torch {

std::string nfc(std::string_view text);  // valid UTF-8; throws std::runtime_error if utf8proc cannot

}  // namespace gcop::guide_torch
