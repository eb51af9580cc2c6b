// Seals of rows: what tells that a row is as it was written. SQLite checks the shape of its file and no value in it;
// here a changed byte is an error instead of another answer, verdict or sum. Used by the store only, on the run strand.
#pragma once
#include <sqlite3.h>

#include "base/result.hpp"

namespace gcop::store {

// The columns of a call that its seal covers, but for its id, in their order.
inline constexpr char kCallColumns[] =
    "key, role, model, stage, messages, params, state, reserved_nano, cost_nano, reply, finish, served_model, input, "
    "cache_read, cache_write, output, reasoning, usage_known, latency_s, attempts, unanswered, error, began, ended";

// Adds the SQL function seal(value, ...): XXH3 of types and bytes, as a signed integer of 64 bits, never 0.
bool add_seal(sqlite3 *db);

// Looks at every row of calls, checks, entries and meta, and at the index of calls: a key that is not found there would
// be paid for again. Code::internal names the first row that is not as it was written.
Result<> check_seals(sqlite3 *db, const std::string &path);

}  // namespace gcop::store
