#include "trainer.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <vector>

#include "backward.hpp"
#include "exception.hpp"
#include "kernels.hpp"
#include "memory_plan.hpp"
#include "packed_rows.hpp"
#include "quants.hpp"

namespace gcop::guide_torch {

namespace {
constexpr size_t kMicroRows = 1024;  // of one forward and backward; its activations set the peak memory
constexpr size_t kMaxSlots = 4;      // each costs a gradient arena
}  // namespace

Trainer::Trainer(const Config &config, const Layout &layout, const Lora *lora, int64_t context, Crew &crew)
    : config_(config),
      layout_(layout),
      lora_(lora),
      trained_(lora ? lora->layout() : layout),
      context_(context),
      crew_(crew),
      optimizer_(trained_, crew) {}

Trainer::~Trainer() = default;

size_t Trainer::typical_bytes(const Config &config, const Layout &layout, const Lora *lora, int threads) {
  constexpr int64_t kRows = static_cast<int64_t>(kMicroRows);
  const size_t slots = std::min(kMaxSlots, static_cast<size_t>(threads));
  const size_t trained = (lora ? lora->layout() : layout).floats;
  return sizeof(float) *
         (2 * trained + slots * (trained + Backward::workspace_floats(config, lora, {{kRows, kRows}, kRows})));
}

// Memory of the slots, which stays for later steps. An error, and nothing taken, if it is not there.
Result<> Trainer::make_room(size_t slots, size_t workspace_floats, int64_t longest) {
  const size_t moments = optimizer_.fresh() ? 2 * trained_.floats : 0,
               gradients = (slots - std::min(slots, gradients_.size())) * trained_.floats;
  size_t workspaces = 0;
  workspaces_.resize(std::max(workspaces_.size(), slots));
  for (size_t slot = 0; slot < slots; ++slot) {
    const size_t there = workspaces_[slot] ? workspaces_[slot]->size() : 0;
    if (there < workspace_floats) workspaces += workspace_floats - there;
  }
  const auto bytes = [](size_t floats) { return floats * sizeof(float); };
  if (moments + gradients + workspaces > 0)
    if (const Result<> fits = check_memory(
            bytes(moments + gradients + workspaces), "this training step",
            "optimizer " + gigabytes(bytes(moments)) + ", gradients " + gigabytes(bytes(gradients)) + ", activations " +
                gigabytes(bytes(workspaces)) + " for sequences of up to " + std::to_string(longest) + " tokens",
            "free some, use fewer \"threads\", train with lora = {...}, or on shorter sequences");
        !fits)
      return fits;
  while (gradients_.size() < slots) gradients_.push_back(std::make_unique<Arena>(trained_.floats));
  for (size_t slot = 0; slot < slots; ++slot)
    if (!workspaces_[slot] || workspaces_[slot]->size() < workspace_floats) {
      workspaces_[slot].reset();
      workspaces_[slot] = std::make_unique<Arena>(workspace_floats);
    }
  return Unit{};
}

// Into neighbouring sequences, so that the slots have the same number of micro-batches and the largest is as small as
// can be: where a group is cut, its shared prompt is computed twice.
std::vector<PackedRows> Trainer::cut(const gcop_train_request &r, size_t slots) const {
  struct Cost {
    uint64_t rows, work;  // work: in multiplications for each row
  };
  const uint64_t head = static_cast<uint64_t>(config_.vocab * config_.hidden),
                 body = static_cast<uint64_t>(layout_.count) - (config_.tied ? head : 2 * head);
  std::vector<Cost> first(r.n), more(r.n);  // of each sequence at the start of a micro-batch, and after its neighbour
  uint64_t least = 0, all = 0;
  for (size_t i = 0; i < r.n; ++i) {
    const uint64_t rows = r.offsets[i + 1] - r.offsets[i], shared = i > 0 ? shared_start(r, i - 1) : 0;
    const uint64_t targets = static_cast<uint64_t>(
        std::count_if(r.mask + r.offsets[i], r.mask + r.offsets[i + 1], [](uint8_t m) { return m != 0; }));
    first[i] = {rows, rows * body + targets * head};
    more[i] = {rows - shared, first[i].work - shared * body};
    least = std::max(least, first[i].work);
    all += first[i].work;
  }
  // Where the micro-batches end, if none may have more work than `most`.
  const auto ends = [&](uint64_t most) {
    std::vector<size_t> out;
    for (size_t i = 0; i < r.n; out.push_back(i)) {
      Cost sum = first[i++];
      while (i < r.n && sum.work + more[i].work <= most && sum.rows + more[i].rows <= kMicroRows) {
        sum.rows += more[i].rows;
        sum.work += more[i++].work;
      }
    }
    return out;
  };
  const size_t wanted = (ends(all).size() + slots - 1) / slots * slots;
  for (uint64_t low = least; low < all;) {
    const uint64_t middle = low + (all - low) / 2;
    if (ends(middle).size() <= wanted)
      all = middle;
    else
      low = middle + 1;
  }
  std::vector<PackedRows> batches;
  size_t from = 0;
  for (const size_t end : ends(all)) {
    batches.emplace_back(r, from, end);
    from = end;
  }
  return batches;
}

// Micro-batches go to slots by their number, each slot to one thread with gradients of its own. So there is no barrier
// inside a forward or backward pass, which matters where sandbox and core compete for the processors; and the sums
// have a fixed order.
Result<TrainStats> Trainer::step(const Version &version, const gcop_train_request &r,
                                 const std::function<bool()> &cancelled) {
  const Result<size_t> masked = check_request(r, config_.vocab, context_);
  if (!masked) return masked.error();
  const size_t most = std::min({kMaxSlots, static_cast<size_t>(crew_.size()), r.n});
  const std::vector<PackedRows> batches = cut(r, most);
  const size_t slots = std::min(most, batches.size());
  Backward::Plan plan;
  for (const PackedRows &rows : batches) {
    plan.decoder.rows = std::max(plan.decoder.rows, static_cast<int64_t>(rows.tokens.size()));
    plan.decoder.longest = std::max(plan.decoder.longest, rows.longest());
    plan.targets = std::max(plan.targets, static_cast<int64_t>(rows.targets.size()));
  }
  plan.decoder.recompute = static_cast<size_t>(plan.decoder.rows) > 2 * kMicroRows;
  if (const Result<> room = make_room(slots, Backward::workspace_floats(config_, lora_, plan), plan.decoder.longest);
      !room)
    return room.error();

  const LossScale scale{r.n, *masked};
  std::vector<std::optional<Error>> failed(slots);
  std::vector<LossSums> sums(slots);
  // More threads inside a slot only where its products are large enough to pay for the barriers.
  const double work =
      static_cast<double>(layout_.count) * static_cast<double>(plan.decoder.rows) * static_cast<double>(batches.size());
  const int threads =
      work > 2e10 * static_cast<double>(slots) ? std::max(1, crew_.size() / static_cast<int>(slots)) : 1;
  crew_.run(slots, [&](size_t slot, int) {
    try {
      std::memset(gradients_[slot]->data(), 0, trained_.floats * sizeof(float));
      Crew crew(threads);
      Backward backward({config_, layout_, *version.arena, *gradients_[slot], lora_, version.adapter.get()},
                        *pick_kernels(), plan, workspaces_[slot]->data(), crew);
      for (size_t i = slot; i < batches.size() && !failed[slot]; i += slots) {
        if (cancelled())
          failed[slot] = Error{Code::cancelled, "cancelled by the host; the weights are unchanged", {}};
        else if (Result<> done = backward.run(r, batches[i], scale); !done)
          failed[slot] = done.error();
      }
      sums[slot] = backward.sums();
    } catch (...) {
      failed[slot] = current_exception_error();
    }
  });
  for (const std::optional<Error> &error : failed)
    if (error) return *error;

  LossSums all;
  for (const LossSums &s : sums) {
    all.loss += s.loss;
    all.kl += s.kl;
    all.entropy += s.entropy;
    all.clipped += s.clipped;
    all.ratio_max = std::max(all.ratio_max, s.ratio_max);
  }
  constexpr size_t kSlice = size_t{1} << 16;
  float *const gradients = gradients_[0]->data();
  std::vector<double> squares((trained_.floats + kSlice - 1) / kSlice);
  crew_.run(squares.size(), [&](size_t i, int) {
    const size_t begin = i * kSlice, end = std::min(trained_.floats, begin + kSlice);
    for (size_t slot = 1; slot < slots; ++slot)
      for (size_t j = begin; j < end; ++j) gradients[j] += gradients_[slot]->data()[j];
    double lanes[8] = {};
    for (size_t j = begin; j < end; ++j) lanes[j & 7] += static_cast<double>(gradients[j]) * gradients[j];
    for (double lane : lanes) squares[i] += lane;
  });
  double square = 0;
  for (double s : squares) square += s;
  const double norm = std::sqrt(square);
  if (!std::isfinite(norm)) {
    std::string where;
    for (const Parameter &p : trained_.parameters)
      if (where.empty() && !all_finite(gradients + p.offset, p.count)) where = "; it begins with " + p.name;
    return Error{Code::invalid, "the gradient's norm is no finite number" + where + "; the weights are unchanged", {}};
  }
  Arena &trained = lora_ ? *version.adapter : *version.arena;
  optimizer_.step(trained.data(), gradients, clip_scale(norm, r), *r.optimizer);
  if (lora_) lora_->merge(*version.base, *version.adapter, *version.arena, crew_);
  return train_stats(all, r, *masked, norm);
}

}  // namespace gcop::guide_torch
