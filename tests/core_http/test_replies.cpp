// Good answers, and answers that say no.
#include "case.hpp"

using nlohmann::json;
using peer::completion;
using peer::reply;

TEST_CASE("a good answer, and the request that asked for it") {
  std::string head, body;
  peer::Peer server([&](peer::Link &link, const peer::Request &request) {
    head = request.head;
    body = request.body;
    return link.write(reply(completion("hello")));
  });
  HttpCore core(server.url() + "/", {{"extra", {{"min_p", 0}, {"top_p", nullptr}}}});
  CHECK(core.identity() == "core_http/1 " + server.url() + " m-1");
  CHECK_FALSE(has(core.identity(), kCanary));

  driver::Request request;
  request.messages = R"([{"role":"system","content":"s"},{"role":"user","content":"caf\u00e9"}])";
  request.stop = {"\n\n", "END"};
  request.temperature = 0.5;
  request.extra = R"({"top_k":3})";
  const driver::Reply got = core.ask(request);
  REQUIRE_MESSAGE(got.status == GCOP_OK, got.error);
  CHECK(got.texts == std::vector<std::string>{"hello"});
  CHECK(got.finish == std::vector<std::string>{"stop"});
  CHECK(got.model == "served-1");
  CHECK(got.usage_known);
  CHECK(got.input == 15);  // 20 less 5 cached
  CHECK(got.cache_read == 5);
  CHECK(got.output == 7);  // 9 less 2 of reasoning
  CHECK(got.reasoning == 2);
  CHECK(got.attempts == 1);
  CHECK(got.http_status == 200);

  CHECK(has(head, "POST /v1/chat/completions HTTP/1.1\r\n"));
  CHECK(has(head, "Host: 127.0.0.1:" + std::to_string(server.port()) + "\r\n"));
  CHECK(has(head, std::string("Authorization: Bearer ") + kCanary + "\r\n"));
  const json sent = json::parse(body);
  CHECK(sent == json{{"model", "m-1"},
                     {"messages", json::parse(request.messages)},
                     {"max_tokens", 32},
                     {"temperature", 0.5},
                     {"stop", {"\n\n", "END"}},
                     {"seed", 7},
                     {"min_p", 0},
                     {"top_k", 3}});
}

TEST_CASE("the model's own temperature, several choices, the newer name of max_tokens, no key") {
  std::string head, body;
  peer::Peer server([&](peer::Link &link, const peer::Request &request) {
    head = request.head;
    body = request.body;
    return link.write(reply(R"({"choices":[{"index":1,"message":{"content":"b"},"finish_reason":"length"},
      {"index":0,"message":{"content":null,"refusal":"no"},"finish_reason":"stop"}]})"));
  });
  json config = json::parse(
      HttpCore::config(server.url(), {{"max_tokens_field", "max_completion_tokens"}, {"send_seed", false}}));
  config.erase("key_env");
  driver::Core core(core_http_plugin(), config.dump());
  driver::Request request;
  request.temperature = -1;
  request.n = 2;
  const driver::Reply got = core.ask(request);
  CHECK(got.texts == std::vector<std::string>{"no", "b"});
  CHECK(got.finish == std::vector<std::string>{"refusal", "length"});
  CHECK_FALSE(got.usage_known);
  CHECK(got.input > 0);
  CHECK_FALSE(has(head, "Authorization"));
  CHECK(json::parse(body) == json{{"model", "m-1"},
                                  {"messages", json::parse(request.messages)},
                                  {"n", 2},
                                  {"max_completion_tokens", 32},
                                  {"top_p", 1.0}});
}

TEST_CASE("a prefix is refused, for no API continues one") {
  peer::Peer server([](peer::Link &link, const peer::Request &) { return link.write(reply(completion("x"))); });
  HttpCore core(server.url());
  driver::Request request;
  request.prefix = "def f";
  const driver::Reply got = core.ask(request);
  CHECK(got.status == GCOP_UNSUPPORTED);
  CHECK(got.attempts == 0);
  CHECK(server.requests() == 0);
}

TEST_CASE("connections are kept, and a dead one is replaced without a failure") {
  peer::Peer server([](peer::Link &link, const peer::Request &request) {
    link.write(reply(completion("x")));
    return request.number != 3;  // closes after the third answer, which did not say so
  });
  HttpCore core(server.url(), {{"max_retries", 0}});
  for (int i = 0; i < 3; ++i) CHECK(core.ask().status == GCOP_OK);
  CHECK(server.connections() == 1);
  for (int i = 0; i < 3; ++i) CHECK(core.ask().status == GCOP_OK);
  CHECK(server.connections() == 2);
}

TEST_CASE("a refused key names the variable and never shows the key, though the peer repeats it") {
  for (const char *status : {"401 Unauthorized", "403 Forbidden"}) {
    peer::Peer server([&](peer::Link &link, const peer::Request &) {
      return link.write(
          reply(R"({"error":{"message":"bad key )" + std::string(kCanary) + R"(","code":"invalid_api_key"}})", status));
    });
    HttpCore core(server.url());
    const driver::Reply got = core.ask();
    CHECK(got.status == GCOP_DENIED);
    CHECK(has(got.error, "environment variable GCOP_TEST_KEY"));
    CHECK(has(got.error, "bad key [key]"));
    CHECK(server.requests() == 1);
  }
}

TEST_CASE("the key stays out of excerpts that would be cut in its middle") {
  peer::Peer server([&](peer::Link &link, const peer::Request &) {
    return link.write(reply(std::string(290, 'x') + kCanary, "400 Bad Request"));
  });
  HttpCore core(server.url());
  const driver::Reply got = core.ask();
  CHECK(got.status == GCOP_INVALID);
  CHECK_FALSE(has(got.error, std::string(kCanary).substr(0, 8)));
}

TEST_CASE("a rate limit is waited out") {
  for (const char *field :
       {"Retry-After: 0\r\n", "retry-after-ms: 1\r\n", "Retry-After: Mon, 01 Jan 2024 00:00:00 GMT\r\n", ""}) {
    peer::Peer server([&](peer::Link &link, const peer::Request &request) {
      return request.number == 1 ? link.write(reply(R"({"error":{"message":"slow down","code":"rate_limit_exceeded"}})",
                                                    "429 Too Many Requests", field))
                                 : link.write(reply(completion("x")));
    });
    HttpCore core(server.url());
    const driver::Reply got = core.ask();
    CHECK(got.status == GCOP_OK);
    CHECK(got.attempts == 2);
    CHECK(got.unanswered == 0);  // an error answer is not billed
    CHECK(has(core.host().log(), "slow down"));
  }
}

TEST_CASE("a wait longer than the call's time ends it at once and says how long") {
  peer::Peer server([&](peer::Link &link, const peer::Request &) {
    return link.write(reply("{}", "429 Too Many Requests", "Retry-After: 3600\r\n"));
  });
  HttpCore core(server.url());
  const driver::Reply got = core.ask();
  CHECK(got.status == GCOP_UNAVAILABLE);
  CHECK(got.retry_after_ms == 3600 * 1000);
  CHECK(has(got.error, "3600.0 s"));
  CHECK(server.requests() == 1);
}

TEST_CASE("a billing stop is never tried again") {
  for (const char *status : {"429 Too Many Requests", "200 OK"}) {
    peer::Peer server([&](peer::Link &link, const peer::Request &) {
      return link.write(reply(R"({"error":{"message":"no money","type":"insufficient_quota"}})", status));
    });
    HttpCore core(server.url());
    const driver::Reply got = core.ask();
    CHECK(got.status == GCOP_DENIED);
    CHECK(has(got.error, "spend limit"));
    CHECK(server.requests() == 1);
  }
}

TEST_CASE("usage that is no number of tokens is no bill: it is estimated, and marked so") {
  for (const char *usage :
       {R"({"prompt_tokens":1000000000000000000,"completion_tokens":5})",
        R"({"prompt_tokens":-20,"completion_tokens":5})", R"({"prompt_tokens":20,"completion_tokens":100.5})",
        R"({"prompt_tokens":"20","completion_tokens":5})", R"({"prompt_tokens":20})"}) {
    CAPTURE(std::string(usage));
    peer::Peer server([&](peer::Link &link, const peer::Request &) {
      return link.write(
          reply(std::string(R"({"choices":[{"index":0,"message":{"content":"a"},"finish_reason":"stop"}],"usage":)") +
                usage + "}"));
    });
    HttpCore core(server.url());
    const driver::Reply got = core.ask();
    CHECK(got.status == GCOP_OK);
    CHECK_FALSE(got.usage_known);
    CHECK(got.input > 0);
    CHECK(got.input < 1000);
  }
}

TEST_CASE("a failing server is tried as often as configured") {
  peer::Peer server([&](peer::Link &link, const peer::Request &) {
    return link.write(reply(R"({"detail":"boom"})", "500 Internal Server Error"));
  });
  HttpCore core(server.url());
  const driver::Reply got = core.ask();
  CHECK(got.status == GCOP_UNAVAILABLE);
  CHECK(got.attempts == 3);
  CHECK(got.http_status == 500);
  CHECK(has(got.error, "HTTP 500: \"boom\""));
  CHECK(has(got.error, "after 3 tries"));
  CHECK_FALSE(got.usage_known);
  CHECK(server.requests() == 3);
}

TEST_CASE("three shapes of errors, an overload inside a reply of 200, and the peer's word on retries") {
  struct Row {
    const char *status, *body, *part;
    gcop_status code;
    int requests;
    const char *fields;
  };
  const Row rows[] = {
      {"400 Bad Request", R"({"error":{"message":"bad temperature","type":"invalid_request_error"}})",
       "bad temperature", GCOP_INVALID, 1, ""},
      {"400 Bad Request", R"({"object":"error","message":"flat words","code":40001})", "flat words", GCOP_INVALID, 1,
       ""},
      {"422 Unprocessable", R"({"detail":[{"msg":"field required"}]})", "field required", GCOP_INVALID, 1, ""},
      {"404 Not Found", "<html>nothing</html>", "base_url", GCOP_INVALID, 1, ""},
      {"413 Too Large", "", "shorten", GCOP_INVALID, 1, ""},
      {"200 OK", R"({"error":{"message":"over","code":503}})", "over", GCOP_UNAVAILABLE, 3, ""},
      {"200 OK", R"({"error":{"message":"over","type":"overloaded_error"}})", "over", GCOP_UNAVAILABLE, 3, ""},
      {"503 Unavailable", "{}", "503", GCOP_UNAVAILABLE, 1, "x-should-retry: false\r\n"},
      {"408 Request Timeout", "{}", "408", GCOP_TIMEOUT, 3, ""},
      {"302 Found", "", "http://elsewhere/", GCOP_INVALID, 1, "Location: http://elsewhere/\r\n"},
  };
  for (const Row &row : rows) {
    CAPTURE(row.body);
    peer::Peer server(
        [&](peer::Link &link, const peer::Request &) { return link.write(reply(row.body, row.status, row.fields)); });
    HttpCore core(server.url());
    const driver::Reply got = core.ask();
    CHECK(got.status == row.code);
    CHECK_MESSAGE(has(got.error, row.part), got.error);
    CHECK(server.requests() == row.requests);
  }
}

TEST_CASE("replies that are no completion") {
  for (const char *body : {"<html>Welcome</html>", "", "{\"choices\":", "[]", "{}", "{\"choices\":[]}",
                           "{\"choices\":[7]}", "{\"choices\":[{\"index\":9,\"message\":{}}]}", "\xff\xfe{}"}) {
    CAPTURE(body);
    peer::Peer server([&](peer::Link &link, const peer::Request &) { return link.write(reply(body)); });
    HttpCore core(server.url());
    const driver::Reply got = core.ask();
    CHECK(got.status == GCOP_INVALID);
    CHECK(has(got.error, "base_url"));
    CHECK(server.requests() == 1);
  }
}
