// What is on disk when: batches by turn of the loop, packed texts, older schemas.
#include <doctest/doctest.h>

#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>

#include <nlohmann/json.hpp>

#include "base/loop.hpp"
#include "folder.hpp"
#include "store/store.hpp"

using namespace gcop;
using store::Store;

namespace {

Reply reply_of(const std::string &text) {
  Reply r;
  r.text = text;
  r.finish = "stop";
  r.model = "served";
  r.usage = {5, 0, 0, 6, 0, true};
  return r;
}

void sql(const std::string &file, const std::string &text) {
  sqlite3 *db = nullptr;
  REQUIRE(sqlite3_open(file.c_str(), &db) == SQLITE_OK);
  REQUIRE_MESSAGE(sqlite3_exec(db, text.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK, sqlite3_errmsg(db));
  sqlite3_close(db);
}

int64_t number(const std::string &file, const char *query) {
  sqlite3 *db = nullptr;
  REQUIRE(sqlite3_open_v2(file.c_str(), &db, SQLITE_OPEN_READONLY, nullptr) == SQLITE_OK);
  sqlite3_stmt *s = nullptr;
  REQUIRE_MESSAGE(sqlite3_prepare_v2(db, query, -1, &s, nullptr) == SQLITE_OK, sqlite3_errmsg(db));
  REQUIRE(sqlite3_step(s) == SQLITE_ROW);
  const int64_t value = sqlite3_column_int64(s, 0);
  sqlite3_finalize(s);
  sqlite3_close(db);
  return value;
}

// Runs `body` in a child, which dies by SIGKILL in it.
template <class Body>
void killed_in(Body body) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    body();
    ::_exit(1);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  REQUIRE(WIFSIGNALED(status));
}

std::string long_text(const std::string &start) {
  std::string text = start;
  for (int i = 0; i < 300; ++i) text += " line " + std::to_string(i % 7);
  return text;
}

}  // namespace

TEST_CASE("calls of a turn are committed together at its end, and when_kept says so") {
  Folder folder;
  auto s = opened(folder.path);
  Loop loop(1);
  s->commit_by_turn(loop);
  const std::string file = folder.path + "/run.db";
  std::vector<std::string> order;
  int64_t seen = -1;
  loop.post([&] {
    REQUIRE(s->begin_call({"a", "core", "m", "s", "[]", "{}", 0}));
    s->when_kept([&](Result<> kept) {
      CHECK(kept);
      seen = number(file, "SELECT count(*) FROM calls");
      order.push_back("kept");
      loop.stop();
    });
    order.push_back("begun");
    CHECK(number(file, "SELECT count(*) FROM calls") == 0);
  });
  loop.post([&] {
    order.push_back("same turn");
    REQUIRE(s->begin_call({"b", "core", "m", "s", "[]", "{}", 0}));
  });
  loop.run();
  CHECK(order == std::vector<std::string>{"begun", "same turn", "kept"});
  CHECK(seen == 2);
  bool at_once = false;
  s->when_kept([&](Result<>) { at_once = true; });
  CHECK(at_once);  // nothing is waiting to be committed
}

TEST_CASE("after SIGKILL there is a prefix of what was written, put() included in it when it returned") {
  Folder folder;
  killed_in([&] {
    auto s = *Store::open(folder.path);
    Loop loop(1);
    s->commit_by_turn(loop);
    (void)s->begin_call({"a", "core", "m", "s", "[]", "{}", 0});
    (void)s->end_call("a", reply_of("first"));
    (void)s->put("kind", "key", "1");
    (void)s->begin_call({"b", "core", "m", "s", "[]", "{}", 0});
    ::kill(::getpid(), SIGKILL);
  });
  auto s = opened(folder.path);
  REQUIRE(s->find_call("a"));
  CHECK(s->get("kind", "key") == "1");
  CHECK(s->unknown_calls().empty());  // b's intent was never safe, so that b was never sent
}

TEST_CASE("long texts are packed and come back as they were; draws of a request share its messages") {
  Folder folder;
  const std::string file = folder.path + "/run.db", messages = "[" + long_text("\"q") + "\"]";
  auto s = opened(folder.path);
  for (int i = 0; i < 20; ++i) {
    const std::string key = "k" + std::to_string(i);
    REQUIRE(s->begin_call({key, "core", "m", "s", messages, "{\"sample\":" + std::to_string(i) + "}", 0}));
    REQUIRE(s->end_call(key, reply_of(i ? long_text(key) : "short")));
  }
  CHECK(s->find_call("k0")->text == "short");
  CHECK(s->find_call("k7")->text == long_text("k7"));
  CHECK(number(file, "SELECT count(*) FROM blobs") == 21);
  CHECK(number(file, "SELECT count(*) FROM blobs WHERE typeof(text) = 'blob'") == 20);
  CHECK(number(file, "SELECT max(length(text)) FROM blobs") < 200);
  sql(file, "UPDATE blobs SET text = x'28b52ffd00' WHERE typeof(text) = 'blob'");
  CHECK_FALSE(s->find_call("k7"));
  REQUIRE(s->failed());
  CHECK(s->failed()->message.find("damaged") != std::string::npos);
  CHECK(s->failed()->message.find(file) != std::string::npos);
}

TEST_CASE("settled calls become lines that core_replay reads") {
  Folder folder;
  auto s = opened(folder.path);
  REQUIRE(s->begin_call({"k", "core", "m", "s", R"([{"content":"hi","role":"user"}])", R"({"sample":3})", 0}));
  REQUIRE(s->end_call("k", reply_of("an \"answer\"\nin two lines")));
  REQUIRE(s->begin_call({"open", "core", "m", "s", "[]", "{}", 0}));
  std::vector<nlohmann::json> lines;
  REQUIRE(s->each_recorded([&](const std::string &line) { lines.push_back(nlohmann::json::parse(line)); }));
  REQUIRE(lines.size() == 1);
  CHECK(lines[0]["request"]["messages"][0]["content"] == "hi");
  CHECK(lines[0]["sample"] == 3);
  CHECK(lines[0]["reply"]["text"] == "an \"answer\"\nin two lines");
  CHECK(lines[0]["reply"]["output"] == 6);
}

TEST_CASE("a store of schema 1 is brought forward with all it holds") {
  Folder folder;
  const std::string file = folder.path + "/run.db";
  sql(file, R"(
    PRAGMA application_id = 1734569840; PRAGMA user_version = 1;
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE blobs (id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE, text TEXT NOT NULL);
    CREATE TABLE calls (id INTEGER PRIMARY KEY, key TEXT NOT NULL, role TEXT NOT NULL, model TEXT NOT NULL, stage TEXT NOT NULL,
      request INTEGER REFERENCES blobs (id), state TEXT NOT NULL CHECK (state IN ('pending', 'done', 'failed', 'unknown')),
      reserved_nano INTEGER NOT NULL, cost_nano INTEGER NOT NULL DEFAULT 0, reply INTEGER REFERENCES blobs (id),
      finish TEXT, served_model TEXT, input INTEGER NOT NULL DEFAULT 0, cache_read INTEGER NOT NULL DEFAULT 0,
      cache_write INTEGER NOT NULL DEFAULT 0, output INTEGER NOT NULL DEFAULT 0, reasoning INTEGER NOT NULL DEFAULT 0,
      usage_known INTEGER NOT NULL DEFAULT 1, latency_s REAL, attempts INTEGER, error TEXT, began REAL NOT NULL, ended REAL);
    CREATE INDEX calls_by_key ON calls (key);
    CREATE INDEX calls_open ON calls (state) WHERE state IN ('pending', 'unknown');
    CREATE TABLE checks (key TEXT PRIMARY KEY, task TEXT NOT NULL, candidate INTEGER REFERENCES blobs (id), score REAL NOT NULL,
      passed INTEGER NOT NULL, total INTEGER NOT NULL, feedback TEXT NOT NULL, detail TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE entries (kind TEXT NOT NULL, key TEXT NOT NULL, json TEXT NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID;
    CREATE TABLE events (id INTEGER PRIMARY KEY, at REAL NOT NULL, level TEXT NOT NULL, text TEXT NOT NULL);
    INSERT INTO meta VALUES ('seed', '7');
    INSERT INTO blobs VALUES (1, x'01', '{"messages":[{"content":"hi","role":"user"}],"sample":0}'),
      (2, x'02', '{"messages":[{"content":"hi","role":"user"}],"sample":1}'), (3, x'0db52f4076c082518412afd3dd3576e2cb0c63703fd7fed5e23ade60efef31d9', 'answer'), (4, x'04', 'candidate');
    INSERT INTO calls (key, role, model, stage, request, state, reserved_nano, cost_nano, reply, finish, input, output, began)
      VALUES ('a', 'core', 'm', 's', 1, 'done', 5, 250000000, 3, 'stop', 10, 2, 1.0), ('b', 'teacher', 'm', 's', 2, 'pending', 7000, 0, NULL, NULL, 0, 0, 2.0);
    INSERT INTO checks VALUES ('c', 't', 4, 1.0, 3, 3, '', '');
    INSERT INTO entries VALUES ('kind', 'key', '{}');
    INSERT INTO events VALUES (1, 0, 'info', 'text');)");
  {
    auto s = opened(folder.path);
    CHECK(s->find_call("a")->text == "answer");
    CHECK(s->spent() == 0.25);
    REQUIRE(s->unknown_calls().size() == 1);
    CHECK(s->unknown_calls()[0].role == "teacher");
    CHECK(s->find_check("c")->total == 3);
    CHECK(s->get("kind", "key") == "{}");
    CHECK(s->meta().at("seed") == "7");
    std::string line;
    REQUIRE(s->each_recorded([&](const std::string &l) { line += l; }));
    CHECK(nlohmann::json::parse(line)["request"]["messages"][0]["content"] == "hi");
    CHECK(number(file, "SELECT count(*) FROM blobs") == 3);  // two requests shared their messages
    CHECK(number(file, "PRAGMA user_version") == 3);
  }
  CHECK(opened(folder.path)->spent() == 0.25);
}

TEST_CASE("a store of schema 2 gets seals") {
  Folder folder;
  const std::string file = folder.path + "/run.db";
  {
    auto s = opened(folder.path);
    REQUIRE(s->begin_call({"a", "core", "m", "s", "[]", "{}", 0.5}));
    Reply yes;
    yes.text = "yes";
    yes.cost_usd = 0.25;
    REQUIRE(s->end_call("a", yes));
    REQUIRE(s->begin_call({"b", "core", "m", "s", "[]", "{}", 0.5}));
    REQUIRE(s->put_check("c", "t", "candidate", {1.0, 3, 3, "", ""}));
    REQUIRE(s->put("kind", "key", "{}"));
    REQUIRE(s->set_meta("seed", "7"));
  }
  sql(file, R"(
    ALTER TABLE calls DROP COLUMN seal; PRAGMA user_version = 2;
    CREATE TABLE m (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID; INSERT INTO m SELECT key, value FROM meta;
    CREATE TABLE c (key TEXT PRIMARY KEY, task TEXT NOT NULL, candidate INTEGER, score REAL NOT NULL, passed INTEGER NOT NULL,
      total INTEGER NOT NULL, feedback TEXT NOT NULL, detail TEXT NOT NULL) WITHOUT ROWID;
    INSERT INTO c SELECT key, task, candidate, score, passed, total, feedback, detail FROM checks;
    CREATE TABLE e (kind TEXT NOT NULL, key TEXT NOT NULL, json TEXT NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID;
    INSERT INTO e SELECT kind, key, json FROM entries;
    DROP TABLE meta; DROP TABLE checks; DROP TABLE entries;
    ALTER TABLE m RENAME TO meta; ALTER TABLE c RENAME TO checks; ALTER TABLE e RENAME TO entries;)");
  for (int i = 0; i < 2; ++i) {
    auto s = opened(folder.path);
    CHECK(number(file, "PRAGMA user_version") == 3);
    CHECK(s->find_call("a")->text == "yes");
    CHECK(s->spent() == 0.25);
    CHECK(s->unknown_calls().size() == 1);
    CHECK(s->find_check("c")->total == 3);
    CHECK(s->get("kind", "key") == "{}");
    CHECK(s->meta().at("seed") == "7");
  }
}

TEST_CASE("a store that cannot be brought forward is left as it was") {
  Folder folder;
  const std::string file = folder.path + "/run.db";
  sql(file, "PRAGMA application_id = 1734569840; PRAGMA user_version = 1; CREATE TABLE meta (key TEXT)");
  const auto refused = Store::open(folder.path);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message.find("bringing schema 1 forward (nothing was changed) failed") != std::string::npos);
  CHECK(number(file, "PRAGMA user_version") == 1);
  CHECK(number(file, "SELECT count(*) FROM sqlite_master") == 1);
}
