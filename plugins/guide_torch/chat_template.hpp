// Renders a model's own Jinja chat template over a conversation, as Hugging Face's apply_chat_template does.
// The subset of Jinja that chat templates use; anything else is an error that names it, never silently other text.
// Parsed once per model; then any thread, concurrently.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "base/result.hpp"

namespace gcop::guide_torch {

struct Message {
  std::string role, content;
};

// What a caller may say to a template beyond the messages, by the names templates read: enable_thinking, date_string.
// A name that is not given is undefined to the template.
using TemplateVariables = std::map<std::string, std::variant<bool, std::string>>;

// ChatML without a default system message: for models that bring no template of their own.
extern const char *const kChatMlTemplate;

class ChatTemplate {
 public:
  // bos_token and eos_token are the texts a template may print by these names.
  static Result<ChatTemplate> parse(const std::string &source, const std::string &bos_token = {},
                                    const std::string &eos_token = {});
  // invalid = there is no message, the template itself refused the messages (raise_exception) or met something it
  // cannot do.
  Result<std::string> render(const std::vector<Message> &messages, bool add_generation_prompt,
                             const TemplateVariables &variables = {}) const;

 private:
  struct Parsed;
  std::shared_ptr<const Parsed> parsed_;
};

}  // namespace gcop::guide_torch
