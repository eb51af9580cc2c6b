// A core in one file: answers with the last message, reversed. Stands for any program that turns messages into text.
//
//   local core = gcop.core { plugin = "/path/to/my_core.gcop.so", max_tokens = 64 }
//
// Copy the folder, rename, and replace complete(). It runs on a worker thread of the host and may block; for many
// calls in flight without a thread each, derive from Core instead and answer through its Completion.
#include <algorithm>

#include <gcop/plugin.hpp>
#include <nlohmann/json.hpp>

using namespace gcop::sdk;
using nlohmann::json;

class MyCore : public BlockingCore {
 public:
  MyCore(Host, std::string_view config_json) {
    const json config = json::parse(config_json, nullptr, false);
    if (!config.is_object()) throw Failure(GCOP_INVALID, "my_core: the configuration must be a JSON object");
  }

  // Part of the key under which answers are cached: name whatever changes them. Never a secret.
  std::string_view identity() const override { return "my_core/1"; }

  Reply complete(const Request &request, const Op &op) override {
    const json messages = json::parse(request.messages_json, nullptr, false);
    if (!messages.is_array() || messages.empty() || !messages.back().contains("content"))
      throw Failure(GCOP_INVALID, "my_core: the request has no messages");
    if (op.cancelled()) throw Failure(GCOP_CANCELLED, "my_core: cancelled");
    std::string text = messages.back()["content"];
    std::reverse(text.begin(), text.end());

    Reply reply;
    reply.finish = {text.size() > request.max_tokens ? "length" : "stop"};  // one byte is one token here
    reply.input_tokens = text.size();
    text.resize(std::min<size_t>(text.size(), request.max_tokens));
    reply.output_tokens = text.size();
    reply.usage_known = true;
    reply.texts = {std::move(text)};
    return reply;
  }
};

GCOP_PLUGIN(MyCore, "org.example.my_core", "1.0.0", "says the last message backwards", R"({"type": "object"})")
