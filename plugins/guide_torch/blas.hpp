// Matrix products in fp32 over row-major memory, by the BLAS that LibTorch brings (MKL on x86).
// Any thread; blas_threads() is the calling thread's own setting.
#pragma once
#include <cstdint>

extern "C" {
void sgemm_(const char *transa, const char *transb, const int *m, const int *n, const int *k, const float *alpha,
            const float *a, const int *lda, const float *b, const int *ldb, const float *beta, float *c,
            const int *ldc);
int mkl_set_num_threads_local(const int *threads);  // the Fortran form, the one that is exported
}

namespace gcop::guide_torch {

struct MatrixIn {
  const float *data;
  int64_t ld;  // floats from one row to the next
};
struct MatrixOut {
  float *data;
  int64_t ld;
};

inline void blas_threads(int n) { mkl_set_num_threads_local(&n); }

namespace detail {
// Column-major BLAS computes c^T = b^T a^T.
inline void gemm(char b_form, char a_form, int64_t m, int64_t n, int64_t k, float alpha, MatrixIn a, MatrixIn b,
                 float beta, MatrixOut c) {
  if (m == 0 || n == 0) return;
  const int im = static_cast<int>(m), in = static_cast<int>(n), ik = static_cast<int>(k), lda = static_cast<int>(a.ld),
            ldb = static_cast<int>(b.ld), ldc = static_cast<int>(c.ld);
  sgemm_(&b_form, &a_form, &in, &im, &ik, &alpha, b.data, &ldb, a.data, &lda, &beta, c.data, &ldc);
}
}  // namespace detail

// c[m][n] = alpha * a[m][k] b[n][k]^T + beta * c.
inline void gemm_nt(int64_t m, int64_t n, int64_t k, float alpha, MatrixIn a, MatrixIn b, float beta, MatrixOut c) {
  detail::gemm('T', 'N', m, n, k, alpha, a, b, beta, c);
}
// c[m][n] = alpha * a[m][k] b[k][n] + beta * c.
inline void gemm_nn(int64_t m, int64_t n, int64_t k, float alpha, MatrixIn a, MatrixIn b, float beta, MatrixOut c) {
  detail::gemm('N', 'N', m, n, k, alpha, a, b, beta, c);
}
// c[m][n] = alpha * a[k][m]^T b[k][n] + beta * c.
inline void gemm_tn(int64_t m, int64_t n, int64_t k, float alpha, MatrixIn a, MatrixIn b, float beta, MatrixOut c) {
  detail::gemm('N', 'T', m, n, k, alpha, a, b, beta, c);
}

}  // namespace gcop::guide_torch
