// The row kernels, written once over the vector width; included after kernels_body.hpp by the same two files.

namespace gcop::guide_torch {
namespace {
namespace row {

inline float dot(const float *a, const float *b, int n) {
  Vec sums[2] = {};
  int i = 0;
  for (; i + 2 * L <= n; i += 2 * L) {
    sums[0] += load(a + i) * load(b + i);
    sums[1] += load(a + i + L) * load(b + i + L);
  }
  float sum = add_lanes(sums[0] + sums[1]);
  for (; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

// At the end of an array one vector is put together from what is left.
template <class Body>
inline void in_vectors(size_t n, Body body) {
  size_t i = 0;
  for (; i + L <= n; i += L) body(i, L);
  if (i < n) body(i, static_cast<int>(n - i));
}
inline Vec load_some(const float *p, int n) {
  if (n == L) return load(p);
  Vec v = {};
  for (int l = 0; l < n; ++l) v[l] = p[l];
  return v;
}
inline void store_some(float *p, Vec v, int n) {
  if (n == L) return store(p, v);
  for (int l = 0; l < n; ++l) p[l] = v[l];
}

void rmsnorm(const float *x, const float *weight, float eps, float *out, float *rstd, size_t rows, int n) {
  for (size_t r = 0; r < rows; ++r, x += n, out += n) {
    Vec squares = {};
    in_vectors(static_cast<size_t>(n), [&](size_t i, int some) {
      const Vec v = load_some(x + i, some);
      squares = fused(v, v, squares);
    });
    const float scale = 1.0f / std::sqrt(add_lanes(squares) / static_cast<float>(n) + eps);
    if (rstd) rstd[r] = scale;
    for (int i = 0; i < n; ++i) out[i] = x[i] * scale * weight[i];
  }
}

void rmsnorm_backward(const float *dy, const float *x, const float *weight, const float *rstd, float *dx, bool add,
                      float *d_weight, size_t rows, int n) {
  for (size_t r = 0; r < rows; ++r, dy += n, x += n, dx += n) {
    const float scale = rstd[r];
    if (d_weight)
      for (int i = 0; i < n; ++i) d_weight[i] += dy[i] * x[i] * scale;
    Vec sums = {};
    int i = 0;
    for (; i + L <= n; i += L) sums += load(dy + i) * load(weight + i) * load(x + i);
    float sum = add_lanes(sums);
    for (; i < n; ++i) sum += dy[i] * weight[i] * x[i];
    const float along = sum * scale * scale * scale / static_cast<float>(n);
    if (add)
      for (int j = 0; j < n; ++j) dx[j] += dy[j] * weight[j] * scale - x[j] * along;
    else
      for (int j = 0; j < n; ++j) dx[j] = dy[j] * weight[j] * scale - x[j] * along;
  }
}

void rope(float *x, const int64_t *positions, const float *cos, const float *sin, bool inverse, size_t rows, int heads,
          int dim) {
  const int half = dim / 2;
  const float sign = inverse ? -1.0f : 1.0f;
  for (size_t r = 0; r < rows; ++r) {
    const float *c = cos + positions[r] * half, *s = sin + positions[r] * half;
    for (int h = 0; h < heads; ++h, x += dim) {
      int d = 0;
      for (; d + L <= half; d += L) {
        Vec a = load(x + d), b = load(x + d + half);
        turn(a, b, load(c + d), sign * load(s + d));
        store(x + d, a);
        store(x + d + half, b);
      }
      for (; d < half; ++d) turn(x[d], x[d + half], c[d], sign * s[d]);
    }
  }
}

void swiglu(const float *gate, const float *up, float *out, size_t n) {
  in_vectors(n, [&](size_t i, int some) {
    const Vec g = load_some(gate + i, some);
    store_some(out + i, g / (1.0f + vexp(-g)) * load_some(up + i, some), some);
  });
}

void swiglu_backward(const float *d_out, float *gate, float *up, float *out, size_t n) {
  in_vectors(n, [&](size_t i, int some) {
    const Vec d = load_some(d_out + i, some), g = load_some(gate + i, some), u = load_some(up + i, some);
    const Vec s = 1.0f / (1.0f + vexp(-g)), silu = g * s;
    store_some(out + i, silu * u, some);
    store_some(gate + i, d * u * (s + silu * (1.0f - s)), some);
    store_some(up + i, d * silu, some);
  });
}

void softmax_again(float *scores, size_t ld, size_t rows, size_t seen, size_t columns, const float *lse,
                   size_t lse_stride) {
  for (size_t r = 0; r < rows; ++r, scores += ld) {
    const size_t n = seen + r, padded = (n + L - 1) / L * L;
    for (size_t t = n; t < padded; ++t) scores[t] = -INFINITY;
    const float less = lse[r * lse_stride];
    for (size_t t = 0; t < padded; t += L) store(scores + t, vexp(load(scores + t) - less));
    for (size_t t = padded; t < columns; ++t) scores[t] = 0;
  }
}

void softmax_backward(const float *p, float *d_p, size_t ld, size_t rows, size_t columns, const float *out,
                      const float *d_out, size_t out_ld, int dim, float scale) {
  for (size_t r = 0; r < rows; ++r, p += ld, d_p += ld, out += out_ld, d_out += out_ld) {
    const float along = dot(out, d_out, dim);
    for (size_t t = 0; t < columns; ++t) d_p[t] = p[t] * (d_p[t] - along) * scale;
  }
}

void chunk_sum(const float *x, int n, float *max, float *sum) {
  float most = x[0];
  for (int i = 1; i < n; ++i) most = std::max(most, x[i]);
  Vec parts = {};
  in_vectors(static_cast<size_t>(n), [&](size_t i, int some) {
    Vec e = vexp(load_some(x + i, some) - most);
    for (int l = some; l < L; ++l) e[l] = 0;
    parts += e;
  });
  *max = most;
  *sum = add_lanes(parts);
}

LogitStats chunk_stats(const float *x, int n, int32_t first, float inverse_temperature) {
  LogitStats out{};
  chunk_sum(x, n, &out.max, &out.sum);
  int best = 0;
  while (best < n && x[best] != out.max) ++best;
  out.argmax = first + (best < n ? best : 0);  // a NaN is its own maximum
  out.tempered_sum = inverse_temperature == 1.0f ? out.sum : 0;
  if (inverse_temperature != 1.0f)
    in_vectors(static_cast<size_t>(n), [&](size_t i, int some) {
      const Vec e = vexp((load_some(x + i, some) - out.max) * inverse_temperature);
      for (int l = 0; l < some; ++l) out.tempered_sum += e[l];
    });
  return out;
}

double softmax_slopes(float *x, size_t n, float lse, float slope) {
  Vec part = {};
  in_vectors(n, [&](size_t i, int some) {
    const Vec logp = load_some(x + i, some) - lse, p = vexp(logp);
    Vec terms = p > 0.0f ? p * logp : Vec{};
    for (int l = some; l < L; ++l) terms[l] = 0;
    part += terms;
    store_some(x + i, p * -slope, some);
  });
  return static_cast<double>(add_lanes(part));
}

constexpr RowKernels kTable = {rmsnorm,       rmsnorm_backward, rope,      swiglu,      swiglu_backward,
                               softmax_again, softmax_backward, chunk_sum, chunk_stats, softmax_slopes};

}  // namespace row

constexpr Kernels kTable = {GCOP_KERNELS_NAME, L,      gemm,    gemm_bf16, gemv,      gemv_bf16,
                            transpose,         pack,   product, quantize,  gemm_int8, quantize_row,
                            gemv_int8,         swiglu, rmsnorm, rope,      attention, logit_stats,
                            &row::kTable};

}  // namespace
}  // namespace gcop::guide_torch
