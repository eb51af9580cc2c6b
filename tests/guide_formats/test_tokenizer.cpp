#include "chat_template.hpp"
#include "fault.hpp"
#include "files.hpp"
#include "tokenizer.hpp"
#include "tokenizer_json.hpp"
#include "utf8.hpp"

using namespace gcop::guide_torch;

namespace {

std::unique_ptr<Tokenizer> make(TokenizerData data) {
  auto made = Tokenizer::make(std::move(data));
  REQUIRE_MESSAGE(made, (made ? "" : made.error().message));
  return std::move(*made);
}

void check_texts(const Tokenizer &tokenizer, const Json &rows) {
  for (const Json &row : rows) {
    std::string text = row["text"];
    CAPTURE(text);
    std::vector<int32_t> ids = tokenizer.encode(text);
    CHECK(ids == row["ids"].get<std::vector<int32_t>>());
    CHECK(tokenizer.decode(ids) == row["decoded"].get<std::string>());
  }
}

}  // namespace

TEST_CASE("small tokenizers give the reference's ids, also after being written and read back") {
  for (const Json &row : golden("small_tokenizers")) {
    CAPTURE(row["name"].get<std::string>());
    TokenizerData data = read_tokenizer_json(row["tokenizer"], "golden");
    check_texts(*make(data), row["texts"]);
    Json written = write_tokenizer_json(data);
    check_texts(*make(read_tokenizer_json(written, "written")), row["texts"]);
    CHECK(write_tokenizer_json(read_tokenizer_json(written, "written")) == written);
  }
}

TEST_CASE("the real models' tokenizers and chat templates give the reference's ids") {
  for (const char *name : {"smollm2-135m-instruct", "qwen2.5-coder-0.5b-instruct"}) {
    Json reference = golden(name);
    std::string path = find_model(reference["bytes"]);
    if (path.empty()) {
      MESSAGE("skipped: " << name << " is neither under $GCOP_TEST_MODELS nor in gcop's cache");
      continue;
    }
    CAPTURE(name);
    auto file = ModelFile::open(path);
    REQUIRE_MESSAGE(file, (file ? "" : file.error().message));
    auto tokenizer = make((*file)->tokenizer());
    check_texts(*tokenizer, reference["texts"]);
    auto chat = ChatTemplate::parse((*file)->chat_template());
    REQUIRE_MESSAGE(chat, (chat ? "" : chat.error().message));
    for (const Json &row : reference["chats"]) {
      std::vector<Message> messages;
      for (const Json &m : row["messages"]) messages.push_back({m["role"], m["content"]});
      auto text = chat->render(messages, row["add_generation_prompt"]);
      REQUIRE_MESSAGE(text, (text ? "" : text.error().message));
      CHECK(*text == row["text"].get<std::string>());
      CHECK(tokenizer->encode(*text) == row["ids"].get<std::vector<int32_t>>());
    }
    CHECK(tokenizer->is_stop(tokenizer->find("<|im_end|>")));
    CHECK(tokenizer->is_stop(tokenizer->find("<|endoftext|>")));
    CHECK_FALSE(tokenizer->is_stop(tokenizer->find("<|im_start|>")));
  }
}

TEST_CASE("a text's control tokens are plain text on request") {
  auto tokenizer = make(make_byte_tokenizer());
  CHECK(tokenizer->encode("a<|im_end|>") == std::vector<int32_t>{'a', 258});
  CHECK(tokenizer->encode("a<|im_end|>", false).size() == 11);
  CHECK(tokenizer->decode(tokenizer->encode("a<|im_end|>", false)) == "a<|im_end|>");
  CHECK(tokenizer->decode(std::vector<int32_t>{'a', 258, 'b'}) == "ab");
  CHECK(tokenizer->decode(std::vector<int32_t>{'a', 258, 'b'}, false) == "a<|im_end|>b");
  CHECK(tokenizer->is_special(258));
  CHECK_FALSE(tokenizer->is_special('a'));
  CHECK(tokenizer->vocab() == 259);
}

TEST_CASE("decoding gives valid UTF-8 whatever the ids") {
  auto tokenizer = make(make_byte_tokenizer());
  auto decode = [&](const std::string &bytes) {
    std::vector<int32_t> ids;
    for (char c : bytes) ids.push_back(static_cast<uint8_t>(c));
    return tokenizer->decode(ids);
  };
  const std::string kReplaced = "\xef\xbf\xbd";
  CHECK(decode("caf\xc3\xa9") == "caf\xc3\xa9");
  CHECK(decode("caf\xc3") == "caf" + kReplaced);  // cut off at the end: replaced too
  CHECK(decode("x\xf0\x9f\x91") == "x" + kReplaced);
  CHECK(decode("a\xc3z") == "a" + kReplaced + "z");                    // cut off in the middle: replaced
  CHECK(decode("\xf0\x9f\x91z") == kReplaced + "z");                   // one mark for a begun character
  CHECK(decode("\xed\xa0\x80") == kReplaced + kReplaced + kReplaced);  // a surrogate is none
  CHECK(decode("\xc0\xaf\xff") == kReplaced + kReplaced + kReplaced);
  CHECK(tokenizer->decode(std::vector<int32_t>{-1, 100000, 'a'}) == "a");
}

TEST_CASE("text that is no UTF-8 is encoded as its repaired form") {
  auto tokenizer = make(make_byte_tokenizer());
  CHECK(tokenizer->encode("a\xff") == tokenizer->encode("a\xef\xbf\xbd"));
}

TEST_CASE("long words and long white space stay fast and whole") {
  auto tokenizer = make(read_tokenizer_json(golden("small_tokenizers")[1]["tokenizer"], "golden"));
  for (std::string text : {std::string(200'000, 'a'), std::string(200'000, ' ') + "x", std::string(100'000, '\n')})
    CHECK(tokenizer->decode(tokenizer->encode(text)) == text);
}

TEST_CASE("ids leave no more holes than a file of so many tokens accounts for") {
  const auto read = [](int64_t id) {
    Json json = write_tokenizer_json(make_byte_tokenizer());
    json["added_tokens"].push_back({{"id", id}, {"content", "<far>"}, {"special", true}});
    return guarded("t", [&] { return read_tokenizer_json(json, "t.json").tokens.size(); });
  };
  auto near = read(1000), far = read(4'000'000);
  REQUIRE(near);
  CHECK(*near == 1001);
  REQUIRE_FALSE(far);
  CHECK(far.error().message.find("token '<far>' has the id 4000000") != std::string::npos);
}

TEST_CASE("a split pattern that tries every way to cut a text is given up") {
  TokenizerData data = make_byte_tokenizer();
  data.splits = {{SplitStep::Kind::regex, "(a|aa)+$", true}};
  auto tokenizer = make(data);
  CHECK(tokenizer->encode("aaaaaaaaaa").size() == 10);
  CHECK_THROWS_AS(tokenizer->encode(std::string(34, 'a') + "b"), std::runtime_error);
}

TEST_CASE("tokenizers that would be read otherwise are refused by name") {
  Json good = golden("small_tokenizers")[0]["tokenizer"];
  auto refusal = [&](auto change) {
    Json json = good;
    change(json);
    try {
      auto made = Tokenizer::make(read_tokenizer_json(json, "t.json"));
      return made ? std::string() : made.error().message;
    } catch (const Fault &fault) {
      return fault.error.message;
    }
  };
  CHECK(refusal([](Json &) {}) == "");
  CHECK(refusal([](Json &j) { j["model"]["type"] = "Unigram"; }).find("Unigram") != std::string::npos);
  CHECK(refusal([](Json &j) { j["normalizer"] = {{"type", "Lowercase"}}; }).find("Lowercase") != std::string::npos);
  CHECK(refusal([](Json &j) { j["pre_tokenizer"] = {{"type", "Metaspace"}}; }).find("Metaspace") != std::string::npos);
  CHECK(refusal([](Json &j) { j["pre_tokenizer"]["pretokenizers"].erase(1); }).find("ByteLevel") != std::string::npos);
  CHECK(refusal([](Json &j) { j["model"]["merges"].push_back({"zzq", "qzz"}); }).find("zzq qzz") != std::string::npos);
  CHECK(refusal([](Json &j) { j["added_tokens"][0]["lstrip"] = true; }).find("lstrip") != std::string::npos);
  CHECK(refusal([](Json &j) { j["added_tokens"][0]["id"] = 1 << 30; }).find("1073741824") != std::string::npos);
  CHECK(refusal([](Json &j) { j["model"].erase("vocab"); }).find("vocab") != std::string::npos);
  auto with_pattern = [&](const char *pattern) {
    return refusal([&](Json &j) {
      j["pre_tokenizer"]["pretokenizers"][0] = {
          {"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
    });
  };
  CHECK(with_pattern("(unclosed").find("(unclosed") != std::string::npos);
  CHECK(with_pattern("[\\S]").find("\\S inside a class") != std::string::npos);
}

TEST_CASE("byte-level spelling goes both ways for every byte") {
  std::string all;
  for (int b = 0; b < 256; ++b) all += static_cast<char>(b);
  CHECK(unspell_bytes(spell_bytes(all)) == all);
  CHECK(spell_bytes(" a\n") ==
        "\xc4\xa0"
        "a\xc4\x8a");
  CHECK_FALSE(unspell_bytes("a b").has_value());
}
