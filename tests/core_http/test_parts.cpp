// The pure parts: configuration, wire formats under damaged bytes, waits.
#include <fstream>
#include <iterator>
#include <random>

#include "case.hpp"
#include "config.hpp"
#include "retry.hpp"
#include "wire.hpp"

using namespace core_http;
using nlohmann::json;
using std::chrono::milliseconds;

namespace {

std::string refusal(const json &config) {
  driver::Core core(core_http_plugin(), config.dump());
  CHECK_FALSE(core);
  CHECK(core.status == GCOP_INVALID);
  CHECK_FALSE(has(core.why, kCanary));
  return core.why;
}

std::string read(const std::string &name) {
  std::ifstream in(GCOP_SOURCE_DIR "/tests/core_http/golden/" + name, std::ios::binary);
  REQUIRE_MESSAGE(in, name);
  return {std::istreambuf_iterator<char>(in), {}};
}

// The events of a chunked reply.
std::string unchunk(const std::string &reply) {
  std::string out;
  for (size_t at = reply.find("\r\n\r\n") + 4; at < reply.size();) {
    const size_t size = std::stoul(reply.substr(at), nullptr, 16);
    const size_t data = reply.find("\r\n", at) + 2;
    out += reply.substr(data, size);
    at = data + size + 2;
  }
  return out;
}

}  // namespace

TEST_CASE("create refuses what it cannot use, and says what") {
  const json good = json::parse(HttpCore::config("http://h/v1"));
  const auto with = [&](const char *name, const json &value) {
    json config = good;
    config[name] = value;
    return refusal(config);
  };
  unsetenv("GCOP_TEST_ABSENT");
  CHECK(has(with("key_env", "GCOP_TEST_ABSENT"), "GCOP_TEST_ABSENT"));
  setenv("GCOP_TEST_ABSENT", "two words", 1);
  const std::string blanks = with("key_env", "GCOP_TEST_ABSENT");
  CHECK(has(blanks, "GCOP_TEST_ABSENT"));
  CHECK_FALSE(has(blanks, "two words"));
  CHECK(has(with("modle", "x"), "unknown option 'modle'"));
  CHECK(has(with("modle", "x"), "max_retries"));
  CHECK(has(with("model", ""), "model"));
  CHECK(has(with("model", 7), "model"));
  CHECK(has(with("api", "soap"), "soap"));
  CHECK(has(with("idle_ms", 0), "idle_ms"));
  CHECK(has(with("idle_ms", -5), "-5"));
  CHECK(has(with("idle_ms", 1.5), "1.5"));
  CHECK(has(with("max_retries", 21), "20"));
  CHECK(has(with("max_tokens_field", "n"), "max_completion_tokens"));
  CHECK(has(with("extra", 3), "extra"));
  CHECK(has(with("extra", {{"stream", true}}), "stream"));
  CHECK(has(refusal(json::array()), "JSON object"));
  CHECK(has(refusal({{"model", "m"}}), "base_url is missing"));
  CHECK(has(with("base_url", "ftp://h"), "http://"));
  CHECK(has(with("base_url", "http://"), "host"));
  CHECK(has(with("base_url", "http://h:0"), "port '0'"));
  CHECK(has(with("base_url", "http://h:99999"), "99999"));
  CHECK(has(with("base_url", "http://h:8o"), "8o"));
  CHECK(has(with("base_url", "http://[::1"), "]"));
  CHECK(has(with("base_url", "http://a b"), "blanks"));
  const std::string credentials = with("base_url", std::string("http://u:") + kCanary + "@h/v1");
  CHECK(has(credentials, "key_env"));
  const std::string query = with("base_url", std::string("http://h/v1?key=") + kCanary);
  CHECK(has(query, "query"));
}

TEST_CASE("base URLs") {
  const Endpoint plain = parse_base_url("http://api.example/v1/");
  CHECK_FALSE(plain.tls);
  CHECK(plain.host == "api.example");
  CHECK(plain.port == "80");
  CHECK(plain.path == "/v1");
  CHECK(plain.host_header == "api.example");
  const Endpoint six = parse_base_url("https://[::1]:8443");
  CHECK(six.tls);
  CHECK(six.host == "::1");
  CHECK(six.port == "8443");
  CHECK(six.path.empty());
  CHECK(six.host_header == "[::1]:8443");
  CHECK(six.numeric);
  CHECK(parse_base_url("https://h:443").host_header == "h");
}

TEST_CASE("waits that peers ask for") {
  const std::time_t now = 1445412480;  // Wed, 21 Oct 2015 07:28:00 GMT
  CHECK(parse_retry_after("", "2", now) == milliseconds(2000));
  CHECK(parse_retry_after("", "1.5", now) == milliseconds(1500));
  CHECK(parse_retry_after("250", "2", now) == milliseconds(250));
  CHECK(parse_retry_after("", "Wed, 21 Oct 2015 07:28:30 GMT", now) == milliseconds(30000));
  CHECK(parse_retry_after("", "Wed, 21 Oct 2015 07:00:00 GMT", now) == milliseconds(0));
  for (const char *nonsense : {"", "soon", "-1", "nan", "2 s", "Wed, 21 Oct"})
    CHECK_FALSE(parse_retry_after("", nonsense, now));
  CHECK(parse_retry_after("", "1e300", now)->count() > 0);
}

TEST_CASE("own waits double, end at 16 times the first, and differ from call to call") {
  for (uint32_t attempt = 1; attempt < 40; ++attempt) {
    const milliseconds whole = milliseconds(400) * (1 << std::min(attempt - 1, 4u));
    for (uint64_t salt = 0; salt < 50; ++salt) {
      const milliseconds wait = backoff(milliseconds(400), attempt, salt);
      CHECK(wait >= whole * 3 / 4);
      CHECK(wait <= whole);
    }
  }
  CHECK(backoff(milliseconds(400), 1, 1) != backoff(milliseconds(400), 1, 2));
}

TEST_CASE("damaged replies are errors, never crashes") {
  const std::string whole = read("reply.http");
  const std::string body = whole.substr(whole.find("\r\n\r\n") + 4);
  REQUIRE(parse_reply(body, 10).reply);
  std::mt19937 random(5);
  for (size_t cut = 0; cut < body.size(); ++cut) CHECK_FALSE(parse_reply(body.substr(0, cut), 10).reply);
  for (int i = 0; i < 3000; ++i) {
    std::string damaged = body;
    for (int flips = 0; flips < 3; ++flips) damaged[random() % damaged.size()] = static_cast<char>(random());
    const Parsed parsed = parse_reply(damaged, 10);
    CHECK(parsed.reply.has_value() + parsed.error.has_value() + !parsed.broken.empty() == 1);
  }
}

TEST_CASE("a stream means the same however the network cuts it, and damage never crashes the reader") {
  const std::string whole = unchunk(read("stream.http"));
  const auto run = [](const std::string &bytes, size_t piece) {
    std::string parts;
    StreamReader reader([&](uint32_t, std::string_view text) { parts += text; }, 10);
    for (size_t at = 0; at < bytes.size(); at += piece)
      if (!reader.feed(std::string_view(bytes).substr(at, piece))) break;
    const Parsed parsed = reader.finish();
    CHECK(parsed.reply.has_value() + parsed.error.has_value() + !parsed.broken.empty() == 1);
    if (parsed.reply) CHECK(parsed.reply->texts == std::vector<std::string>{parts});
    return parsed;
  };
  const Parsed once = run(whole, whole.size());
  REQUIRE(once.reply);
  CHECK(once.reply->usage_known);
  for (const size_t piece : {1, 2, 3, 7, 64, 1000}) CHECK(run(whole, piece).reply->texts == once.reply->texts);
  std::mt19937 random(6);
  for (int i = 0; i < 1000; ++i) {
    std::string damaged = whole;
    for (int flips = 0; flips < 4; ++flips) damaged[random() % damaged.size()] = static_cast<char>(random());
    const std::string bytes = damaged.substr(0, random() % damaged.size() + 1);
    StreamReader reader([](uint32_t, std::string_view) {}, 10);
    reader.feed(bytes);
    const Parsed parsed = reader.finish();
    CHECK(parsed.reply.has_value() + parsed.error.has_value() + !parsed.broken.empty() == 1);
  }
}
