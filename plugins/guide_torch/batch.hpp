// The sequences in flight: admits them in order of arrival, shares what they have in common with sequences that are
// computed already, picks the rows of each step, draws tokens and says when a sequence has ended.
// Engine thread only.
#pragma once
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "compute.hpp"
#include "sequence.hpp"
#include "tokenizer.hpp"

namespace gcop::guide_torch {

struct BatchLimits {
  int64_t context = 0;
  int max_batch = 64;
  size_t kv_bytes = 0;
  bool reuse = true;  // of prefixes
};

class Batch {
 public:
  Batch(const Weights &weights, const Tokenizer &tokenizer, Compute &compute, const BatchLimits &limits);

  void add(std::unique_ptr<Sequence> sequence);  // waits for admission
  bool idle() const { return waiting_.empty() && active_.empty(); }
  // Any sequence with these weights and a ticket below?
  bool uses(const std::string &weights, uint64_t below) const;
  void forget(const std::string &weights);  // remembered keys and values of weights that change

  // Answers the sequences for which `gone` has a status other than GCOP_OK.
  void sweep(const std::function<std::pair<gcop_status, std::string>(const Sequence &)> &gone);
  // Sequences for which `held` says so stay where they are. False: there was nothing to do.
  bool step(const std::function<bool(const Sequence &)> &held);

 private:
  void admit(const std::function<bool(const Sequence &)> &held);
  enum class Admission { admitted, wait_for_donor, no_room };
  Admission try_admit(Sequence &sequence, const Version &version);
  bool make_room(int32_t blocks);
  std::optional<Error> check(const Sequence &sequence) const;
  void advance(Sequence &sequence, const Drawn &drawn);
  bool ended_by_text(Sequence &sequence);
  void stream(Sequence &sequence, bool last);
  void finish(Sequence &sequence, gcop_status status, std::string error);
  void release(std::vector<int32_t> &blocks);

  const Weights &weights_;
  const Tokenizer &tokenizer_;
  Compute &compute_;
  const BatchLimits limits_;
  const std::unique_ptr<KvBlocks> pool_;
  std::deque<std::unique_ptr<Sequence>> waiting_;
  std::vector<std::unique_ptr<Sequence>> active_;  // in order of admission
  std::list<Remembered> remembered_;               // oldest first
  std::string last_weights_;                       // whose turn it was
};

}  // namespace gcop::guide_torch
