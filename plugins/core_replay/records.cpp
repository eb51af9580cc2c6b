#include "records.hpp"

#include <openssl/evp.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <nlohmann/json.hpp>

namespace core_replay {

using gcop::sdk::Failure;
using gcop::sdk::Reply;
using gcop::sdk::Request;
using nlohmann::json;

namespace {

std::string sha256_hex(std::string_view bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int n = 0;
  EVP_Digest(bytes.data(), bytes.size(), digest, &n, EVP_sha256(), nullptr);
  std::string out;
  for (unsigned int i = 0; i < n; ++i) {
    out += "0123456789abcdef"[digest[i] >> 4];
    out += "0123456789abcdef"[digest[i] & 15];
  }
  return out;
}

std::string dump(const json &value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

json extra_or_empty(const json &extra) { return extra.is_object() ? extra : json::object(); }

// One spelling for one request: keys sorted, numbers typed.
std::string key_of(const json &messages, std::string_view prefix, const json &extra, const json &stop,
                   uint32_t max_tokens, double temperature, double top_p, uint64_t sample) {
  return dump({{"messages", messages},
               {"prefix", prefix},
               {"extra", extra},
               {"stop", stop},
               {"max_tokens", max_tokens},
               {"temperature", temperature},
               {"top_p", top_p},
               {"sample", sample}});
}

// The first 120 characters (not bytes) of the last message, on one line.
std::string last_words(const json &messages) {
  if (!messages.is_array() || messages.empty() || !messages.back().is_object()) return "";
  const auto content = messages.back().find("content");
  if (content == messages.back().end() || !content->is_string()) return "";
  std::string out;
  size_t characters = 0;
  for (const char c : content->get_ref<const std::string &>()) {
    const bool starts = (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    if (starts && ++characters > 120) return out + "...";
    out += c == '\n' || c == '\r' || c == '\t' ? ' ' : c;
  }
  return out;
}

template <class T>
T value_or(const json &object, const char *name, T fallback) {
  const auto it = object.find(name);
  return it == object.end() || it->is_null() ? fallback : it->get<T>();
}

Reply read_reply(const json &in) {
  Reply out;
  out.texts = {in.at("text").get<std::string>()};
  out.finish = {value_or<std::string>(in, "finish", "stop")};
  out.served_model = value_or<std::string>(in, "model", "");
  out.input_tokens = value_or<uint64_t>(in, "input", 0);
  out.cache_read_tokens = value_or<uint64_t>(in, "cache_read", 0);
  out.cache_write_tokens = value_or<uint64_t>(in, "cache_write", 0);
  out.output_tokens = value_or<uint64_t>(in, "output", 0);
  out.reasoning_tokens = value_or<uint64_t>(in, "reasoning", 0);
  const auto known = in.find("usage_known");  // SQLite says 0 or 1
  out.usage_known = known == in.end()     ? in.contains("output")
                    : known->is_boolean() ? known->get<bool>()
                                          : known->get<int>() != 0;
  out.attempts = 0;  // nothing was sent
  return out;
}

}  // namespace

Records::Records(const std::string &file) : file_(file) {
  if (std::filesystem::is_directory(file))
    throw Failure(GCOP_INVALID, "core_replay: " + file + " is a folder; name a file");
  std::ifstream in(file, std::ios::binary);
  if (!in) throw Failure(GCOP_INVALID, "core_replay: cannot read " + file + ": " + std::strerror(errno));
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  sha256_ = sha256_hex(bytes);
  size_t number = 0;
  for (size_t at = 0; at < bytes.size();) {
    const size_t end = std::min(bytes.find('\n', at), bytes.size());
    const std::string_view line = std::string_view(bytes).substr(at, end - at);
    at = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") != line.npos) add(line, number);
  }
  if (replies_.empty()) throw Failure(GCOP_INVALID, "core_replay: " + file + " holds no recorded call");
}

void Records::add(std::string_view line, size_t number) {
  try {
    const json record = json::parse(line);
    const json &request = record.at("request");
    const json &messages = request.at("messages");
    if (!messages.is_array() || messages.empty())
      throw Failure(GCOP_INVALID, "\"messages\" must be a list that is not empty");
    std::string key =
        key_of(messages, value_or<std::string>(request, "prefix", ""), extra_or_empty(request.value("extra", json())),
               json(value_or<std::vector<std::string>>(request, "stop", {})),
               value_or<uint32_t>(request, "max_tokens", 512), value_or<double>(request, "temperature", 0),
               value_or<double>(request, "top_p", 1), value_or<uint64_t>(record, "sample", 0));
    replies_.insert_or_assign(std::move(key), read_reply(record.at("reply")));
    line_of_messages_.emplace(dump(messages), number);
  } catch (const std::exception &error) {
    throw Failure(GCOP_INVALID, "core_replay: " + file_ + ":" + std::to_string(number) +
                                    ": not a recorded call {\"request\", \"sample\", \"reply\"}: " + error.what());
  }
}

const Reply &Records::find(const Request &request) const {
  const json messages = json::parse(request.messages_json, nullptr, false);
  const json extra = json::parse(request.extra_json, nullptr, false);
  json stop = json::array();
  for (const std::string_view each : request.stop) stop.push_back(each);
  const std::string key = key_of(messages, request.prefix, extra_or_empty(extra), stop, request.max_tokens,
                                 request.temperature, request.top_p, request.sample_index);
  if (const auto it = replies_.find(key); it != replies_.end()) return it->second;

  std::string message = "core_replay: " + file_ + " has no record of the request \"" + last_words(messages) +
                        "\" (sample " + std::to_string(request.sample_index) + ", hash " +
                        sha256_hex(key).substr(0, 16) + ")";
  const auto near = line_of_messages_.find(dump(messages));
  if (near != line_of_messages_.end())
    message +=
        "; line " + std::to_string(near->second) + " has the same messages with another sample or other parameters";
  else
    message += "; record it first, or ask what was recorded";
  throw Failure(GCOP_INVALID, message);
}

}  // namespace core_replay
