#include "lua/jailed_player.hpp"

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>

#include <fmt/format.h>

#include "lua/bind.hpp"
#include "lua/inside/frames.hpp"
#include "tts/shuffle.hpp"

// The program of the jail as bytes.
asm(".section .rodata\n.globl gcop_controller_program\n.globl gcop_controller_program_end\n.balign 16\n"
    "gcop_controller_program:\n.incbin \"" GCOP_CONTROLLER_PROGRAM
    "\"\n"
    "gcop_controller_program_end:\n.byte 0\n.text\n");
extern "C" const char gcop_controller_program[], gcop_controller_program_end[];

namespace gcop::lua {

using namespace inside;

namespace {

// Text of a process that nobody trusts, for terminals and files: no control characters, and UTF-8.
std::string harmless(std::string_view text) {
  std::string out(text);
  for (char &c : out)
    if ((static_cast<unsigned char>(c) < 32 && c != '\n' && c != '\t') || c == 127) c = '?';
  return nlohmann::json::parse(dump_json(out)).get<std::string>();
}

}  // namespace

JailedPlayer::JailedPlayer(const gcop_host_sandbox &sandbox, const JailedJob &job, Traces *traces,
                           const std::atomic<bool> &cancelled)
    : sandbox_(sandbox), job_(job), traces_(traces), cancelled_(cancelled) {}

JailedPlayer::Ran JailedPlayer::run(const std::string &input, uint64_t count) {
  const auto str = [](std::string_view s) { return gcop_str{s.data(), s.size()}; };
  const gcop_str argv[] = {str("./gcop-controller"), str("store.json")};
  const gcop_str names[] = {str("gcop-controller"), str("store.json")};
  const gcop_str texts[] = {str({gcop_controller_program, gcop_controller_program_end}), str(job_.shown_store)};
  uint64_t most = 1 << 16;  // bytes that honest work can need
  for (const uint32_t q : job_.questions) {
    const tts::Question &question = job_.store->questions[q];
    most += count * (16 + 3 * (question.probes.size() + 3 * question.branches.size()));
  }
  if (traces_) most += 2 * kMostTrace * job_.questions.size() * std::min<uint64_t>(count, traces_->below);
  gcop_cell cell{};
  cell.struct_size = sizeof cell;
  cell.argv = argv;
  cell.n_argv = 2;
  cell.file_names = names;
  cell.file_texts = texts;
  cell.n_files = 2;
  cell.cpu_ms = job_.cpu_ms;
  cell.wall_ms = 10'000 + 8 * job_.cpu_ms;
  cell.max_processes = 1;
  cell.mem_bytes = 2 * kMostControllerMemory + (64u << 20) + 8 * job_.shown_store.size();
  cell.output_bytes = most;
  cell.stdin_text = str(input);
  cell.isolation = job_.jailed ? GCOP_ISOLATION_JAIL : GCOP_ISOLATION_PROCESS;
  const gcop_cell *cells[] = {&cell};

  struct Call : gcop_op {
    std::mutex mutex;
    std::condition_variable over;
    bool done = false;
    Ran ran;
  } call{};
  call.struct_size = sizeof(gcop_op);
  call.id = uint64_t{3} << 62 | (reinterpret_cast<uintptr_t>(&call) & ((uint64_t{1} << 62) - 1));
  sandbox_.run(&sandbox_, cells, 1, &call, [](const gcop_op *op, const gcop_sandbox_result *result) {
    Call &mine = *const_cast<Call *>(static_cast<const Call *>(op));
    const auto text = [](gcop_str s) { return s.ptr ? std::string(s.ptr, s.len) : std::string(); };
    const std::lock_guard lock(mine.mutex);
    mine.ran.status = result->status;
    mine.ran.error = text(result->error);
    if (result->status == GCOP_OK) {
      const gcop_cell_result &ended = *result->cells[0];
      mine.ran.out = text(ended.out);
      mine.ran.err = text(ended.err);
      mine.ran.limits = ended.limits;
      mine.ran.exit_code = ended.exit_code;
      mine.ran.signal = ended.signal;
    }
    mine.done = true;
    mine.over.notify_one();
  });
  std::unique_lock lock(call.mutex);
  bool told = false;
  while (!call.over.wait_for(lock, std::chrono::milliseconds(50), [&] { return call.done; })) {
    if (!cancelled_ || told) continue;
    told = true;
    lock.unlock();
    sandbox_.cancel(&sandbox_, &call);
    lock.lock();
  }
  return std::move(call.ran);
}

// Why a process ended that neither solved all nor said why not.
Error JailedPlayer::ended(const Ran &ran) const {
  std::string why;
  if (ran.limits & GCOP_CELL_CPU)
    why = fmt::format("took more than {} s of CPU time", job_.cpu_ms / 1000.0);
  else if (ran.limits & GCOP_CELL_WALL)
    why = fmt::format("was not done after {} s", (10'000 + 8 * uint64_t{job_.cpu_ms}) / 1000.0);
  else if (ran.limits & GCOP_CELL_MEMORY)
    why = "ran out of memory";
  else if (ran.limits & GCOP_CELL_OUTPUT)
    why = "wrote more than any controller needs to";
  else if (ran.signal)
    why = fmt::format("was ended by signal {}", ran.signal);
  else
    why = fmt::format("ended with exit code {} before it was done", ran.exit_code);
  if (!ran.err.empty()) why += ": " + harmless(std::string_view(ran.err).substr(0, 300));
  return invalid(fmt::format("{}: its process {}", job_.name, why));
}

std::vector<tts::Solved> JailedPlayer::play(uint64_t first, uint64_t count, std::optional<Error> &failed) {
  const nlohmann::json input = {{"text", job_.text}, {"name", job_.name}, {"params", job_.params},
                                {"first", first},    {"count", count},    {"traced", traces_ ? traces_->below : 0}};
  std::vector<tts::Solved> solved;
  const Ran ran = run(dump_json(input), count);
  if (ran.status != GCOP_OK) {
    failed = Error{static_cast<Code>(ran.status), ran.error, {}};
    if (ran.status == GCOP_UNSUPPORTED)
      failed->message += ". Only isolation = \"process\" runs a controller that a model wrote without a jail";
    return solved;
  }
  std::string_view rest = ran.out, bytes;
  char kind = 0;
  nlohmann::json events = nlohmann::json::array();
  const size_t questions = job_.questions.size();
  std::vector<uint32_t> order;
  while (next_frame(rest, kind, bytes)) {
    const uint64_t seed = first + solved.size() / questions;
    const uint32_t q = job_.questions[solved.size() % questions];
    const bool all = solved.size() == count * questions;
    if (kind == kEnd && all && rest.empty()) return solved;
    if (all) break;
    if (kind == kFailed || (kind == kRefused && solved.empty())) {
      failed = invalid(harmless(bytes.substr(0, 2000)) + (kind == kFailed ? tts::place_of(q, seed) : ""));
      return solved;
    }
    if (kind == kTrace) {
      events = nlohmann::json::parse(bytes, nullptr, false);
      if (!events.is_array()) break;
      continue;
    }
    tts::Replay::Answer answer = 0;
    if (kind != kSolved || bytes.size() < sizeof answer) break;
    std::memcpy(&answer, bytes.data(), sizeof answer);
    if (solved.size() % questions == 0) order = tts::shuffled(seed, job_.store->branches);
    tts::Replay replay(job_.store->questions[q], order);
    if (!replay.repeat(bytes.substr(sizeof answer)) || answer < 1 || answer > replay.answers()) break;
    const auto grade = replay.grade(answer);
    solved.push_back({grade.correct, grade.normalised, replay.cost()});
    if (traces_ && seed < traces_->below) {
      const std::lock_guard lock(traces_->mutex);
      traces_->rows[{seed, q}] = {{"seed", seed},
                                  {"question", q + 1},
                                  {"correct", grade.correct},
                                  {"cost", replay.cost()},
                                  {"events", std::exchange(events, nlohmann::json::array())}};
    }
  }
  if (ran.limits == 0 && ran.signal == 0 && ran.exit_code == 0)
    failed = invalid(job_.name + ": what its process wrote is not what a controller's process writes");
  else
    failed = ended(ran);
  failed->message += tts::place_of(job_.questions[solved.size() % questions], first + solved.size() / questions);
  return solved;
}

}  // namespace gcop::lua
