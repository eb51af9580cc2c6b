// How a micro-batch of sequences lies in memory: one row for each token, no padding, and what neighbouring sequences
// have in common at their start (a group's prompt) only once. Plain values.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include <gcop/plugin.h>

namespace gcop::guide_torch {

struct PackedRows {
  PackedRows(const gcop_train_request &request, size_t first, size_t last);

  struct Span {  // rows that follow one another; they also see the `prefix` rows at prefix_begin
    int64_t begin, count, prefix_begin, prefix;
  };
  int64_t longest() const;  // rows that one row sees, at most

  std::vector<int32_t> tokens;      // of each row
  std::vector<int64_t> positions;   // parallel
  std::vector<Span> spans;          // in order of rows
  std::vector<uint64_t> targets;    // masked tokens, as indices into the request
  std::vector<int64_t> predictors;  // parallel: the row before, whose hidden state predicts it
};

// Tokens that sequences i and i + 1 of a request have in common at their start, if sharing them pays; else 0. The last
// token of either is never shared, so that each has a row of its own.
size_t shared_start(const gcop_train_request &request, size_t i);

}  // namespace gcop::guide_torch
