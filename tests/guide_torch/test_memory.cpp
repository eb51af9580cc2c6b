// Memory is planned, refused with the numbers where it is not there, and does not grow.
#include <sys/resource.h>

#include <fstream>
#include <random>

#include "memory_plan.hpp"
#include "plugged.hpp"

using namespace plugged;
using namespace gcop::guide_torch;

namespace {

size_t resident() {
  std::ifstream file("/proc/self/statm");
  size_t all = 0, pages = 0;
  file >> all >> pages;
  return pages * 4096;
}

}  // namespace

TEST_CASE("what does not fit is refused before it is taken, with the numbers and the remedy") {
  const size_t there = available_memory();
  REQUIRE(there > 0);
  CHECK(check_memory(there / 2, "it", "a part", "do less"));
  const auto refused = check_memory(3 * there, "it", "a part", "do less");
  REQUIRE(!refused);
  CHECK(refused.error().message.find("it needs ") == 0);
  CHECK(refused.error().message.find("(a part)") != std::string::npos);
  CHECK(refused.error().message.find(" are free; do less") != std::string::npos);

  const size_t before = resident();
  std::string why;
  try {  // 2^17 x 2^21: 1.1 TB of weights in fp32
    const Model m(R"({"random":{"layers":2,"hidden":131072,"heads":1024,"kv_heads":1024,"vocab":2097152}})");
  } catch (const std::runtime_error &e) {
    why = e.what();
  }
  CHECK(why.find("weights 1") != std::string::npos);
  CHECK(why.find("kv_bytes") != std::string::npos);
  CHECK(resident() < before + (size_t{64} << 20));
}

TEST_CASE("memory does not grow over a thousand steps of sampling and training") {
  const Model m(kTiny.substr(0, kTiny.size() - 1) + R"(,"kv_bytes":4000000})");
  std::mt19937 random(11);
  const auto text = [&](size_t n) {
    std::vector<int32_t> out(n);
    for (int32_t &t : out) t = static_cast<int32_t>(random() % 256);
    return out;
  };
  size_t settled = 0;
  for (int step = 0; step < 1000; ++step) {
    if (step == 300) settled = resident();
    Batch batch;
    const std::vector<int32_t> prompt = text(1 + random() % 60);
    std::vector<std::unique_ptr<Rollout>> rollouts;
    for (uint64_t i = 0; i < 2; ++i)
      rollouts.push_back(
          m.start(prompt, {.max_tokens = static_cast<uint32_t>(1 + random() % 20), .temperature = 1, .seed = i}));
    for (const auto &r : rollouts) {
      r->wait();
      REQUIRE_MESSAGE(r->status == GCOP_OK, r->error);
      batch.add(prompt, r->tokens);
      batch.old_logprobs.insert(batch.old_logprobs.end(), prompt.size(), 0.f);
      batch.old_logprobs.insert(batch.old_logprobs.end(), r->logprobs.begin(), r->logprobs.end());
      batch.advantages.push_back(batch.advantages.empty() ? 1.f : -1.f);
    }
    const Trained t = m.train(batch, Model::policy(), Model::adamw(1e-5f));
    REQUIRE_MESSAGE(t.status == GCOP_OK, t.error);
  }
  const size_t end = resident();
  MESSAGE("resident after 300 steps " << settled / 1024 << " kB, after 1000 " << end / 1024 << " kB");
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // they keep what was freed
  CHECK(end <= settled + (size_t{4} << 20));
#endif
}
