#include "backend.hpp"

#include <ATen/ops/add.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/mm.h>
#include <c10/core/CachingDeviceAllocator.h>

#include <cmath>
#include <stdexcept>

namespace gcop::guide_torch::device {

at::Tensor Backend::make(at::IntArrayRef shape, at::ScalarType what) const {
  return at::empty(shape, at::TensorOptions(where).dtype(what));
}

at::Tensor Backend::upload(const std::vector<int32_t> &values) const {
  at::Tensor out = ints({static_cast<int64_t>(values.size())});
  out.copy_(at::from_blob(const_cast<int32_t *>(values.data()), out.sizes(), at::kInt));
  return out;
}

void Backend::multiply(at::Tensor y, const at::Tensor &x, const at::Tensor &w) const { at::mm_out(y, x, w.t()); }

void Backend::multiply_floats(at::Tensor y, const at::Tensor &x, const at::Tensor &w) const {
  if (scalar == at::kFloat)
    at::mm_out(y, x, w.t());
  else if (host())  // ATen's CPU has no product of this kind
    at::mm_out(y, x.to(at::kFloat), w.to(at::kFloat).t());
  else
    at::mm_out(y, x, w.t(), at::kFloat);
}

void Backend::multiply_back(at::Tensor dx, const at::Tensor &dy, const at::Tensor &w) const { at::mm_out(dx, dy, w); }

void Backend::add_product(at::Tensor dw, const at::Tensor &dy, const at::Tensor &x) const {
  if (scalar == at::kFloat)
    dw.addmm_(dy.t(), x);
  else if (host())
    dw.addmm_(dy.to(at::kFloat).t(), x.to(at::kFloat));
  else
    dw.add_(at::mm(dy.t(), x, at::kFloat));
}

uint64_t Backend::allocations() const {
  if (host()) return 0;
  const auto stats = c10::getDeviceAllocator(where.type())->getDeviceStats(where.index());
  return static_cast<uint64_t>(stats.allocation[0].allocated);
}

void Backend::check() const {
  if (const char *why = kernels->failure()) throw std::runtime_error(std::string("the device said: ") + why);
}

Scope::Scope(const Backend &backend) {
  if (backend.stream) stream_.emplace(*backend.stream);
}

DeviceLayout::DeviceLayout(const Config &config, const Layout &host) {
  pieces.resize(host.parameters.size());
  std::vector<bool> placed(pieces.size());
  const auto put = [&](size_t i) {
    const Parameter &p = host.parameters[i];
    pieces[i] = {p.offset, count, p.count, p.matrix()};
    count += (p.count + 15) / 16 * 16;  // what is fused is a multiple of 16: heads are
    placed[i] = true;
  };
  for (int64_t l = 0; l < config.layers; ++l) {
    const std::string base = "model.layers." + std::to_string(l) + ".";
    for (const char *name :
         {"self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight", "self_attn.q_proj.bias",
          "self_attn.k_proj.bias", "self_attn.v_proj.bias", "mlp.gate_proj.weight", "mlp.up_proj.weight"})
      if (config.qkv_bias || !std::string(name).ends_with("bias")) put(host.index(base + name));
  }
  for (size_t i = 0; i < placed.size(); ++i)
    if (!placed[i]) put(i);
}

DeviceLayout::DeviceLayout(const Layout &adapter) : count(adapter.floats) {
  for (const Parameter &p : adapter.parameters) pieces.push_back({p.offset, p.offset, p.count, p.matrix()});
}

namespace {
at::Tensor host_view(const Arena &arena, const DeviceLayout::Piece &p) {
  return at::from_blob(arena.data() + p.host_offset, {static_cast<int64_t>(p.count)}, at::kFloat);
}
}  // namespace

at::Tensor DeviceLayout::part(const at::Tensor &flat, size_t i) const {
  return flat.narrow(0, static_cast<int64_t>(pieces[i].offset), static_cast<int64_t>(pieces[i].count));
}

void DeviceLayout::upload(const Arena &from, const at::Tensor &to) const {
  for (size_t i = 0; i < pieces.size(); ++i) part(to, i).copy_(host_view(from, pieces[i]));
}

void DeviceLayout::download(const at::Tensor &from, const Arena &to) const {
  for (size_t i = 0; i < pieces.size(); ++i) host_view(to, pieces[i]).copy_(part(from, i));
}

ModelTensors::ModelTensors(const Config &c, const Layout &host, const DeviceLayout &layout, const at::Tensor &flat) {
  const auto rows = [&](const std::string &name, int64_t n) {  // of this parameter and those that follow it
    const size_t i = host.index(name);
    const int64_t width = host.parameters[i].shape[1];
    return flat.narrow(0, static_cast<int64_t>(layout.pieces[i].offset), n * width).view({n, width});
  };
  const auto vector = [&](const std::string &name, int64_t n) {
    return flat.narrow(0, static_cast<int64_t>(layout.pieces[host.index(name)].offset), n);
  };
  const int64_t q = c.heads * c.head_dim, all = q + 2 * c.kv_heads * c.head_dim;
  embed = rows("model.embed_tokens.weight", c.vocab);
  norm = vector("model.norm.weight", c.hidden);
  head = c.tied ? embed : rows("lm_head.weight", c.vocab);
  for (int64_t l = 0; l < c.layers; ++l) {
    const std::string base = "model.layers." + std::to_string(l) + ".";
    LayerTensors t;
    t.norm1 = vector(base + "input_layernorm.weight", c.hidden);
    t.qkv = rows(base + "self_attn.q_proj.weight", all);
    if (c.qkv_bias) t.qkv_bias = vector(base + "self_attn.q_proj.bias", all);
    if (c.qk_norm) {
      t.q_norm = vector(base + "self_attn.q_norm.weight", c.head_dim);
      t.k_norm = vector(base + "self_attn.k_norm.weight", c.head_dim);
    }
    t.o = rows(base + "self_attn.o_proj.weight", c.hidden);
    t.norm2 = vector(base + "post_attention_layernorm.weight", c.hidden);
    t.gate_up = rows(base + "mlp.gate_proj.weight", 2 * c.intermediate);
    t.down = rows(base + "mlp.down_proj.weight", c.hidden);
    layers.push_back(std::move(t));
  }
}

DeviceModel::DeviceModel(BackendPtr backend, const Layout &host, const Lora *lora, Crew &crew, const Arena &arena)
    : backend_(std::move(backend)),
      lora_(lora),
      crew_(crew),
      layout_(backend_->config, host),
      trained_layout_(lora ? DeviceLayout(lora->layout()) : layout_),
      work_(backend_->empty({static_cast<int64_t>(layout_.count)})),
      tensors_(backend_->config, host, layout_, work_) {
  const Scope scope(*backend_);
  work_.zero_();  // the gaps too: sums run over them
  layout_.upload(arena, work_);
}

const TrainedTensors &DeviceModel::trained(const Version &host) {
  if (trained_.master.defined()) return trained_;
  const bool exact = backend_->scalar == at::kFloat;
  if (!lora_ && exact) {
    trained_ = {work_, work_};
    return trained_;
  }
  const at::Tensor master = backend_->floats({static_cast<int64_t>(trained_layout_.count)});
  master.zero_();
  trained_layout_.upload(lora_ ? *host.adapter : *host.arena, master);
  trained_ = {master, !lora_ ? work_ : exact ? master : master.to(backend_->scalar)};
  return trained_;
}

// What is sampled from has an adapter's product rounded; the sum in fp32 is made again, with the same bits.
void DeviceModel::fetch(const Version &host) {
  if (!stale_) return;
  const Scope scope(*backend_);
  trained_layout_.download(trained_.master, lora_ ? *host.adapter : *host.arena);
  if (lora_) lora_->merge(*host.base, *host.adapter, *host.arena, crew_);
  stale_ = false;
}

RopeTables::RopeTables(const Backend &b) {
  const int64_t half = b.config.head_dim / 2;
  const std::vector<float> frequencies = rope_frequencies(b.config.rope, b.config.head_dim);
  const float scale = rope_scale(b.config.rope);
  std::vector<float> c(static_cast<size_t>(b.context * half)), s(c.size());
  for (int64_t t = 0; t < b.context; ++t)
    for (int64_t d = 0; d < half; ++d) {
      const float angle = static_cast<float>(t) * frequencies[d];  // forward.cpp's
      c[t * half + d] = std::cos(angle) * scale;
      s[t * half + d] = std::sin(angle) * scale;
    }
  cos = b.floats({b.context, half});
  sin = b.floats({b.context, half});
  cos.copy_(at::from_blob(c.data(), cos.sizes(), at::kFloat));
  sin.copy_(at::from_blob(s.data(), sin.sizes(), at::kFloat));
}

}  // namespace gcop::guide_torch::device
