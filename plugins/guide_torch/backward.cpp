#include "backward.hpp"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "packed_rows.hpp"

namespace gcop::guide_torch {

namespace {
constexpr size_t kLogitFloats = size_t{24} << 20;  // of one chunk of logits
}  // namespace

// Parameters as tensors whose memory is the weight arena. Those that are trained are leaves whose gradients add up in
// the gradient arena.
struct Backward::Pass {
  Pass(const Model &model, Arena &gradients, int64_t longest) : config(model.config), layout(model.layout) {
    const auto leaf = [&](const Arena &values, const Parameter &p) {
      at::Tensor t = at::from_blob(values.data() + p.offset, p.shape, at::kFloat).requires_grad_();
      t.mutable_grad() = at::from_blob(gradients.data() + p.offset, p.shape, at::kFloat);
      return t;
    };
    for (const Parameter &p : layout.parameters)
      parameters.push_back(model.lora ? at::from_blob(model.weights.data() + p.offset, p.shape, at::kFloat)
                                      : leaf(model.weights, p));
    if (model.lora) {
      scale = model.lora->scale();
      for (const Lora::Target &t : model.lora->targets())
        adapters[t.matrix] = {leaf(*model.adapter, model.lora->layout().parameters[t.a]),
                              leaf(*model.adapter, model.lora->layout().parameters[t.b])};
    }
    at::NoGradGuard off;
    const std::vector<float> frequencies = rope_frequencies(config.rope, config.head_dim);  // the sampler's
    const at::Tensor angles = at::arange(longest, at::kFloat).unsqueeze(1) * at::tensor(frequencies).unsqueeze(0);
    const at::Tensor whole = at::cat({angles, angles}, 1).unsqueeze(1);  // [position, 1, head_dim]
    cos = whole.cos() * rope_scale(config.rope);
    sin = whole.sin() * rope_scale(config.rope);
  }

  const at::Tensor &get(const std::string &name) const { return parameters[layout.index(name)]; }

  // A target's matrix holds its adapter's product already, so what flows forward is the sampler's own numbers, and what
  // flows back to `in` is complete. The term added is zero; it carries the gradients of A and B.
  at::Tensor linear(const at::Tensor &in, const std::string &name, const std::optional<at::Tensor> &bias) const {
    const size_t at = layout.index(name);
    const at::Tensor out = at::linear(in, parameters[at], bias);
    const auto adapter = adapters.find(at);
    if (adapter == adapters.end()) return out;
    const auto &[a, b] = adapter->second;
    const at::Tensor low = at::linear(at::linear(in.detach(), a), b) * scale;
    return out + (low - low.detach());
  }

  at::Tensor norm(const at::Tensor &x, const at::Tensor &weight) const {
    return x * at::rsqrt(x.square().mean(-1, true) + config.rms_eps) * weight;
  }

  at::Tensor rope(const at::Tensor &x, const at::Tensor &c, const at::Tensor &s) const {
    const int64_t half = config.head_dim / 2;
    return x * c + at::cat({-x.narrow(-1, half, half), x.narrow(-1, 0, half)}, -1) * s;
  }

  // Hidden states after the last norm, [rows, hidden]. Each span attends to its own rows and to those of its prefix.
  at::Tensor hidden(at::Tensor x, const PackedRows &rows) const {
    const int64_t heads = config.heads, kv = config.kv_heads, dim = config.head_dim, total = x.size(0);
    const at::Tensor positions = at::tensor(rows.positions);
    const at::Tensor c = cos.index_select(0, positions), s = sin.index_select(0, positions);
    std::vector<at::Tensor> masks;
    for (const PackedRows::Span &span : rows.spans) masks.push_back(mask(span));
    for (int64_t i = 0; i < config.layers; ++i) {
      const std::string base = "model.layers." + std::to_string(i) + ".";
      const auto project = [&](const at::Tensor &in, const char *name, bool bias) {
        return linear(in, base + name + ".weight",
                      bias ? std::optional<at::Tensor>(get(base + name + ".bias")) : std::nullopt);
      };
      at::Tensor h = norm(x, get(base + "input_layernorm.weight"));
      const auto head_norm = [&](const at::Tensor &in, const char *name) {
        return config.qk_norm ? norm(in, get(base + name)) : in;
      };
      const at::Tensor all_q = project(h, "self_attn.q_proj", config.qkv_bias).view({total, heads, dim});
      const at::Tensor all_k = project(h, "self_attn.k_proj", config.qkv_bias).view({total, kv, dim});
      const at::Tensor q = rope(head_norm(all_q, "self_attn.q_norm.weight"), c, s);
      const at::Tensor k = rope(head_norm(all_k, "self_attn.k_norm.weight"), c, s);
      const at::Tensor v = project(h, "self_attn.v_proj", config.qkv_bias).view({total, kv, dim});
      std::vector<at::Tensor> attended;
      for (size_t j = 0; j < rows.spans.size(); ++j) {
        const PackedRows::Span &span = rows.spans[j];
        const auto spread = [&](const at::Tensor &t) {  // prefix and own rows, one key/value head for each query head
          at::Tensor own = t.narrow(0, span.begin, span.count);
          if (span.prefix > 0) own = at::cat({t.narrow(0, span.prefix_begin, span.prefix), own});
          const int64_t n = own.size(0);
          return own.transpose(0, 1)
              .unsqueeze(0)
              .unsqueeze(2)
              .expand({1, kv, heads / kv, n, dim})
              .reshape({1, heads, n, dim});
        };
        attended.push_back(at::scaled_dot_product_attention(
                               q.narrow(0, span.begin, span.count).transpose(0, 1).unsqueeze(0), spread(k), spread(v),
                               span.prefix > 0 ? std::optional<at::Tensor>(masks[j]) : std::nullopt, 0.0,
                               span.prefix == 0)
                               .squeeze(0)
                               .transpose(0, 1)
                               .reshape({span.count, heads * dim}));
      }
      x = x + project(at::cat(attended), "self_attn.o_proj", false);
      h = norm(x, get(base + "post_attention_layernorm.weight"));
      const at::Tensor gate = at::silu(project(h, "mlp.gate_proj", false));
      x = x + project(gate * project(h, "mlp.up_proj", false), "mlp.down_proj", false);
    }
    return norm(x, get("model.norm.weight"));
  }

  // 0 where a row may look, -inf where it may not: [1, 1, rows, prefix + rows].
  static at::Tensor mask(const PackedRows::Span &span) {
    if (span.prefix == 0) return {};
    at::Tensor out = at::zeros({1, 1, span.count, span.prefix + span.count}, at::kFloat);
    float *at = out.mutable_data_ptr<float>();
    for (int64_t i = 0; i < span.count; ++i)
      for (int64_t j = i + 1; j < span.count; ++j)
        at[i * (span.prefix + span.count) + span.prefix + j] = -std::numeric_limits<float>::infinity();
    return out;
  }

  const Config &config;
  const Layout &layout;
  std::vector<at::Tensor> parameters;
  std::map<size_t, std::pair<at::Tensor, at::Tensor>> adapters;  // A and B, by the index of their matrix
  float scale = 0;
  at::Tensor cos, sin;
};

Backward::Backward(const Model &model, Arena &gradients, int64_t longest, int threads)
    : model_(model), gradients_(gradients) {
  at::set_num_threads(threads);  // of the calling thread
  pass_ = std::make_unique<Pass>(model, gradients, longest);
}

Backward::~Backward() = default;

Result<> Backward::run(const gcop_train_request &r, size_t first, size_t last, const LossScale &scale) {
  const Pass &pass = *pass_;
  const Layout &layout = model_.layout;
  const bool whole = !model_.lora;
  const size_t embed = layout.index("model.embed_tokens.weight");
  const size_t head = model_.config.tied ? embed : layout.index("lm_head.weight");
  const int64_t hidden = model_.config.hidden, vocab = model_.config.vocab;
  const float *const embed_weights = model_.weights.data() + layout.parameters[embed].offset;
  const PackedRows rows(r, first, last);
  const int64_t total = static_cast<int64_t>(rows.tokens.size());
  const std::vector<uint64_t> &targets = rows.targets;
  if (targets.empty()) return Unit{};
  // The embedding's gradient is scattered by hand: autograd would make a dense one for each micro-batch.
  at::Tensor x = at::empty({total, hidden}, at::kFloat);
  for (int64_t t = 0; t < total; ++t)
    std::memcpy(x.data_ptr<float>() + t * hidden, embed_weights + rows.tokens[t] * hidden, hidden * sizeof(float));
  if (whole) x.requires_grad_();
  const at::Tensor states = pass.hidden(x, rows).index_select(0, at::tensor(rows.predictors));

  at::Tensor slope_states = at::empty(states.sizes(), at::kFloat);
  {
    at::NoGradGuard off;
    const at::Tensor head_weights = pass.parameters[head].detach();
    at::Tensor head_gradients = whole ? pass.parameters[head].grad() : at::Tensor();
    const size_t n = targets.size(), chunk = std::max<size_t>(1, kLogitFloats / static_cast<size_t>(vocab));
    std::vector<float> logprobs(n), old(n), ref(n), slopes(n);
    const auto probabilities = [&](size_t from, size_t count) {  // fills logprobs; leaves softmax
      at::Tensor logits = at::mm(states.narrow(0, from, count), head_weights.t());
      const at::Tensor sums_log = at::logsumexp(logits, {1}, true);
      for (size_t i = 0; i < count; ++i)
        logprobs[from + i] = logits.const_data_ptr<float>()[i * vocab + r.tokens[targets[from + i]]] -
                             sums_log.const_data_ptr<float>()[i];
      return logits.sub_(sums_log);  // log-softmax
    };
    const auto losses = [&](size_t from, size_t end) {  // of whole sequences; index into targets
      for (size_t at = from; at < end;) {
        size_t i = first;
        while (targets[at] >= r.offsets[i + 1]) ++i;
        size_t stop = at;
        while (stop < end && targets[stop] < r.offsets[i + 1]) ++stop;
        const auto part = [&](const std::vector<float> &v, bool there) {
          return there ? std::span<const float>(v).subspan(at, stop - at) : std::span<const float>();
        };
        for (size_t j = at; j < stop; ++j) {
          if (r.old_logprobs) old[j] = r.old_logprobs[targets[j]];
          if (r.ref_logprobs) ref[j] = r.ref_logprobs[targets[j]];
        }
        add_loss({part(logprobs, true), part(old, r.old_logprobs), part(ref, r.ref_logprobs),
                  r.advantages ? r.advantages[i] : 0},
                 *r.loss, scale, std::span<float>(slopes).subspan(at, stop - at), sums_);
        at = stop;
      }
    };
    const auto backward = [&](size_t from, size_t count, at::Tensor log_softmax) {
      const at::Tensor p = log_softmax.exp();
      sums_.entropy -= log_softmax.mul_(p).sum().item<double>();
      at::Tensor d = p;
      d.mul_(-at::from_blob(slopes.data() + from, {static_cast<int64_t>(count), 1}, at::kFloat));
      for (size_t i = 0; i < count; ++i)
        d.mutable_data_ptr<float>()[i * vocab + r.tokens[targets[from + i]]] += slopes[from + i];
      at::Tensor out = slope_states.narrow(0, from, count);
      at::mm_out(out, d, head_weights);
      if (whole) head_gradients.addmm_(d.t(), states.narrow(0, from, count));
    };
    // A sequence's terms may depend on all its tokens: when they do not fit one chunk, log-probabilities come first
    // and the logits are computed again for the slopes.
    if (n <= chunk) {
      const at::Tensor log_softmax = probabilities(0, n);
      losses(0, n);
      backward(0, n, log_softmax);
    } else {
      for (size_t from = 0; from < n; from += chunk) probabilities(from, std::min(chunk, n - from));
      losses(0, n);
      for (size_t from = 0; from < n; from += chunk) {
        const size_t count = std::min(chunk, n - from);
        backward(from, count, probabilities(from, count));
      }
    }
  }
  if (!std::isfinite(sums_.loss))
    return Error{Code::invalid,
                 "the loss is " + std::to_string(sums_.loss) +
                     ": advantages, old_logprobs or the weights hold no finite numbers; the weights are unchanged",
                 {}};
  states.backward(slope_states);
  if (!whole) return Unit{};
  float *const embed_gradients = gradients_.data() + layout.parameters[embed].offset;
  const at::Tensor slope_x = x.grad();
  for (int64_t t = 0; t < total; ++t) {
    float *to = embed_gradients + rows.tokens[t] * hidden;
    const float *from = slope_x.const_data_ptr<float>() + t * hidden;
    for (int64_t k = 0; k < hidden; ++k) to[k] += from[k];
  }
  return Unit{};
}

}  // namespace gcop::guide_torch
