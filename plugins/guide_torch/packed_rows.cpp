#include "packed_rows.hpp"

#include <algorithm>

namespace gcop::guide_torch {

namespace {
constexpr size_t kWorthSharing = 16;  // tokens; a shorter shared start saves too little
}  // namespace

size_t shared_start(const gcop_train_request &r, size_t i) {
  const int32_t *a = r.tokens + r.offsets[i], *b = r.tokens + r.offsets[i + 1];
  const size_t most = std::min(r.offsets[i + 1] - r.offsets[i], r.offsets[i + 2] - r.offsets[i + 1]) - 1;
  const size_t n = static_cast<size_t>(std::mismatch(a, a + most, b).first - a);
  return n >= kWorthSharing ? n : 0;
}

PackedRows::PackedRows(const gcop_train_request &r, size_t first, size_t last) {
  for (size_t i = first; i < last;) {
    // A group: sequences that share a start with their neighbour. A shorter start is taken for one member more as long
    // as that saves more rows than it costs.
    size_t end = i + 1, prefix = 0;
    for (; end < last; ++end) {
      const size_t shared = shared_start(r, end - 1), common = prefix == 0 ? shared : std::min(prefix, shared);
      const size_t members = end - i;
      if (common == 0 || common * members < prefix * (members - 1)) break;
      prefix = common;
    }
    const int64_t prefix_begin = static_cast<int64_t>(tokens.size());
    const auto add = [&](uint64_t from, uint64_t to, uint64_t start, int64_t seen) {
      spans.push_back({static_cast<int64_t>(tokens.size()), static_cast<int64_t>(to - from), prefix_begin, seen});
      for (uint64_t j = from; j < to; ++j) {
        tokens.push_back(r.tokens[j]);
        positions.push_back(static_cast<int64_t>(j - start));
      }
    };
    if (prefix > 0) add(r.offsets[i], r.offsets[i] + prefix, r.offsets[i], 0);
    for (size_t s = i; s < end; ++s) {
      const uint64_t start = r.offsets[s], own = start + prefix;
      const int64_t own_begin = static_cast<int64_t>(tokens.size());
      add(own, r.offsets[s + 1], start, static_cast<int64_t>(prefix));
      for (uint64_t j = start; j < r.offsets[s + 1]; ++j) {
        if (!r.mask[j]) continue;
        targets.push_back(j);
        predictors.push_back(j <= own && prefix > 0 ? prefix_begin + static_cast<int64_t>(j - start) - 1
                                                    : own_begin + static_cast<int64_t>(j - own) - 1);
      }
    }
    i = end;
  }
}

int64_t PackedRows::longest() const {
  int64_t most = 0;
  for (const Span &span : spans) most = std::max(most, span.prefix + span.count);
  return most;
}

}  // namespace gcop::guide_torch
