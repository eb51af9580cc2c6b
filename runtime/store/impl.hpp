// What a Store is made of; shared by open.cpp (opening, lock), migrate.cpp (schema) and store.cpp (the methods).
#pragma once
#include <unistd.h>

#include <cmath>
#include <functional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/hash.hpp"
#include "base/loop.hpp"
#include "store/blob.hpp"
#include "store/sqlite.hpp"
#include "store/store.hpp"

namespace gcop::store {

// Money in whole nano-dollars: sums do not depend on the order of calls.
inline int64_t nano(double usd) { return std::llround(usd * 1e9); }
inline double usd(int64_t nano_usd) { return double(nano_usd) / 1e9; }

inline constexpr char kBlobIn[] = "INSERT INTO blobs (sha256, text) VALUES (?1, ?2)";
inline constexpr char kBlobId[] = "SELECT id FROM blobs WHERE sha256 = ?1";

// One run per folder: an flock, which the kernel releases however the process ends.
struct Lock {
  int fd = -1;
  ~Lock() {
    if (fd >= 0) ::close(fd);
  }  // releases the flock
};

struct Store::Impl : std::enable_shared_from_this<Store::Impl> {
  std::string path;
  Lock lock;
  Database db;
  std::optional<Error> failed;

  Statement begin, commit, rollback, blob_in, blob_id, call_in, call_out, call_done, check_in, check_out, entry_in,
      entry_out, event_in, meta_in;

  struct Pending {
    int64_t id, reserved;
    std::string role;
  };
  std::unordered_multimap<std::string, Pending> pending;  // by key; equal ones in the order they began
  std::map<std::string, uint64_t> hits;                   // role -> answered from here in this process

  struct Sums {
    int64_t spent = 0, reserved = 0, unknown = 0;
    int64_t held() const { return spent + reserved + unknown; }
  };
  Sums total;
  std::map<std::string, Sums> by_role;
  std::map<std::string, int64_t> budgets;  // role -> cap; "" is the whole run's
  bool over_budget = false;

  std::optional<Loop::Poster> poster;  // where there is none, every write is committed by itself
  bool open_batch = false;
  std::vector<std::function<void(Result<>)>> waiting;  // for the batch's commit
  Packer packer;
  static constexpr size_t kRecent = 4096;
  std::unordered_map<std::string, int64_t> recent;  // digest -> row of a blob

  Result<> open(const std::string &dir);
  Result<> take_lock(const std::string &dir);
  Result<> make_schema();
  Result<> migrate(int64_t version);  // forward, in one transaction
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

  // Runs `body` in the batch that is open, or in a new one. A failure takes the whole batch with it and is sticky.
  template <class Body>
  Result<> write(const std::string &doing, Body body) {
    if (failed) return *failed;
    if (!open_batch) {
      if (!begin.bind_all().run()) return fail(doing);
      open_batch = true;
      if (poster)
        poster->post([weak = weak_from_this()] {
          if (const auto self = weak.lock()) (void)self->flush("committing a batch");
        });
    }
    if (!body()) {
      Result<> error = fail(doing);  // before the rollback overwrites what SQLite has to say
      rollback.bind_all().run();
      end_batch(error);
      return error;
    }
    return poster ? Result<>(Unit{}) : flush(doing);
  }

  Result<> flush(const std::string &doing) {
    if (!open_batch) return failed ? Result<>(*failed) : Result<>(Unit{});
    Result<> result = Unit{};
    if (!commit.bind_all().run()) {
      result = fail(doing);
      rollback.bind_all().run();
    }
    end_batch(result);
    return result;
  }

  // Whoever waited goes on in a turn of its own: a flush may come from inside a stage's line of Lua.
  void end_batch(const Result<> &result) {
    open_batch = false;
    for (auto &then : std::exchange(waiting, {})) {
      if (poster)
        poster->post([then = std::move(then), result] { then(result); });
      else
        then(result);
    }
  }

  static std::string digest_of(const std::string &text) {
    Sha256 hash;
    hash.update(text.data(), text.size());
    const auto digest = hash.bytes();
    return {reinterpret_cast<const char *>(digest.data()), digest.size()};
  }

  // Row id of the text, entered once; 0 on failure. Draws of a request come close together, so that most of their
  // messages are among the last ones entered.
  int64_t blob(const std::string &text) {
    const std::string key = digest_of(text);
    if (const auto found = recent.find(key); found != recent.end()) return found->second;
    int64_t id = 0;
    if (blob_id.bind_all(Bytes{key}).step() == SQLITE_ROW) id = blob_id.integer(0);
    blob_id.reset();
    if (!id) {
      const std::string_view packed = packer.pack(text);
      const bool ok =
          packed.empty() ? blob_in.bind_all(Bytes{key}, text).run() : blob_in.bind_all(Bytes{key}, Bytes{packed}).run();
      if (!ok) return 0;
      id = sqlite3_last_insert_rowid(db.get());
    }
    if (recent.size() >= kRecent) recent.clear();
    return recent[key] = id;
  }

  // The text of a blob's column; one that does not have its hash is a failure of the store.
  std::string text_of(const Statement &s, int column, int digest) {
    Result<std::string> text = s.is_blob(column) ? unpack(s.bytes(column)) : Result<std::string>(s.text(column));
    if (text && digest_of(*text) == s.bytes(digest)) return std::move(*text);
    if (!failed)
      failed = Error{
          Code::internal,
          "run store " + path +
              ": a text is damaged, its hash is another; recover what it holds with `sqlite3 run.db .recover`, or "
              "start a new run",
          {}};
    return {};
  }
};

}  // namespace gcop::store
