// What a Store is made of; shared by open.cpp (opening, schema, lock) and store.cpp (the methods).
#pragma once
#include <unistd.h>

#include <cmath>
#include <deque>
#include <unordered_map>

#include "base/hash.hpp"
#include "store/sqlite.hpp"
#include "store/store.hpp"

namespace gcop::store {

// Money in whole nano-dollars: sums do not depend on the order of calls.
inline int64_t nano(double usd) { return std::llround(usd * 1e9); }
inline double usd(int64_t nano_usd) { return double(nano_usd) / 1e9; }

// One run per folder: an flock, which the kernel releases however the process ends.
struct Lock {
  int fd = -1;
  ~Lock() {
    if (fd >= 0) ::close(fd);
  }  // releases the flock
};

struct Store::Impl {
  std::string path;
  Lock lock;
  Database db;
  std::optional<Error> failed;

  Statement begin, commit, rollback, blob_in, blob_id, call_in, call_out, call_done, check_in, check_out, entry_in,
      entry_out, event_in, meta_in;

  struct Pending {
    int64_t id, reserved;
  };
  std::unordered_map<std::string, std::deque<Pending>> pending;
  std::map<std::string, uint64_t> hits;  // role -> answered from here in this process
  int64_t budget = -1, spent = 0, reserved = 0, unknown = 0;
  bool over_budget = false;

  Result<> open(const std::string &dir);
  Result<> take_lock(const std::string &dir);
  Result<> migrate();
  Result<> prepare();
  Result<> fail(const std::string &doing) {
    const Error error = database_error(db.get(), path, doing);
    if (!failed) failed = error;
    return error;
  }
  bool exec(const char *sql) { return sqlite3_exec(db.get(), sql, nullptr, nullptr, nullptr) == SQLITE_OK; }
  int64_t pragma(const char *sql) {
    Statement s(db.get(), sql);
    return s.ready() && s.step() == SQLITE_ROW ? s.integer(0) : -1;
  }

  // Runs `body` in one transaction: all of it, or nothing and the sticky error.
  template <class Body>
  Result<> write(const std::string &doing, Body body) {
    if (failed) return *failed;
    if (!begin.bind_all().run()) return fail(doing);
    if (body() && commit.bind_all().run()) return Unit{};
    Result<> error = fail(doing);  // before the rollback overwrites what SQLite has to say
    rollback.bind_all().run();
    return error;
  }

  // Row id of the text, entered once; 0 on failure.
  int64_t blob(const std::string &text) {
    Sha256 hash;
    hash.update(text.data(), text.size());
    const auto digest = hash.bytes();
    const std::string_view key(reinterpret_cast<const char *>(digest.data()), digest.size());
    if (!blob_in.bind_all(key, text).run()) return 0;
    const bool found = blob_id.bind_all(key).step() == SQLITE_ROW;
    const int64_t id = found ? blob_id.integer(0) : 0;
    blob_id.reset();
    return id;
  }
};

}  // namespace gcop::store
