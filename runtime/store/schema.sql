-- run.db, version 3 (PRAGMA user_version; what an older one becomes is in migrate.cpp). Money is in whole nano-dollars,
-- so that sums do not depend on their order. `seal` is a hash of the row's other columns but its id (sealed.hpp): SQLite
-- does not notice a byte that changes inside a value.
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL, seal INTEGER NOT NULL) WITHOUT ROWID;

-- Long texts once each, by content: as TEXT, or as a zstd frame in a BLOB where that is smaller. The hash is the text's.
CREATE TABLE blobs (id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE, text NOT NULL);

-- One row per call that was sent: written as 'pending' before the send, settled after. 'unknown': nobody can tell what
-- the far side did (the process was killed, the call cancelled or timed out). A key may be tried more than once.
-- Draws of one request share their messages; what tells them apart (sample, seed, parameters) is in `params`.
CREATE TABLE calls (
  id INTEGER PRIMARY KEY,
  key TEXT NOT NULL,
  role TEXT NOT NULL, model TEXT NOT NULL, stage TEXT NOT NULL,
  messages INTEGER REFERENCES blobs (id), params TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('pending', 'done', 'failed', 'unknown')),
  reserved_nano INTEGER NOT NULL,
  cost_nano INTEGER NOT NULL DEFAULT 0,
  reply INTEGER REFERENCES blobs (id),
  finish TEXT, served_model TEXT,
  input INTEGER NOT NULL DEFAULT 0, cache_read INTEGER NOT NULL DEFAULT 0, cache_write INTEGER NOT NULL DEFAULT 0,
  output INTEGER NOT NULL DEFAULT 0, reasoning INTEGER NOT NULL DEFAULT 0, usage_known INTEGER NOT NULL DEFAULT 1,
  latency_s REAL, attempts INTEGER,
  unanswered INTEGER NOT NULL DEFAULT 0,  -- earlier tries that were cut off: each may have cost reserved_nano
  error TEXT,
  began REAL NOT NULL, ended REAL,
  seal INTEGER NOT NULL  -- 0 while pending
);
CREATE INDEX calls_by_key ON calls (key);

CREATE TABLE checks (
  key TEXT PRIMARY KEY,
  task TEXT NOT NULL, candidate INTEGER REFERENCES blobs (id),
  score REAL NOT NULL, passed INTEGER NOT NULL, total INTEGER NOT NULL,
  feedback TEXT NOT NULL, detail TEXT NOT NULL,
  seal INTEGER NOT NULL
) WITHOUT ROWID;

-- What stages remember: strategies, scores, steps, state.
CREATE TABLE entries (
  kind TEXT NOT NULL, key TEXT NOT NULL, json TEXT NOT NULL, seal INTEGER NOT NULL, PRIMARY KEY (kind, key)
) WITHOUT ROWID;

CREATE TABLE events (id INTEGER PRIMARY KEY, at REAL NOT NULL, level TEXT NOT NULL, text TEXT NOT NULL);
