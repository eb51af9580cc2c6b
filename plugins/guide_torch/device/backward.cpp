#include "backward.hpp"

#include <ATen/ops/from_blob.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <span>

namespace gcop::guide_torch::device {

RowLists::RowLists(const Backend &backend, const std::vector<int64_t> &to) {
  std::map<int64_t, std::vector<int32_t>> lists;
  for (size_t i = 0; i < to.size(); ++i) lists[to[i]].push_back(static_cast<int32_t>(i));
  std::vector<int32_t> t, o = {0}, s;
  for (const auto &[target, list] : lists) {
    t.push_back(static_cast<int32_t>(target));
    s.insert(s.end(), list.begin(), list.end());
    o.push_back(static_cast<int32_t>(s.size()));
  }
  count = static_cast<int64_t>(t.size());
  targets = backend.upload(t), offsets = backend.upload(o), sources = backend.upload(s);
}

Gradients::Gradients(const Config &c, const Layout &model, const DeviceLayout &layout, const at::Tensor &flat)
    : all(c, model, layout, flat), adapters(static_cast<size_t>(c.layers)) {}

Gradients::Gradients(const Config &c, const Layout &model, const Lora &lora, const DeviceLayout &layout,
                     const at::Tensor &values, const at::Tensor &flat)
    : adapters(static_cast<size_t>(c.layers)), scale(lora.scale()) {
  all.layers.resize(adapters.size());
  const auto view = [&](const at::Tensor &from, size_t i) {
    return layout.part(from, i).view(lora.layout().parameters[i].shape);
  };
  const int64_t q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  struct Place {
    const char *name;
    std::vector<LowRank> LayerAdapters::*matrix;
    int64_t row;
  };
  const Place places[] = {
      {"self_attn.q_proj", &LayerAdapters::qkv, 0},      {"self_attn.k_proj", &LayerAdapters::qkv, q},
      {"self_attn.v_proj", &LayerAdapters::qkv, q + kv}, {"self_attn.o_proj", &LayerAdapters::o, 0},
      {"mlp.gate_proj", &LayerAdapters::gate_up, 0},     {"mlp.up_proj", &LayerAdapters::gate_up, c.intermediate},
      {"mlp.down_proj", &LayerAdapters::down, 0}};
  for (size_t l = 0; l < adapters.size(); ++l)
    for (const Place &p : places) {
      const size_t matrix = model.index("model.layers." + std::to_string(l) + "." + p.name + ".weight");
      for (const Lora::Target &t : lora.targets())
        if (t.matrix == matrix)
          (adapters[l].*p.matrix)
              .push_back({p.row, model.parameters[matrix].shape[0], view(values, t.a), view(values, t.b),
                          view(flat, t.a), view(flat, t.b)});
    }
}

namespace {

// Which rows' keys each span looks at, one after another.
std::vector<int64_t> key_rows(const PackedRows &packed) {
  std::vector<int64_t> out;
  for (const PackedRows::Span &s : packed.spans) {
    for (int64_t i = 0; i < s.prefix; ++i) out.push_back(s.prefix_begin + i);
    for (int64_t i = 0; i < s.count; ++i) out.push_back(s.begin + i);
  }
  return out;
}
std::vector<int32_t> lengths(const PackedRows &packed, bool keys) {
  std::vector<int32_t> out;
  for (const PackedRows::Span &s : packed.spans) out.push_back(static_cast<int32_t>(s.count + (keys ? s.prefix : 0)));
  return out;
}
std::vector<int32_t> small(const std::vector<int64_t> &values) { return {values.begin(), values.end()}; }
std::vector<int32_t> counting(size_t n) {
  std::vector<int32_t> out(n);
  for (size_t i = 0; i < n; ++i) out[i] = static_cast<int32_t>(i);
  return out;
}

}  // namespace

struct MicroBatch::Rows {
  Rows(const Backend &b, const PackedRows &packed)
      : n(static_cast<int64_t>(packed.tokens.size())),
        tokens(b.upload(packed.tokens)),
        positions(b.upload(small(packed.positions))),
        spans(b, lengths(packed, false), lengths(packed, true)) {
    const std::vector<int64_t> keys = key_rows(packed);
    key_count = static_cast<int64_t>(keys.size());
    if (key_count == n) return;  // each span has its own rows alone, in order
    key_sources = b.upload(small(keys));
    key_each = b.upload(counting(keys.size() + 1));
    keys_of.emplace(b, keys);
  }
  bool shared() const { return keys_of.has_value(); }

  int64_t n, key_count;
  at::Tensor tokens, positions;
  SpanLengths spans;
  at::Tensor key_sources, key_each;  // for gathering
  std::optional<RowLists> keys_of;   // for adding back
};

struct MicroBatch::State {
  at::Tensor h, raw, qkv, keys_values, h2, x2, gate_up, active;
  Attended attended;
  at::Tensor q, k, v;  // views
};

void MicroBatch::norm(const at::Tensor &x, const at::Tensor &add, const at::Tensor &weight,
                      const at::Tensor &out) const {
  b_.kernels->norm(
      {data<float>(x), data(add), data(weight), data(out), x.size(0), c_.hidden, static_cast<float>(c_.rms_eps)},
      b_.type, b_.raw_stream);
}

void MicroBatch::norm_slope(const at::Tensor &x, const at::Tensor &dy, const at::Tensor &weight, const at::Tensor &dx,
                            const at::Tensor &dweight) const {
  const at::Tensor scratch = b_.floats({2 * x.size(0) + kRowSlices * c_.hidden});
  b_.kernels->norm_slope({data<float>(x), nullptr, data(dy), data(weight), data<float>(dx), data<float>(dweight),
                          data<float>(scratch), x.size(0), 1, c_.hidden, c_.hidden, static_cast<float>(c_.rms_eps)},
                         b_.type, b_.raw_stream);
}

at::Tensor MicroBatch::rounded(const at::Tensor &x) const {
  at::Tensor out = b_.empty(x.sizes());
  b_.kernels->round({data<float>(x), data(out), x.numel()}, b_.type, b_.raw_stream);
  return out;
}

void MicroBatch::matrix_slope(const at::Tensor &dy_all, const at::Tensor &x, const at::Tensor &dw,
                              const std::vector<LowRank> &adapters) const {
  if (dw.defined()) b_.add_product(dw, dy_all, x);
  const auto low = [&](const at::Tensor &from, const at::Tensor &w) {  // scale * from w^T
    at::Tensor out = b_.floats({from.size(0), w.size(0)});
    b_.multiply_floats(out, from, w);
    return rounded(out.mul_(gradients_.scale));
  };
  for (const LowRank &t : adapters) {
    const at::Tensor dy = dy_all.narrow(1, t.row, t.rows);
    b_.add_product(t.db, dy, low(x, t.a));
    b_.add_product(t.da, low(dy, t.b.t()), x);
  }
}

// Up to the product that the layer's last matrix takes. `x` is the residual stream that enters; it is not changed.
MicroBatch::State MicroBatch::forward(int64_t i, const at::Tensor &x, const Rows &rows) const {
  const LayerTensors &w = weights_.layers[i];
  const int64_t n = rows.n, q = c_.heads * c_.head_dim, kv = c_.kv_heads * c_.head_dim, all = q + 2 * kv;
  const KernelTable &k = *b_.kernels;
  State s;
  s.h = b_.empty({n, c_.hidden});
  norm(x, {}, w.norm1, s.h);
  s.raw = b_.empty({n, all});
  b_.multiply(s.raw, s.h, w.qkv);
  s.qkv = c_.qk_norm ? b_.empty({n, all}) : s.raw;  // the norm's derivative wants what went in
  k.rope({data(s.raw), data(s.qkv), data(w.qkv_bias), data(w.q_norm), data(w.k_norm), data<int32_t>(rows.positions),
          data<float>(rope_.cos), data<float>(rope_.sin), nullptr, nullptr, nullptr, n, c_.heads, c_.kv_heads,
          c_.head_dim, static_cast<float>(c_.rms_eps)},
         b_.type, b_.raw_stream);
  at::Tensor keys_values = s.qkv.narrow(1, q, 2 * kv);
  if (rows.shared()) {
    s.keys_values = b_.empty({rows.key_count, 2 * kv});
    k.sum_rows({data(keys_values), data(s.keys_values), data<int32_t>(rows.key_each), data<int32_t>(rows.key_each),
                data<int32_t>(rows.key_sources), rows.key_count, 2 * kv, all, 2 * kv, 0},
               b_.type, b_.raw_stream);
    keys_values = s.keys_values;
  }
  s.q = s.qkv.narrow(1, 0, q).unflatten(1, {c_.heads, c_.head_dim});
  s.k = keys_values.narrow(1, 0, kv).unflatten(1, {c_.kv_heads, c_.head_dim});
  s.v = keys_values.narrow(1, kv, kv).unflatten(1, {c_.kv_heads, c_.head_dim});
  s.attended = attend(b_, s.q, s.k, s.v, rows.spans);
  const at::Tensor out = b_.empty({n, c_.hidden});
  b_.multiply(out, s.attended.out.view({n, q}), w.o);
  s.x2 = x.clone();
  s.h2 = b_.empty({n, c_.hidden});
  norm(s.x2, out, w.norm2, s.h2);
  s.gate_up = b_.empty({n, 2 * c_.intermediate});
  b_.multiply(s.gate_up, s.h2, w.gate_up);
  s.active = b_.empty({n, c_.intermediate});
  k.swiglu({data(s.gate_up), data(s.active), n, c_.intermediate}, b_.type, b_.raw_stream);
  return s;
}

// dx: slopes of the residual stream that leaves the layer; becomes those of the one that enters.
void MicroBatch::backward(int64_t i, const at::Tensor &x, const State &s, const Rows &rows,
                          const at::Tensor &dx) const {
  const LayerTensors &w = weights_.layers[i];
  const LayerTensors &g = gradients_.all.layers[i];
  const LayerAdapters &adapters = gradients_.adapters[i];
  const int64_t n = rows.n, q = c_.heads * c_.head_dim, kv = c_.kv_heads * c_.head_dim, all = q + 2 * kv;
  const KernelTable &k = *b_.kernels;

  at::Tensor d = rounded(dx);
  const at::Tensor dactive = b_.empty({n, c_.intermediate}), dgate_up = b_.empty({n, 2 * c_.intermediate});
  matrix_slope(d, s.active, g.down, adapters.down);
  b_.multiply_back(dactive, d, w.down);
  k.swiglu_slope({data(s.gate_up), data(dactive), data(dgate_up), n, c_.intermediate}, b_.type, b_.raw_stream);
  matrix_slope(dgate_up, s.h2, g.gate_up, adapters.gate_up);
  at::Tensor dh = b_.empty({n, c_.hidden});
  b_.multiply_back(dh, dgate_up, w.gate_up);
  norm_slope(s.x2, dh, w.norm2, dx, g.norm2);

  d = rounded(dx);
  matrix_slope(d, s.attended.out.view({n, q}), g.o, adapters.o);
  const at::Tensor dout = b_.empty({n, q});
  b_.multiply_back(dout, d, w.o);
  const auto [dq, dk, dv] =
      attend_slopes(b_, dout.view({n, c_.heads, c_.head_dim}), s.q, s.k, s.v, s.attended, rows.spans);
  const at::Tensor dqkv = b_.empty({n, all});
  dqkv.narrow(1, 0, q).copy_(dq.reshape({n, q}));
  const auto take_back = [&](const at::Tensor &from, int64_t column) {
    if (!rows.shared()) {
      dqkv.narrow(1, column, kv).copy_(from.reshape({n, kv}));
      return;
    }
    const at::Tensor dense = from.contiguous();
    k.sum_rows({data(dense), data(dqkv.narrow(1, column, kv)), data<int32_t>(rows.keys_of->targets),
                data<int32_t>(rows.keys_of->offsets), data<int32_t>(rows.keys_of->sources), rows.keys_of->count, kv, kv,
                all, 0},
               b_.type, b_.raw_stream);
  };
  take_back(dk, q);
  take_back(dv, q + kv);
  k.rope_slope({data(dqkv), data<int32_t>(rows.positions), data<float>(rope_.cos), data<float>(rope_.sin), n, c_.heads,
                c_.kv_heads, c_.head_dim},
               b_.type, b_.raw_stream);
  if (c_.qk_norm) {
    const at::Tensor scratch = b_.floats({2 * n * c_.heads + kRowSlices * c_.head_dim});
    const auto heads = [&](int64_t column, int64_t count, const at::Tensor &weight, const at::Tensor &dweight) {
      k.norm_slope({nullptr, data(s.raw.narrow(1, column, c_.head_dim)), data(dqkv.narrow(1, column, c_.head_dim)),
                    data(weight), nullptr, data<float>(dweight), data<float>(scratch), n, count, all, c_.head_dim,
                    static_cast<float>(c_.rms_eps)},
                   b_.type, b_.raw_stream);
    };
    heads(0, c_.heads, w.q_norm, g.q_norm);
    heads(q, c_.kv_heads, w.k_norm, g.k_norm);
  }
  if (g.qkv_bias.defined()) {
    const at::Tensor scratch = b_.floats({kRowSlices * all});
    k.column_sum({data(dqkv), data<float>(g.qkv_bias), data<float>(scratch), n, all, all}, b_.type, b_.raw_stream);
  }
  matrix_slope(dqkv, s.h, g.qkv, adapters.qkv);
  dh = b_.empty({n, c_.hidden});
  b_.multiply_back(dh, dqkv, w.qkv);
  norm_slope(x, dh, w.norm1, dx, g.norm1);
}

at::Tensor MicroBatch::losses(const at::Tensor &states, const gcop_train_request &r, const PackedRows &packed,
                              const LossScale &scale, LossSums &sums) const {
  const std::vector<uint64_t> &targets = packed.targets;
  const int64_t n = states.size(0), vocab = c_.vocab, most = std::min(options_.logit_rows, n);
  const at::Tensor slopes_out = b_.empty(states.sizes());
  std::vector<int32_t> ids;
  for (uint64_t t : targets) ids.push_back(r.tokens[t]);
  const at::Tensor wanted = b_.upload(ids);
  const at::Tensor logits = b_.floats({most, vocab}), d = b_.empty({most, vocab});
  const at::Tensor sums_log = b_.floats({most});
  std::vector<float> logprobs(targets.size()), old(targets.size()), ref(targets.size()), slopes(targets.size());
  for (size_t j = 0; j < targets.size(); ++j) {
    if (r.old_logprobs) old[j] = r.old_logprobs[targets[j]];
    if (r.ref_logprobs) ref[j] = r.ref_logprobs[targets[j]];
  }
  const auto predict = [&](int64_t from, int64_t count) {  // logits, sums and log-probabilities of these targets
    const at::Tensor found = b_.floats({2, count});
    b_.multiply_floats(logits.narrow(0, 0, count), states.narrow(0, from, count), weights_.head);
    b_.kernels->loss({data<float>(logits), data<int32_t>(wanted) + from, data<float>(found), data<float>(sums_log),
                      data<float>(found) + count, count, vocab},
                     b_.type, b_.raw_stream);
    const at::Tensor here = found.to(at::kCPU);
    std::copy_n(data<float>(here), count, logprobs.begin() + from);
    double entropy = 0;
    for (int64_t i = 0; i < count; ++i) entropy += data<float>(here)[count + i];
    return entropy;
  };
  const auto slope = [&](int64_t from, int64_t count) {
    const at::Tensor given = b_.floats({count});
    given.copy_(at::from_blob(slopes.data() + from, {count}, at::kFloat));
    b_.kernels->loss_slope({data<float>(logits), data<int32_t>(wanted) + from, data<float>(sums_log),
                            data<float>(given), data(d), count, vocab},
                           b_.type, b_.raw_stream);
    const at::Tensor part = d.narrow(0, 0, count);
    b_.multiply_back(slopes_out.narrow(0, from, count), part, weights_.head);
    if (gradients_.all.head.defined()) b_.add_product(gradients_.all.head, part, states.narrow(0, from, count));
  };
  // Whole sequences at a time, since a term may depend on all tokens of its sequence. One that is longer than a chunk
  // has its logits computed twice.
  size_t sequence = 0;
  const auto end_of = [&](size_t at) {  // of the targets of the sequence that `at` belongs to
    while (targets[at] >= r.offsets[sequence + 1]) ++sequence;
    size_t end = at;
    while (end < targets.size() && targets[end] < r.offsets[sequence + 1]) ++end;
    return end;
  };
  for (size_t from = 0; from < targets.size();) {
    struct Part {
      size_t begin, end, sequence;
    };
    std::vector<Part> parts;
    size_t to = from;
    while (to < targets.size()) {
      const size_t end = end_of(to);
      if (!parts.empty() && end - from > static_cast<size_t>(most)) break;
      parts.push_back({to, end, sequence});
      to = end;
    }
    const auto begin = static_cast<int64_t>(from), count = static_cast<int64_t>(to - from);
    const bool twice = count > most;
    for (int64_t at = 0; at < count; at += most) sums.entropy += predict(begin + at, std::min(most, count - at));
    for (const Part &p : parts) {
      const size_t length = p.end - p.begin;
      const auto some = [&](const std::vector<float> &v, bool there) {
        return there ? std::span<const float>(v).subspan(p.begin, length) : std::span<const float>();
      };
      add_loss({some(logprobs, true), some(old, r.old_logprobs), some(ref, r.ref_logprobs),
                r.advantages ? r.advantages[p.sequence] : 0},
               *r.loss, scale, std::span<float>(slopes).subspan(p.begin, length), sums);
    }
    for (int64_t at = 0; at < count; at += most) {
      if (twice) predict(begin + at, std::min(most, count - at));
      slope(begin + at, std::min(most, count - at));
    }
    from = to;
  }
  return slopes_out;
}

void MicroBatch::run(const gcop_train_request &r, size_t first, size_t last, const LossScale &scale, LossSums &sums) {
  const PackedRows packed(r, first, last);
  if (packed.targets.empty()) return;
  const Rows rows(b_, packed);
  const int64_t n = rows.n;

  std::vector<at::Tensor> inputs;  // of each layer: the residual stream
  std::vector<State> states;       // of the first kept layers
  at::Tensor x = b_.floats({n, c_.hidden});
  b_.kernels->embed({data<int32_t>(rows.tokens), data(weights_.embed), data<float>(x), n, c_.hidden}, b_.type,
                    b_.raw_stream);
  for (int64_t i = 0; i < c_.layers; ++i) {
    State s = forward(i, x, rows);
    const at::Tensor out = b_.empty({n, c_.hidden});
    b_.multiply(out, s.active, weights_.layers[i].down);
    inputs.push_back(x);
    x = s.x2.clone();
    x.add_(out);
    if (i < options_.kept_layers) states.push_back(std::move(s));
  }
  const at::Tensor h = b_.empty({n, c_.hidden});
  norm(x, {}, weights_.norm, h);

  const at::Tensor chosen = at::index_select(h, 0, b_.upload(small(packed.predictors)));
  const at::Tensor slopes = losses(chosen, r, packed, scale, sums);
  if (!std::isfinite(sums.loss)) return;
  const at::Tensor dh = at::zeros_like(h), dx = at::zeros_like(x);
  const RowLists lists(b_, packed.predictors);  // members of a group begin after the same row
  b_.kernels->sum_rows({data(slopes), data(dh), data<int32_t>(lists.targets), data<int32_t>(lists.offsets),
                        data<int32_t>(lists.sources), lists.count, c_.hidden, c_.hidden, c_.hidden, 0},
                       b_.type, b_.raw_stream);
  norm_slope(x, dh, weights_.norm, dx, gradients_.all.norm);
  for (int64_t i = c_.layers; i-- > 0;) {
    if (i < static_cast<int64_t>(states.size())) {
      backward(i, inputs[i], states[i], rows, dx);
      states.pop_back();
    } else {
      backward(i, inputs[i], forward(i, inputs[i], rows), rows, dx);
    }
    inputs.pop_back();
  }
  if (!gradients_.all.embed.defined()) return;
  const RowLists words(b_, std::vector<int64_t>(packed.tokens.begin(), packed.tokens.end()));
  b_.kernels->sum_rows(
      {data(dx), data(gradients_.all.embed), data<int32_t>(words.targets), data<int32_t>(words.offsets),
       data<int32_t>(words.sources), words.count, c_.hidden, c_.hidden, c_.hidden, 1},
      b_.type, b_.raw_stream);
}

}  // namespace gcop::guide_torch::device
