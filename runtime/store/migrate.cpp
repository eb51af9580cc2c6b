// The tables of run.db: made, checked, and brought forward from older versions.
#include <nlohmann/json.hpp>

#include "store/impl.hpp"
#include "store/sealed.hpp"

namespace gcop::store {

extern const char *const kSchema;  // schema.sql

namespace {

constexpr int kVersion = 3;
constexpr int kApplication = 0x67636F70;     // "gcop"
constexpr int64_t kCheckedBytes = 64 << 20;  // a larger file is not read through at open

}  // namespace

Result<> Store::Impl::make_schema() {
  const int64_t version = pragma("PRAGMA user_version"), application = pragma("PRAGMA application_id");
  if (version < 0) return database_error(db.get(), path, "reading");
  if (version > kVersion)
    return Error{Code::unsupported,
                 "run store " + path + " has schema " + std::to_string(version) + ", this gcop knows up to " +
                     std::to_string(kVersion) + "; open it with a newer gcop",
                 {}};
  const int64_t tables = pragma("SELECT count(*) FROM sqlite_master");
  if (tables < 0) return database_error(db.get(), path, "reading");
  if (version == 0 && tables > 0)
    return Error{
        Code::invalid, "run store " + path + " is a database of another program; choose another folder with --out", {}};
  if (version > 0 && application != kApplication)
    return Error{Code::invalid, "run store " + path + " was not made by gcop; choose another folder with --out", {}};
  Statement wal(db.get(), "PRAGMA journal_mode = WAL");
  if (!wal.ready() || wal.step() != SQLITE_ROW) return database_error(db.get(), path, "switching to a write-ahead log");
  if (wal.text(0) != "wal")
    return Error{Code::unsupported,
                 "run store " + path +
                     ": this file system cannot hold a write-ahead log (no shared memory files); choose a local folder "
                     "with --out",
                 {}};
  wal.reset();
  // 64 MB of pages and 32 MB of log: keys are hashes, so that the rows of a batch lie far apart.
  if (!exec("PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = OFF; PRAGMA cache_size = -65536; "
            "PRAGMA wal_autocheckpoint = 8192"))
    return database_error(db.get(), path, "opening");
  if (version == 0) {
    const std::string sql = "BEGIN IMMEDIATE;" + std::string(kSchema) +
                            "PRAGMA application_id = " + std::to_string(kApplication) +
                            ";PRAGMA user_version = " + std::to_string(kVersion) + ";COMMIT;";
    return exec(sql.c_str()) ? Result<>(Unit{}) : Result<>(database_error(db.get(), path, "making the tables"));
  }
  if (version < kVersion)
    if (auto ok = migrate(version); !ok) return ok;
  if (pragma("PRAGMA page_count") * pragma("PRAGMA page_size") > kCheckedBytes) return Unit{};
  Statement check(db.get(), "PRAGMA quick_check(1)");
  if (!check.ready() || check.step() != SQLITE_ROW) return database_error(db.get(), path, "checking");
  if (check.text(0) != "ok")
    return Error{Code::internal,
                 "run store " + path + " is damaged (" + check.text(0) +
                     "); recover what it holds with `sqlite3 run.db .recover`, or start a new run",
                 {}};
  return Unit{};
}

// Old tables step aside, new ones are made, rows are copied. What changed:
//   2   a call's request is split into messages, which its draws share, and params; blobs may be packed
//   3   rows have seals
Result<> Store::Impl::migrate(int64_t version) {
  const auto broken = [&] {
    const Error error =
        database_error(db.get(), path, "bringing schema " + std::to_string(version) + " forward (nothing was changed)");
    exec("ROLLBACK");
    return error;
  };
  const std::string tables =
      "BEGIN IMMEDIATE;"
      "DROP INDEX calls_by_key; DROP INDEX IF EXISTS calls_open;"
      "ALTER TABLE meta RENAME TO old_meta; ALTER TABLE blobs RENAME TO old_blobs;"
      "ALTER TABLE calls RENAME TO old_calls; ALTER TABLE checks RENAME TO old_checks;"
      "ALTER TABLE entries RENAME TO old_entries; ALTER TABLE events RENAME TO old_events;" +
      std::string(kSchema) +
      "INSERT INTO meta SELECT key, value, seal(key, value) FROM old_meta;"
      "INSERT INTO checks SELECT key, task, candidate, score, passed, total, feedback, detail, "
      "seal(key, task, candidate, score, passed, total, feedback, detail) FROM old_checks;"
      "INSERT INTO entries SELECT kind, key, json, seal(kind, key, json) FROM old_entries;"
      "INSERT INTO events SELECT * FROM old_events;"
      "INSERT INTO blobs SELECT * FROM old_blobs" +
      (version > 1 ? ";" : " WHERE id IN (SELECT reply FROM old_calls UNION SELECT candidate FROM old_checks);");
  if (!exec(tables.c_str())) return broken();
  if (version > 1) {
    const std::string columns = kCallColumns;
    if (!exec(("INSERT INTO calls (id, " + columns + ", seal) SELECT id, " + columns + ", 0 FROM old_calls").c_str()))
      return broken();
  } else {
    Statement requests(db.get(),
                       "SELECT c.id, b.text FROM old_calls c JOIN old_blobs b ON b.id = c.request ORDER BY c.id");
    Statement copy(db.get(),
                   "INSERT INTO calls SELECT id, key, role, model, stage, ?2, ?3, state, reserved_nano, cost_nano, "
                   "reply, finish, served_model, input, cache_read, cache_write, output, reasoning, usage_known, "
                   "latency_s, attempts, 0, error, began, ended, 0 FROM old_calls WHERE id = ?1");
    blob_in = Statement(db.get(), kBlobIn);
    blob_id = Statement(db.get(), kBlobId);
    if (!requests.ready() || !copy.ready() || !blob_in.ready() || !blob_id.ready()) return broken();
    int rc;
    while ((rc = requests.step()) == SQLITE_ROW) {
      auto params = nlohmann::json::parse(requests.text(1), nullptr, false);
      std::string messages = "[]", rest = requests.text(1);
      if (params.is_object() && params.contains("messages")) {
        messages = params["messages"].dump();
        params.erase("messages");
        rest = params.dump();
      }
      const int64_t id = blob(messages);
      if (!id || !copy.bind_all(requests.integer(0), id, rest).run()) return broken();
    }
    if (rc != SQLITE_DONE) return broken();
  }
  const std::string end =
      "UPDATE calls SET seal = seal(" + std::string(kCallColumns) +
      ") WHERE state <> 'pending';"
      "DROP TABLE old_meta; DROP TABLE old_calls; DROP TABLE old_checks; DROP TABLE old_entries; DROP TABLE old_events;"
      "DROP TABLE old_blobs; PRAGMA user_version = " +
      std::to_string(kVersion) + "; COMMIT;";
  return exec(end.c_str()) ? Result<>(Unit{}) : Result<>(broken());
}

}  // namespace gcop::store
