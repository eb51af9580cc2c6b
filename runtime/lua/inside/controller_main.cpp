// gcop-controller STORE: a program of the jail that solves questions with a controller nobody trusts. It loads a store
// that has no gold answers and waits; every copy takes one job {text, name, params, first, count, traced} from its
// standard input and writes frames. Whoever reads them repeats what was done on the real store: costs and grades are
// not this process's to say.
#include <atomic>
#include <cstdio>
#include <iterator>
#include <string>

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "lua/bind.hpp"
#include "lua/controller.hpp"
#include "lua/inside/frames.hpp"
#include "tts/shuffle.hpp"

extern "C" int gcop_cell_wait(void);

using namespace gcop;

namespace {

bool read_all(std::string &into) {
  char buffer[1 << 16];
  for (ssize_t n; (n = read(0, buffer, sizeof buffer)) != 0;) {
    if (n < 0) return false;
    into.append(buffer, static_cast<size_t>(n));
  }
  return true;
}

void write_all(std::string &out) {
  for (size_t at = 0; at < out.size();) {
    const ssize_t n = write(1, out.data() + at, out.size() - at);
    if (n < 0) _exit(1);
    at += static_cast<size_t>(n);
  }
  out.clear();
}

// True if all were solved.
bool solve(const tts::Store &store, const nlohmann::json &job, std::string &out) {
  const auto failed = [&out](lua::inside::Frame kind, const std::string &why) {
    lua::inside::put_frame(out, kind, why);
    return false;
  };
  const uint64_t first = job.at("first"), count = job.at("count"), traced = job.at("traced");
  lua::Traces traces{traced, {}, {}};
  const std::atomic<bool> never{false};
  auto controller = lua::Controller::make(job.at("text"), job.at("name"), job.at("params"), never, &traces);
  if (!controller) return failed(lua::inside::kRefused, controller.error().message);
  std::string actions;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    const auto order = tts::shuffled(seed, store.branches);
    for (uint32_t q = 0; q < store.questions.size(); ++q) {
      tts::Replay replay(store.questions[q], order);
      actions.clear();
      replay.record(&actions);
      auto answer = (*controller)->solve(replay, seed, q);
      if (!answer) return failed(lua::inside::kFailed, answer.error().message);
      for (const auto &[at, row] : traces.rows)
        lua::inside::put_frame(out, lua::inside::kTrace, lua::dump_json(row.at("events")));
      traces.rows.clear();
      actions.insert(0, reinterpret_cast<const char *>(&*answer), sizeof *answer);
      lua::inside::put_frame(out, lua::inside::kSolved, actions);
      if (out.size() > 1 << 16) write_all(out);
    }
  }
  lua::inside::put_frame(out, lua::inside::kEnd, "");
  return true;
}

}  // namespace

int main(int argc, char **argv) try {
  auto store = tts::load(argc == 2 ? argv[1] : "");
  if (!store) {
    std::fprintf(stderr, "%s\n", store.error().message.c_str());
    return 1;
  }
  if (gcop_cell_wait() != 0) return 1;
  std::string input, out;
  if (!read_all(input)) return 1;
  const bool all = solve(*store, nlohmann::json::parse(input), out);
  write_all(out);
  return all ? 0 : 2;
} catch (const std::exception &e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
