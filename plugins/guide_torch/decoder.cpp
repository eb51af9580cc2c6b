#include "decoder.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "kernels.hpp"

namespace gcop::guide_torch {

// With a null workspace it only counts.
struct Decoder::Carver {
  float *base;
  size_t at = 0;
  float *take(int64_t floats) {
    float *const out = base ? base + at : nullptr;
    at += static_cast<size_t>((floats + 15) / 16 * 16);  // cache lines
    return out;
  }
};

Decoder::Decoder(const Config &c, const Lora *lora, const Kernels &kernels, const Plan &plan, float *workspace)
    : config_(c), plan_(plan), attention_({c.heads, c.kv_heads, c.head_dim}, kernels) {
  Carver carve{workspace};
  const int64_t n = plan.rows, q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  for (int64_t i = 0; i <= c.layers; ++i) x_.push_back(carve.take(n * c.hidden));
  for (int64_t i = 0; i < (plan.recompute ? 1 : c.layers); ++i) {
    Kept k{};
    k.rstd1 = carve.take(n);
    if (c.qk_norm) {
      k.q_plain = carve.take(n * q);
      k.k_plain = carve.take(n * kv);
      k.q_rstd = carve.take(n * c.heads);
      k.k_rstd = carve.take(n * c.kv_heads);
    }
    k.q = carve.take(n * q);
    k.k = carve.take(n * kv);
    k.v = carve.take(n * kv);
    k.attended = carve.take(n * q);
    k.lse = carve.take(n * c.heads);
    k.x1 = carve.take(n * c.hidden);
    k.rstd2 = carve.take(n);
    k.gate = carve.take(n * c.intermediate);
    k.up = carve.take(n * c.intermediate);
    kept_.push_back(k);
  }
  rstd_ = carve.take(n);
  h_ = carve.take(n * c.hidden);
  act_ = carve.take(n * c.intermediate);
  d_x_ = carve.take(n * c.hidden);
  d_h_ = carve.take(n * std::max(c.hidden, q));
  d_q_ = carve.take(n * q);
  d_k_ = carve.take(n * kv);
  d_v_ = carve.take(n * kv);
  d_act_ = carve.take(n * c.intermediate);
  low_ = carve.take(lora ? n * lora->settings().rank : 0);
  d_low_ = carve.take(lora ? n * lora->settings().rank : 0);
  scores_ = carve.take(SpanAttention::scratch_floats({c.heads, c.kv_heads, c.head_dim}, plan.longest));
  floats_ = carve.at;
}

size_t Decoder::workspace_floats(const Config &config, const Lora *lora, const Plan &plan) {
  return Decoder(config, lora, *pick_kernels(), plan, nullptr).floats_;
}

Decoder::Decoder(const TrainedModel &m, const Kernels &kernels, Products &products, const Plan &plan, float *workspace)
    : Decoder(m.config, m.lora, kernels, plan, workspace) {
  kernels_ = kernels.rows;
  products_ = &products;
  const auto index = [&](const std::string &name) { return m.layout.index(name); };
  const auto weights = [&](size_t i) { return m.weights.data() + m.layout.parameters[i].offset; };
  const auto gradients = [&](size_t i) -> float * {
    return m.lora ? nullptr : m.gradients.data() + m.layout.parameters[i].offset;
  };
  const auto vector = [&](const std::string &name) {
    const size_t i = index(name);
    return TrainedVector{weights(i), gradients(i)};
  };
  const auto matrix = [&](const std::string &name, bool bias) {
    const size_t i = index(name + ".weight");
    const Parameter &p = m.layout.parameters[i];
    TrainedMatrix t{weights(i), nullptr, p.shape[0], p.shape[1], gradients(i),
                    nullptr,    nullptr, nullptr,    nullptr,    nullptr};
    if (bias) {
      const TrainedVector b = vector(name + ".bias");
      t.bias = b.w;
      t.d_bias = b.d_w;
    }
    if (!m.lora) return t;
    for (const Lora::Target &target : m.lora->targets()) {
      if (target.matrix != i) continue;
      const size_t a = m.lora->layout().parameters[target.a].offset, b = m.lora->layout().parameters[target.b].offset;
      t.a = m.adapter->data() + a;
      t.b = m.adapter->data() + b;
      t.d_a = m.gradients.data() + a;
      t.d_b = m.gradients.data() + b;
    }
    return t;
  };
  if (m.lora) {
    lora_scale_ = m.lora->scale();
    lora_rank_ = m.lora->settings().rank;
  }
  const size_t embed = index("model.embed_tokens.weight");
  embed_ = weights(embed);
  d_embed_ = gradients(embed);
  norm_ = vector("model.norm.weight");
  for (int64_t i = 0; i < config_.layers; ++i) {
    const std::string base = "model.layers." + std::to_string(i) + ".", attention = base + "self_attn.";
    Layer layer{};
    layer.norm1 = vector(base + "input_layernorm.weight");
    layer.norm2 = vector(base + "post_attention_layernorm.weight");
    if (config_.qk_norm) {
      layer.q_norm = vector(attention + "q_norm.weight");
      layer.k_norm = vector(attention + "k_norm.weight");
    }
    layer.q = matrix(attention + "q_proj", config_.qkv_bias);
    layer.k = matrix(attention + "k_proj", config_.qkv_bias);
    layer.v = matrix(attention + "v_proj", config_.qkv_bias);
    layer.o = matrix(attention + "o_proj", false);
    layer.gate = matrix(base + "mlp.gate_proj", false);
    layer.up = matrix(base + "mlp.up_proj", false);
    layer.down = matrix(base + "mlp.down_proj", false);
    layers_.push_back(layer);
  }
  const int64_t half = config_.head_dim / 2;
  const std::vector<float> frequencies = rope_frequencies(config_.rope, config_.head_dim);  // the sampler's
  const float scale = rope_scale(config_.rope);
  for (int64_t t = 0; t < plan.longest; ++t)
    for (int64_t d = 0; d < half; ++d) {
      const float angle = static_cast<float>(t) * frequencies[static_cast<size_t>(d)];
      cos_.push_back(std::cos(angle) * scale);
      sin_.push_back(std::sin(angle) * scale);
    }
}

void Decoder::multiply(const TrainedMatrix &m, const float *in, float *out) const {
  if (m.bias)
    for (int64_t r = 0; r < rows_; ++r)
      std::memcpy(out + r * m.out, m.bias, static_cast<size_t>(m.out) * sizeof(float));
  products_->nt(rows_, m.out, m.in, {in, m.in}, {m.w, m.in}, m.bias != nullptr, {out, m.out});
}

void Decoder::multiply_backward(const TrainedMatrix &m, const float *in, const float *d_out) {
  if (m.d_w) products_->tn(m.out, m.in, rows_, {d_out, m.out}, {in, m.in}, true, {m.d_w, m.in});
  if (m.d_bias)
    for (int64_t r = 0; r < rows_; ++r)
      for (int64_t i = 0; i < m.out; ++i) m.d_bias[i] += d_out[r * m.out + i];
  if (!m.a) return;
  // W holds scale * B A: with low = in A^T, d B = d_out^T (scale * low) and d A = (scale * d_out B)^T in.
  const auto scaled = [&](float *x) {
    for (int64_t i = 0; i < rows_ * lora_rank_; ++i) x[i] *= lora_scale_;
  };
  products_->nt(rows_, lora_rank_, m.in, {in, m.in}, {m.a, m.in}, false, {low_, lora_rank_});
  scaled(low_);
  products_->tn(m.out, lora_rank_, rows_, {d_out, m.out}, {low_, lora_rank_}, true, {m.d_b, lora_rank_});
  products_->nn(rows_, lora_rank_, m.out, {d_out, m.out}, {m.b, lora_rank_}, false, {d_low_, lora_rank_});
  scaled(d_low_);
  products_->tn(lora_rank_, m.in, rows_, {d_low_, lora_rank_}, {in, m.in}, true, {m.d_a, m.in});
}

void Decoder::multiply_input(const TrainedMatrix &m, const float *d_out, float *d_in, bool add) const {
  products_->nn(rows_, m.in, m.out, {d_out, m.out}, {m.w, m.in}, add, {d_in, m.in});
}

namespace {
void add(float *x, const float *more, size_t n) {
  for (size_t i = 0; i < n; ++i) x[i] += more[i];
}
}  // namespace

void Decoder::layer_forward(const Layer &layer, const Kept &k, const float *x, float *out, const PackedRows &rows) {
  const RowKernels &kernels = *kernels_;
  const size_t n = static_cast<size_t>(rows_), heads = static_cast<size_t>(config_.heads),
               kv_heads = static_cast<size_t>(config_.kv_heads);
  const int hidden = static_cast<int>(config_.hidden), dim = static_cast<int>(config_.head_dim);
  const float eps = static_cast<float>(config_.rms_eps);
  kernels.rmsnorm(x, layer.norm1.w, eps, h_, k.rstd1, n, hidden);
  multiply(layer.q, h_, config_.qk_norm ? k.q_plain : k.q);
  multiply(layer.k, h_, config_.qk_norm ? k.k_plain : k.k);
  multiply(layer.v, h_, k.v);
  if (config_.qk_norm) {
    kernels.rmsnorm(k.q_plain, layer.q_norm.w, eps, k.q, k.q_rstd, n * heads, dim);
    kernels.rmsnorm(k.k_plain, layer.k_norm.w, eps, k.k, k.k_rstd, n * kv_heads, dim);
  }
  kernels.rope(k.q, rows.positions.data(), cos_.data(), sin_.data(), false, n, static_cast<int>(heads), dim);
  kernels.rope(k.k, rows.positions.data(), cos_.data(), sin_.data(), false, n, static_cast<int>(kv_heads), dim);
  attention_.forward(rows, {k.q, k.k, k.v, k.attended, k.lse}, scores_);
  multiply(layer.o, k.attended, k.x1);
  add(k.x1, x, n * static_cast<size_t>(hidden));
  kernels.rmsnorm(k.x1, layer.norm2.w, eps, h_, k.rstd2, n, hidden);
  multiply(layer.gate, h_, k.gate);
  multiply(layer.up, h_, k.up);
  kernels.swiglu(k.gate, k.up, act_, n * static_cast<size_t>(config_.intermediate));
  multiply(layer.down, act_, out);
  add(out, k.x1, n * static_cast<size_t>(hidden));
}

const float *Decoder::forward(const PackedRows &rows) {
  rows_ = static_cast<int64_t>(rows.tokens.size());
  const size_t hidden = static_cast<size_t>(config_.hidden);
  for (size_t r = 0; r < rows.tokens.size(); ++r)
    std::memcpy(x_[0] + r * hidden, embed_ + static_cast<size_t>(rows.tokens[r]) * hidden, hidden * sizeof(float));
  for (size_t i = 0; i < layers_.size(); ++i)
    layer_forward(layers_[i], kept_[plan_.recompute ? 0 : i], x_[i], x_[i + 1], rows);
  kernels_->rmsnorm(x_.back(), norm_.w, static_cast<float>(config_.rms_eps), h_, rstd_, rows.tokens.size(),
                    static_cast<int>(hidden));
  return h_;
}

void Decoder::attention_backward(const Layer &layer, const Kept &k, const float *x, const PackedRows &rows) {
  const RowKernels &kernels = *kernels_;
  const size_t n = static_cast<size_t>(rows_), heads = static_cast<size_t>(config_.heads),
               kv_heads = static_cast<size_t>(config_.kv_heads);
  const int hidden = static_cast<int>(config_.hidden), dim = static_cast<int>(config_.head_dim);
  multiply_backward(layer.o, k.attended, d_x_);
  multiply_input(layer.o, d_x_, d_h_, false);
  std::memset(d_k_, 0, n * kv_heads * static_cast<size_t>(dim) * sizeof(float));
  std::memset(d_v_, 0, n * kv_heads * static_cast<size_t>(dim) * sizeof(float));
  attention_.backward(rows, {k.q, k.k, k.v, k.attended, k.lse}, {d_h_, d_q_, d_k_, d_v_}, *products_, scores_);
  kernels.rope(d_q_, rows.positions.data(), cos_.data(), sin_.data(), true, n, static_cast<int>(heads), dim);
  kernels.rope(d_k_, rows.positions.data(), cos_.data(), sin_.data(), true, n, static_cast<int>(kv_heads), dim);
  if (config_.qk_norm) {
    kernels.rmsnorm_backward(d_q_, k.q_plain, layer.q_norm.w, k.q_rstd, d_q_, false, layer.q_norm.d_w, n * heads, dim);
    kernels.rmsnorm_backward(d_k_, k.k_plain, layer.k_norm.w, k.k_rstd, d_k_, false, layer.k_norm.d_w, n * kv_heads,
                             dim);
  }
  kernels.rmsnorm(x, layer.norm1.w, static_cast<float>(config_.rms_eps), h_, nullptr, n, hidden);
  multiply_backward(layer.q, h_, d_q_);
  multiply_backward(layer.k, h_, d_k_);
  multiply_backward(layer.v, h_, d_v_);
  multiply_input(layer.q, d_q_, d_h_, false);
  multiply_input(layer.k, d_k_, d_h_, true);
  multiply_input(layer.v, d_v_, d_h_, true);
  kernels.rmsnorm_backward(d_h_, x, layer.norm1.w, k.rstd1, d_x_, true, layer.norm1.d_w, n, hidden);
}

void Decoder::layer_backward(const Layer &layer, const Kept &k, const float *x, const PackedRows &rows) {
  const RowKernels &kernels = *kernels_;
  const size_t n = static_cast<size_t>(rows_);
  const int hidden = static_cast<int>(config_.hidden);
  multiply_input(layer.down, d_x_, d_act_, false);
  kernels.swiglu_backward(d_act_, k.gate, k.up, act_, n * static_cast<size_t>(config_.intermediate));
  multiply_backward(layer.down, act_, d_x_);
  kernels.rmsnorm(k.x1, layer.norm2.w, static_cast<float>(config_.rms_eps), h_, nullptr, n, hidden);
  multiply_backward(layer.gate, h_, k.gate);
  multiply_backward(layer.up, h_, k.up);
  multiply_input(layer.gate, k.gate, d_h_, false);
  multiply_input(layer.up, k.up, d_h_, true);
  kernels.rmsnorm_backward(d_h_, k.x1, layer.norm2.w, k.rstd2, d_x_, true, layer.norm2.d_w, n, hidden);
  attention_backward(layer, k, x, rows);
}

void Decoder::backward(const PackedRows &rows, float *d_states) {
  const size_t hidden = static_cast<size_t>(config_.hidden);
  kernels_->rmsnorm_backward(d_states, x_.back(), norm_.w, rstd_, d_x_, false, norm_.d_w, rows.tokens.size(),
                             static_cast<int>(hidden));
  for (size_t i = layers_.size(); i-- > 0;) {
    const Kept &kept = kept_[plan_.recompute ? 0 : i];
    if (plan_.recompute) layer_forward(layers_[i], kept, x_[i], x_[i + 1], rows);  // x_[i + 1] is needed no more
    layer_backward(layers_[i], kept, x_[i], rows);
  }
  if (!d_embed_) return;
  for (size_t r = 0; r < rows.tokens.size(); ++r) {
    float *const to = d_embed_ + static_cast<size_t>(rows.tokens[r]) * hidden;
    const float *const from = d_x_ + r * hidden;
    for (size_t i = 0; i < hidden; ++i) to[i] += from[i];
  }
}

}  // namespace gcop::guide_torch
