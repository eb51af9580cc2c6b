// Ids and texts equal to the reference's on a hundred thousand fuzzed texts, every assigned code point, MBPP and GSM8K:
// digests of blocks (golden/fuzz.json, by tests/reference/fuzz_golden.py). A sample by default, all with GCOP_FULL=1.
#include <functional>

#include "fuzz_texts.hpp"
#include "nfc.hpp"
#include "tokenizer.hpp"
#include "tokenizer_json.hpp"

using namespace gcop::guide_torch;

namespace {

constexpr uint64_t kBlock = 1000;

struct Named {
  std::string name;
  std::unique_ptr<Tokenizer> tokenizer;
  bool published = false;  // from a model's file
};

std::vector<Named> tokenizers() {
  std::vector<Named> all;
  auto add = [&](const std::string &name, TokenizerData data, bool published) {
    auto made = Tokenizer::make(std::move(data));
    REQUIRE_MESSAGE(made, (made ? "" : made.error().message));
    all.push_back({name, std::move(*made), published});
  };
  for (const Json &row : golden("small_tokenizers"))
    add(row["name"], read_tokenizer_json(row["tokenizer"], "golden"), false);
  const Json all_references = golden("fuzz")["tokenizers"];
  for (auto &[name, reference] : all_references.items()) {
    if (!reference.contains("bytes")) continue;
    std::string path = find_model(reference["bytes"]);
    if (path.empty()) {
      MESSAGE("skipped: " << name << " is neither under $GCOP_TEST_MODELS nor in gcop's cache");
      continue;
    }
    auto file = ModelFile::open(path);
    REQUIRE_MESSAGE(file, (file ? "" : file.error().message));
    add(name, (*file)->tokenizer(), true);
  }
  return all;
}

bool in_sample(size_t block) {
  static const bool full = std::getenv("GCOP_FULL") != nullptr;
  return full || block % 16 == 0;
}

std::vector<std::string> fuzz_block(const FuzzTexts &fuzz, uint64_t block) {
  std::vector<std::string> texts;
  for (uint64_t i = block * kBlock; i < (block + 1) * kBlock; ++i) texts.push_back(fuzz.text(i));
  return texts;
}

// Where a digest differs the block's ids are left in a file beside those that the reference script shows.
void leave(const Named &named, const std::string &part, size_t block, const std::vector<std::string> &texts) {
  std::string name = "gcop-fuzz-" + named.name + "-" + part + "-" + std::to_string(block) + ".jsonl";
  std::ofstream file(fs::temp_directory_path() / name);
  for (const std::string &text : texts) {
    std::vector<int32_t> ids = named.tokenizer->encode(text, part != "plain");
    file << Json{{"text", text}, {"ids", ids}, {"decoded", named.tokenizer->decode(ids)}} << "\n";
  }
  MESSAGE("compare " << (fs::temp_directory_path() / name).string() << " with: fuzz_golden.py show " << named.name
                     << " " << part << " " << block << " ...");
}

void check_part(const Named &named, const std::string &part, const Json &reference,
                const std::function<std::vector<std::string>(size_t)> &texts_of) {
  const Json &ids_digests = reference[part], &decoded = reference["decoded"];
  for (size_t block = 0; block < ids_digests.size(); ++block) {
    if (!in_sample(block)) continue;
    std::vector<std::string> texts = texts_of(block);
    Digest ids_digest, decoded_digest;
    for (const std::string &text : texts) {
      std::vector<int32_t> ids = named.tokenizer->encode(text, part != "plain");
      ids_digest.add_ids(ids);
      if (part == "texts") decoded_digest.add_text(named.tokenizer->decode(ids));
    }
    CAPTURE(block);
    CHECK(ids_digest.hex() == ids_digests[block].get<std::string>());
    if (ids_digest.hex() != ids_digests[block]) leave(named, part, block, texts);
    if (part == "texts") CHECK(decoded_digest.hex() == decoded[block].get<std::string>());
  }
}

std::vector<std::string> data_texts(const std::string &name) {
  std::ifstream file(std::string(GCOP_SOURCE_DIR) + "/../shared/data/" + name + ".jsonl");
  std::vector<std::string> texts;
  for (std::string line; std::getline(file, line);) {
    Json row = Json::parse(line);
    std::string text;
    if (name == "mbpp") {
      text = row["text"].get<std::string>() + "\n" + row["test_setup_code"].get<std::string>() + "\n" +
             row["code"].get<std::string>();
      for (const Json &test : row["test_list"]) text += "\n" + test.get<std::string>();
    } else {
      text = row["question"].get<std::string>() + "\n" + row["answer"].get<std::string>();
    }
    texts.push_back(text);
  }
  if (texts.empty()) MESSAGE("skipped: ../shared/data/" << name << ".jsonl is absent");
  return texts;
}

bool has_added(const Tokenizer &tokenizer, const std::vector<int32_t> &ids) {
  return std::any_of(ids.begin(), ids.end(), [&](int32_t id) {
    const auto &added = tokenizer.data().added;
    return std::any_of(added.begin(), added.end(), [&](const AddedToken &token) { return token.id == id; });
  });
}

// Some vocabularies lack bytes that hardly a text has; what has one of them cannot come back.
std::vector<bool> bytes_with_token(const Tokenizer &tokenizer) {
  std::vector<bool> has;
  for (int b = 0; b < 256; ++b) has.push_back(tokenizer.find(spell_bytes(std::string(1, static_cast<char>(b)))) >= 0);
  return has;
}

}  // namespace

TEST_CASE("the fuzzed texts are the reference's") {
  FuzzTexts fuzz;
  Json inputs = golden("fuzz")["inputs"];
  CHECK(inputs.size() == 100);
  for (size_t block = 0; block < inputs.size(); ++block) {
    if (!in_sample(block)) continue;
    Digest digest;
    for (const std::string &text : fuzz_block(fuzz, block)) digest.add_text(text);
    CHECK(digest.hex() == inputs[block].get<std::string>());
  }
}

TEST_CASE("fuzzed texts, every code point and arbitrary ids give the reference's ids and texts") {
  FuzzTexts fuzz;
  Json reference = golden("fuzz")["tokenizers"];
  for (const Named &named : tokenizers()) {
    CAPTURE(named.name);
    const Json &expected = reference[named.name];
    for (const char *part : {"texts", "plain"})
      check_part(named, part, expected, [&](size_t block) { return fuzz_block(fuzz, block); });
    check_part(named, "code_points", expected, [&](size_t block) {
      uint32_t first = block == 0x40 ? 0xe0000 : static_cast<uint32_t>(block) << 12;
      std::vector<std::string> texts;
      for (uint32_t k = 0; k < 4096; k += 64) texts.push_back(code_point_text(first + k, 64));
      return texts;
    });
    for (uint64_t block = 0; block < expected["any_ids"].size(); ++block) {
      Digest digest;
      for (uint64_t i = block * kBlock; i < (block + 1) * kBlock; ++i)
        digest.add_text(named.tokenizer->decode(fuzz_ids(i, expected["vocab"])));
      CHECK(digest.hex() == expected["any_ids"][block].get<std::string>());
    }
  }
}

TEST_CASE("MBPP and GSM8K give the reference's ids") {
  Json reference = golden("fuzz")["tokenizers"];
  std::vector<Named> all = tokenizers();
  for (const char *part : {"mbpp", "gsm8k_train", "gsm8k_test500"}) {
    std::vector<std::string> texts = data_texts(part);
    if (texts.empty()) continue;
    for (const Named &named : all) {
      if (!named.published) continue;
      CAPTURE(named.name);
      CAPTURE(part);
      CHECK(reference[named.name][part].size() == (texts.size() + 99) / 100);
      check_part(named, part, reference[named.name], [&](size_t block) {
        auto at = texts.begin() + static_cast<std::ptrdiff_t>(block * 100);
        return std::vector<std::string>(at, std::min(at + 100, texts.end()));
      });
    }
  }
}

TEST_CASE("what was encoded is decoded as it was, or as its NFC where the tokenizer normalises") {
  FuzzTexts fuzz;
  for (const Named &named : tokenizers()) {
    CAPTURE(named.name);
    const std::vector<bool> has = bytes_with_token(*named.tokenizer);
    size_t compared = 0;
    for (size_t block = 0; block < 100; ++block) {
      if (!in_sample(block)) continue;
      for (const std::string &text : fuzz_block(fuzz, block)) {
        std::string wanted = named.tokenizer->data().nfc ? nfc(text) : text;
        if (!std::all_of(wanted.begin(), wanted.end(), [&](char c) { return has[static_cast<uint8_t>(c)]; })) continue;
        std::vector<int32_t> ids = named.tokenizer->encode(text);
        // An added token's neighbours are normalised apart from it; the reference's digest covers that.
        if (named.tokenizer->data().nfc && has_added(*named.tokenizer, ids)) continue;
        if (named.tokenizer->decode(ids, false) != wanted) CHECK(named.tokenizer->decode(ids, false) == wanted);
        ++compared;
      }
    }
    CHECK(compared > 500);
  }
}
