// Matrix products in fp32 over row-major memory, as training needs them: forward, of inputs and of weights. The values
// are those of the sampler's kernels bit for bit, so a token's log-probability is the same number in both.
// Used by one thread at a time, the one that also owns the crew.
#pragma once
#include <cstdint>
#include <vector>

#include "crew.hpp"
#include "kernels.hpp"

namespace gcop::guide_torch {

struct MatrixIn {
  const float *data;
  int64_t ld;  // floats from one row to the next
};
struct MatrixOut {
  float *data;
  int64_t ld;
};

class Products {
 public:
  // Takes 2.4 MB, and 0.1 MB for each of the crew's threads.
  Products(const Kernels &kernels, Crew &crew);

  // c[m][n] = a[m][k] b[n][k]^T, or added to c: its sums then go on from what is there.
  void nt(int64_t m, int64_t n, int64_t k, MatrixIn a, MatrixIn b, bool add, MatrixOut c);
  // c[m][n] = a[m][k] b[k][n].
  void nn(int64_t m, int64_t n, int64_t k, MatrixIn a, MatrixIn b, bool add, MatrixOut c);
  // c[m][n] = a[k][m]^T b[k][n].
  void tn(int64_t m, int64_t n, int64_t k, MatrixIn a, MatrixIn b, bool add, MatrixOut c);

 private:
  struct Form {
    bool a_transposed, b_transposed;
  };
  void multiply(Form form, int64_t m, int64_t n, int64_t k, MatrixIn a, MatrixIn b, bool add, MatrixOut c);

  const Kernels &kernels_;
  Crew &crew_;
  std::vector<float> columns_;            // of b, packed
  std::vector<std::vector<float>> rows_;  // of a, transposed: one for each thread
};

}  // namespace gcop::guide_torch
