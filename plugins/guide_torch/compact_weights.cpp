#include "compact_weights.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "crew.hpp"
#include "quants.hpp"
#include "weights.hpp"

namespace gcop::guide_torch {

namespace {

// One row: q = round(w / scale) with scale = max |w| / 63 of each group.
void to_int8(const float *from, size_t inputs, int8_t *values, float *scales, int32_t *offsets) {
  for (size_t g = 0; g < inputs / kInt8Group; ++g, from += kInt8Group, values += kInt8Group) {
    float most = 0;
    for (int i = 0; i < kInt8Group; ++i) most = std::max(most, std::fabs(from[i]));
    const float inverse = most > 0 ? 63 / most : 0;
    int32_t sum = 0;
    for (int i = 0; i < kInt8Group; ++i) sum += values[i] = static_cast<int8_t>(std::lrint(from[i] * inverse));
    scales[g] = most / 63;
    offsets[g] = -64 * sum;
  }
}

}  // namespace

bool CompactWeights::fits(Form form, const Config &config) {
  return form == Form::bf16 || (config.hidden % kInt8Group == 0 && config.intermediate % kInt8Group == 0 &&
                                config.heads * config.head_dim % kInt8Group == 0);
}

bool CompactWeights::takes(const Parameter &p) {
  return p.matrix() && p.name.find("embed_tokens") == std::string::npos;
}

void CompactWeights::add(Form form, const std::string &name, const float *from, size_t outputs, size_t inputs,
                         Crew &crew) {
  auto rows = std::make_unique<Rows>();
  rows->name = name;
  const size_t count = outputs * inputs, groups = inputs / kInt8Group;
  constexpr size_t kRows = 256;
  const auto each_row = [&](auto work) {
    crew.run((outputs + kRows - 1) / kRows, [&](size_t part, int) {
      for (size_t r = part * kRows; r < std::min(outputs, (part + 1) * kRows); ++r) work(r);
    });
  };
  if (form == Form::bf16) {
    rows->values = std::make_unique<Arena>((count + 1) / 2);
    auto *const out = reinterpret_cast<uint16_t *>(rows->values->data());
    each_row([&](size_t r) {
      for (size_t i = r * inputs; i < (r + 1) * inputs; ++i) out[i] = float_to_bf16(from[i]);
    });
  } else {
    rows->values = std::make_unique<Arena>((count + 3) / 4);
    rows->scales = std::make_unique<Arena>(outputs * groups);
    rows->offsets = std::make_unique<Arena>(outputs * groups);
    auto *const values = reinterpret_cast<int8_t *>(rows->values->data());
    auto *const offsets = reinterpret_cast<int32_t *>(rows->offsets->data());
    rows->int8 = {values, rows->scales->data(), offsets};
    each_row([&](size_t r) {
      to_int8(from + r * inputs, inputs, values + r * inputs, rows->scales->data() + r * groups, offsets + r * groups);
    });
  }
  rows_.push_back(std::move(rows));
}

Result<std::shared_ptr<const CompactWeights>> CompactWeights::make(Form form, const Config &config,
                                                                   const Layout &layout, const float *embedding,
                                                                   const Read &read, Crew &crew) {
  auto self = std::make_shared<CompactWeights>();
  std::vector<const Parameter *> matrices;
  for (const Parameter &p : layout.parameters)
    if (takes(p)) matrices.push_back(&p);
  // The largest first: then its fp32 values are not there together with all the others.
  std::stable_sort(matrices.begin(), matrices.end(),
                   [](const Parameter *a, const Parameter *b) { return a->count > b->count; });
  std::unique_ptr<Arena> values;
  for (const Parameter *p : matrices) {
    if (!values || values->size() > 2 * p->count) values = std::make_unique<Arena>(p->count);
    if (Result<> done = read(*p, values->data()); !done) return done.error();
    self->add(form, p->name, values->data(), static_cast<size_t>(p->shape[0]), static_cast<size_t>(p->shape[1]), crew);
  }
  if (config.tied)
    self->add(form, "lm_head.weight", embedding, static_cast<size_t>(config.vocab), static_cast<size_t>(config.hidden),
              crew);
  return std::shared_ptr<const CompactWeights>(std::move(self));
}

Matrix CompactWeights::matrix(const std::string &name) const {
  for (const auto &rows : rows_) {
    if (rows->name != name) continue;
    if (rows->int8.values) return {nullptr, nullptr, &rows->int8};
    return {nullptr, reinterpret_cast<const uint16_t *>(rows->values->data()), nullptr};
  }
  throw std::logic_error("no compact matrix " + name);
}

void CompactWeights::show(ModelView &view) const {
  view.head = matrix("lm_head.weight");
  for (size_t i = 0; i < view.layers.size(); ++i) {
    const std::string base = "model.layers." + std::to_string(i) + ".";
    LayerView &layer = view.layers[i];
    layer.q = matrix(base + "self_attn.q_proj.weight");
    layer.k = matrix(base + "self_attn.k_proj.weight");
    layer.v = matrix(base + "self_attn.v_proj.weight");
    layer.o = matrix(base + "self_attn.o_proj.weight");
    layer.gate = matrix(base + "mlp.gate_proj.weight");
    layer.up = matrix(base + "mlp.up_proj.weight");
    layer.down = matrix(base + "mlp.down_proj.weight");
  }
}

size_t CompactWeights::bytes(Form form, size_t weights) {
  return form == Form::bf16 ? 2 * weights : weights + weights / kInt8Group * (sizeof(float) + sizeof(int32_t));
}

}  // namespace gcop::guide_torch
