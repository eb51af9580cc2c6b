// The run's memory: one SQLite file (WAL), written on the run strand only. Everything a run did, and everything a
// resumed run must not do again. All methods [run].
//
// tables: meta, tasks, calls, checks, strategies, scores, steps, state, events   (schema in schema.sql)
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

struct CallIntent { std::string key, role, model, stage, request_json; double reserved_usd = 0; };
struct RoleCost { std::string role; double usd = 0; uint64_t calls = 0, hits = 0, unknown = 0; Usage usage; };

class Store {
 public:
  // Opens or creates DIR/run.db. Errors: not writable, full disk, locked by another run, newer schema: each says so.
  static Result<std::shared_ptr<Store>> open(const std::string &dir);
  ~Store();

  // --- calls to cores: an intent row before the send, an outcome row after.
  std::optional<Reply> find_call(const std::string &key);            // a finished call's reply, cached = true; counts a hit
  Result<> begin_call(const CallIntent &);                           // Code::exhausted when the budget cannot cover it
  Result<> end_call(const std::string &key, const Result<Reply> &);  // settles the reservation
  void set_budget(double usd);                                       // hard cap; < 0 = none
  double spent() const;
  std::vector<RoleCost> costs() const;
  std::vector<std::string> unknown_calls() const;                    // begun by a killed process, never answered

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
