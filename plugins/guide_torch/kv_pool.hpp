// Keys and values of all sequences, in blocks of 16 tokens (all layers and heads of a token together). Blocks are
// counted references: sequences that share a prompt share its blocks. The memory is planned once; a sequence takes all
// blocks it can need when it is admitted, so nothing runs out half way.
// Engine thread only.
#pragma once
#include <cstdint>
#include <vector>

#include "kernels.hpp"
#include "model_file.hpp"
#include "weights.hpp"

namespace gcop::guide_torch {

// Who holds which block; where their memory is, is the subclass's affair.
class KvBlocks {
 public:
  explicit KvBlocks(int32_t blocks);
  virtual ~KvBlocks() = default;

  int32_t blocks() const { return static_cast<int32_t>(references_.size()); }
  int32_t free() const { return static_cast<int32_t>(free_.size()); }
  int32_t take();  // one reference; there must be a free one
  void share(int32_t block) { ++references_[block]; }
  void release(int32_t block);
  virtual void copy(int32_t from, int32_t to) = 0;  // contents

 private:
  std::vector<int32_t> free_;
  std::vector<int32_t> references_;
};

class KvPool : public KvBlocks {
 public:
  KvPool(const Config &config, size_t bytes);
  static size_t block_bytes(const Config &config);
  void copy(int32_t from, int32_t to) override;

  size_t block_floats() const { return block_floats_; }
  // Block b's keys [head_dim][16] or values [16][head_dim] are at this + b * block_floats().
  float *keys(int64_t layer, int64_t head) const {
    return arena_.data() + ((layer * 2) * heads_ + head) * head_floats_;
  }
  float *values(int64_t layer, int64_t head) const {
    return arena_.data() + ((layer * 2 + 1) * heads_ + head) * head_floats_;
  }

 private:
  int64_t heads_;
  size_t head_floats_, block_floats_;
  Arena arena_;
};

inline int32_t blocks_for(int64_t tokens) { return static_cast<int32_t>((tokens + kBlockTokens - 1) / kBlockTokens); }

}  // namespace gcop::guide_torch
