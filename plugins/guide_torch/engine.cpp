#include "engine.hpp"

#include <pthread.h>
#include <time.h>

#include <algorithm>
#include <cmath>

namespace gcop::guide_torch {

uint64_t monotonic_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

std::pair<gcop_status, std::string> ended(const gcop_op *op) {
  if (op->cancelled && op->cancelled(op)) return {GCOP_CANCELLED, "cancelled by the host"};
  if (op->deadline_ns != 0 && monotonic_ns() >= op->deadline_ns)
    return {GCOP_TIMEOUT, "the deadline of the call passed before the engine had finished it"};
  return {GCOP_OK, {}};
}

Engine::Engine(Parts parts)
    : parts_(std::move(parts)), batch_(*parts_.weights, *parts_.tokenizer, *parts_.compute, parts_.limits) {
  thread_ = std::thread([this] { loop(); });
  pthread_setname_np(thread_.native_handle(), "gcop-engine");
}

Engine::~Engine() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void Engine::sample(SampleRequest request) {
  auto sequence = std::make_unique<Sequence>();
  sequence->tokens.reserve(request.prompt.size() + std::min<uint32_t>(request.max_tokens, 4096));
  sequence->tokens = request.prompt;
  sequence->request = std::move(request);
  {
    std::lock_guard lock(mutex_);
    sequence->ticket = next_ticket_++;
    new_sequences_.push_back(std::move(sequence));
  }
  wake_.notify_one();
}

void Engine::post(Job job) {
  {
    std::lock_guard lock(mutex_);
    job.ticket = next_ticket_++;
    new_jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
}

void Engine::cancel(const gcop_op *) {
  {
    std::lock_guard lock(mutex_);
    poke_ = true;
  }
  wake_.notify_one();
}

void Engine::loop() {
  using namespace std::chrono_literals;
  bool busy = true;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      const auto something = [&] { return stop_ || poke_ || !new_sequences_.empty() || !new_jobs_.empty(); };
      // Held sequences and jobs without a step to make may still meet a deadline: look again soon.
      if (!busy && batch_.idle() && jobs_.empty())
        wake_.wait(lock, something);
      else if (!busy)
        wake_.wait_for(lock, 20ms, something);
      poke_ = false;
      for (auto &sequence : new_sequences_) batch_.add(std::move(sequence));
      for (Job &job : new_jobs_) jobs_.push_back(std::move(job));
      new_sequences_.clear();
      new_jobs_.clear();
      if (stop_) break;
    }
    batch_.sweep([](const Sequence &s) { return ended(s.request.op); });
    busy = run_job();
    try {
      busy = batch_.step([this](const Sequence &s) {
        return std::any_of(jobs_.begin(), jobs_.end(),
                           [&](const Job &job) { return job.writes == s.request.weights && job.ticket < s.ticket; });
      }) || busy;
    } catch (const std::exception &e) {  // memory: answer everyone rather than end the process
      const std::string why = std::string("the engine failed in a step: ") + e.what();
      batch_.sweep([&](const Sequence &) { return std::make_pair(gcop_status{GCOP_EXHAUSTED}, why); });
    }
  }
  const std::string why = "the engine is being closed";
  batch_.sweep([&](const Sequence &) { return std::make_pair(gcop_status{GCOP_CANCELLED}, why); });
  for (Job &job : jobs_) job.refuse(GCOP_CANCELLED, why);
}

bool Engine::run_job() {
  std::erase_if(jobs_, [](Job &job) {
    const auto [status, why] = ended(job.op);
    if (status != GCOP_OK) job.refuse(status, why);
    return status != GCOP_OK;
  });
  if (jobs_.empty()) return false;
  if (!jobs_.front().writes.empty() && batch_.uses(jobs_.front().writes, jobs_.front().ticket)) return false;
  Job job = std::move(jobs_.front());
  jobs_.pop_front();
  job.run();
  return true;
}

void Engine::forward_alone(const Version &weights, std::span<const int32_t> tokens, size_t start, KvBlocks &pool,
                           const std::vector<int32_t> &blocks, const std::function<void(int32_t, int32_t)> &after) {
  const size_t most = static_cast<size_t>(parts_.compute->max_rows());
  for (size_t from = start; from < tokens.size(); from += most) {
    const size_t n = std::min(most, tokens.size() - from);
    std::vector<Row> rows;
    for (size_t i = from; i < from + n; ++i) rows.push_back({tokens[i], static_cast<int32_t>(i), blocks.data()});
    parts_.compute->run(weights, pool, rows);
    after(static_cast<int32_t>(from), static_cast<int32_t>(n));
  }
}

namespace {
// Blocks for one sequence of up to `tokens`, and its block table.
std::pair<std::unique_ptr<KvBlocks>, std::vector<int32_t>> own_pool(Compute &compute, size_t tokens) {
  const int32_t n = std::max(1, blocks_for(static_cast<int64_t>(tokens)));
  auto pool = compute.make_blocks(n);
  std::vector<int32_t> blocks;
  for (int32_t i = 0; i < n; ++i) blocks.push_back(pool->take());
  return {std::move(pool), std::move(blocks)};
}
}  // namespace

bool Engine::score(const Version &weights, std::span<const std::span<const int32_t>> sequences, float *logprobs,
                   const std::function<bool()> &cancelled) {
  size_t longest = 0;
  for (const auto &s : sequences) longest = std::max(longest, s.size());
  const auto [pool, blocks] = own_pool(*parts_.compute, longest);
  float *out = logprobs;
  std::span<const int32_t> before;  // the sequence whose keys and values are in the blocks
  for (const auto &tokens : sequences) {
    if (cancelled()) return false;
    if (tokens.empty()) continue;
    // What it shares with the one before it (a group's prompt) is there already, log-probabilities included. The last
    // shared token is run again: its logits belong to the first token that differs.
    const size_t shared = static_cast<size_t>(
        std::mismatch(tokens.begin(), tokens.end(), before.begin(), before.end()).first - tokens.begin());
    if (shared > 0)
      std::copy_n(out - before.size(), shared, out);
    else
      out[0] = 0;
    forward_alone(weights, tokens, shared > 0 ? shared - 1 : 0, *pool, blocks, [&](int32_t from, int32_t n) {
      // Row i predicts token i + 1.
      const int32_t end = std::min<int32_t>(from + n, static_cast<int32_t>(tokens.size()) - 1);
      std::vector<ScoreRow> rows;
      for (int32_t at = from; at < end; ++at) rows.push_back({at - from, tokens[at + 1]});
      parts_.compute->score(weights, rows, out + from + 1);
    });
    before = tokens;
    out += tokens.size();
  }
  return true;
}

void Engine::embed(const Version &weights, std::span<const int32_t> tokens, float *out) {
  const Config &config = parts_.weights->config();
  const size_t hidden = static_cast<size_t>(config.hidden);
  const auto [pool, blocks] = own_pool(*parts_.compute, tokens.size());
  std::vector<float> states;
  std::vector<double> sum(hidden);
  forward_alone(weights, tokens, 0, *pool, blocks, [&](int32_t, int32_t n) {
    states.resize(static_cast<size_t>(n) * hidden);
    parts_.compute->hidden(n, states.data());
    for (size_t i = 0; i < states.size(); ++i) sum[i % hidden] += states[i];
  });
  double square = 0;
  for (double v : sum) square += v * v;
  const double scale = square > 0 ? 1 / std::sqrt(square) : 0;
  for (size_t k = 0; k < hidden; ++k) out[k] = static_cast<float>(sum[k] * scale);
}

}  // namespace gcop::guide_torch
