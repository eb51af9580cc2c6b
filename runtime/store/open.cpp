// Opens run.db: the folder's lock, the schema, and what a killed process left behind.
#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "store/impl.hpp"

namespace gcop::store {

extern const char *const kSchema;  // schema.sql

namespace {

constexpr int kVersion = 1;
constexpr int kApplication = 0x67636F70;     // "gcop"
constexpr int64_t kCheckedBytes = 64 << 20;  // a larger file is not read through at open

Error file_error(const std::string &path, int reason) {
  return {reason == ENOSPC ? Code::exhausted : Code::denied,
          "run folder: cannot write " + path + ": " + std::strerror(reason) +
              "; free space or choose another folder with --out",
          {}};
}

}  // namespace

Result<> Store::Impl::take_lock(const std::string &dir) {
  const std::string file = dir + "/run.lock";
  lock.fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock.fd < 0) return file_error(file, errno);
  if (::flock(lock.fd, LOCK_EX | LOCK_NB) != 0) {
    char pid[24] = {};
    const bool named = ::pread(lock.fd, pid, sizeof pid - 1, 0) > 0;
    return Error{Code::unavailable,
                 "run folder " + dir + " is in use by " +
                     (named ? "process " + std::to_string(std::atoi(pid)) : "another process") +
                     "; wait for it or choose another folder with --out",
                 {}};
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(lock.fd, 0) != 0 || ::pwrite(lock.fd, pid.data(), pid.size(), 0) < 0) return file_error(file, errno);
  return Unit{};
}

Result<> Store::Impl::open(const std::string &dir) {
  std::error_code made;
  std::filesystem::create_directories(dir, made);
  if (made) return file_error(dir, made.value());
  if (auto ok = take_lock(dir); !ok) return ok.error();
  path = dir + "/run.db";
  sqlite3 *raw = nullptr;
  const int rc =
      sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  db.reset(raw);
  if (rc != SQLITE_OK) return database_error(raw, path, "opening");
  sqlite3_busy_timeout(raw, 5000);  // a reader (sqlite3 shell, dashboard) may hold it for a moment
  if (auto ok = migrate(); !ok) return ok.error();
  return prepare();
}

Result<> Store::Impl::migrate() {
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
  if (!exec("PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = OFF")) return database_error(db.get(), path, "opening");
  if (version == 0) {
    const std::string sql = "BEGIN IMMEDIATE;" + std::string(kSchema) +
                            "PRAGMA application_id = " + std::to_string(kApplication) +
                            ";PRAGMA user_version = " + std::to_string(kVersion) + ";COMMIT;";
    return exec(sql.c_str()) ? Result<>(Unit{}) : Result<>(database_error(db.get(), path, "making the tables"));
  }
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

Result<> Store::Impl::prepare() {
  const struct {
    Statement *statement;
    const char *sql;
  } all[] = {
      {&begin, "BEGIN IMMEDIATE"},
      {&commit, "COMMIT"},
      {&rollback, "ROLLBACK"},
      {&blob_in, "INSERT INTO blobs (sha256, text) VALUES (?1, ?2) ON CONFLICT DO NOTHING"},
      {&blob_id, "SELECT id FROM blobs WHERE sha256 = ?1"},
      {&call_in,
       "INSERT INTO calls (key, role, model, stage, request, state, reserved_nano, began) VALUES (?1, ?2, ?3, ?4, ?5, "
       "'pending', ?6, ?7)"},
      {&call_out,
       "UPDATE calls SET state = ?2, cost_nano = ?3, reply = ?4, finish = ?5, served_model = ?6, input = ?7, "
       "cache_read = ?8, cache_write = ?9, "
       "output = ?10, reasoning = ?11, usage_known = ?12, latency_s = ?13, attempts = ?14, error = ?15, ended = ?16 "
       "WHERE id = ?1"},
      {&call_done,
       "SELECT b.text, c.finish, c.served_model, c.input, c.cache_read, c.cache_write, c.output, c.reasoning, "
       "c.usage_known, c.latency_s, c.attempts, c.role "
       "FROM calls c JOIN blobs b ON b.id = c.reply WHERE c.key = ?1 AND c.state = 'done' ORDER BY c.id LIMIT 1"},
      {&check_in,
       "INSERT OR REPLACE INTO checks (key, task, candidate, score, passed, total, feedback, detail) VALUES (?1, ?2, "
       "?3, ?4, ?5, ?6, ?7, ?8)"},
      {&check_out, "SELECT score, passed, total, feedback, detail FROM checks WHERE key = ?1"},
      {&entry_in, "INSERT OR REPLACE INTO entries (kind, key, json) VALUES (?1, ?2, ?3)"},
      {&entry_out, "SELECT json FROM entries WHERE kind = ?1 AND key = ?2"},
      {&event_in, "INSERT INTO events (at, level, text) VALUES (?1, ?2, ?3)"},
      {&meta_in, "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)"},
  };
  for (const auto &[statement, sql] : all) {
    *statement = Statement(db.get(), sql);
    if (!statement->ready()) return database_error(db.get(), path, "reading the tables");
  }
  // We hold the lock, so whoever wrote these intents is gone: what became of them nobody knows.
  if (!exec(
          "UPDATE calls SET state = 'unknown', error = 'the process ended before the answer' WHERE state = 'pending'"))
    return database_error(db.get(), path, "marking the calls of an earlier process");
  Statement sums(db.get(),
                 "SELECT coalesce(sum(cost_nano), 0), coalesce(sum(reserved_nano) FILTER (WHERE state = 'unknown'), 0) "
                 "FROM calls");
  if (!sums.ready() || sums.step() != SQLITE_ROW) return database_error(db.get(), path, "reading the costs");
  spent = sums.integer(0);
  unknown = sums.integer(1);
  return Unit{};
}

}  // namespace gcop::store
