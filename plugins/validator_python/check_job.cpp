#include "check_job.hpp"

#include <sys/random.h>

#include <charconv>
#include <csignal>
#include <cstring>

#include <nlohmann/json.hpp>

namespace gcop::validator_python {
namespace {

constexpr size_t kFeedbackBytes = 2000;

[[noreturn]] void bad_row(const std::string &id, const std::string &what) {
  throw sdk::Failure(GCOP_INVALID, "task " + (id.empty() ? "without id" : "'" + id + "'") + ": " + what);
}

std::string string_field(const nlohmann::json &row, const char *key, const std::string &id) {
  const auto at = row.find(key);
  if (at == row.end() || at->is_null()) return {};
  if (!at->is_string()) bad_row(id, std::string("field '") + key + "' must be a string, not " + at->type_name());
  return at->get<std::string>();
}

void put_sized(std::string &out, char tag, std::string_view data) {
  out += tag;
  const uint32_t n = static_cast<uint32_t>(data.size());
  for (int shift = 0; shift < 32; shift += 8) out += static_cast<char>((n >> shift) & 0xff);
  out += data;
}

void put_count(std::string &out, char tag, size_t n) {
  put_sized(out, tag, {});
  for (int i = 0; i < 4; ++i) out[out.size() - 4 + static_cast<size_t>(i)] = static_cast<char>((n >> (8 * i)) & 0xff);
}

bool take_number(std::string_view &text, uint32_t &value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  if (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  return true;
}

// At most n bytes, never half a character.
std::string cut(std::string text, size_t n) {
  if (text.size() <= n) return text;
  while (n > 0 && (static_cast<unsigned char>(text[n]) & 0xc0) == 0x80) --n;
  text.resize(n);
  return text;
}

std::string how_it_ended(const gcop_cell_result &cell, const Limits &limits) {
  if (cell.limits & GCOP_CELL_CPU)
    return "the program used more than " + std::to_string(limits.cpu_ms) + " ms of CPU time and was stopped";
  if (cell.limits & GCOP_CELL_WALL)
    return "the program took longer than " + std::to_string(limits.wall_ms) + " ms and was stopped";
  if (cell.limits & GCOP_CELL_MEMORY)
    return "the program used more than " + std::to_string(limits.mem_bytes >> 20) + " MiB of memory and was stopped";
  if (cell.signal == SIGKILL) return "the program closed its connection or was killed";  // no limit of ours says so
  if (cell.signal > 0) return "the program crashed (" + std::string(strsignal(cell.signal)) + ")";
  return "the program ended itself with exit code " + std::to_string(cell.exit_code) + " before it answered";
}

}  // namespace

Tests read_tests(std::string_view task_json) {
  const auto row = nlohmann::json::parse(task_json, nullptr, false);
  if (!row.is_object()) throw sdk::Failure(GCOP_INVALID, "the task is no JSON object");
  Tests tests;
  for (const char *key : {"id", "task_id"})
    if (const auto at = row.find(key); at != row.end() && tests.id.empty())
      tests.id = at->is_string() ? at->get<std::string>() : at->dump();
  tests.entry = string_field(row, "entry_point", tests.id);
  tests.setup = string_field(row, "test_setup_code", tests.id);
  for (const char *key : {"tests", "test_list", "test"}) {
    const auto at = row.find(key);
    if (at == row.end() || at->is_null() || (at->is_string() && at->get_ref<const std::string &>().empty())) continue;
    if (at->is_string()) {
      tests.form = "file";
      tests.asserts.push_back(at->get<std::string>());
      break;
    }
    if (!at->is_array())
      bad_row(tests.id, std::string("field '") + key + "' must be a list of strings, or a test file");
    for (const auto &test : *at) {
      if (!test.is_string()) bad_row(tests.id, std::string("field '") + key + "' must hold strings only");
      tests.asserts.push_back(test.get<std::string>());
    }
    if (!tests.asserts.empty()) break;
  }
  if (tests.asserts.empty()) bad_row(tests.id, "has no tests; it needs 'tests', 'test_list' or 'test'");
  return tests;
}

std::string judge_input(const std::string &nonce, const Tests &tests) {
  std::string out;
  put_count(out, 't', 5);
  put_sized(out, 's', nonce);
  put_sized(out, 's', tests.form);
  put_sized(out, 's', tests.entry);
  put_sized(out, 's', tests.setup);
  put_count(out, 'l', tests.asserts.size());
  for (const std::string &test : tests.asserts) put_sized(out, 's', test);
  return out;
}

std::string make_nonce() {
  unsigned char bytes[16];
  if (getrandom(bytes, sizeof bytes, 0) != static_cast<ssize_t>(sizeof bytes))
    throw sdk::Failure(GCOP_INTERNAL, "the kernel gave no random bytes");
  std::string out;
  for (unsigned char byte : bytes) out += {"0123456789abcdef"[byte >> 4], "0123456789abcdef"[byte & 15]};
  return out;
}

namespace {
constexpr uint64_t kJudgeShareNs = 1'000'000'000;  // of CPU time; the tests of a task take far less by themselves
}  // namespace

Outcome read_outcome(const gcop_cell_result &judge, const gcop_cell_result &candidate, const std::string &nonce,
                     const Tests &tests, const Limits &limits) {
  Outcome outcome;
  outcome.out_of_wall = (candidate.limits & GCOP_CELL_WALL) != 0;
  const uint32_t expected = static_cast<uint32_t>(tests.asserts.size());
  std::string_view text = sdk::view(judge.out);
  const std::string opening = "gcop-verdict " + nonce + " ";
  uint32_t counted = 0, passed = 0, total = 0;
  std::string_view kind;
  bool accepted = text.starts_with(opening);
  if (accepted) {
    text.remove_prefix(opening.size());
    kind = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), kind.size() + 1));
    accepted = take_number(text, counted) && take_number(text, passed) && take_number(text, total) && !text.empty() &&
               text.front() == '\n' && counted == expected;
  }
  if (accepted && kind == "broken") {
    outcome.status = GCOP_INVALID;
    outcome.error = "task '" + tests.id + "': " + cut(std::string(text.substr(1)), 600);
    return outcome;
  }
  sdk::Verdict &verdict = outcome.verdict;
  if (accepted && (kind == "ok" || kind == "lost") && total > 0 && passed <= total) {
    verdict.passed = passed;
    verdict.total = total;
    verdict.score = kind == "ok" && passed == total ? 1 : 0;
    if (verdict.score == 1) return outcome;
    std::string feedback(text.substr(1));
    if (const size_t at = feedback.find('\1'); at != feedback.npos)
      feedback.replace(at, 1, how_it_ended(candidate, limits));
    while (!feedback.empty() && feedback.back() == '\n') feedback.pop_back();
    verdict.feedback = cut(std::move(feedback), kFeedbackBytes);
    return outcome;
  }
  // Only values that the candidate made can cost the judge that much; of its wall time most may be the candidate's.
  const bool worked = judge.cpu_ns > kJudgeShareNs;
  if ((judge.limits & (GCOP_CELL_CPU | GCOP_CELL_MEMORY)) || ((judge.limits & GCOP_CELL_WALL) && worked)) {
    verdict.total = expected;
    verdict.feedback = judge.limits & GCOP_CELL_MEMORY ? "comparing the returned values took too much memory"
                                                       : "comparing the returned values took too much CPU time";
    return outcome;
  }
  outcome.status = GCOP_UNAVAILABLE;
  std::string tail(sdk::view(judge.err));
  if (tail.size() > 300) tail.erase(0, tail.size() - 300);
  outcome.error = "task '" + tests.id + "': the judge ended without a verdict (" +
                  (judge.limits & GCOP_CELL_WALL ? "wall limit"
                   : judge.signal                ? strsignal(judge.signal)
                                                 : "exit code " + std::to_string(judge.exit_code)) +
                  ")" + (tail.empty() ? "" : ": " + tail);
  return outcome;
}

}  // namespace gcop::validator_python
