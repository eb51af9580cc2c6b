// A controller that nobody trusts, evaluated in a process of its own in the host's jail (lua/inside/). The process sees
// no gold answer, no question, no file and no network, and has limits of time and memory. What it says it did is done
// again here, so that costs and grades are right whatever it says.
#pragma once
#include <atomic>
#include <memory>
#include <string>

#include <gcop/plugin.h>
#include <nlohmann/json.hpp>

#include "lua/controller.hpp"
#include "tts/evaluation.hpp"

namespace gcop::lua {

struct JailedJob {
  std::shared_ptr<const tts::Store> store;
  std::vector<uint32_t> questions;
  std::string shown_store;  // tts::without_golds of them
  std::string text, name;
  nlohmann::json params;
  uint32_t cpu_ms = 0;  // of each process
  bool jailed = true;
};
constexpr uint64_t kMostJailedShuffles = 64;  // of one process: what it writes is held in memory

class JailedPlayer final : public tts::Player {
 public:
  // All must outlive this.
  JailedPlayer(const gcop_host_sandbox &sandbox, const JailedJob &job, Traces *traces,
               const std::atomic<bool> &cancelled);
  // [block] one process. Ends early when `cancelled` is set.
  std::vector<tts::Solved> play(uint64_t first, uint64_t count, std::optional<Error> &failed) override;

 private:
  struct Ran {
    gcop_status status = GCOP_OK;
    std::string error, out, err;  // error: why it could not be run
    uint32_t limits = 0;
    int exit_code = 0, signal = 0;
  };
  Ran run(const std::string &input, uint64_t count);
  Error ended(const Ran &ran) const;

  const gcop_host_sandbox &sandbox_;
  const JailedJob &job_;
  Traces *const traces_;
  const std::atomic<bool> &cancelled_;
};

}  // namespace gcop::lua
