// Handle to gcop.core/1: cache, ledger and deadline around a plugin, or around a Lua function.
// All methods [run]; callbacks arrive on the run strand.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/loop.hpp"
#include "base/result.hpp"
#include "core/price.hpp"
#include "flow.hpp"

namespace gcop::plugin {
class Instance;
}
namespace gcop::store {
class Store;
}

namespace gcop::core {

struct Message {
  std::string role, content;
};

struct Request {
  std::vector<Message> messages;
  std::string prefix;      // start of the answer to continue from
  std::string extra_json;  // provider parameters
  std::vector<std::string> stop;
  uint32_t max_tokens = 512;
  double temperature = 0, top_p = 1;
  uint64_t seed = 0;          // derived by the host from (run seed, request, sample): see request_seed()
  uint64_t sample = 0;        // tells repeated draws of one request apart
  std::string role = "core";  // who pays: "core", "teacher", "judge"
  std::string stage;          // "accept", "grpo", ...: for the ledger; no part of the key
};

using Done = std::function<void(Result<Reply>)>;
// A core written in Lua. Returns what ends a call that nobody waits for any more, if anything does; done comes then
// too.
using Script = std::function<std::function<void()>(const Request &, Done)>;

class Core {
 public:
  // `identity` enters the cache key. max_in_flight bounds calls at the plugin; further ones wait in order.
  Core(Loop &, store::Store *, std::shared_ptr<plugin::Instance>, std::string name, Price, uint32_t max_in_flight,
       uint32_t timeout_ms);
  Core(Loop &, store::Store *, Script, std::string identity, std::string name, Price = {});
  ~Core();  // cancels what is waiting or in flight. The Store outlives the Loop's last run()

  // Equal requests in flight share one call: the first caller pays, the others' replies say cached.
  // Answers from the store if this request was answered before (usage kept, cost 0, cached = true), else writes an
  // intent row, reserves budget, calls once that row is safe, writes the outcome. A failed call costs what the plugin
  // knows of it; one that was sent and not answered counts as unknown. With a price by the hour a call pays its share
  // of the time in which the core was busy, so that all calls together pay that time. Errors: exhausted (budget), what
  // the plugin said.
  uint64_t complete(Request, Done);  // returns a call id
  void cancel(uint64_t call_id);     // Done still comes, with Code::cancelled
  const std::string &name() const;
  const std::string &identity() const;
  uint32_t capabilities() const;
  uint32_t in_flight() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

// Hex SHA-256 over identity, messages, parameters and sample index: the cache key. The same bytes on every machine.
std::string request_key(const std::string &identity, const Request &);

// The seed of a call: a pure function of the run's seed, the request (without seed and sample) and the sample index.
uint64_t request_seed(uint64_t run_seed, const Request &);

}  // namespace gcop::core
