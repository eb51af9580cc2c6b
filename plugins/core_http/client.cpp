#include "client.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <optional>
#include <vector>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>
#include <gcop/plugin.hpp>

namespace core_http {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using boost::system::error_code;
using gcop::sdk::Failure;
using Clock = std::chrono::steady_clock;
using HttpRequest = http::request<http::string_body>;
using Parser = http::response_parser<http::string_body>;

namespace {

constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);
constexpr size_t kMaxIdle = 100;
constexpr auto kMaxIdleAge = std::chrono::seconds(30);

std::string within(const char *name, std::chrono::milliseconds clock) {
  return std::string(" within ") + name + " = " + std::to_string(clock.count());
}

// One connection, plain or TLS. The TCP layer's expires_at() bounds every operation on it, the handshake included.
class Connection {
 public:
  virtual ~Connection() = default;
  virtual beast::tcp_stream &tcp() = 0;
  virtual asio::awaitable<error_code> handshake() = 0;
  virtual std::string verify_error() { return {}; }  // why the peer's certificate was refused
  virtual asio::awaitable<error_code> write(const HttpRequest &) = 0;
  virtual asio::awaitable<error_code> read_header(Parser &) = 0;
  virtual asio::awaitable<error_code> read_some(Parser &) = 0;

  // A kept connection must be silent: an end of stream or stray bytes mean that it is of no use.
  bool alive() {
    char byte;
    const auto got = ::recv(tcp().socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
  }

  beast::flat_buffer buffer;
  Clock::time_point idle_since{};
};

template <class Stream>
class ConnectionOver : public Connection {
 public:
  template <class... Args>
  explicit ConnectionOver(Args &&...args) : stream_(std::forward<Args>(args)...) {}
  beast::tcp_stream &tcp() override { return beast::get_lowest_layer(stream_); }
  asio::awaitable<error_code> handshake() override { co_return error_code(); }
  asio::awaitable<error_code> write(const HttpRequest &request) override {
    auto [error, n] = co_await http::async_write(stream_, request, kTuple);
    co_return error;
  }
  asio::awaitable<error_code> read_header(Parser &parser) override {
    auto [error, n] = co_await http::async_read_header(stream_, buffer, parser, kTuple);
    co_return error;
  }
  asio::awaitable<error_code> read_some(Parser &parser) override {
    auto [error, n] = co_await http::async_read_some(stream_, buffer, parser, kTuple);
    // A TLS peer that closes without saying goodbye: the parser knows whether the message was whole.
    if (error == asio::ssl::error::stream_truncated) parser.put_eof(error);
    co_return error;
  }

 protected:
  Stream stream_;
};

using PlainConnection = ConnectionOver<beast::tcp_stream>;

class TlsConnection : public ConnectionOver<beast::ssl_stream<beast::tcp_stream>> {
 public:
  TlsConnection(asio::io_context &io, asio::ssl::context &context, const Endpoint &endpoint)
      : ConnectionOver(io, context) {
    SSL *ssl = stream_.native_handle();
    if (endpoint.numeric) {
      X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), endpoint.host.c_str());
    } else {
      SSL_set_tlsext_host_name(ssl, endpoint.host.c_str());
      SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
      SSL_set1_host(ssl, endpoint.host.c_str());
    }
  }
  asio::awaitable<error_code> handshake() override {
    auto [error] = co_await stream_.async_handshake(asio::ssl::stream_base::client, kTuple);
    co_return error;
  }
  std::string verify_error() override {
    const long result = SSL_get_verify_result(stream_.native_handle());
    return result == X509_V_OK ? std::string() : X509_verify_cert_error_string(result);
  }
};

// Resolution runs in a thread of Asio that cannot be interrupted; the waiter can, so that the clock and a cancel
// hold. Shared, because an abandoned lookup still reports here.
struct Lookup {
  explicit Lookup(asio::io_context &io) : resolver(io), wakeup(io) {}
  tcp::resolver resolver;
  asio::steady_timer wakeup;
  bool finished = false;
  error_code error;
  tcp::resolver::results_type results;
};

}  // namespace

struct Client::Impl {
  Impl(asio::io_context &context, const Config &configuration)
      : io(context), config(configuration), tls(asio::ssl::context::tls_client) {}

  asio::awaitable<std::unique_ptr<Connection>> connect(const Exchange &, Answer &);
  asio::awaitable<bool> send(Connection &, const Exchange &, const HttpRequest &, Parser &, Answer &, bool reused);
  asio::awaitable<void> read_body(Connection &, const Exchange &, Parser &, Answer &);
  std::unique_ptr<Connection> take_idle();
  HttpRequest request(const Exchange &) const;
  std::string address() const { return config.endpoint.host_header; }
  Clock::time_point until(const Exchange &exchange, std::chrono::milliseconds clock) const {
    return std::min(exchange.deadline, Clock::now() + clock);
  }

  asio::io_context &io;
  const Config &config;
  asio::ssl::context tls;
  std::vector<std::unique_ptr<Connection>> idle;  // youngest last
};

Client::Client(asio::io_context &io, const Config &config) : impl_(std::make_unique<Impl>(io, config)) {
  if (!config.endpoint.tls) return;
  error_code error;
  SSL_CTX_set_min_proto_version(impl_->tls.native_handle(), TLS1_2_VERSION);
  impl_->tls.set_verify_mode(asio::ssl::verify_peer);
  if (config.ca_file.empty())
    impl_->tls.set_default_verify_paths(error);
  else
    impl_->tls.load_verify_file(config.ca_file, error);
  if (error)
    throw Failure(GCOP_INVALID,
                  "core_http: cannot load CA certificates from " +
                      (config.ca_file.empty() ? "the system's paths" : "ca_file '" + config.ca_file + "'") + ": " +
                      error.message() + "; it must be a PEM file");
}

Client::~Client() = default;

void Client::close_idle() { impl_->idle.clear(); }

std::unique_ptr<Connection> Client::Impl::take_idle() {
  while (!idle.empty()) {
    std::unique_ptr<Connection> connection = std::move(idle.back());
    idle.pop_back();
    if (Clock::now() - connection->idle_since < kMaxIdleAge && connection->alive()) return connection;
  }
  return nullptr;
}

HttpRequest Client::Impl::request(const Exchange &exchange) const {
  HttpRequest out(http::verb::post, config.endpoint.path + "/chat/completions", 11);
  out.set(http::field::host, config.endpoint.host_header);
  out.set(http::field::user_agent, "gcop/" + std::to_string(GCOP_ABI_MAJOR) + "." + std::to_string(GCOP_ABI_MINOR));
  out.set(http::field::content_type, "application/json");
  out.set(http::field::accept, exchange.on_stream ? "text/event-stream, application/json" : "application/json");
  if (!config.key.empty()) out.set(http::field::authorization, "Bearer " + std::string(config.key.reveal()));
  out.body() = exchange.body;
  out.prepare_payload();
  return out;
}

asio::awaitable<std::unique_ptr<Connection>> Client::Impl::connect(const Exchange &exchange, Answer &answer) {
  const Clock::time_point expiry = until(exchange, config.clocks.connect);
  auto lookup = std::make_shared<Lookup>(io);
  lookup->wakeup.expires_at(expiry);
  lookup->resolver.async_resolve(config.endpoint.host, config.endpoint.port,
                                 [lookup](const error_code &error, tcp::resolver::results_type results) {
                                   lookup->finished = true;
                                   lookup->error = error;
                                   lookup->results = std::move(results);
                                   lookup->wakeup.cancel();
                                 });
  exchange.abort.arm([lookup] { lookup->wakeup.cancel(); });
  if (!lookup->finished) co_await lookup->wakeup.async_wait(kTuple);
  if (exchange.abort.fired()) co_return nullptr;
  if (!lookup->finished) {
    answer.status = GCOP_TIMEOUT;
    answer.retry = true;
    answer.error = "no address for " + config.endpoint.host + within("connect_ms", config.clocks.connect);
    co_return nullptr;
  }
  if (lookup->error) {
    answer.status = GCOP_UNAVAILABLE;
    answer.retry = lookup->error == asio::error::host_not_found_try_again;
    answer.error = "cannot resolve " + config.endpoint.host + ": " + lookup->error.message() + "; check base_url";
    co_return nullptr;
  }

  std::unique_ptr<Connection> connection;
  if (config.endpoint.tls)
    connection = std::make_unique<TlsConnection>(io, tls, config.endpoint);
  else
    connection = std::make_unique<PlainConnection>(io);
  beast::tcp_stream &stream = connection->tcp();
  exchange.abort.arm([&stream] { stream.close(); });
  stream.expires_at(expiry);
  auto [error, endpoint] = co_await stream.async_connect(lookup->results, kTuple);
  if (exchange.abort.fired()) co_return nullptr;
  if (error) {
    const bool late = error == beast::error::timeout;
    answer.status = late ? GCOP_TIMEOUT : GCOP_UNAVAILABLE;
    answer.retry = true;
    answer.error = late ? "no connection to " + address() + within("connect_ms", config.clocks.connect)
                        : "cannot connect to " + address() + ": " + error.message() + "; is a server running there?";
    co_return nullptr;
  }
  error_code ignored;
  stream.socket().set_option(tcp::no_delay(true), ignored);

  const error_code refused = co_await connection->handshake();
  if (exchange.abort.fired()) co_return nullptr;
  if (refused) {
    const std::string why = connection->verify_error();
    if (refused == beast::error::timeout) {
      answer.status = GCOP_TIMEOUT;
      answer.error = "no TLS handshake with " + address() + within("connect_ms", config.clocks.connect);
    } else if (!why.empty()) {
      answer.status = GCOP_DENIED;
      answer.error =
          "the TLS certificate of " + address() + " is not trusted: " + why + "; set ca_file if it is your own CA";
    } else {
      answer.status = GCOP_UNAVAILABLE;
      answer.error =
          "TLS handshake with " + address() + " failed: " + refused.message() + "; is it an http:// endpoint?";
    }
    answer.retry = why.empty() && refused.category() != asio::error::get_ssl_category();
    co_return nullptr;
  }
  co_return connection;
}

// Sends the request and reads the reply's header. False: nothing usable came, `answer` says why. answer.status stays
// GCOP_OK then only if a kept connection had died, which calls for a fresh one.
asio::awaitable<bool> Client::Impl::send(Connection &connection, const Exchange &exchange, const HttpRequest &request,
                                         Parser &parser, Answer &answer, bool reused) {
  beast::tcp_stream &stream = connection.tcp();
  exchange.abort.arm([&stream] { stream.close(); });
  stream.expires_at(until(exchange, config.clocks.first_byte));
  ++answer.sent;
  error_code error = co_await connection.write(request);
  // A peer may answer early (413, 401) and close: its reply is worth more than the write error.
  if (!error || (!reused && error != beast::error::timeout)) error = co_await connection.read_header(parser);
  if (!error) co_return true;
  if (exchange.abort.fired()) co_return false;
  if (error == beast::error::timeout) {
    answer.status = GCOP_TIMEOUT;
    answer.retry = true;
    answer.error = "no reply from " + address() + within("first_byte_ms", config.clocks.first_byte);
  } else if (reused && !parser.got_some()) {
    // status stays GCOP_OK
  } else if (error.category() == http::make_error_code(http::error::bad_version).category() &&
             error != http::error::end_of_stream && error != http::error::partial_message) {
    answer.status = GCOP_INVALID;
    answer.error = "the reply of " + address() + " is not HTTP: " + error.message() + "; check base_url";
  } else {
    answer.status = GCOP_UNAVAILABLE;
    answer.retry = true;
    answer.error = address() + " closed the connection before it replied: " + error.message();
  }
  co_return false;
}

asio::awaitable<void> Client::Impl::read_body(Connection &connection, const Exchange &exchange, Parser &parser,
                                              Answer &answer) {
  while (!parser.is_done()) {
    connection.tcp().expires_at(until(exchange, config.clocks.idle));
    const error_code error = co_await connection.read_some(parser);
    if (exchange.abort.fired()) co_return;
    if (answer.streamed && !parser.get().body().empty()) {
      const std::string bytes = std::exchange(parser.get().body(), {});
      if (!exchange.on_stream(bytes)) co_return;
    }
    if (!error) continue;
    if (error == http::error::body_limit) {
      answer.status = GCOP_INVALID;
      answer.error = "the reply of " + address() + " is longer than " + std::to_string(kBodyLimit >> 20) +
                     " MiB, the limit for one reply; check base_url and max_tokens";
    } else if (error == beast::error::timeout) {
      answer.status = GCOP_TIMEOUT;
      answer.retry = true;
      answer.error =
          "the reply of " + address() + " stopped in the middle: nothing came" + within("idle_ms", config.clocks.idle);
    } else {
      answer.status = GCOP_UNAVAILABLE;
      answer.retry = true;
      answer.error = "the reply of " + address() + " broke off: " + error.message();
    }
    co_return;
  }
  if (!answer.streamed) answer.body = std::move(parser.get().body());
}

asio::awaitable<Answer> Client::post(const Exchange &exchange) {
  Impl &self = *impl_;
  Answer answer;
  const HttpRequest request = self.request(exchange);
  for (;;) {
    std::unique_ptr<Connection> connection = self.take_idle();
    const bool reused = connection != nullptr;
    if (!reused) connection = co_await self.connect(exchange, answer);
    if (!connection) break;
    Parser parser;
    parser.header_limit(64 << 10);
    parser.body_limit(kBodyLimit);
    const bool replied = co_await self.send(*connection, exchange, request, parser, answer, reused);
    if (!replied) {
      if (answer.status != GCOP_OK || exchange.abort.fired()) break;
      self.idle.clear();  // the peer closed one kept connection: the others are no better
      continue;
    }
    const auto field = [&](std::string_view name) { return std::string(parser.get()[name]); };
    answer.http_status = parser.get().result_int();
    answer.retry_after = field("retry-after");
    answer.retry_after_ms = field("retry-after-ms");
    answer.should_retry = field("x-should-retry");
    answer.location = field("location");
    answer.streamed = exchange.on_stream && answer.http_status / 100 == 2 &&
                      field("content-type").find("text/event-stream") != std::string::npos;
    co_await self.read_body(*connection, exchange, parser, answer);
    exchange.abort.disarm();
    if (parser.is_done() && parser.keep_alive() && connection->buffer.size() == 0 && !exchange.abort.fired() &&
        self.idle.size() < kMaxIdle) {
      connection->tcp().expires_never();
      connection->idle_since = Clock::now();
      self.idle.push_back(std::move(connection));
    }
    break;
  }
  exchange.abort.disarm();
  co_return answer;
}

}  // namespace core_http
