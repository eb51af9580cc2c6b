// What create() is told: endpoint, model, clocks, retries. Read once, then immutable: any thread.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "secret.hpp"

namespace core_http {

// The parts of "http[s]://host[:port][/path]".
struct Endpoint {
  bool tls = false;
  std::string host;  // without brackets
  std::string port;
  std::string path;         // without a trailing slash; may be empty
  std::string host_header;  // host, in brackets if it is IPv6, with the port unless it is the scheme's own
  bool numeric = false;     // host is an IP address: no SNI, the certificate must name the address
};

// Throws gcop::sdk::Failure. Credentials and queries are refused, because URLs end up in logs.
Endpoint parse_base_url(std::string_view url);

// Four clocks. The first three run anew in each attempt, total runs over the whole call, waits between attempts
// included.
struct Clocks {
  std::chrono::milliseconds connect{10'000};      // name resolution, TCP and TLS handshake
  std::chrono::milliseconds first_byte{300'000};  // from sending the request to the reply's header
  std::chrono::milliseconds idle{60'000};         // between two pieces of the reply's body
  std::chrono::milliseconds total{600'000};
};

struct Config {
  std::string base_url;
  Endpoint endpoint;
  std::string model;
  std::string key_env;  // empty: no Authorization header
  Secret key;
  Clocks clocks;
  uint32_t max_retries = 4;
  std::chrono::milliseconds backoff{500};  // first wait; doubles up to 16 times itself
  std::string ca_file;                     // empty: the system's CA certificates
  std::string max_tokens_field = "max_tokens";
  bool send_seed = true;
  std::string extra_json = "{}";  // merged into each request; null removes a field
};

inline constexpr uint64_t kBodyLimit = 16u << 20;  // of a reply; no honest chat completion comes near it

extern const char kConfigSchema[];
Config parse_config(std::string_view json);  // throws gcop::sdk::Failure; reads the key from the environment

}  // namespace core_http
