#include "products.hpp"

#include <algorithm>

namespace gcop::guide_torch {

namespace {
// Two panels of at most kDepth inputs, and kRows rows of them, stay in the second-level cache while the panels pass
// over the rows; all columns of one round in the third. Fewer inputs would fit the first, but then c passes more often,
// which costs more.
constexpr int64_t kDepth = 576, kColumns = 1024, kRows = 36;
constexpr int64_t kLine = 16;  // floats; rows of a power of two apart would meet in the same places of a cache
constexpr int64_t kWorthSharing = int64_t{1} << 22;  // multiplications; below it, waking threads costs more
}  // namespace

Products::Products(const Kernels &kernels, Crew &crew)
    : kernels_(kernels),
      crew_(crew),
      columns_(kDepth * kColumns),
      rows_(static_cast<size_t>(crew.size()), std::vector<float>((kDepth + kLine) * kRows)) {}

void Products::nt(int64_t m, int64_t n, int64_t k, MatrixIn a, MatrixIn b, bool add, MatrixOut c) {
  multiply({false, true}, m, n, k, a, b, add, c);
}
void Products::nn(int64_t m, int64_t n, int64_t k, MatrixIn a, MatrixIn b, bool add, MatrixOut c) {
  multiply({false, false}, m, n, k, a, b, add, c);
}
void Products::tn(int64_t m, int64_t n, int64_t k, MatrixIn a, MatrixIn b, bool add, MatrixOut c) {
  multiply({true, false}, m, n, k, a, b, add, c);
}

void Products::multiply(Form form, int64_t m, int64_t n, int64_t k, MatrixIn a, MatrixIn b, bool add, MatrixOut c) {
  const int64_t lanes = kernels_.lanes, group = 8 * lanes;
  const int64_t pieces = (k + kDepth - 1) / kDepth, even = ((k + pieces - 1) / pieces + 15) / 16 * 16;
  const bool shared = m * n * k >= kWorthSharing;
  const auto each = [&](int64_t chunks, auto work) {
    if (shared) return crew_.run(static_cast<size_t>(chunks), work);
    for (int64_t i = 0; i < chunks; ++i) work(static_cast<size_t>(i), 0);
  };
  for (int64_t left = 0; left < n; left += kColumns) {
    const int64_t columns = std::min(kColumns, n - left);
    for (int64_t from = 0; from < k; from += even) {
      const int64_t depth = std::min(even, k - from);
      each((columns + group - 1) / group, [&](size_t i, int) {
        const int64_t at = static_cast<int64_t>(i) * group, column = left + at;
        const float *const source = form.b_transposed ? b.data + column * b.ld + from : b.data + from * b.ld + column;
        kernels_.pack(source, static_cast<size_t>(b.ld), form.b_transposed, static_cast<int>(depth),
                      static_cast<int>(std::min(group, columns - at)), columns_.data() + at * depth);
      });
      each((m + kRows - 1) / kRows, [&](size_t i, int worker) {
        const int64_t top = static_cast<int64_t>(i) * kRows, count = std::min(kRows, m - top);
        MatrixIn rows{a.data + top * a.ld + from, a.ld};
        if (form.a_transposed) {
          float *const own = rows_[static_cast<size_t>(worker)].data();
          kernels_.transpose(a.data + from * a.ld + top, static_cast<size_t>(a.ld), static_cast<int>(depth),
                             static_cast<int>(count), own, static_cast<size_t>(depth + kLine));
          rows = {own, depth + kLine};
        }
        kernels_.product(rows.data, static_cast<size_t>(rows.ld), columns_.data(), static_cast<int>(depth),
                         static_cast<int>(count), static_cast<int>(columns), c.data + top * c.ld + left,
                         static_cast<size_t>(c.ld), !add && from == 0);
      });
    }
  }
}

}  // namespace gcop::guide_torch
