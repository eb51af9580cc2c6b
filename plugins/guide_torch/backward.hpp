// Forward and backward of a training step, padding-free: sequences lie one after another, the losses come in closed
// form, the logits exist only at masked positions and in chunks. Used by one thread at a time; several objects may work
// side by side on the same weights.
#pragma once
#include <cstdint>

#include <gcop/plugin.h>

#include "base/result.hpp"
#include "decoder.hpp"
#include "loss.hpp"

namespace gcop::guide_torch {

class Backward {
 public:
  struct Plan {
    Decoder::Plan decoder;
    int64_t targets = 0;  // masked tokens of one pass
  };
  static size_t workspace_floats(const Config &config, const Lora *lora, const Plan &plan);

  // `crew`: the calling thread's own; `workspace` as Decoder has it.
  Backward(const TrainedModel &model, const Kernels &kernels, const Plan &plan, float *workspace, Crew &crew);

  // Adds the gradients of `rows`, which are sequences of the checked request.
  Result<> run(const gcop_train_request &request, const PackedRows &rows, const LossScale &scale);
  const LossSums &sums() const { return sums_; }

 private:
  template <class Work>
  void each_slice(size_t count, Work work) const;
  void head_forward(const PackedRows &rows, size_t from, size_t count, const gcop_train_request &request);
  void head_backward(const PackedRows &rows, size_t from, size_t count, const gcop_train_request &request);
  Result<> losses(const PackedRows &rows, size_t from, size_t end, const gcop_train_request &request,
                  const LossScale &scale);
  std::string what_is_wrong(const PackedRows &rows, size_t sequence, size_t at, size_t stop,
                            const gcop_train_request &request) const;

  const TrainedModel model_;
  const RowKernels &kernels_;
  Products products_;
  Decoder decoder_;
  const float *head_;
  float *d_head_;
  size_t chunk_;  // targets whose logits are there at once
  float *d_states_, *picked_, *d_picked_, *logits_;
  LogitStats *stats_;                                       // of each of them, [target][chunk of the vocabulary]
  std::vector<float> lse_, logprobs_, old_, ref_, slopes_;  // one for each target
  LossSums sums_;
};

}  // namespace gcop::guide_torch
