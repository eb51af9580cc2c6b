#include "store/sealed.hpp"

#include <string>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "store/sqlite.hpp"

namespace gcop::store {
namespace {

template <class Number>
void append(std::string &bytes, Number value) {
  bytes.append(reinterpret_cast<const char *>(&value), sizeof value);
}

void seal(sqlite3_context *context, int n, sqlite3_value **values) {
  thread_local std::string bytes;
  bytes.clear();
  for (int i = 0; i < n; ++i) {
    const int type = sqlite3_value_type(values[i]);
    bytes += static_cast<char>(type);
    if (type == SQLITE_INTEGER) append(bytes, sqlite3_value_int64(values[i]));
    if (type == SQLITE_FLOAT) append(bytes, sqlite3_value_double(values[i]));
    if (type != SQLITE_TEXT && type != SQLITE_BLOB) continue;
    const auto *data = static_cast<const char *>(sqlite3_value_blob(values[i]));
    const auto size = static_cast<size_t>(sqlite3_value_bytes(values[i]));
    append(bytes, static_cast<uint64_t>(size));
    if (size > 0) bytes.append(data, size);
  }
  const auto hash = static_cast<sqlite3_int64>(XXH3_64bits(bytes.data(), bytes.size()));
  sqlite3_result_int64(context, hash == 0 ? 1 : hash);
}

}  // namespace

bool add_seal(sqlite3 *db) {
  return sqlite3_create_function_v2(db, "seal", -1, SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS, nullptr,
                                    seal, nullptr, nullptr, nullptr) == SQLITE_OK;
}

Result<> check_seals(sqlite3 *db, const std::string &path) {
  const auto damaged = [&](const std::string &what) {
    return Error{
        Code::internal,
        "run store " + path + ": " + what +
            " is not as it was written: the file is damaged, or somebody changed it; recover what it holds with "
            "`sqlite3 run.db .recover`, or start a new run",
        {}};
  };
  const std::string calls = std::string("SELECT 'call ' || id FROM calls NOT INDEXED WHERE seal IS NOT seal(") +
                            kCallColumns + ") AND NOT (seal = 0 AND state = 'pending') LIMIT 1";
  for (const char *sql :
       {calls.c_str(),
        "SELECT 'check ' || key FROM checks WHERE seal IS NOT seal(key, task, candidate, score, passed, total, "
        "feedback, "
        "detail) LIMIT 1",
        "SELECT 'entry ' || kind || ' ' || key FROM entries WHERE seal IS NOT seal(kind, key, json) LIMIT 1",
        "SELECT 'setting ' || key FROM meta WHERE seal IS NOT seal(key, value) LIMIT 1",
        "SELECT 'the index of calls' WHERE (SELECT total(seal(key, id) & 1048575) FROM calls NOT INDEXED) <> "
        "(SELECT total(seal(key, id) & 1048575) FROM calls INDEXED BY calls_by_key)"}) {
    Statement row(db, sql);
    const int rc = row.ready() ? row.step() : SQLITE_ERROR;
    if (rc == SQLITE_ROW) return damaged(row.text(0));
    if (rc != SQLITE_DONE) return database_error(db, path, "checking");
  }
  return Unit{};
}

}  // namespace gcop::store
