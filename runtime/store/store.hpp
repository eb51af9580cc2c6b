// The run's memory: one SQLite file (WAL), written on the run strand only. Everything a run did, and everything a
// resumed run must not do again. All methods [run]; what a method returned has survived SIGKILL. Power loss may take
// the last moments' outcomes (synchronous = NORMAL); those calls then count as unknown. Every text passes redact().
//
// tables: meta, blobs, calls, checks, rows, events   (schema.sql; PRAGMA user_version is its number)
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "flow.hpp"

namespace gcop::store {

struct CallIntent {
  std::string key, role, model, stage, request_json;
  double reserved_usd = 0;
};

// What a role spent in this run, earlier processes included (hits: in this process). `possible_usd` is what was
// reserved for calls whose outcome nobody knows: they may have been billed, so they count against the budget, not as
// spent.
struct RoleCost {
  std::string role;
  double usd = 0, possible_usd = 0;
  uint64_t calls = 0, failed = 0, hits = 0, unknown = 0;
  Usage usage;
};

struct UnknownCall {
  std::string key, role, model, stage;
  double reserved_usd = 0;
};

class Store {
 public:
  // Opens or creates DIR/run.db. Errors: not writable, full disk, locked by another run, newer schema: each says so.
  static Result<std::shared_ptr<Store>> open(const std::string &dir);
  ~Store();

  // --- calls to cores: an intent row before the send, an outcome row after.
  std::optional<Reply> find_call(const std::string &key);  // a finished call's reply, cached = true; counts a hit
  Result<> begin_call(const CallIntent &);                 // Code::exhausted when the budget cannot cover it
  // Settles the reservation. A reply costs reply.cost_usd. An error costs nothing, but for cancelled and timeout, where
  // nobody knows what the far side did: the call is unknown. `billed` is what a failed call used, if the plugin could
  // say.
  Result<> end_call(const std::string &key, const Result<Reply> &, const Reply *billed = nullptr);
  bool over_budget() const;                        // begin_call has refused a call that the budget does not cover
  void set_budget(double usd);                     // hard cap, reservations and unknown calls included; < 0 = none
  double spent() const;                            // USD settled
  double reserved() const;                         // USD held for calls in flight
  std::vector<RoleCost> costs() const;             // by role name
  std::vector<UnknownCall> unknown_calls() const;  // begun, and never answered: killed, cancelled, timed out

  // --- checks
  std::optional<Verdict> find_check(const std::string &key);
  Result<> put_check(const std::string &key, const std::string &task, const std::string &candidate, const Verdict &);

  // --- everything a stage wants to remember: `kind` is a table-like name ("strategy", "score", "step", "guide"),
  // key is unique within it, json is the row. put overwrites.
  Result<> put(const std::string &kind, const std::string &key, const std::string &json);
  std::optional<std::string> get(const std::string &kind, const std::string &key) const;
  std::vector<std::pair<std::string, std::string>> list(const std::string &kind, const std::string &prefix = {}) const;
  Result<> event(const std::string &level, const std::string &text);

  // --- meta: recipe, recipe hash, options, seed, profile, commit ... what a resume must match
  Result<> set_meta(const std::string &key, const std::string &value);
  std::map<std::string, std::string> meta() const;

  // Sticky: the first write error (disk full ...) is kept and every later write returns it.
  const std::optional<Error> &failed() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  explicit Store(std::unique_ptr<Impl>);
};

}  // namespace gcop::store
