#include "kv_pool.hpp"

#include <algorithm>
#include <cstring>

namespace gcop::guide_torch {

size_t KvPool::block_bytes(const Config &config) {
  return static_cast<size_t>(config.layers * 2 * config.kv_heads * config.head_dim) * kBlockTokens * sizeof(float);
}

KvBlocks::KvBlocks(int32_t blocks) : references_(static_cast<size_t>(blocks)) {
  for (int32_t b = blocks; b-- > 0;) free_.push_back(b);
}

KvPool::KvPool(const Config &config, size_t bytes)
    : KvBlocks(static_cast<int32_t>(std::max<size_t>(1, bytes / block_bytes(config)))),
      heads_(config.kv_heads),
      head_floats_(static_cast<size_t>(config.head_dim) * kBlockTokens),
      block_floats_(block_bytes(config) / sizeof(float)),
      arena_(static_cast<size_t>(blocks()) * block_floats_) {}

int32_t KvBlocks::take() {
  const int32_t block = free_.back();
  free_.pop_back();
  references_[block] = 1;
  return block;
}

void KvBlocks::release(int32_t block) {
  if (--references_[block] == 0) free_.push_back(block);
}

void KvPool::copy(int32_t from, int32_t to) {
  std::memcpy(arena_.data() + to * block_floats_, arena_.data() + from * block_floats_, block_floats_ * sizeof(float));
}

}  // namespace gcop::guide_torch
