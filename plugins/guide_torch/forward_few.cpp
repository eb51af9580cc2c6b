// Forward for a few tokens: they lie in rows, [token][feature], and each weight matrix is read once, in long runs.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "forward.hpp"
#include "row_kernels.hpp"

namespace gcop::guide_torch {

void Forward::product_few(const Product &p, const float *x, int k, int tokens, int begin, int end) {
  if (p.w.int8)
    kernels_.gemv_int8(*p.w.int8, p.bias, bytes_.data(), byte_scales_.data(), p.y, p.y_stride, k, tokens, begin, end);
  else if (p.w.bf16)
    kernels_.gemv_bf16(p.w.bf16, p.bias, x, p.y, p.y_stride, k, tokens, begin, end);
  else
    kernels_.gemv(p.w.f32, p.bias, x, p.y, p.y_stride, k, tokens, begin, end);
}

// The weights are what is waited for, and long runs of them are read fastest: each share is what is left divided by the
// threads, so that they get shorter and the threads end together.
std::vector<Forward::Part> Forward::shares_few(std::span<const Product> products) const {
  int left = 0;
  for (const Product &p : products) left += p.n;
  std::vector<Part> shares;
  for (size_t i = 0; i < products.size(); ++i)
    for (int begin = 0; begin < products[i].n;) {
      const int rows = std::min(std::max(16, (left / crew_.size() + 15) / 16 * 16), products[i].n - begin);
      shares.push_back({static_cast<int>(i), begin, begin + rows});
      begin += rows;
      left -= rows;
    }
  return shares;
}

void Forward::quantize_few(const float *x, int k, int tokens) {
  const size_t stride = static_cast<size_t>(k), scales = stride / kInt8Group;
  bytes_.resize(std::max(bytes_.size(), tokens * stride));
  byte_scales_.resize(std::max(byte_scales_.size(), tokens * scales));
  for (int t = 0; t < tokens; ++t)
    kernels_.quantize_row(x + t * stride, bytes_.data() + t * stride, byte_scales_.data() + t * scales, k);
}

void Forward::multiply_few(std::span<const Product> products, const float *x, int k) {
  if (products[0].w.int8) quantize_few(x, k, few_);
  const std::vector<Part> shares = shares_few(products);
  crew_.run(shares.size(), [&](size_t i, int) {
    product_few(products[shares[i].product], x, k, few_, shares[i].begin, shares[i].end);
  });
}

void Forward::attend_few(int64_t layer, const LayerView &weights, KvPool &pool, std::span<const Row> rows) {
  const int64_t dim = config_.head_dim, heads = config_.heads, kv_heads = config_.kv_heads, group = heads / kv_heads;
  const int64_t width = (heads + 2 * kv_heads) * dim;
  const float eps = static_cast<float>(config_.rms_eps);
  for (size_t r = 0; r < rows.size(); ++r) {
    float *const q = qkv_.data() + static_cast<int64_t>(r) * width, *const k = q + heads * dim,
                 *const v = k + kv_heads * dim;
    if (weights.q_norm) {
      kernels_.rows->rmsnorm(q, weights.q_norm, eps, q, nullptr, heads, static_cast<int>(dim));
      kernels_.rows->rmsnorm(k, weights.k_norm, eps, k, nullptr, kv_heads, static_cast<int>(dim));
    }
    const int64_t position = rows[r].position;
    kernels_.rows->rope(q, &position, cos_table_.data(), sin_table_.data(), false, 1,
                        static_cast<int>(heads + kv_heads), static_cast<int>(dim));
    const size_t block = static_cast<size_t>(rows[r].blocks[position / kBlockTokens]) * pool.block_floats();
    const int64_t slot = position % kBlockTokens;
    for (int64_t h = 0; h < kv_heads; ++h) {
      float *const keys = pool.keys(layer, h) + block;
      for (int64_t d = 0; d < dim; ++d) keys[d * kBlockTokens + slot] = k[h * dim + d];
      std::memcpy(pool.values(layer, h) + block + slot * dim, v + h * dim, static_cast<size_t>(dim) * sizeof(float));
    }
  }
  reserve_scores(rows);
  const float scale = 1 / std::sqrt(static_cast<float>(dim));
  crew_.run(rows.size() * kv_heads, [&](size_t unit, int worker) {
    const int64_t r = static_cast<int64_t>(unit) / kv_heads, h = static_cast<int64_t>(unit) % kv_heads;
    float *const q = scratch_[worker].data(), *const scores = q + group * dim;
    const float *const from = qkv_.data() + r * width + h * group * dim;
    for (int64_t i = 0; i < group * dim; ++i) q[i] = from[i] * scale;
    kernels_.attention(q, static_cast<int>(group), static_cast<int>(dim), pool.keys(layer, h), pool.values(layer, h),
                       pool.block_floats(), rows[r].blocks, rows[r].position + 1, scores,
                       attended_.data() + (r * heads + h * group) * dim, nullptr);
  });
}

void Forward::run_few(const ModelView &model, KvPool &pool, std::span<const Row> rows) {
  const int hidden = static_cast<int>(config_.hidden), inter = static_cast<int>(config_.intermediate);
  const int q = static_cast<int>(config_.heads * config_.head_dim),
            kv = static_cast<int>(config_.kv_heads * config_.head_dim);
  const size_t n = rows.size(), width = static_cast<size_t>(q + 2 * kv);
  for (size_t r = 0; r < n; ++r)
    std::memcpy(x_.data() + r * hidden, model.embed + static_cast<size_t>(rows[r].token) * hidden,
                static_cast<size_t>(hidden) * sizeof(float));
  const auto norm = [&](const float *weight, bool add) {
    if (add)
      for (size_t i = 0; i < n * hidden; ++i) x_[i] += out_[i];
    kernels_.rows->rmsnorm(x_.data(), weight, static_cast<float>(config_.rms_eps), h_.data(), nullptr, n, hidden);
  };
  for (int64_t i = 0; i < config_.layers; ++i) {
    const LayerView &layer = model.layers[i];
    norm(layer.norm1, i > 0);
    float *const y = qkv_.data();
    multiply_few(std::array<Product, 3>{Product{layer.q, layer.q_bias, y, width, q},
                                        Product{layer.k, layer.k_bias, y + q, width, kv},
                                        Product{layer.v, layer.v_bias, y + q + kv, width, kv}},
                 h_.data(), hidden);
    attend_few(i, layer, pool, rows);
    multiply_few(std::array<Product, 1>{Product{layer.o, nullptr, out_.data(), static_cast<size_t>(hidden), hidden}},
                 attended_.data(), q);
    norm(layer.norm2, true);
    const Product gate{layer.gate, nullptr, gate_.data(), static_cast<size_t>(inter), inter};
    const Product up{layer.up, nullptr, up_.data(), static_cast<size_t>(inter), inter};
    if (layer.gate.int8) quantize_few(h_.data(), hidden, few_);
    const std::vector<Part> shares = shares_few({&gate, 1});
    crew_.run(shares.size(), [&](size_t i_share, int) {
      const int begin = shares[i_share].begin, end = shares[i_share].end;
      product_few(gate, h_.data(), hidden, few_, begin, end);
      product_few(up, h_.data(), hidden, few_, begin, end);
      for (size_t r = 0; r < n; ++r) {
        float *const g = gate_.data() + r * inter + begin;
        kernels_.rows->swiglu(g, up_.data() + r * inter + begin, g, static_cast<size_t>(end - begin));
      }
    });
    multiply_few(std::array<Product, 1>{Product{layer.down, nullptr, out_.data(), static_cast<size_t>(hidden), hidden}},
                 gate_.data(), inter);
  }
  norm(model.norm, true);
}

void Forward::head_few(const ModelView &model, std::span<const HeadRow> rows) {
  const size_t vocab = static_cast<size_t>(config_.vocab), chunks = (vocab + kHeadChunk - 1) / kHeadChunk;
  logits_.resize(std::max(logits_.size(), rows.size() * vocab));
  stats_.resize(std::max(stats_.size(), rows.size() * chunks));
  for (size_t i = 0; i < rows.size(); ++i) hidden(rows[i].row, head_x_.data() + i * config_.hidden);
  const Product logits{model.head, nullptr, logits_.data(), vocab, static_cast<int>(vocab)};
  if (model.head.int8) quantize_few(head_x_.data(), static_cast<int>(config_.hidden), static_cast<int>(rows.size()));
  crew_.run(chunks, [&](size_t c, int) {
    const int begin = static_cast<int>(c) * kHeadChunk, end = std::min(static_cast<int>(vocab), begin + kHeadChunk);
    product_few(logits, head_x_.data(), static_cast<int>(config_.hidden), static_cast<int>(rows.size()), begin, end);
    for (size_t i = 0; i < rows.size(); ++i)
      stats_[i * chunks + c] = kernels_.rows->chunk_stats(logits_.data() + i * vocab + begin, end - begin, begin,
                                                          rows[i].inverse_temperature);
  });
}

}  // namespace gcop::guide_torch
