#include "config.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <set>

#include <gcop/plugin.hpp>
#include <nlohmann/json.hpp>

namespace core_http {

using gcop::sdk::Failure;
using nlohmann::json;

const char kConfigSchema[] = R"({
  "type": "object",
  "required": ["base_url", "model"],
  "additionalProperties": false,
  "properties": {
    "base_url": {"type": "string", "description": "http[s]://host[:port]/path; /chat/completions is appended"},
    "model": {"type": "string"},
    "key_env": {"type": "string", "description": "name of the environment variable that holds the API key"},
    "api": {"enum": ["openai"], "default": "openai"},
    "connect_ms": {"type": "integer", "minimum": 1, "default": 10000},
    "first_byte_ms": {"type": "integer", "minimum": 1, "default": 300000},
    "idle_ms": {"type": "integer", "minimum": 1, "default": 60000},
    "total_ms": {"type": "integer", "minimum": 1, "default": 600000},
    "max_retries": {"type": "integer", "minimum": 0, "maximum": 20, "default": 4},
    "backoff_ms": {"type": "integer", "minimum": 1, "default": 500},
    "ca_file": {"type": "string", "description": "PEM file trusted instead of the system's CA certificates"},
    "max_tokens_field": {"enum": ["max_tokens", "max_completion_tokens"], "default": "max_tokens"},
    "send_seed": {"type": "boolean", "default": true},
    "extra": {"type": "object", "description": "merged into each request; null removes a field"}
  }
})";

namespace {

Failure wrong(const std::string &message) { return {GCOP_INVALID, "core_http: " + message}; }

bool is_ip(const std::string &host) {
  unsigned char buffer[16];
  return inet_pton(AF_INET, host.c_str(), buffer) == 1 || inet_pton(AF_INET6, host.c_str(), buffer) == 1;
}

std::string text_field(const json &config, const char *name, const std::string &fallback) {
  if (!config.contains(name)) return fallback;
  const json &value = config[name];
  if (!value.is_string() || value.get_ref<const std::string &>().empty())
    throw wrong(std::string(name) + " must be a string that is not empty, got " + value.dump().substr(0, 60));
  return value.get<std::string>();
}

uint64_t count_field(const json &config, const char *name, uint64_t fallback, uint64_t least, uint64_t most) {
  if (!config.contains(name)) return fallback;
  const json &value = config[name];
  if (!value.is_number_integer() || value < least || value > most)
    throw wrong(std::string(name) + " must be a whole number from " + std::to_string(least) + " to " +
                std::to_string(most) + ", got " + value.dump().substr(0, 60));
  return value.get<uint64_t>();
}

std::chrono::milliseconds clock_field(const json &config, const char *name, std::chrono::milliseconds fallback) {
  constexpr uint64_t kDay = 24u * 3600 * 1000;
  return std::chrono::milliseconds(count_field(config, name, static_cast<uint64_t>(fallback.count()), 1, kDay));
}

Secret read_key(const std::string &variable) {
  const char *value = std::getenv(variable.c_str());
  if (!value || !*value)
    throw wrong("the environment variable " + variable + " (key_env) is not set; export it or drop key_env");
  std::string key = value;
  while (!key.empty() && std::isspace(static_cast<unsigned char>(key.back()))) key.pop_back();
  const bool clean = std::all_of(key.begin(), key.end(), [](unsigned char c) { return c > 0x20 && c < 0x7f; });
  if (key.empty() || !clean)
    throw wrong("the key in the environment variable " + variable +
                " holds blanks or control characters; set it to "
                "the bare key");
  return Secret(std::move(key));
}

}  // namespace

Endpoint parse_base_url(std::string_view url) {
  // Rationale: up to the check for credentials and queries, errors must not repeat the URL.
  Endpoint out;
  if (url.substr(0, 7) == "http://")
    url.remove_prefix(7);
  else if (url.substr(0, 8) == "https://")
    out.tls = true, url.remove_prefix(8);
  else
    throw wrong("base_url must start with http:// or https://");
  if (url.find_first_of("?#") != url.npos) throw wrong("base_url must not carry a query or a fragment");
  const size_t slash = std::min(url.find('/'), url.size());
  const std::string authority(url.substr(0, slash));
  out.path = url.substr(slash);
  while (!out.path.empty() && out.path.back() == '/') out.path.pop_back();
  if (authority.find('@') != authority.npos)
    throw wrong("base_url must not carry credentials; put the key into an environment variable and name it in key_env");
  const bool printable = std::all_of(url.begin(), url.end(), [](unsigned char c) { return c > 0x20 && c < 0x7f; });
  if (!printable) throw wrong("base_url must be plain ASCII without blanks");

  size_t colon;
  if (!authority.empty() && authority[0] == '[') {
    const size_t close = authority.find(']');
    if (close == authority.npos) throw wrong("base_url host '" + authority + "': ']' is missing");
    out.host = authority.substr(1, close - 1);
    colon = close + 1;
    if (colon < authority.size() && authority[colon] != ':')
      throw wrong("base_url host '" + authority + "': a port after ']' starts with ':'");
  } else {
    colon = std::min(authority.find(':'), authority.size());
    out.host = authority.substr(0, colon);
  }
  if (out.host.empty()) throw wrong("base_url has no host name");
  out.port = out.tls ? "443" : "80";
  out.host_header = authority.substr(0, colon);
  if (colon < authority.size()) {
    const std::string port = authority.substr(colon + 1);
    const bool digits = !port.empty() && port.size() <= 5 &&
                        std::all_of(port.begin(), port.end(), [](unsigned char c) { return std::isdigit(c); });
    if (!digits || std::stoi(port) < 1 || std::stoi(port) > 65535)
      throw wrong("base_url port '" + port + "' must be a number from 1 to 65535");
    if (port != out.port) out.host_header += ':' + port;
    out.port = port;
  }
  out.numeric = is_ip(out.host);
  return out;
}

Config parse_config(std::string_view text) {
  const json config = json::parse(text, nullptr, false);
  if (!config.is_object()) throw wrong("the configuration must be one JSON object");
  static const std::set<std::string> kKnown = {
      "base_url", "model",       "key_env",    "api",     "connect_ms",       "first_byte_ms", "idle_ms",
      "total_ms", "max_retries", "backoff_ms", "ca_file", "max_tokens_field", "send_seed",     "extra"};
  for (const auto &[name, value] : config.items()) {
    if (kKnown.count(name)) continue;
    std::string known;
    for (const std::string &each : kKnown) known += (known.empty() ? "" : ", ") + each;
    throw wrong("unknown option '" + name + "'; known ones are " + known);
  }
  for (const char *required : {"base_url", "model"})
    if (!config.contains(required)) throw wrong(std::string(required) + " is missing");

  Config out;
  if (const std::string api = text_field(config, "api", "openai"); api != "openai")
    throw wrong("api '" + api + "' is not known; this connector speaks \"openai\"");
  out.base_url = text_field(config, "base_url", "");
  out.endpoint = parse_base_url(out.base_url);
  while (out.base_url.back() == '/') out.base_url.pop_back();
  out.model = text_field(config, "model", "");
  out.clocks.connect = clock_field(config, "connect_ms", out.clocks.connect);
  out.clocks.first_byte = clock_field(config, "first_byte_ms", out.clocks.first_byte);
  out.clocks.idle = clock_field(config, "idle_ms", out.clocks.idle);
  out.clocks.total = clock_field(config, "total_ms", out.clocks.total);
  out.max_retries = static_cast<uint32_t>(count_field(config, "max_retries", out.max_retries, 0, 20));
  out.backoff = clock_field(config, "backoff_ms", out.backoff);
  out.ca_file = text_field(config, "ca_file", "");
  out.max_tokens_field = text_field(config, "max_tokens_field", out.max_tokens_field);
  if (out.max_tokens_field != "max_tokens" && out.max_tokens_field != "max_completion_tokens")
    throw wrong("max_tokens_field must be max_tokens or max_completion_tokens, got '" + out.max_tokens_field + "'");
  if (config.contains("send_seed")) {
    if (!config["send_seed"].is_boolean()) throw wrong("send_seed must be true or false");
    out.send_seed = config["send_seed"].get<bool>();
  }
  if (config.contains("extra")) {
    if (!config["extra"].is_object()) throw wrong("extra must be a JSON object");
    if (config["extra"].contains("stream")) throw wrong("extra must not set 'stream': the host decides about it");
    out.extra_json = config["extra"].dump();
  }
  out.key_env = text_field(config, "key_env", "");
  if (!out.key_env.empty()) out.key = read_key(out.key_env);
  return out;
}

}  // namespace core_http
