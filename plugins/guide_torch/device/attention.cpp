#include "attention.hpp"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/_flash_attention_backward.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/logsumexp.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace gcop::guide_torch::device {

namespace {

at::Tensor ends_of(const Backend &b, const std::vector<int32_t> &counts) {
  std::vector<int32_t> ends = {0};
  for (int32_t n : counts) ends.push_back(ends.back() + n);
  return b.upload(ends);
}

// One span on the host, in fp32: [heads, rows, dim] each, a key head repeated for its query heads.
struct HostSpan {
  HostSpan(const SpanLengths &spans, size_t i, int64_t q_begin, int64_t k_begin, const at::Tensor &all_q,
           const at::Tensor &all_k, const at::Tensor &all_v)
      : queries(spans.queries[i]),
        keys(spans.keys[i]),
        begin(q_begin),
        key_begin(k_begin),
        heads(all_q.size(1)),
        kv(all_k.size(1)),
        scale(1 / std::sqrt(static_cast<double>(all_q.size(2)))),
        q(by_head(all_q, begin, queries)),
        k(spread(all_k)),
        v(spread(all_v)) {}
  static at::Tensor by_head(const at::Tensor &t, int64_t at, int64_t n) {
    return t.narrow(0, at, n).to(at::kFloat).transpose(0, 1).contiguous();
  }
  at::Tensor spread(const at::Tensor &t) const {
    return by_head(t, key_begin, keys)
        .unsqueeze(1)
        .expand({kv, heads / kv, keys, t.size(2)})
        .reshape({heads, keys, t.size(2)});
  }
  at::Tensor scores() const {
    const at::Tensor hidden =
        at::full({queries, keys}, -std::numeric_limits<float>::infinity(), at::kFloat).triu(keys - queries + 1);
    return at::bmm(q, k.transpose(1, 2)) * scale + hidden;
  }
  at::Tensor gather(const at::Tensor &t) const { return t.view({kv, heads / kv, keys, t.size(2)}).sum(1); }

  int64_t queries, keys, begin, key_begin, heads, kv;
  double scale;
  at::Tensor q, k, v;
};

// While it lives, LibTorch's flash attention adds its gradients up in a fixed order.
struct Deterministic {
  Deterministic() : before(at::globalContext().deterministicAlgorithms()) {
    at::globalContext().setDeterministicAlgorithms(true, true);
  }
  ~Deterministic() { at::globalContext().setDeterministicAlgorithms(before, true); }
  const bool before;
};

}  // namespace

SpanLengths::SpanLengths(const Backend &backend, std::vector<int32_t> queries_, std::vector<int32_t> keys_)
    : queries(std::move(queries_)),
      keys(std::move(keys_)),
      query_ends(ends_of(backend, queries)),
      key_ends(ends_of(backend, keys)),
      longest_queries(*std::max_element(queries.begin(), queries.end())),
      longest_keys(*std::max_element(keys.begin(), keys.end())) {}

Attended attend(const Backend &b, const at::Tensor &q, const at::Tensor &k, const at::Tensor &v,
                const SpanLengths &spans) {
  if (!b.host()) {
    auto [out, log_sums, random, unused, debug] = at::_flash_attention_forward(
        q, k, v, spans.query_ends, spans.key_ends, spans.longest_queries, spans.longest_keys, 0.0, true, false);
    return {out, log_sums, random, unused};
  }
  at::Tensor out = b.empty(q.sizes()), log_sums = b.floats({q.size(1), q.size(0)});
  for (size_t i = 0, at = 0, key_at = 0; i < spans.queries.size();
       at += spans.queries[i], key_at += spans.keys[i], ++i) {
    const HostSpan s(spans, i, static_cast<int64_t>(at), static_cast<int64_t>(key_at), q, k, v);
    const at::Tensor scores = s.scores(), log_sum = at::logsumexp(scores, {2}, true);
    out.narrow(0, s.begin, s.queries).copy_(at::bmm((scores - log_sum).exp(), s.v).transpose(0, 1));
    log_sums.narrow(1, s.begin, s.queries).copy_(log_sum.squeeze(2));
  }
  return {out, log_sums, {}, {}};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> attend_slopes(const Backend &b, const at::Tensor &slope,
                                                             const at::Tensor &q, const at::Tensor &k,
                                                             const at::Tensor &v, const Attended &a,
                                                             const SpanLengths &spans) {
  if (!b.host()) {
    const Deterministic always;
    return at::_flash_attention_backward(slope, q, k, v, a.out, a.log_sums, spans.query_ends, spans.key_ends,
                                         spans.longest_queries, spans.longest_keys, 0.0, true, a.random, a.unused);
  }
  at::Tensor dq = b.empty(q.sizes()), dk = b.empty(k.sizes()), dv = b.empty(v.sizes());
  for (size_t i = 0, at = 0, key_at = 0; i < spans.queries.size();
       at += spans.queries[i], key_at += spans.keys[i], ++i) {
    const HostSpan s(spans, i, static_cast<int64_t>(at), static_cast<int64_t>(key_at), q, k, v);
    const at::Tensor p = (s.scores() - a.log_sums.narrow(1, s.begin, s.queries).unsqueeze(2)).exp();
    const at::Tensor d = HostSpan::by_head(slope, s.begin, s.queries),
                     out = HostSpan::by_head(a.out, s.begin, s.queries);
    const at::Tensor ds = p * (at::bmm(d, s.v.transpose(1, 2)) - (d * out).sum(2, true)) * s.scale;
    dq.narrow(0, s.begin, s.queries).copy_(at::bmm(ds, s.k).transpose(0, 1));
    dk.narrow(0, s.key_begin, s.keys).copy_(s.gather(at::bmm(ds.transpose(1, 2), s.q)).transpose(0, 1));
    dv.narrow(0, s.key_begin, s.keys).copy_(s.gather(at::bmm(p.transpose(1, 2), d)).transpose(0, 1));
  }
  return {dq, dk, dv};
}

}  // namespace gcop::guide_torch::device
