#include "peer.hpp"

#include <sys/socket.h>

#include <atomic>
#include <list>
#include <mutex>
#include <thread>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>

namespace peer {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

template <class Stream>
class LinkOver : public Link {
 public:
  template <class... Args>
  explicit LinkOver(Args &&...args) : stream(std::forward<Args>(args)...) {}
  size_t read(char *to, size_t n) override {
    error_code error;
    const size_t got = stream.read_some(asio::buffer(to, n), error);
    return error ? 0 : got;
  }
  bool write(const std::string &bytes) override {
    error_code error;
    asio::write(stream, asio::buffer(bytes), error);
    return !error;
  }
  Stream stream;
};

using PlainLink = LinkOver<tcp::socket>;
using TlsLink = LinkOver<asio::ssl::stream<tcp::socket>>;

}  // namespace

void Link::wait_closed() {
  char bytes[4096];
  while (read(bytes, sizeof bytes)) {
  }
}

std::string reply(const std::string &body, const std::string &status, const std::string &fields) {
  return "HTTP/1.1 " + status + "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n" + fields + "\r\n" + body;
}

std::string completion(const std::string &content) {
  return R"({"object":"chat.completion","model":"served-1","choices":[{"index":0,"finish_reason":"stop","message":)"
         R"({"role":"assistant","content":")" +
         content +
         R"("}}],"usage":{"prompt_tokens":20,"completion_tokens":9,)"
         R"("prompt_tokens_details":{"cached_tokens":5},"completion_tokens_details":{"reasoning_tokens":2}}})";
}

struct Peer::Impl {
  Impl(Script s, Options o) : script(std::move(s)), options(std::move(o)) {
    if (options.certificate.empty()) return;
    tls.use_certificate_chain_file(options.certificate);
    tls.use_private_key_file(options.key, asio::ssl::context::pem);
    SSL_CTX_set_tlsext_servername_arg(tls.native_handle(), this);
    SSL_CTX_set_tlsext_servername_callback(
        tls.native_handle(), +[](SSL *ssl, int *, void *arg) {
          Impl &self = *static_cast<Impl *>(arg);
          const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
          std::lock_guard lock(self.mutex);
          self.server_name = name ? name : "";
          return SSL_TLSEXT_ERR_OK;
        });
  }
  void accept() {
    for (;;) {
      error_code error;
      tcp::socket socket(io);
      acceptor.accept(socket, error);
      if (stopping) return;
      if (error) continue;
      ++connections;
      threads.emplace_back([this, s = std::make_shared<tcp::socket>(std::move(socket))] { serve(std::move(*s)); });
    }
  }
  void serve(tcp::socket socket) {
    const int fd = socket.native_handle();
    {
      std::lock_guard lock(mutex);
      if (stopping) return;
      open.push_back(fd);
    }
    error_code error;
    socket.set_option(tcp::no_delay(true), error);
    std::unique_ptr<Link> link;
    if (options.certificate.empty()) {
      link = std::make_unique<PlainLink>(std::move(socket));
    } else {
      auto encrypted = std::make_unique<TlsLink>(std::move(socket), tls);
      encrypted->stream.handshake(asio::ssl::stream_base::server, error);
      link = std::move(encrypted);
    }
    if (!error && (options.greeting.empty() || link->write(options.greeting))) converse(*link);
    std::lock_guard lock(mutex);
    open.remove(fd);
    link.reset();  // under the lock: ~Peer must not shut down a descriptor that was used again
  }
  void converse(Link &link) {
    std::string seen;
    const auto more = [&] {
      char bytes[65536];
      const size_t n = link.read(bytes, sizeof bytes);
      seen.append(bytes, n);
      return n > 0;
    };
    for (;;) {
      size_t end;
      while ((end = seen.find("\r\n\r\n")) == seen.npos)
        if (!more()) return;
      Request request{seen.substr(0, end + 4), {}, 0};
      const size_t at = request.head.find("Content-Length: ");
      const size_t length = at == request.head.npos ? 0 : std::stoul(request.head.substr(at + 16));
      while (seen.size() < end + 4 + length)
        if (!more()) return;
      request.body = seen.substr(end + 4, length);
      seen.erase(0, end + 4 + length);
      request.number = ++requests;
      if (!script(link, request)) return;
    }
  }

  Script script;
  Options options;
  asio::io_context io;
  asio::ssl::context tls{asio::ssl::context::tls_server};
  tcp::acceptor acceptor{io, {asio::ip::make_address("127.0.0.1"), 0}};
  std::atomic<int> connections{0}, requests{0};
  std::atomic<bool> stopping{false};
  std::mutex mutex;
  std::string server_name;
  std::list<int> open;
  std::list<std::thread> threads;
  std::thread accepting;
};

Peer::Peer(Script script, Options options) : impl_(std::make_unique<Impl>(std::move(script), std::move(options))) {
  impl_->accepting = std::thread([this] { impl_->accept(); });
}

Peer::~Peer() {
  impl_->stopping = true;
  ::shutdown(impl_->acceptor.native_handle(), SHUT_RDWR);
  impl_->accepting.join();
  {
    std::lock_guard lock(impl_->mutex);
    for (const int fd : impl_->open) ::shutdown(fd, SHUT_RDWR);
  }
  for (std::thread &thread : impl_->threads) thread.join();
}

int Peer::port() const { return impl_->acceptor.local_endpoint().port(); }
std::string Peer::url() const {
  return (impl_->options.certificate.empty() ? "http://127.0.0.1:" : "https://127.0.0.1:") + std::to_string(port()) +
         "/v1";
}
int Peer::connections() const { return impl_->connections; }
int Peer::requests() const { return impl_->requests; }
std::string Peer::server_name() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->server_name;
}

std::string exchange(int port, const std::string &bytes) {
  asio::io_context io;
  PlainLink link(io);
  link.stream.connect({asio::ip::make_address("127.0.0.1"), static_cast<uint16_t>(port)});
  link.write(bytes);
  std::string out;
  char piece[4096];
  while (const size_t n = link.read(piece, sizeof piece)) out.append(piece, n);
  return out;
}

}  // namespace peer
