// tokenizer.json NUL a text: read, the text encoded and decoded, written and read again.
#include "tokenizer_json.hpp"
#include "json_read.hpp"
#include "model.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  using namespace gcop::guide_torch;
  const fuzz::Bounds bounds(size, 1 << 20, 64);
  const auto parts = fuzz::parts_of({data, size}, 2);
  const std::string_view text =
      parts[1].empty() ? "It's 12 \xf0\x9f\x91\x8d\n  a\xff<|im_end|>" : fuzz::text_of(parts[1]);
  const auto read = guarded("tokenizer", [&] {
    return read_tokenizer_json(parse_json(fuzz::text_of(parts[0]), "tokenizer.json"), "tokenizer.json");
  });
  if (!read) return fuzz::check_refusal(read.error()), 0;
  const auto tokenizer = Tokenizer::make(*read);
  if (!tokenizer) return fuzz::check_refusal(tokenizer.error()), 0;
  fuzz::check_tokenizer(**tokenizer, text);
  const Json written = write_tokenizer_json(*read);
  fuzz::claim(write_tokenizer_json(read_tokenizer_json(written, "written")) == written,
              "a tokenizer that was written is read as another one");
  return 0;
}
