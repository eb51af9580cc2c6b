#include "wire.hpp"

#include <algorithm>
#include <map>

#include <nlohmann/json.hpp>

namespace core_http {

using gcop::sdk::Failure;
using gcop::sdk::Reply;
using gcop::sdk::Request;
using nlohmann::json;

namespace {

json parse_object(std::string_view text, const char *what) {
  json value = json::parse(text, nullptr, false);
  if (!value.is_object()) throw Failure(GCOP_INVALID, std::string("core_http: ") + what + " must be one JSON object");
  return value;
}

// Member of an object, or null for anything else: peers send null and wrong types in every place.
const json &member(const json &object, const char *name) {
  static const json kNull;
  if (!object.is_object()) return kNull;
  const auto it = object.find(name);
  return it == object.end() ? kNull : *it;
}

constexpr uint64_t kMostTokens = 1'000'000'000;  // of one call

uint64_t count(const json &value) {
  if (value.is_number_unsigned()) return value.get<uint64_t>();
  if (value.is_number_integer()) return static_cast<uint64_t>(std::max<int64_t>(0, value.get<int64_t>()));
  if (value.is_number_float()) {
    const double number = value.get<double>();
    return number > 0 && number < 1e15 ? static_cast<uint64_t>(number) : 0;
  }
  return 0;
}

std::string text_of(const json &value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_null()) return {};
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

// content is a string, null, or a list of {"type":"text","text":...}.
std::string content_of(const json &message) {
  const json &content = member(message, "content");
  if (content.is_string()) return content.get<std::string>();
  std::string out;
  if (content.is_array())
    for (const json &piece : content)
      if (member(piece, "text").is_string()) out += member(piece, "text").get<std::string>();
  return out;
}

PeerError error_of(const json &value) {
  PeerError out;
  if (!value.is_object()) return {text_of(value), "", "", 0};
  out.message = text_of(member(value, "message"));
  if (out.message.empty()) out.message = text_of(member(value, "detail"));
  if (out.message.empty()) out.message = excerpt(value.dump(-1, ' ', false, json::error_handler_t::replace));
  out.type = text_of(member(value, "type"));
  const json &code = member(value, "code");
  if (code.is_number())
    out.number = static_cast<unsigned>(std::min<uint64_t>(count(code), 999));
  else
    out.code = text_of(code);
  return out;
}

std::optional<PeerError> find_error(const json &body) {
  if (!body.is_object()) return std::nullopt;
  if (const json &nested = member(body, "error"); !nested.is_null()) return error_of(nested);
  if (member(body, "object") == "error") return error_of(body);
  if (const json &detail = member(body, "detail"); !detail.is_null() && !body.contains("choices"))
    return PeerError{text_of(detail), "", "", 0};
  return std::nullopt;
}

// prompt_tokens includes the cached ones and completion_tokens the reasoning: taken apart here, once.
bool read_usage(const json &usage, Reply &out) {
  if (!usage.is_object()) return false;
  for (const char *total : {"prompt_tokens", "completion_tokens"})  // a bill is not made of nonsense
    if (const json &n = member(usage, total); !n.is_number_unsigned() || n.get<uint64_t>() > kMostTokens) return false;
  const uint64_t prompt = count(member(usage, "prompt_tokens"));
  const json &in = member(usage, "prompt_tokens_details");
  out.cache_read_tokens = std::min(prompt, count(member(in, "cached_tokens")));
  out.cache_write_tokens = std::min(prompt - out.cache_read_tokens, count(member(in, "cache_write_tokens")));
  out.input_tokens = prompt - out.cache_read_tokens - out.cache_write_tokens;
  const uint64_t completion = count(member(usage, "completion_tokens"));
  out.reasoning_tokens =
      std::min(completion, count(member(member(usage, "completion_tokens_details"), "reasoning_tokens")));
  out.output_tokens = completion - out.reasoning_tokens;
  out.usage_known = true;
  return true;
}

// About four bytes a token; marked as an estimate.
void estimate_usage(Reply &reply, size_t prompt_bytes) {
  size_t bytes = 0;
  for (const std::string &text : reply.texts) bytes += text.size();
  reply.input_tokens = (prompt_bytes + 3) / 4;
  reply.output_tokens = (bytes + 3) / 4;
  reply.usage_known = false;
}

}  // namespace

std::string excerpt(std::string_view bytes, size_t limit) {
  std::string out;
  for (const char c : bytes.substr(0, limit)) out += c >= 0x20 && c < 0x7f ? c : '.';
  return bytes.size() > limit ? out + "..." : out;
}

std::string build_body(const Config &config, const Request &request, bool stream) {
  if (!request.prefix.empty())
    throw Failure(GCOP_UNSUPPORTED, "core_http: an API core cannot continue a given answer; drop 'prefix'");
  json body;
  body["model"] = config.model;
  body["messages"] = json::parse(request.messages_json, nullptr, false);
  if (!body["messages"].is_array() || body["messages"].empty())
    throw Failure(GCOP_INVALID, "core_http: messages must be a JSON list that is not empty");
  body[config.max_tokens_field] = request.max_tokens;
  if (request.temperature >= 0) body["temperature"] = request.temperature;
  body["top_p"] = request.top_p;  // also when off: servers have other defaults
  if (request.n_choices > 1) body["n"] = request.n_choices;
  // Servers read a seed as anything from 32 to 64 bits, signed or not: 31 bits fit them all.
  if (config.send_seed) body["seed"] = (request.seed ^ request.seed >> 31) & 0x7fffffff;
  if (!request.stop.empty()) body["stop"] = std::vector<std::string>(request.stop.begin(), request.stop.end());
  body.merge_patch(parse_object(config.extra_json, "extra"));
  if (!request.extra_json.empty()) {
    const json extra = parse_object(request.extra_json, "a request's extra");
    if (extra.contains("stream"))
      throw Failure(GCOP_INVALID, "core_http: a request's extra must not set 'stream': the host decides about it");
    body.merge_patch(extra);
  }
  if (stream) body["stream"] = true, body["stream_options"] = {{"include_usage", true}};
  return body.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::optional<PeerError> parse_error(std::string_view body) { return find_error(json::parse(body, nullptr, false)); }

Parsed parse_reply(std::string_view bytes, size_t prompt_bytes) {
  Parsed out;
  const json body = json::parse(bytes, nullptr, false);
  if (body.is_discarded()) {
    out.broken = "the reply is not JSON: \"" + excerpt(bytes) + "\"";
    return out;
  }
  if ((out.error = find_error(body))) return out;
  const json &choices = member(body, "choices");
  if (!choices.is_array() || choices.empty()) {
    out.broken = "the reply has no choices: \"" + excerpt(bytes) + "\"";
    return out;
  }
  Reply reply;
  reply.texts.resize(choices.size());
  reply.finish.assign(choices.size(), "unknown");
  for (size_t i = 0; i < choices.size(); ++i) {
    const json &index = member(choices[i], "index"), &message = member(choices[i], "message");
    const size_t at = index.is_number() ? count(index) : i;
    if (at >= choices.size() || !message.is_object()) {
      out.broken = "choice " + std::to_string(i) + " of the reply is malformed: \"" + excerpt(bytes) + "\"";
      return out;
    }
    reply.texts[at] = content_of(message);
    if (const json &finish = member(choices[i], "finish_reason"); finish.is_string()) reply.finish[at] = finish;
    if (const json &refusal = member(message, "refusal"); refusal.is_string() && reply.texts[at].empty()) {
      reply.texts[at] = refusal;
      reply.finish[at] = "refusal";
    }
  }
  if (!read_usage(member(body, "usage"), reply)) estimate_usage(reply, prompt_bytes);
  if (member(body, "model").is_string()) reply.served_model = body["model"];
  out.reply = std::move(reply);
  return out;
}

struct StreamReader::State {
  Part part;
  size_t prompt_bytes;
  std::string line, event;                                          // unfinished line; data of the unfinished event
  std::map<uint64_t, std::pair<std::string, std::string>> choices;  // text and finish reason
  Reply usage;                                                      // only its token counts and model
  std::optional<PeerError> error;
  std::string broken;
  bool done = false, delivered = false;

  bool take_event();
  void take_choice(const json &choice);
};

StreamReader::StreamReader(Part part, size_t prompt_bytes) : state_(std::make_unique<State>()) {
  state_->part = std::move(part);
  state_->prompt_bytes = prompt_bytes;
}
StreamReader::~StreamReader() = default;

bool StreamReader::feed(std::string_view bytes) {
  State &s = *state_;
  for (const char c : bytes) {
    if (c != '\n') {
      s.line += c;
      continue;
    }
    if (!s.line.empty() && s.line.back() == '\r') s.line.pop_back();
    if (s.line.empty()) {
      if (!s.take_event()) return false;
    } else if (s.line.compare(0, 5, "data:") == 0) {
      if (!s.event.empty()) s.event += '\n';
      s.event += s.line.substr(s.line.size() > 5 && s.line[5] == ' ' ? 6 : 5);
    }  // other fields and comments (keep-alives) carry nothing
    s.line.clear();
  }
  return true;
}

bool StreamReader::State::take_event() {
  if (event.empty() || done) return event.clear(), true;
  if (event == "[DONE]") return done = true, event.clear(), true;
  const json body = json::parse(event, nullptr, false);
  if (!body.is_object()) {
    broken = "an event of the stream is not JSON: \"" + excerpt(event) + "\"";
    return false;
  }
  event.clear();
  if ((error = find_error(body))) return false;
  read_usage(member(body, "usage"), usage);
  if (member(body, "model").is_string()) usage.served_model = body["model"];
  // The chunk with the usage has no choices.
  if (const json &list = member(body, "choices"); list.is_array())
    for (const json &choice : list) take_choice(choice);
  return true;
}

void StreamReader::State::take_choice(const json &choice) {
  const uint64_t index = count(member(choice, "index"));
  auto &[text, finish] = choices[index];
  if (const json &reason = member(choice, "finish_reason"); reason.is_string()) finish = reason;
  const std::string piece = content_of(member(choice, "delta"));
  if (piece.empty()) return;
  text += piece;
  delivered = true;
  if (part) part(static_cast<uint32_t>(index), piece);
}

bool StreamReader::delivered() const { return state_->delivered; }

Reply StreamReader::partial() const {
  Reply out = state_->usage;
  for (const auto &[index, choice] : state_->choices) {
    out.texts.push_back(choice.first);
    out.finish.push_back(choice.second.empty() ? "cut" : choice.second);
  }
  if (!out.usage_known) estimate_usage(out, state_->prompt_bytes);
  return out;
}

Parsed StreamReader::finish() const {
  Parsed out;
  const bool all_ended = std::all_of(state_->choices.begin(), state_->choices.end(),
                                     [](const auto &each) { return !each.second.second.empty(); });
  if (state_->error)
    out.error = state_->error;
  else if (!state_->broken.empty())
    out.broken = state_->broken;
  else if (state_->choices.empty())
    out.broken = "the stream ended without a choice";
  else if (!all_ended)
    out.broken = "the stream ended in the middle of the answer";
  else
    out.reply = partial();
  return out;
}

}  // namespace core_http
