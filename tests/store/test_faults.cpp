// Kills, second runs, full disks, read-only folders, damaged and foreign files.
#include <doctest/doctest.h>

#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include <fstream>
#include <functional>
#include <optional>
#include <random>
#include <sstream>

#include "folder.hpp"
#include "store/store.hpp"

using namespace gcop;
using store::Store;

namespace {

// Runs `body` in a child; its return value is the exit code. The child never runs doctest's own exit path.
int in_child(const std::function<int()> &body) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(body());
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

std::string message_of(const Result<std::shared_ptr<Store>> &s) { return s ? "opened" : s.error().message; }
bool contains(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }

Reply answer(const std::string &text) {
  Reply r;
  r.text = text;
  r.cost_usd = 0.01;
  return r;
}

void sql(const std::string &file, const char *text) {
  sqlite3 *db = nullptr;
  REQUIRE(sqlite3_open(file.c_str(), &db) == SQLITE_OK);
  REQUIRE(sqlite3_exec(db, text, nullptr, nullptr, nullptr) == SQLITE_OK);
  sqlite3_close(db);
}

}  // namespace

TEST_CASE("SIGKILL between intent and outcome: settled calls stay, open ones are unknown, nothing is paid twice") {
  for (int kill_at = 0; kill_at < 12; ++kill_at) {
    Folder folder;
    int done = 0;
    {
      int pipe_ends[2];
      REQUIRE(::pipe(pipe_ends) == 0);
      const pid_t pid = ::fork();
      if (pid == 0) {
        ::close(pipe_ends[0]);
        auto s = Store::open(folder.path);
        if (!s) ::_exit(1);
        for (int i = 0;; ++i) {
          const std::string key = "k" + std::to_string(i);
          if (!(*s)->begin_call({key, "core", "m", "s", "[]", "{}", 0.02})) ::_exit(2);
          if (i == kill_at) ::kill(::getpid(), SIGKILL);
          if (!(*s)->end_call(key, answer(key))) ::_exit(3);
          if (::write(pipe_ends[1], "x", 1) != 1) ::_exit(4);
        }
      }
      ::close(pipe_ends[1]);
      char byte;
      while (::read(pipe_ends[0], &byte, 1) == 1) ++done;  // outcomes that end_call reported before the kill
      ::close(pipe_ends[0]);
      int status = 0;
      ::waitpid(pid, &status, 0);
      REQUIRE(WIFSIGNALED(status));
    }
    CHECK(done == kill_at);
    auto s = Store::open(folder.path);
    REQUIRE(s);
    for (int i = 0; i < done; ++i) CHECK((*s)->find_call("k" + std::to_string(i)));
    CHECK_FALSE((*s)->find_call("k" + std::to_string(done)));
    CHECK((*s)->spent() == doctest::Approx(0.01 * done));
    const auto unknown = (*s)->unknown_calls();
    REQUIRE(unknown.size() == 1);
    CHECK(unknown[0].key == "k" + std::to_string(done));
    CHECK(unknown[0].possible_usd == doctest::Approx(0.02));
    (*s)->set_budget(0.01 * done + 0.03);  // 0.02 of it may be gone with the unknown call
    CHECK((*s)->begin_call({"again", "core", "m", "s", "[]", "{}", 0.01}));
    CHECK_FALSE((*s)->begin_call({"more", "core", "m", "s", "[]", "{}", 0.001}));
  }
}

TEST_CASE("SIGKILL at any moment: what end_call returned is there") {
  for (int round = 0; round < 10; ++round) {
    Folder folder;
    int pipe_ends[2];
    REQUIRE(::pipe(pipe_ends) == 0);
    const pid_t pid = ::fork();
    if (pid == 0) {
      auto s = Store::open(folder.path);
      if (!s) ::_exit(1);
      for (uint32_t i = 0;; ++i) {
        const std::string key = "k" + std::to_string(i);
        if (!(*s)->begin_call({key, "core", "m", "s", "[]", "{\"n\":" + key + "}", 0.02}) ||
            !(*s)->end_call(key, answer(key)))
          ::_exit(2);
        if (::write(pipe_ends[1], &i, sizeof i) != sizeof i) ::_exit(3);
      }
    }
    ::close(pipe_ends[1]);
    uint32_t last = 0, seen = 0;
    while (seen < 40u + 37u * uint32_t(round) && ::read(pipe_ends[0], &last, sizeof last) == sizeof last) ++seen;
    ::kill(pid, SIGKILL);
    while (::read(pipe_ends[0], &last, sizeof last) == sizeof last) ++seen;
    ::close(pipe_ends[0]);
    int status = 0;
    ::waitpid(pid, &status, 0);
    REQUIRE(WIFSIGNALED(status));
    auto s = Store::open(folder.path);
    REQUIRE(s);
    for (uint32_t i = 0; i <= last; ++i)
      if (!(*s)->find_call("k" + std::to_string(i))) FAIL("lost call ", i, " of ", last);
    CHECK((*s)->unknown_calls().size() <= 1);
  }
}

TEST_CASE("a second run on the folder is refused and told who holds it; afterwards it may") {
  Folder folder;
  {
    auto first = Store::open(folder.path);
    REQUIRE(first);
    auto second = Store::open(folder.path);
    REQUIRE_FALSE(second);
    CHECK(contains(second.error().message, "in use by process " + std::to_string(::getpid())));
    CHECK(in_child([&] { return Store::open(folder.path) ? 0 : 7; }) == 7);
  }
  CHECK(Store::open(folder.path));
}

TEST_CASE("files that are no run store, each by its own sentence") {
  Folder folder;
  const std::string file = folder.path + "/run.db";
  SUBCASE("a newer schema") {
    { REQUIRE(Store::open(folder.path)); }
    sql(file, "PRAGMA user_version = 99");
    CHECK(contains(message_of(Store::open(folder.path)), "schema 99"));
  }
  SUBCASE("another program's database") {
    sql(file, "CREATE TABLE cats (name)");
    CHECK(contains(message_of(Store::open(folder.path)), "another program"));
    sql(file, "PRAGMA user_version = 1");
    CHECK(contains(message_of(Store::open(folder.path)), "not made by gcop"));
  }
  SUBCASE("no database at all") {
    std::ofstream(file) << std::string(5000, 'x');
    CHECK(contains(message_of(Store::open(folder.path)), "damaged or no database"));
  }
  SUBCASE("damaged pages") {
    {
      auto s = Store::open(folder.path);
      REQUIRE(s);
      for (int i = 0; i < 400; ++i) REQUIRE((*s)->put("kind", "key" + std::to_string(i), std::string(300, 'j')));
    }
    std::fstream f(file, std::ios::in | std::ios::out | std::ios::binary);
    for (int page = 4; page < 30; ++page) {
      f.seekp(page * 4096 + 5);
      f << std::string(900, '\x7f');
    }
    f.close();
    CHECK(contains(message_of(Store::open(folder.path)), "damaged"));
  }
  SUBCASE("a folder that is a file") {
    std::ofstream(folder.path + "/plain") << "x";
    CHECK(contains(message_of(Store::open(folder.path + "/plain")), "cannot write"));
  }
}

TEST_CASE("damage anywhere in the file is an error that says so, never another answer, verdict or sum") {
  Folder folder;
  const std::string file = folder.path + "/run.db";
  const auto key = [](int i) { return std::string(30, 'k') + std::to_string(i * 7919 % 1000); };
  {
    auto s = Store::open(folder.path);
    REQUIRE(s);
    for (int i = 0; i < 120; ++i) {
      REQUIRE(
          (*s)->begin_call({key(i), i % 3 ? "core" : "teacher", "model", "stage", "[\"" + key(i) + "\"]", "{}", 0.02}));
      REQUIRE(
          (*s)->end_call(key(i), i % 9 ? Result<Reply>(answer("answer " + std::string(static_cast<size_t>(i) * 9, 'a')))
                                       : Result<Reply>(Error{Code::timeout, "late", {}})));
      REQUIRE((*s)->put_check(key(i), "task", "candidate " + key(i), {i % 2 ? 1.0 : 0.0, 1, 2, "words", "{}"}));
      REQUIRE((*s)->put("kind", key(i), "{\"value\":" + std::to_string(i) + "}"));
    }
    REQUIRE((*s)->set_meta("seed", "12345"));
  }
  // All that a resume and a report read.
  const auto contents = [&](const std::string &folder_path) -> std::optional<std::string> {
    auto opened = Store::open(folder_path);
    if (!opened) {
      CHECK_MESSAGE(opened.error().message.size() > 40, opened.error().message);
      return {};
    }
    Store &s = **opened;
    std::ostringstream out;
    for (int i = 0; i < 120; ++i) {
      const auto reply = s.find_call(key(i));
      const auto verdict = s.find_check(key(i));
      out << (reply ? reply->text + reply->finish + std::to_string(reply->price_usd) : "none") << '\n'
          << (verdict ? verdict->feedback + std::to_string(verdict->score) : "none")
          << s.get("kind", key(i)).value_or("none");
    }
    for (const auto &[name, json] : s.list("kind")) out << name << json;
    for (const auto &cost : s.costs()) out << cost.role << cost.usd << cost.possible_usd << cost.calls << cost.unknown;
    for (const auto &call : s.unknown_calls()) out << call.key << call.role << call.possible_usd;
    for (const auto &[name, value] : s.meta()) out << name << value;
    out << s.spent();
    if (s.failed()) return {};
    return out.str();
  };
  const auto whole = contents(folder.path);
  REQUIRE(whole);
  std::ifstream in(file, std::ios::binary);
  std::stringstream bytes;
  bytes << in.rdbuf();
  std::mt19937_64 random(7);
  int noticed = 0;
  for (int i = 0; i < 600; ++i) {
    std::string damaged = bytes.str();
    const size_t at = random() % damaged.size(), n = i % 2 ? 1 : 64;
    for (size_t j = at; j < std::min(damaged.size(), at + n); ++j) damaged[j] = static_cast<char>(random());
    Folder other;
    std::ofstream(other.path + "/run.db", std::ios::binary) << damaged;
    const auto found = contents(other.path);
    noticed += !found;
    CHECK_MESSAGE((!found || *found == *whole), "damage of ", n, " bytes at ", at);
  }
  CHECK(noticed > 200);  // the others hit free space, or fields that nobody reads
}

// Both need a mount of our own; where the kernel refuses that, they say so.
namespace {
constexpr int kNoMount = 77;
bool own_mount(const std::string &where, const char *options) {
  return ::unshare(CLONE_NEWNS) == 0 && ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         ::mount("tmpfs", where.c_str(), "tmpfs", 0, options) == 0;
}
}  // namespace

TEST_CASE("a full disk: a sticky, clear error; what was settled is still there") {
  Folder folder;
  const int rc = in_child([&] {
    if (!own_mount(folder.path, "size=600k")) return kNoMount;
    int settled = 0;
    {
      auto s = Store::open(folder.path);
      if (!s) return 1;
      for (; settled < 10000; ++settled) {
        const std::string key = "k" + std::to_string(settled);
        if (!(*s)->begin_call({key, "core", "m", "s", "[]", std::string(2000, 'q') + key, 0}) ||
            !(*s)->end_call(key, answer(std::string(2000, 'a') + key)))
          break;
      }
      if (settled == 10000 || settled < 5) return 2;
      if (!(*s)->failed() || (*s)->failed()->code != Code::exhausted ||
          !contains((*s)->failed()->message, "disk is full"))
        return 3;
      if ((*s)->put("x", "y", "z") || (*s)->begin_call({"n", "core", "m", "s", "[]", "{}", 0})) return 4;  // sticky
    }
    // Space comes back: the run goes on where it was.
    if (::mount("none", folder.path.c_str(), nullptr, MS_REMOUNT, "size=20m") != 0) return 5;
    auto s = Store::open(folder.path);
    if (!s) return 6;
    for (int i = 0; i < settled; ++i)
      if (!(*s)->find_call("k" + std::to_string(i))) return 7;
    return (*s)->put("x", "y", "z") ? 0 : 8;
  });
  if (rc == kNoMount)
    MESSAGE("skipped: this user may not mount a small disk");
  else
    CHECK(rc == 0);
}

TEST_CASE("a read-only folder, and no space for even an empty store") {
  Folder folder;
  const int rc = in_child([&] {
    if (!own_mount(folder.path, "size=20m")) return kNoMount;
    {
      if (!Store::open(folder.path)) return 1;
    }
    if (::mount("none", folder.path.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) != 0) return 2;
    const auto refused = Store::open(folder.path);
    if (refused || !contains(refused.error().message, "Read-only file system") ||
        !contains(refused.error().message, "--out"))
      return 3;
    if (!own_mount(folder.path, "size=8k")) return 4;
    const auto full = Store::open(folder.path);
    return !full && (contains(full.error().message, "disk is full") || contains(full.error().message, "No space left"))
               ? 0
               : 5;
  });
  if (rc == kNoMount)
    MESSAGE("skipped: this user may not mount");
  else
    CHECK(rc == 0);
}
