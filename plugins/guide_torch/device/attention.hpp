// Attention of a training batch: spans of query rows, each over its own list of keys, of which it sees all but what
// comes after it; the last key is the last query's own. On CUDA LibTorch's flash attention over cu_seqlens; on the host
// plain products, span by span.
#pragma once
#include <cstdint>
#include <tuple>
#include <vector>

#include "backend.hpp"

namespace gcop::guide_torch::device {

struct SpanLengths {
  SpanLengths(const Backend &backend, std::vector<int32_t> queries, std::vector<int32_t> keys);
  std::vector<int32_t> queries, keys;  // of each span
  at::Tensor query_ends, key_ends;     // [spans + 1], from 0
  int32_t longest_queries = 0, longest_keys = 0;
};

struct Attended {
  at::Tensor out;       // [rows, heads, dim]
  at::Tensor log_sums;  // and what else the way back needs
  at::Tensor random, unused;
};
// q [rows, heads, dim]; k, v [keys, kv_heads, dim].
Attended attend(const Backend &backend, const at::Tensor &q, const at::Tensor &k, const at::Tensor &v,
                const SpanLengths &spans);
// Slopes of q, k and v. The same bits every time.
std::tuple<at::Tensor, at::Tensor, at::Tensor> attend_slopes(const Backend &backend, const at::Tensor &slope,
                                                             const at::Tensor &q, const at::Tensor &k,
                                                             const at::Tensor &v, const Attended &attended,
                                                             const SpanLengths &spans);

}  // namespace gcop::guide_torch::device
