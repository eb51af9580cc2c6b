#include "span_attention.hpp"

#include <algorithm>
#include <cmath>

#include "blas.hpp"

namespace gcop::guide_torch {

// Rows [row, row + count) of one head; what they see: `prefix` rows at prefix_row and `own` rows at own_row, of which
// the first of them sees count - 1 less than the last.
struct SpanAttention::Block {
  int64_t head, kv_head, row, count, prefix_row, prefix, own_row, own;
  int64_t columns() const { return prefix + own; }
  int64_t ld() const { return (columns() + 15) / 16 * 16; }
  size_t seen() const { return static_cast<size_t>(columns() - count + 1); }
};

template <class Work>
void SpanAttention::each_block(const PackedRows &rows, Work work) const {
  for (const PackedRows::Span &span : rows.spans)
    for (int64_t head = 0; head < shape_.heads; ++head)
      for (int64_t from = 0; from < span.count; from += kBlockRows) {
        const int64_t count = std::min(kBlockRows, span.count - from);
        work(Block{head, head / (shape_.heads / shape_.kv_heads), span.begin + from, count, span.prefix_begin,
                   span.prefix, span.begin, from + count});
      }
}

void SpanAttention::scores(const Block &b, const AttentionRows &t, float *out) const {
  const int64_t dim = shape_.head_dim, q_ld = shape_.heads * dim, kv_ld = shape_.kv_heads * dim;
  const float scale = 1 / std::sqrt(static_cast<float>(dim));
  const MatrixIn q{t.q + b.row * q_ld + b.head * dim, q_ld};
  const auto keys = [&](int64_t row) { return MatrixIn{t.k + row * kv_ld + b.kv_head * dim, kv_ld}; };
  gemm_nt(b.count, b.prefix, dim, scale, q, keys(b.prefix_row), 0, {out, b.ld()});
  gemm_nt(b.count, b.own, dim, scale, q, keys(b.own_row), 0, {out + b.prefix, b.ld()});
}

void SpanAttention::forward(const PackedRows &rows, const AttentionRows &t, float *scratch) const {
  const int64_t dim = shape_.head_dim, q_ld = shape_.heads * dim, kv_ld = shape_.kv_heads * dim;
  each_block(rows, [&](const Block &b) {
    scores(b, t, scratch);
    kernels_.softmax(scratch, static_cast<size_t>(b.ld()), static_cast<size_t>(b.count), b.seen(),
                     static_cast<size_t>(b.columns()), t.lse + b.row * shape_.heads + b.head,
                     static_cast<size_t>(shape_.heads));
    const auto values = [&](int64_t row) { return MatrixIn{t.v + row * kv_ld + b.kv_head * dim, kv_ld}; };
    const MatrixOut out{t.out + b.row * q_ld + b.head * dim, q_ld};
    gemm_nn(b.count, dim, b.own, 1, {scratch + b.prefix, b.ld()}, values(b.own_row), 0, out);
    if (b.prefix > 0) gemm_nn(b.count, dim, b.prefix, 1, {scratch, b.ld()}, values(b.prefix_row), 1, out);
  });
}

void SpanAttention::backward(const PackedRows &rows, const AttentionRows &t, const AttentionGradients &g,
                             float *scratch) const {
  const int64_t dim = shape_.head_dim, q_ld = shape_.heads * dim, kv_ld = shape_.kv_heads * dim;
  const float scale = 1 / std::sqrt(static_cast<float>(dim));
  each_block(rows, [&](const Block &b) {
    const int64_t ld = b.ld();
    float *const p = scratch, *const d = scratch + kBlockRows * ld;
    const int64_t at = b.row * q_ld + b.head * dim;
    scores(b, t, p);
    kernels_.softmax_again(p, static_cast<size_t>(ld), static_cast<size_t>(b.count), b.seen(),
                           static_cast<size_t>(b.columns()), t.lse + b.row * shape_.heads + b.head,
                           static_cast<size_t>(shape_.heads));
    const MatrixIn d_out{g.d_out + at, q_ld}, q{t.q + at, q_ld};
    struct Part {
      int64_t row, count, column;
    };
    const Part parts[] = {{b.own_row, b.own, b.prefix}, {b.prefix_row, b.prefix, 0}};
    const auto head_of = [&](auto *data, int64_t row) { return data + row * kv_ld + b.kv_head * dim; };
    for (const Part &part : parts) {
      gemm_nt(b.count, part.count, dim, 1, d_out, {head_of(t.v, part.row), kv_ld}, 0, {d + part.column, ld});
      gemm_tn(part.count, dim, b.count, 1, {p + part.column, ld}, d_out, 1, {head_of(g.dv, part.row), kv_ld});
    }
    kernels_.softmax_backward(p, d, static_cast<size_t>(ld), static_cast<size_t>(b.count),
                              static_cast<size_t>(b.columns()), t.out + at, g.d_out + at, static_cast<size_t>(q_ld),
                              static_cast<int>(dim), scale);
    for (const Part &part : parts) {
      if (part.count == 0) continue;
      const float keep = part.column == b.prefix ? 0.0f : 1.0f;  // own rows come first
      gemm_nn(b.count, dim, part.count, 1, {d + part.column, ld}, {head_of(t.k, part.row), kv_ld}, keep,
              {g.dq + at, q_ld});
      gemm_tn(part.count, dim, b.count, 1, {d + part.column, ld}, q, 1, {head_of(g.dk, part.row), kv_ld});
    }
  });
}

}  // namespace gcop::guide_torch
