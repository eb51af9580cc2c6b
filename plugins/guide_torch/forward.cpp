#include "forward.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace gcop::guide_torch {

Forward::Forward(const Config &config, int64_t context, Crew &crew, const Kernels &kernels)
    : config_(config), crew_(crew), kernels_(kernels), lanes_(kernels.lanes), scratch_(crew.size()) {
  const int64_t half = config.head_dim / 2;
  cos_table_.resize(context * half);
  sin_table_.resize(context * half);
  const std::vector<float> frequencies = rope_frequencies(config.rope, config.head_dim);
  const float scale = rope_scale(config.rope);
  for (int64_t d = 0; d < half; ++d)
    for (int64_t t = 0; t < context; ++t) {
      const float angle = static_cast<float>(t) * frequencies[d];  // in fp32, as transformers has it
      cos_table_[t * half + d] = std::cos(angle) * scale;
      sin_table_[t * half + d] = std::sin(angle) * scale;
    }
  const size_t rows = kMaxRows;
  const size_t width = static_cast<size_t>(config.heads * config.head_dim);
  x_.resize(rows * config.hidden);
  h_.resize(rows * config.hidden);
  out_.resize(rows * config.hidden);
  qkv_.resize(rows * (width + 2 * config.kv_heads * config.head_dim));
  attended_.resize(rows * width);
  gate_.resize(rows * config.intermediate);
  up_.resize(rows * config.intermediate);
  cos_.resize(rows * half);
  sin_.resize(rows * half);
  head_x_.resize(static_cast<size_t>(kMaxHeadRows) * config.hidden);
  head_scale_.resize(kMaxHeadRows);
}

void Forward::quantize(const float *x, int k, int panels) {
  const size_t stride = static_cast<size_t>(k) * lanes_, scales = stride / kInt8Group;
  bytes_.resize(std::max(bytes_.size(), panels * stride));
  byte_scales_.resize(std::max(byte_scales_.size(), panels * scales));
  crew_.run(panels, [&](size_t p, int) {
    kernels_.quantize(x + p * stride, bytes_.data() + p * stride, byte_scales_.data() + p * scales, k);
  });
}

void Forward::product(const Product &p, const float *x, int k, int panels, int begin, int end) {
  const size_t x_stride = static_cast<size_t>(k) * lanes_;
  if (p.w.int8)
    kernels_.gemm_int8(*p.w.int8, p.bias, bytes_.data(), byte_scales_.data(), p.y, p.y_stride, k, panels, begin, end);
  else if (p.w.bf16)
    kernels_.gemm_bf16(p.w.bf16, p.bias, x, x_stride, p.y, p.y_stride, k, panels, begin, end);
  else
    kernels_.gemm(p.w.f32, p.bias, x, x_stride, p.y, p.y_stride, k, panels, begin, end);
}

// Output rows of a product that one thread takes at a time: small enough that threads end together.
int Forward::chunk_rows(int outputs, int parts) const {
  return std::clamp((outputs / (crew_.size() * parts) + 11) / 12 * 12, 12, 96);
}

void Forward::multiply(std::span<const Product> products, const float *x, int k) {
  if (products[0].w.int8) quantize(x, k, panels_);
  std::vector<Part> parts;
  for (size_t i = 0; i < products.size(); ++i) {
    const int n = products[i].n, step = chunk_rows(n, 6);
    for (int begin = 0; begin < n; begin += step)
      parts.push_back({static_cast<int>(i), begin, std::min(n, begin + step)});
  }
  crew_.run(parts.size(),
            [&](size_t i, int) { product(products[parts[i].product], x, k, panels_, parts[i].begin, parts[i].end); });
}

// cos and sin of every row's position, in panels.
void Forward::positions(std::span<const Row> rows) {
  const int64_t half = config_.head_dim / 2;
  for (size_t r = 0; r < rows.size(); ++r)
    for (int64_t d = 0; d < half; ++d) {
      const size_t at = (r / lanes_ * half + d) * lanes_ + r % lanes_;
      cos_[at] = cos_table_[rows[r].position * half + d];
      sin_[at] = sin_table_[rows[r].position * half + d];
    }
}

void Forward::reserve_scores(std::span<const Row> rows) {
  const int64_t dim = config_.head_dim, group = config_.heads / config_.kv_heads;
  int32_t longest = 0;
  for (const Row &row : rows) longest = std::max(longest, row.position + 1);
  const size_t floats = static_cast<size_t>(group * (blocks_for(longest) * kBlockTokens + 2 * dim));
  for (std::vector<float> &s : scratch_)
    if (s.size() < floats) s.resize(floats);
}

void Forward::attend(int64_t layer, const LayerView &weights, KvPool &pool, std::span<const Row> rows) {
  const int64_t dim = config_.head_dim, heads = config_.heads, kv_heads = config_.kv_heads, group = heads / kv_heads;
  const size_t qkv_stride = static_cast<size_t>((heads + 2 * kv_heads) * dim) * lanes_;
  crew_.run(panels_, [&](size_t p, int) {
    float *panel = qkv_.data() + p * qkv_stride;
    if (weights.q_norm)
      for (int64_t h = 0; h < heads + kv_heads; ++h) {
        float *head = panel + h * dim * lanes_;
        kernels_.rmsnorm(head, nullptr, h < heads ? weights.q_norm : weights.k_norm, head, static_cast<int>(dim),
                         static_cast<float>(config_.rms_eps));
      }
    kernels_.rope(panel, cos_.data() + p * (dim / 2) * lanes_, sin_.data() + p * (dim / 2) * lanes_,
                  static_cast<int>(heads + kv_heads), static_cast<int>(dim));
    for (size_t r = p * lanes_; r < std::min(rows.size(), (p + 1) * lanes_); ++r) {
      const size_t block = static_cast<size_t>(rows[r].blocks[rows[r].position / kBlockTokens]) * pool.block_floats();
      const int64_t slot = rows[r].position % kBlockTokens;
      for (int64_t h = 0; h < kv_heads; ++h) {
        const float *k = panel + (heads + h) * dim * lanes_ + r % lanes_;
        const float *v = panel + (heads + kv_heads + h) * dim * lanes_ + r % lanes_;
        float *keys = pool.keys(layer, h) + block, *values = pool.values(layer, h) + block + slot * dim;
        for (int64_t d = 0; d < dim; ++d) {
          keys[d * kBlockTokens + slot] = k[d * lanes_];
          values[d] = v[d * lanes_];
        }
      }
    }
  });

  reserve_scores(rows);
  const float scale = 1 / std::sqrt(static_cast<float>(dim));
  crew_.run(rows.size() * kv_heads, [&](size_t unit, int worker) {
    const size_t r = unit / kv_heads;
    const int64_t h = static_cast<int64_t>(unit % kv_heads);
    float *q = scratch_[worker].data(), *out = q + group * dim, *s = out + group * dim;
    const float *from = qkv_.data() + r / lanes_ * qkv_stride + h * group * dim * lanes_ + r % lanes_;
    for (int64_t i = 0; i < group * dim; ++i) q[i] = from[i * lanes_] * scale;
    kernels_.attention(q, static_cast<int>(group), static_cast<int>(dim), pool.keys(layer, h), pool.values(layer, h),
                       pool.block_floats(), rows[r].blocks, rows[r].position + 1, s, out, nullptr);
    float *to = attended_.data() + (r / lanes_ * heads + h * group) * dim * lanes_ + r % lanes_;
    for (int64_t i = 0; i < group * dim; ++i) to[i * lanes_] = out[i];
  });
}

void Forward::run(const ModelView &model, KvPool &pool, std::span<const Row> rows) {
  const int hidden = static_cast<int>(config_.hidden), inter = static_cast<int>(config_.intermediate);
  const int q = static_cast<int>(config_.heads * config_.head_dim),
            kv = static_cast<int>(config_.kv_heads * config_.head_dim);
  const size_t lanes = lanes_, stride = hidden * lanes, qkv_stride = static_cast<size_t>(q + 2 * kv) * lanes;
  few_ = static_cast<int>(rows.size()) <= most_few(model) ? static_cast<int>(rows.size()) : 0;
  if (few_) return run_few(model, pool, rows);
  panels_ = static_cast<int>((rows.size() + lanes - 1) / lanes);
  positions(rows);
  crew_.run(panels_, [&](size_t p, int) {
    for (size_t l = 0; l < lanes; ++l) {
      const size_t r = p * lanes + l;
      float *to = x_.data() + p * stride + l;
      const float *from = r < rows.size() ? model.embed + static_cast<size_t>(rows[r].token) * hidden : nullptr;
      for (int i = 0; i < hidden; ++i) to[i * lanes] = from ? from[i] : 0;
    }
  });
  // What a layer adds to the residual stream is added by the norm that follows, one pass over memory less.
  const auto norm = [&](const float *weight, bool add) {
    crew_.run(panels_, [&](size_t p, int) {
      kernels_.rmsnorm(x_.data() + p * stride, add ? out_.data() + p * stride : nullptr, weight, h_.data() + p * stride,
                       hidden, static_cast<float>(config_.rms_eps));
    });
  };
  for (int64_t i = 0; i < config_.layers; ++i) {
    const LayerView &layer = model.layers[i];
    norm(layer.norm1, i > 0);
    float *y = qkv_.data();
    multiply(std::array<Product, 3>{Product{layer.q, layer.q_bias, y, qkv_stride, q},
                                    Product{layer.k, layer.k_bias, y + q * lanes, qkv_stride, kv},
                                    Product{layer.v, layer.v_bias, y + (q + kv) * lanes, qkv_stride, kv}},
             h_.data(), hidden);
    attend(i, layer, pool, rows);
    multiply(std::array<Product, 1>{Product{layer.o, nullptr, out_.data(), stride, hidden}}, attended_.data(), q);
    norm(layer.norm2, true);
    const int step = chunk_rows(inter, 8);
    const Product gate{layer.gate, nullptr, gate_.data(), inter * lanes, inter};
    const Product up{layer.up, nullptr, up_.data(), inter * lanes, inter};
    if (layer.gate.int8) quantize(h_.data(), hidden, panels_);
    crew_.run((inter + step - 1) / step, [&](size_t part, int) {
      const int begin = static_cast<int>(part) * step, end = std::min(inter, begin + step);
      product(gate, h_.data(), hidden, panels_, begin, end);
      product(up, h_.data(), hidden, panels_, begin, end);
      kernels_.swiglu(gate_.data(), up_.data(), inter * lanes, panels_, begin, end);
    });
    multiply(std::array<Product, 1>{Product{layer.down, nullptr, out_.data(), stride, hidden}}, gate_.data(), inter);
  }
  norm(model.norm, true);
}

void Forward::head(const ModelView &model, std::span<const HeadRow> rows) {
  head_few_ = static_cast<int>(rows.size()) <= most_few(model);
  if (head_few_) return head_few(model, rows);
  const size_t lanes = lanes_, hidden = static_cast<size_t>(config_.hidden), vocab = static_cast<size_t>(config_.vocab);
  const size_t panels = (rows.size() + lanes - 1) / lanes, chunks = (vocab + kHeadChunk - 1) / kHeadChunk;
  logits_.resize(std::max(logits_.size(), panels * vocab * lanes));
  stats_.resize(std::max(stats_.size(), panels * chunks * lanes));
  crew_.run(panels, [&](size_t p, int) {
    for (size_t l = 0; l < lanes; ++l) {
      const size_t i = p * lanes + l;
      head_scale_[i] = i < rows.size() ? rows[i].inverse_temperature : 1;
      float *to = head_x_.data() + p * hidden * lanes + l;
      const Column from = i < rows.size() ? state(rows[i].row) : Column{nullptr, 0};
      for (size_t k = 0; k < hidden; ++k) to[k * lanes] = from.at ? from.at[k * from.stride] : 0;
    }
  });
  const Product logits{model.head, nullptr, logits_.data(), vocab * lanes, static_cast<int>(vocab)};
  if (logits.w.int8) quantize(head_x_.data(), static_cast<int>(hidden), static_cast<int>(panels));
  crew_.run(chunks, [&](size_t c, int) {
    const int begin = static_cast<int>(c) * kHeadChunk, end = std::min(static_cast<int>(vocab), begin + kHeadChunk);
    product(logits, head_x_.data(), static_cast<int>(hidden), static_cast<int>(panels), begin, end);
    for (size_t p = 0; p < panels; ++p)
      kernels_.logit_stats(logits_.data() + (p * vocab + begin) * lanes, end - begin, begin,
                           head_scale_.data() + p * lanes, stats_.data() + (p * chunks + c) * lanes);
  });
}

LogitColumn Forward::column(int head_row) const {
  const size_t vocab = static_cast<size_t>(config_.vocab), chunks = (vocab + kHeadChunk - 1) / kHeadChunk;
  if (head_few_)
    return {logits_.data() + head_row * vocab, stats_.data() + head_row * chunks, 1, static_cast<int>(config_.vocab)};
  const size_t p = static_cast<size_t>(head_row / lanes_), l = static_cast<size_t>(head_row % lanes_);
  return {logits_.data() + p * vocab * lanes_ + l, stats_.data() + p * chunks * lanes_ + l, lanes_,
          static_cast<int>(config_.vocab)};
}

Forward::Column Forward::state(int row) const {
  if (few_) return {h_.data() + row * config_.hidden, 1};
  return {h_.data() + row / lanes_ * config_.hidden * lanes_ + row % lanes_, lanes_};
}

void Forward::hidden(int row, float *out) const {
  const Column from = state(row);
  for (int64_t k = 0; k < config_.hidden; ++k) out[k] = from.at[k * from.stride];
}

}  // namespace gcop::guide_torch
