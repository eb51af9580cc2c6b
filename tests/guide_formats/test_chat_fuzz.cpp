// A thousand made-up conversations for each published template render as apply_chat_template renders them, and are
// refused where it refuses them: digests of fifty (golden/chats.json). tests/reference/chat_golden.py makes the same
// conversations: change both or neither.
#include "fuzz_texts.hpp"

using namespace gcop::guide_torch;

namespace {

constexpr uint64_t kCount = 1000, kBlock = 50;

struct Conversation {
  std::vector<Message> messages;
  bool add_generation_prompt;
  TemplateVariables variables;
};

class Conversations {
 public:
  Conversation make(uint64_t number) const {
    Draws draws(1'000'000 + number);
    Conversation made;
    if (draws.below(2)) made.messages.push_back({"system", content(draws)});
    uint64_t turns = draws.below(32) == 0 ? 0 : 1 + draws.below(8);
    for (uint64_t turn = 0; turn < turns; ++turn) {
      static const char *const kRoles[] = {"user", "assistant", "system", "tool", "ipython"};
      const char *role = kRoles[draws.below(16) == 0 ? draws.below(5) : turn % 2];
      made.messages.push_back({role, content(draws)});
    }
    made.add_generation_prompt = draws.below(2) == 1;
    if (uint64_t thinking = draws.below(3)) made.variables["enable_thinking"] = thinking == 1;
    if (draws.below(2)) made.variables["date_string"] = "23 Nov 2026";
    return made;
  }

 private:
  std::string body(Draws &draws) const {
    std::string out;
    for (uint64_t n = 1 + draws.below(4); n > 0; --n) out += fuzz_.piece(draws);
    return out;
  }
  std::string content(Draws &draws) const {
    uint64_t kind = draws.below(8);
    if (kind == 0) return {};
    std::string out;
    if (kind == 1) {
      std::string blank = draws.one(blanks_);
      for (uint64_t n = 1 + draws.below(3); n > 0; --n) out += blank;
    } else if (kind == 2) {
      out = draws.one(blanks_);
      out += body(draws);
      out += draws.one(blanks_);
    } else if (kind <= 5) {
      const std::vector<std::string> &frame = draws.one(frames_);
      out = frame[0] + body(draws);
      out += frame[1] + body(draws);
      out += frame[2];
    } else {
      out = body(draws);
    }
    return out;
  }

  FuzzTexts fuzz_;
  std::vector<std::string> blanks_ = golden("fuzz_pieces")["blanks"];
  std::vector<std::vector<std::string>> frames_ = golden("fuzz_pieces")["frames"];
};

// A published template's text, which is its maker's and not in this tree: $GCOP_TEST_TEMPLATES/NAME.jinja, or the model
// file on this machine; "" = neither.
std::string published(const std::string &name) {
  const char *folder = std::getenv("GCOP_TEST_TEMPLATES");
  const std::string path = std::string(folder ? folder : "") + "/" + name + ".jinja";
  if (folder && fs::exists(path)) return read_file(path);
  const std::string model = find_model(name == "smollm2" ? 98'362'432 : name == "qwen2.5" ? 491'400'064 : 0);
  if (model.empty()) return {};
  auto file = ModelFile::open(model);
  REQUIRE(file);
  return (*file)->chat_template();
}

}  // namespace

TEST_CASE("published templates render made-up conversations as the reference does") {
  Conversations conversations;
  Json reference = golden("chats");
  CHECK(reference.size() == 6);
  for (auto &[name, expected] : reference.items()) {
    CAPTURE(name);
    bool llama = name.starts_with("llama");
    const std::string source = published(name);
    if (source.empty()) {
      MESSAGE("skipped: no template " << name << " (set GCOP_TEST_TEMPLATES to a folder with " << name << ".jinja)");
      continue;
    }
    auto chat = ChatTemplate::parse(source, llama ? "<|begin_of_text|>" : "", llama ? "<|eot_id|>" : "<|im_end|>");
    REQUIRE_MESSAGE(chat, (chat ? "" : chat.error().message));
    size_t refused = 0;
    for (uint64_t at = 0; at < kCount; at += kBlock) {
      Digest digest;
      std::string left;
      for (uint64_t number = at; number < at + kBlock; ++number) {
        Conversation made = conversations.make(number);
        auto text = chat->render(made.messages, made.add_generation_prompt, made.variables);
        refused += text ? 0 : 1;
        digest.add(text ? 0 : 1);
        digest.add_text(text ? *text : "");
        left += Json(text ? *text : "refused: " + text.error().message).dump() + "\n";
      }
      CAPTURE(at);
      CHECK(digest.hex() == expected["digests"][at / kBlock].get<std::string>());
      if (digest.hex() == expected["digests"][at / kBlock]) continue;
      std::string path = (fs::temp_directory_path() / ("gcop-chats-" + name + ".jsonl")).string();
      write_file(path, left);
      MESSAGE("compare " << path << " with: chat_golden.py show " << name << " " << at / kBlock);
    }
    CHECK(refused == expected["refused"].get<size_t>());
  }
}
