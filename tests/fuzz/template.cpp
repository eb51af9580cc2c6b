// A chat template NUL a message: parsed, and rendered over a small conversation.
#include "chat_template.hpp"
#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  using namespace gcop::guide_torch;
  const fuzz::Bounds bounds(size, 16 << 20, 64);
  const auto parts = fuzz::parts_of({data, size}, 2);
  const auto made = ChatTemplate::parse(std::string(fuzz::text_of(parts[0])), "<s>", "</s>");
  if (!made) return fuzz::check_refusal(made.error()), 0;
  const std::string words = parts[1].empty() ? " two\nwords " : valid_utf8(fuzz::text_of(parts[1]), false);
  const std::vector<Message> messages = {
      {"system", "brief"}, {"user", words}, {"assistant", "<think>\nso\n</think>\nyes"}, {"user", ""}};
  for (bool prompt : {true, false}) {
    const auto text = made->render(messages, prompt, {{"enable_thinking", prompt}});
    if (!text) return fuzz::check_refusal(text.error()), 0;
  }
  return 0;
}
