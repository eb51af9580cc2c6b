#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>

#include <curl/curl.h>

#include "base/log.hpp"
#include "models/fetch.hpp"

namespace gcop::models {
namespace fs = std::filesystem;

namespace {

constexpr long kConnectSeconds = 10;
constexpr long kLowSpeedBytes = 1024, kLowSpeedSeconds = 30;  // slower than this for so long: cut
constexpr int kResumes = 5;                                   // in one call, as long as each brings new bytes

std::string variable(const char *name, const std::string &fallback) {
  const char *value = std::getenv(name);
  return value && *value ? value : fallback;
}

std::string endpoint() {
  std::string url = variable("HF_ENDPOINT", "https://huggingface.co");
  while (!url.empty() && url.back() == '/') url.pop_back();
  return url;
}

enum class Outcome { done, cut, no_ranges, refused, full, too_long, cancelled };

struct Transfer {
  const Target &target;
  std::FILE *out = nullptr;
  uint64_t at = 0;  // bytes in the file
  int write_errno = 0;
  bool too_long = false;
};

size_t on_body(char *data, size_t, size_t size, void *user) {
  auto &t = *static_cast<Transfer *>(user);
  if (t.at + size > t.target.entry.bytes) {
    t.too_long = true;
    return 0;
  }
  const size_t written = std::fwrite(data, 1, size, t.out);
  if (written != size) t.write_errno = errno;
  t.at += written;
  return written;
}

int on_progress(void *user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const auto &t = *static_cast<Transfer *>(user);
  t.target.progress(t.at);
  return t.target.cancelled() ? 1 : 0;
}

// One request that goes on from the end of `part`; `said` is what to tell people.
Outcome request(const Target &target, const std::string &url, const std::string &part, std::string &said) {
  Transfer transfer{target};
  std::error_code ignored;
  if (fs::exists(part, ignored)) transfer.at = fs::file_size(part, ignored);
  transfer.out = std::fopen(part.c_str(), "ab");
  if (!transfer.out) {
    said = "cannot write " + part + ": " + std::strerror(errno);
    return errno == ENOSPC ? Outcome::full : Outcome::refused;
  }
  static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
  const std::unique_ptr<CURL, void (*)(CURL *)> handle(ready == CURLE_OK ? curl_easy_init() : nullptr,
                                                       curl_easy_cleanup);
  CURL *curl = handle.get();
  CURLcode code = CURLE_FAILED_INIT;
  char detail[CURL_ERROR_SIZE] = "";
  long status = 0;
  if (curl) {
    curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, url.rfind("https:", 0) == 0 ? "https" : "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, 8L);
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, kLowSpeedBytes);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, kLowSpeedSeconds);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "gcop");
    curl_easy_setopt(curl, CURLOPT_RESUME_FROM_LARGE, static_cast<curl_off_t>(transfer.at));
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &transfer);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
    code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  }
  if (std::fclose(transfer.out) != 0 && transfer.write_errno == 0) transfer.write_errno = errno;  // buffered bytes
  said = detail[0] ? detail : curl_easy_strerror(code);
  if (transfer.write_errno != 0) {
    said = std::strerror(transfer.write_errno);
    return transfer.write_errno == ENOSPC || transfer.write_errno == EDQUOT ? Outcome::full : Outcome::refused;
  }
  if (transfer.too_long) {
    said = "it sends more than the " + std::to_string(target.entry.bytes) + " bytes that the file has";
    return Outcome::too_long;
  }
  switch (code) {
    case CURLE_OK:
      if (transfer.at == target.entry.bytes) return Outcome::done;
      said = "it sent " + std::to_string(transfer.at) + " of " + std::to_string(target.entry.bytes) +
             " bytes and said that was all";
      return Outcome::too_long;  // a whole answer of another size: nothing to resume
    case CURLE_ABORTED_BY_CALLBACK: return Outcome::cancelled;
    case CURLE_RANGE_ERROR: return Outcome::no_ranges;
    case CURLE_HTTP_RETURNED_ERROR:
      if (status == 416) return Outcome::no_ranges;
      said = "HTTP status " + std::to_string(status);
      return Outcome::refused;
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM: return Outcome::cut;
    default: return Outcome::refused;
  }
}

}  // namespace

std::string hub_cache_path(const Entry &entry) {
  if (entry.hub_repo.empty()) return {};
  std::string folder = entry.hub_repo;
  for (size_t at = folder.find('/'); at != std::string::npos; at = folder.find('/')) folder.replace(at, 1, "--");
  const std::string home = variable("HF_HOME", variable("HOME", "") + "/.cache/huggingface");
  return home + "/hub/models--" + folder + "/snapshots/" + entry.hub_revision + "/" + entry.file;
}

Result<std::string> fetch_from_hub(const Target &target) {
  const Entry &entry = target.entry;
  const std::string url = endpoint() + "/" + entry.hub_repo + "/resolve/" + entry.hub_revision + "/" + entry.file;
  const std::string part = target.file() + ".part";
  std::error_code ignored;
  const auto size = [&] {
    return fs::exists(part, ignored) ? static_cast<uint64_t>(fs::file_size(part, ignored)) : uint64_t{0};
  };
  if (size() > entry.bytes) fs::remove(part, ignored);
  std::string said;
  for (int resumes = 0;; ++resumes) {
    const uint64_t before = size();
    if (before == entry.bytes) return part;
    const Outcome outcome = request(target, url, part, said);
    switch (outcome) {
      case Outcome::done: return part;
      case Outcome::no_ranges:  // it cannot go on in the middle: once from the start
        fs::remove(part, ignored);
        if (before > 0 && resumes < kResumes) continue;
        break;
      case Outcome::cut:
        if (size() > before && resumes < kResumes) {
          log_info("the download of " + entry.file + " was cut at " + std::to_string(size()) + " bytes (" + said +
                   "); going on");
          continue;
        }
        if (size() == 0) fs::remove(part, ignored);
        return Error{Code::unavailable,
                     url + ": the download was cut at " + std::to_string(size()) + " of " +
                         std::to_string(entry.bytes) + " bytes (" + said + ")",
                     {}};
      case Outcome::full: fs::remove(part, ignored); return disk_full(target);
      case Outcome::cancelled:
        if (size() == 0) fs::remove(part, ignored);
        return cancelled_error(target);
      case Outcome::too_long: fs::remove(part, ignored); break;
      case Outcome::refused:
        if (size() == 0) fs::remove(part, ignored);
        break;
    }
    return Error{Code::unavailable, url + ": " + said, {}};
  }
}

}  // namespace gcop::models
