// A real HTTP peer on loopback whose misbehaviour is scripted byte by byte: one thread per connection, plain or TLS.
// The script runs on those threads. Asio stays in peer.cpp.
#pragma once
#include <functional>
#include <memory>
#include <string>

namespace peer {

struct Request {
  std::string head;  // up to and including the empty line
  std::string body;
  int number;  // counts from 1 over all connections
};

class Link {
 public:
  virtual ~Link() = default;
  virtual size_t read(char *to, size_t n) = 0;       // 0: closed
  virtual bool write(const std::string &bytes) = 0;  // false: closed
  void wait_closed();  // blocks until the other side has closed; what it sends until then is dropped
};

std::string reply(const std::string &body, const std::string &status = "200 OK", const std::string &fields = "");
std::string completion(const std::string &content);

struct Options {
  std::string certificate, key;  // PEM files; empty: plain HTTP
  std::string greeting;          // sent as soon as a connection is there
};

class Peer {
 public:
  // The script answers one request and says whether the connection stays open.
  using Script = std::function<bool(Link &, const Request &)>;
  explicit Peer(Script script, Options = {});
  ~Peer();
  int port() const;
  std::string url() const;
  int connections() const;
  int requests() const;
  std::string server_name() const;  // of the last TLS handshake (SNI)

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Sends bytes to a port on loopback and returns what comes back until the other side closes.
std::string exchange(int port, const std::string &bytes);

}  // namespace peer
