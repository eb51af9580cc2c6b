// Opens run.db: the folder's lock, the statements, and what a killed process left behind.
#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>

#include "store/impl.hpp"
#include "store/sealed.hpp"

namespace gcop::store {

namespace {

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
  // A killed run's children that had not come as far as their exec keep its lock for a moment.
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  int held;
  while ((held = ::flock(lock.fd, LOCK_EX | LOCK_NB)) != 0 && std::chrono::steady_clock::now() < patience)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  if (held != 0) {
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
  // No statistics of SQLite's memory: they cost a lock for every allocation.
  [[maybe_unused]] static const int quiet = sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
  sqlite3 *raw = nullptr;
  const int rc =
      sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  db.reset(raw);
  if (rc != SQLITE_OK || !add_seal(raw)) return database_error(raw, path, "opening");
  sqlite3_busy_timeout(raw, 5000);  // a reader (sqlite3 shell, dashboard) may hold it for a moment
  if (auto ok = make_schema(); !ok) return ok.error();
  return prepare();
}

Result<> Store::Impl::prepare() {
  const struct {
    Statement *statement;
    const char *sql;
  } all[] = {
      {&begin, "BEGIN IMMEDIATE"},
      {&commit, "COMMIT"},
      {&rollback, "ROLLBACK"},
      {&blob_in, kBlobIn},
      {&blob_id, kBlobId},
      {&call_in,
       "INSERT INTO calls (key, role, model, stage, messages, params, state, reserved_nano, began, seal) VALUES (?1, "
       "?2, "
       "?3, ?4, ?5, ?6, 'pending', ?7, ?8, 0)"},
      {&call_out,
       "UPDATE calls SET state = ?2, cost_nano = ?3, reply = ?4, finish = ?5, served_model = ?6, input = ?7, "
       "cache_read = ?8, cache_write = ?9, "
       "output = ?10, reasoning = ?11, usage_known = ?12, latency_s = ?13, attempts = ?14, unanswered = ?15, error = "
       "?16, ended = ?17, "
       "seal = seal(key, role, model, stage, messages, params, ?2, reserved_nano, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, "
       "?11, "
       "?12, ?13, ?14, ?15, ?16, began, ?17) WHERE id = ?1"},
      {&call_done,
       "SELECT b.text, c.finish, c.served_model, c.input, c.cache_read, c.cache_write, c.output, c.reasoning, "
       "c.usage_known, c.latency_s, c.attempts, c.role, c.cost_nano, b.sha256 "
       "FROM calls c JOIN blobs b ON b.id = c.reply WHERE c.key = ?1 AND c.state = 'done' ORDER BY c.id LIMIT 1"},
      {&check_in,
       "INSERT OR REPLACE INTO checks VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, seal(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8))"},
      {&check_out, "SELECT score, passed, total, feedback, detail FROM checks WHERE key = ?1"},
      {&entry_in, "INSERT OR REPLACE INTO entries VALUES (?1, ?2, ?3, seal(?1, ?2, ?3))"},
      {&entry_out, "SELECT json FROM entries WHERE kind = ?1 AND key = ?2"},
      {&event_in, "INSERT INTO events (at, level, text) VALUES (?1, ?2, ?3)"},
      {&meta_in, "INSERT OR REPLACE INTO meta VALUES (?1, ?2, seal(?1, ?2))"},
  };
  for (const auto &[statement, sql] : all) {
    *statement = Statement(db.get(), sql);
    if (!statement->ready()) return database_error(db.get(), path, "reading the tables");
  }
  if (auto ok = check_seals(db.get(), path); !ok) return ok;
  // We hold the lock, so whoever wrote these intents is gone: what became of them nobody knows.
  const std::string unknown =
      "UPDATE calls SET state = 'unknown', error = 'the process ended before the answer' WHERE state = 'pending';"
      "UPDATE calls SET seal = seal(" +
      std::string(kCallColumns) + ") WHERE seal = 0";
  if (!exec(unknown.c_str())) return database_error(db.get(), path, "marking the calls of an earlier process");
  Statement sums(db.get(),
                 "SELECT role, sum(cost_nano), sum(reserved_nano * ((state = 'unknown') + unanswered)) FROM calls "
                 "GROUP BY role");
  int rc = SQLITE_ERROR;
  while (sums.ready() && (rc = sums.step()) == SQLITE_ROW) {
    const Sums role{sums.integer(1), 0, sums.integer(2)};
    by_role[sums.text(0)] = role;
    total.spent += role.spent;
    total.unknown += role.unknown;
  }
  if (rc != SQLITE_DONE) return database_error(db.get(), path, "reading the costs");
  return Unit{};
}

}  // namespace gcop::store
