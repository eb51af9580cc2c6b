// An exchange with a real llama-server (llama.cpp, SmolLM2-135M-Instruct Q4_1), kept byte for byte: the plugin must
// send the same requests, and read the same replies.
//
// To record it again: llama-server -m MODEL.gguf --alias smollm2-135m-instruct --host 127.0.0.1 --port PORT -np 1, then
//   GCOP_RECORD_FROM=PORT test_core_http -tc="golden*"
// which sends the plugin's requests on to that server and writes tests/core_http/golden/.
#include <fstream>
#include <iterator>

#include "case.hpp"

namespace {

const std::string kFolder = GCOP_SOURCE_DIR "/tests/core_http/golden/";

std::string read(const std::string &name) {
  std::ifstream in(kFolder + name, std::ios::binary);
  REQUIRE_MESSAGE(in, name);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write(const std::string &name, const std::string &bytes) {
  std::ofstream(kFolder + name, std::ios::binary) << bytes;
}

// The Host field names a port that changes from run to run.
std::string without_host(std::string request) {
  const size_t at = request.find("\r\nHost: ");
  if (at != request.npos) request.erase(at, request.find("\r\n", at + 2) - at);
  return request;
}

// Replays NAME.http (or records it) and checks the request against NAME.request.
std::unique_ptr<driver::Call> exchange(const std::string &name, const driver::Request &request) {
  const char *record = std::getenv("GCOP_RECORD_FROM");
  std::string sent;
  peer::Peer server([&](peer::Link &link, const peer::Request &got) {
    sent = got.head + got.body;
    if (record)
      write(name + ".http", peer::exchange(std::stoi(record), sent));  // llama-server closes after five idle seconds
    return link.write(read(name + ".http"));
  });
  nlohmann::json config = {{"base_url", server.url()}, {"model", "smollm2-135m-instruct"}};
  static std::vector<std::unique_ptr<driver::Core>> cores;  // calls outlive this function
  cores.push_back(std::make_unique<driver::Core>(core_http_plugin(), config.dump()));
  auto call = cores.back()->start(request);
  call->wait();
  if (record) write(name + ".request", without_host(sent));
  CHECK(without_host(sent) == read(name + ".request"));
  return call;
}

}  // namespace

TEST_CASE("golden: a whole reply of llama-server") {
  driver::Request request;
  request.messages =
      R"([{"role":"system","content":"Answer in one short sentence."},{"role":"user","content":"What is a prime number?"}])";
  request.max_tokens = 24;
  request.stop = {"\n"};
  const driver::Reply got = exchange("reply", request)->wait();
  REQUIRE_MESSAGE(got.status == GCOP_OK, got.error);
  const auto body = [] {
    const std::string all = read("reply.http");
    return nlohmann::json::parse(all.substr(all.find("\r\n\r\n") + 4));
  }();
  CHECK(got.texts[0] == body["choices"][0]["message"]["content"]);
  CHECK_FALSE(got.texts[0].empty());
  CHECK(got.finish[0] == body["choices"][0]["finish_reason"]);
  CHECK(got.usage_known);
  CHECK(got.input + got.cache_read == body["usage"]["prompt_tokens"]);
  CHECK(got.cache_read == body["usage"]["prompt_tokens_details"]["cached_tokens"]);
  CHECK(got.output == body["usage"]["completion_tokens"]);
  CHECK(got.model == "smollm2-135m-instruct");
}

TEST_CASE("golden: a stream of llama-server") {
  driver::Request request;
  request.messages = R"([{"role":"user","content":"Name three colours."}])";
  request.max_tokens = 16;
  request.stream = true;
  const auto call = exchange("stream", request);
  const driver::Reply got = call->wait();
  REQUIRE_MESSAGE(got.status == GCOP_OK, got.error);
  std::string joined;
  for (const std::string &part : call->parts()) joined += part;
  CHECK(call->parts().size() > 3);
  CHECK(got.texts[0] == joined);
  CHECK(got.usage_known);
  CHECK(got.output == 16);
  CHECK(got.finish[0] == "length");
}

TEST_CASE("golden: an error of llama-server") {
  driver::Request request;
  request.extra = R"({"response_format":{"type":"nope"}})";
  const driver::Reply got = exchange("error", request)->wait();
  CHECK(got.status == GCOP_INVALID);
  CHECK_MESSAGE(has(got.error, "HTTP 400"), got.error);
  CHECK(has(got.error, "response_format type must be one of"));
  CHECK(got.attempts == 1);
}
