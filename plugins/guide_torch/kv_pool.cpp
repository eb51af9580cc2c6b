#include "kv_pool.hpp"

#include <algorithm>
#include <cstring>

namespace gcop::guide_torch {

size_t KvPool::block_bytes(const Config &config) {
  return static_cast<size_t>(config.layers * 2 * config.kv_heads * config.head_dim) * kBlockTokens * sizeof(float);
}

KvPool::KvPool(const Config &config, size_t bytes)
    : heads_(config.kv_heads),
      head_floats_(static_cast<size_t>(config.head_dim) * kBlockTokens),
      block_floats_(block_bytes(config) / sizeof(float)),
      arena_(std::max<size_t>(1, bytes / block_bytes(config)) * block_floats_),
      references_(std::max<size_t>(1, bytes / block_bytes(config))) {
  for (int32_t b = blocks(); b-- > 0;) free_.push_back(b);
}

int32_t KvPool::take() {
  const int32_t block = free_.back();
  free_.pop_back();
  references_[block] = 1;
  return block;
}

void KvPool::release(int32_t block) {
  if (--references_[block] == 0) free_.push_back(block);
}

void KvPool::copy(int32_t from, int32_t to) {
  std::memcpy(arena_.data() + to * block_floats_, arena_.data() + from * block_floats_, block_floats_ * sizeof(float));
}

}  // namespace gcop::guide_torch
