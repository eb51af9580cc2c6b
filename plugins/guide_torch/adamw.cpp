#include "adamw.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "json_read.hpp"
#include "safetensors.hpp"

namespace gcop::guide_torch {

const char *const kOptimizerFile = "optimizer.safetensors";

void AdamW::reset() {
  step_ = 0;
  first_.reset();
  second_.reset();
}

void AdamW::step(float *weights, const float *gradients, double grad_scale, const gcop_optimizer_options &o) {
  if (!first_) {
    first_ = std::make_unique<Arena>(layout_.floats);
    second_ = std::make_unique<Arena>(layout_.floats);
  }
  ++step_;
  const double t = static_cast<double>(step_);
  const float b1 = o.beta1, b2 = o.beta2, scale = static_cast<float>(grad_scale);
  const float rate = static_cast<float>(o.lr / (1 - std::pow(static_cast<double>(b1), t)));
  const float unbias = static_cast<float>(1 / std::sqrt(1 - std::pow(static_cast<double>(b2), t)));
  constexpr size_t kSlice = size_t{1} << 16;
  struct Slice {
    size_t begin, end;
    bool decay;
  };
  std::vector<Slice> slices;
  for (const Parameter &p : layout_.parameters)
    for (size_t at = 0; at < p.count; at += kSlice)
      slices.push_back({p.offset + at, p.offset + std::min(p.count, at + kSlice), p.matrix()});
  crew_.run(slices.size(), [&](size_t i, int) {
    const auto [begin, end, decays] = slices[i];
    const float keep = decays ? 1 - o.lr * o.weight_decay : 1;
    float *m = first_->data(), *v = second_->data();
    for (size_t j = begin; j < end; ++j) {
      const float g = gradients[j] * scale;
      m[j] = b1 * m[j] + (1 - b1) * g;
      v[j] = b2 * v[j] + (1 - b2) * g * g;
      weights[j] = weights[j] * keep - rate * m[j] / (std::sqrt(v[j]) * unbias + o.eps);
    }
  });
}

Result<> AdamW::write(const std::string &path) const {
  return write_moments(path, layout_, first_.get(), second_.get(), step_);
}

Result<> AdamW::read(const std::string &path) {
  Result<Moments> read = read_moments(path, layout_);
  if (!read) return read.error();
  first_ = std::move(read->first);
  second_ = std::move(read->second);
  step_ = read->step;
  return Unit{};
}

Result<> write_moments(const std::string &path, const Layout &layout, const Arena *first, const Arena *second,
                       uint64_t step) {
  return guarded("'" + path + "'", [&] {
    std::vector<TensorOut> tensors;
    if (step > 0)
      for (const auto &[prefix, arena] : {std::make_pair("m.", first), std::make_pair("v.", second)})
        for (const Parameter &p : layout.parameters)
          tensors.push_back({prefix + p.name, p.shape, [arena, offset = p.offset] { return arena->data() + offset; }});
    write_safetensors(path, tensors, StoredAs::f32, {{"step", std::to_string(step)}});
    return Unit{};
  });
}

Result<Moments> read_moments(const std::string &path, const Layout &layout) {
  return guarded("'" + path + "'", [&]() -> Moments {
    const SafetensorsFile file(path);
    const std::span<const uint8_t> bytes = file.file().bytes();
    uint64_t size = 0;
    std::memcpy(&size, bytes.data(), 8);  // the reader above has checked it
    const Json head = parse_json({reinterpret_cast<const char *>(bytes.data()) + 8, size}, path);
    const std::string step = text_field(field(head, "__metadata__", path), "step", path);
    if (step.empty() || step.size() > 18 || step.find_first_not_of("0123456789") != std::string::npos)
      fail("'" + path + "': step is \"" + step + "\", not a number");
    Moments out;
    out.step = std::stoull(step);
    if (out.step == 0) return out;
    out.first = std::make_unique<Arena>(layout.floats);
    out.second = std::make_unique<Arena>(layout.floats);
    const Arena *const out_second = out.second.get();
    for (const auto &[prefix, arena] : {std::make_pair("m.", out.first.get()), std::make_pair("v.", out.second.get())})
      for (const Parameter &p : layout.parameters) {
        const auto found = file.tensors().find(prefix + p.name);
        if (found == file.tensors().end() || found->second.shape != p.shape)
          fail("'" + path + "' has no " + prefix + p.name +
               " of this model's shape; it belongs to another model, or to one "
               "trained with another lora: a save without the optimizer loads");
        const StoredTensor &stored = found->second;
        if (stored.encoding != &f32_encoding()) fail("'" + path + "': " + prefix + p.name + " is not stored as F32");
        float *const to = arena->data() + p.offset;
        const bool good = decode_finite(stored, to) &&
                          (arena != out_second || std::all_of(to, to + p.count, [](float v) { return v >= 0; }));
        if (!good)
          fail("'" + path + "': " + prefix + p.name +
               " holds what no moment can be (NaN, infinite or negative); copy the file again");
      }
    return out;
  });
}

}  // namespace gcop::guide_torch
