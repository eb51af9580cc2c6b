#include "int8_weights.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "crew.hpp"
#include "weights.hpp"

namespace gcop::guide_torch {

namespace {

struct Matrix {
  const float *from;
  size_t rows, inputs;
  Int8Rows *to;
};

// One row: q = round(w / scale) with scale = max |w| / 63 of each group.
void quantize_row(const float *from, size_t inputs, int8_t *values, float *scales, int32_t *offsets) {
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

bool Int8Weights::fits(const Config &config) {
  return config.hidden % kInt8Group == 0 && config.intermediate % kInt8Group == 0 &&
         config.heads * config.head_dim % kInt8Group == 0;
}

Int8Weights::Int8Weights(const Config &config, const Layout &layout, const Arena &weights, Crew &crew) {
  std::vector<Matrix> matrices;
  const auto add = [&](const std::string &name, Int8Rows &to) {
    const Parameter &p = layout.parameters[layout.index(name + ".weight")];
    matrices.push_back(
        {weights.data() + p.offset, static_cast<size_t>(p.shape[0]), static_cast<size_t>(p.shape[1]), &to});
  };
  view_.layers.resize(static_cast<size_t>(config.layers));
  for (size_t i = 0; i < view_.layers.size(); ++i) {
    const std::string base = "model.layers." + std::to_string(i) + ".";
    Int8Layer &layer = view_.layers[i];
    add(base + "self_attn.q_proj", layer.q);
    add(base + "self_attn.k_proj", layer.k);
    add(base + "self_attn.v_proj", layer.v);
    add(base + "self_attn.o_proj", layer.o);
    add(base + "mlp.gate_proj", layer.gate);
    add(base + "mlp.up_proj", layer.up);
    add(base + "mlp.down_proj", layer.down);
  }
  add(config.tied ? "model.embed_tokens" : "lm_head", view_.head);

  size_t count = 0;
  for (const Matrix &m : matrices) count += m.rows * m.inputs;
  values_ = std::make_unique<Arena>(count / sizeof(float));
  scales_ = std::make_unique<Arena>(count / kInt8Group);
  offsets_ = std::make_unique<Arena>(count / kInt8Group);
  auto *values = reinterpret_cast<int8_t *>(values_->data());
  auto *offsets = reinterpret_cast<int32_t *>(offsets_->data());
  size_t at = 0;
  for (const Matrix &m : matrices) {
    const size_t groups = m.inputs / kInt8Group;
    float *const scales = scales_->data() + at / kInt8Group;
    *m.to = {values + at, scales, offsets + at / kInt8Group};
    constexpr size_t kRows = 256;
    crew.run((m.rows + kRows - 1) / kRows, [&](size_t part, int) {
      for (size_t r = part * kRows; r < std::min(m.rows, (part + 1) * kRows); ++r)
        quantize_row(m.from + r * m.inputs, m.inputs, values + at + r * m.inputs, scales + r * groups,
                     offsets + at / kInt8Group + r * groups);
    });
    at += m.rows * m.inputs;
  }
}

Int8Weights::~Int8Weights() = default;

size_t Int8Weights::bytes() const { return (values_->size() + scales_->size() + offsets_->size()) * sizeof(float); }

}  // namespace gcop::guide_torch
