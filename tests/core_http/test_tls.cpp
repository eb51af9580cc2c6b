// TLS against a peer whose certificates a CA of this test signed, made by openssl.
#include <unistd.h>

#include <filesystem>

#include "case.hpp"

using peer::completion;
using peer::reply;

namespace {

// ca.pem signs NAME.pem for the given subject alternative name.
class Certificates {
 public:
  Certificates() {
    char name[] = "/tmp/gcop-tls-XXXXXX";
    REQUIRE(mkdtemp(name));
    dir_ = name;
    run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 2 -subj "
        "/CN=gcop-test-ca");
  }
  ~Certificates() { std::filesystem::remove_all(dir_); }
  std::string ca() const { return dir_ + "/ca.pem"; }
  peer::Options server(const std::string &alternative_name) const {
    run("openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout s.key -out s.csr -subj /CN=gcop-test");
    run("printf 'subjectAltName=" + alternative_name +
        "' > s.ext && "
        "openssl x509 -req -in s.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile s.ext -out s.pem");
    return {dir_ + "/s.pem", dir_ + "/s.key", ""};
  }
  void run(const std::string &command) const {
    REQUIRE_MESSAGE(std::system(("cd " + dir_ + " && " + command + " >>log 2>&1").c_str()) == 0, command);
  }

 private:
  std::string dir_;
};

bool answer(peer::Link &link, const peer::Request &) { return link.write(reply(completion("secret talk"))); }

}  // namespace

TEST_CASE("a certificate for the address, and one for the name, signed by the given CA") {
  Certificates certificates;
  for (const auto &[name, host] : {std::pair{"IP:127.0.0.1", "127.0.0.1"}, std::pair{"DNS:localhost", "localhost"}}) {
    peer::Peer server(answer, certificates.server(name));
    HttpCore core("https://" + std::string(host) + ":" + std::to_string(server.port()) + "/v1",
                  {{"ca_file", certificates.ca()}});
    for (int i = 0; i < 3; ++i) {
      const driver::Reply got = core.ask();
      REQUIRE_MESSAGE(got.status == GCOP_OK, got.error);
      CHECK(got.texts[0] == "secret talk");
    }
    CHECK(server.connections() == 1);
    CHECK(server.server_name() == (std::string(host) == "localhost" ? "localhost" : ""));
  }
}

TEST_CASE("an unknown CA and a certificate for somebody else are refused before anything is sent") {
  Certificates certificates;
  {
    peer::Peer server(answer, certificates.server("IP:127.0.0.1"));
    HttpCore core(server.url());
    const driver::Reply got = core.ask();
    CHECK(got.status == GCOP_DENIED);
    CHECK_MESSAGE(has(got.error, "is not trusted"), got.error);
    CHECK(has(got.error, "ca_file"));
    CHECK(server.requests() == 0);
    CHECK(server.connections() == 1);
  }
  for (const char *host : {"127.0.0.1", "localhost"}) {
    peer::Peer server(answer, certificates.server("DNS:other.example,IP:127.0.0.2"));
    HttpCore core("https://" + std::string(host) + ":" + std::to_string(server.port()),
                  {{"ca_file", certificates.ca()}});
    const driver::Reply got = core.ask();
    CHECK(got.status == GCOP_DENIED);
    CHECK_MESSAGE(has(got.error, "mismatch"), got.error);
    CHECK(server.requests() == 0);
  }
}

TEST_CASE("https where http is spoken, silence in the handshake, and a ca_file that is none") {
  const auto https = [](const peer::Peer &server) { return "https://127.0.0.1:" + std::to_string(server.port()); };
  {
    peer::Peer silent(answer);  // waits for the end of a header that never comes
    HttpCore core(https(silent), {{"connect_ms", 100}, {"max_retries", 0}});
    const driver::Reply got = core.ask();
    CHECK(got.status == GCOP_TIMEOUT);
    CHECK(has(got.error, "connect_ms = 100"));
  }
  {
    peer::Peer plain(answer, {"", "", "HTTP/1.1 400 Bad Request\r\n\r\n"});
    HttpCore core(https(plain));
    const driver::Reply got = core.ask();
    CHECK(got.status == GCOP_UNAVAILABLE);
    CHECK_MESSAGE(has(got.error, "http:// endpoint"), got.error);
    CHECK(plain.connections() == 1);
  }
  driver::Core core(core_http_plugin(), HttpCore::config("https://127.0.0.1:1", {{"ca_file", "/nonexistent.pem"}}));
  CHECK_FALSE(core);
  CHECK(core.status == GCOP_INVALID);
  CHECK(has(core.why, "/nonexistent.pem"));
}
