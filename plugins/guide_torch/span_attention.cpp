#include "span_attention.hpp"

#include <algorithm>
#include <cmath>

namespace gcop::guide_torch {

namespace {
int64_t padded(int64_t tokens) { return (tokens + kBlockTokens - 1) / kBlockTokens * kBlockTokens; }
}  // namespace

// Rows [row, row + count) of one head; what they see: `prefix` rows at prefix_row and `own` rows at own_row, of which
// the first of them sees count - 1 less than the last.
struct SpanAttention::Block {
  int64_t head, kv_head, row, count, prefix_row, prefix, own_row, own;
  int64_t columns() const { return prefix + own; }
  int64_t ld() const { return padded(columns()); }
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

int64_t SpanAttention::scratch_floats(const AttentionShape &s, int64_t longest) {
  const int64_t group = s.heads / s.kv_heads, columns = padded(longest);
  return std::max((2 * s.head_dim + group) * columns + group * s.head_dim, kBlockRows * (2 * columns + s.head_dim));
}

void SpanAttention::forward(const PackedRows &rows, const AttentionRows &t, float *scratch) {
  const int64_t dim = shape_.head_dim, group = shape_.heads / shape_.kv_heads, kv_ld = shape_.kv_heads * dim,
                block = 2 * dim * kBlockTokens;
  const float scale = 1 / std::sqrt(static_cast<float>(dim));
  for (const PackedRows::Span &span : rows.spans) {
    const int64_t columns = span.prefix + span.count;
    while (static_cast<int64_t>(blocks_.size()) * kBlockTokens < columns)
      blocks_.push_back(static_cast<int32_t>(blocks_.size()));
    float *const q = scratch + padded(columns) * 2 * dim, *const scores = q + group * dim;
    for (int64_t h = 0; h < shape_.kv_heads; ++h) {
      // Keys and values as the pool has them: [dim][16] and [16][dim], one block after another.
      for (int64_t c = 0; c < columns; ++c) {
        const int64_t row = c < span.prefix ? span.prefix_begin + c : span.begin + c - span.prefix;
        const float *const k = t.k + row * kv_ld + h * dim, *const v = t.v + row * kv_ld + h * dim;
        float *const at = scratch + c / kBlockTokens * block, *const keys = at + c % kBlockTokens,
                     *const values = at + dim * kBlockTokens + c % kBlockTokens * dim;
        for (int64_t d = 0; d < dim; ++d) keys[d * kBlockTokens] = k[d];
        std::copy_n(v, dim, values);
      }
      for (int64_t i = 0; i < span.count; ++i) {
        const int64_t head = (span.begin + i) * shape_.heads + h * group;
        for (int64_t d = 0; d < group * dim; ++d) q[d] = t.q[head * dim + d] * scale;
        kernels_.attention(q, static_cast<int>(group), static_cast<int>(dim), scratch, scratch + dim * kBlockTokens,
                           static_cast<size_t>(block), blocks_.data(), static_cast<int>(span.prefix + i + 1), scores,
                           t.out + head * dim, t.lse + head);
      }
    }
  }
}

void SpanAttention::backward(const PackedRows &rows, const AttentionRows &t, const AttentionGradients &g,
                             Products &products, float *scratch) const {
  const int64_t dim = shape_.head_dim, q_ld = shape_.heads * dim, kv_ld = shape_.kv_heads * dim;
  const float scale = 1 / std::sqrt(static_cast<float>(dim));
  each_block(rows, [&](const Block &b) {
    const int64_t ld = b.ld();
    float *const p = scratch, *const d = p + kBlockRows * ld, *const scaled = d + kBlockRows * ld;
    const int64_t at = b.row * q_ld + b.head * dim;
    for (int64_t i = 0; i < b.count; ++i)
      for (int64_t j = 0; j < dim; ++j) scaled[i * dim + j] = t.q[at + i * q_ld + j] * scale;
    struct Part {
      int64_t row, count, column;
    };
    const Part parts[] = {{b.own_row, b.own, b.prefix}, {b.prefix_row, b.prefix, 0}};
    const auto head_of = [&](auto *data, int64_t row) { return data + row * kv_ld + b.kv_head * dim; };
    for (const Part &part : parts)
      products.nt(b.count, part.count, dim, {scaled, dim}, {head_of(t.k, part.row), kv_ld}, false,
                  {p + part.column, ld});
    kernels_.rows->softmax_again(p, static_cast<size_t>(ld), static_cast<size_t>(b.count), b.seen(),
                                 static_cast<size_t>(b.columns()), t.lse + b.row * shape_.heads + b.head,
                                 static_cast<size_t>(shape_.heads));
    const MatrixIn d_out{g.d_out + at, q_ld}, q{t.q + at, q_ld};
    for (const Part &part : parts) {
      products.nt(b.count, part.count, dim, d_out, {head_of(t.v, part.row), kv_ld}, false, {d + part.column, ld});
      products.tn(part.count, dim, b.count, {p + part.column, ld}, d_out, true, {head_of(g.dv, part.row), kv_ld});
    }
    kernels_.rows->softmax_backward(p, d, static_cast<size_t>(ld), static_cast<size_t>(b.count),
                                    static_cast<size_t>(b.columns()), t.out + at, g.d_out + at,
                                    static_cast<size_t>(q_ld), static_cast<int>(dim), scale);
    for (const Part &part : parts) {
      if (part.count == 0) continue;
      const bool add = part.column != b.prefix;  // own rows come first
      products.nn(b.count, dim, part.count, {d + part.column, ld}, {head_of(t.k, part.row), kv_ld}, add,
                  {g.dq + at, q_ld});
      products.tn(part.count, dim, b.count, {d + part.column, ld}, q, true, {head_of(g.dk, part.row), kv_ld});
    }
  });
}

}  // namespace gcop::guide_torch
