// A stream hands out whole characters only, and what it hands out joins to what decode() gives.
#include "fuzz_texts.hpp"
#include "tokenizer.hpp"
#include "tokenizer_json.hpp"

using namespace gcop::guide_torch;

namespace {

const std::string kReplaced = "\xef\xbf\xbd";

std::unique_ptr<Tokenizer> make(TokenizerData data) {
  auto made = Tokenizer::make(std::move(data));
  REQUIRE_MESSAGE(made, (made ? "" : made.error().message));
  return std::move(*made);
}

// The parts a stream gives for these ids, the last one with what decode() adds at the end.
std::vector<std::string> stream(const Tokenizer &tokenizer, const std::vector<int32_t> &ids) {
  std::vector<std::string> parts;
  std::string given;
  auto give = [&](const std::string &text) {
    REQUIRE(text.starts_with(given));
    parts.push_back(text.substr(given.size()));
    given = text;
  };
  std::span<const int32_t> all = ids;
  for (size_t n = 1; n <= all.size(); ++n) give(tokenizer.decode_so_far(all.first(n)));
  give(tokenizer.decode(all));
  return parts;
}

}  // namespace

TEST_CASE("an emoji over several byte tokens comes out whole, with its last byte") {
  auto tokenizer = make(make_byte_tokenizer());
  CHECK(stream(*tokenizer, tokenizer->encode("a\U0001f44db")) ==
        std::vector<std::string>{"a", "", "", "", "\U0001f44d", "b", ""});
  // A control token between the bytes is not text: the reference joins the bytes around it too.
  CHECK(stream(*tokenizer, {0xf0, 0x9f, 258, 0x91, 0x8d}) ==
        std::vector<std::string>{"", "", "", "", "\U0001f44d", ""});
}

TEST_CASE("half a character becomes U+FFFD once it cannot be completed, at the latest at the end") {
  auto tokenizer = make(make_byte_tokenizer());
  CHECK(stream(*tokenizer, {'a', 0xf0, 0x9f, 'b'}) == std::vector<std::string>{"a", "", "", kReplaced + "b", ""});
  CHECK(stream(*tokenizer, {'a', 0xf0, 0x9f}) == std::vector<std::string>{"a", "", "", kReplaced});
  CHECK(stream(*tokenizer, {0xc3, 0xc3}) == std::vector<std::string>{"", kReplaced, kReplaced});
  CHECK(stream(*tokenizer, {0xff}) == std::vector<std::string>{kReplaced, ""});
}

TEST_CASE("fuzzed texts and ids stream as whole characters") {
  FuzzTexts fuzz;
  for (const Json &row : golden("small_tokenizers")) {
    CAPTURE(row["name"].get<std::string>());
    auto tokenizer = make(read_tokenizer_json(row["tokenizer"], "golden"));
    for (uint64_t i = 0; i < 600; ++i) {
      std::string text = fuzz.text(i);
      std::vector<int32_t> ids =
          i % 2 ? tokenizer->encode(text) : fuzz_ids(i, static_cast<uint64_t>(tokenizer->vocab()));
      if (ids.size() > 200) continue;  // each step decodes all
      for (const std::string &part : stream(*tokenizer, ids)) REQUIRE(valid_utf8(part, false) == part);
    }
  }
}
