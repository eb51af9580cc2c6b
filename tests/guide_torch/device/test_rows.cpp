// Rows, norms, rotations and the optimizer: the .cu files run on the host over cuda_on_cpu.hpp beside the plain loops.
// A bf16 result may differ by one rounding.
#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>

#include "operands.hpp"

using namespace operands;

TEST_CASE("bf16 rounds to nearest even, keeps infinities, and keeps what is no number") {
  CHECK(widen(narrow<bf16>(1.0f)) == 1.0f);
  CHECK(widen(narrow<bf16>(1.00390625f)) == 1.0f);       // half way: to even
  CHECK(widen(narrow<bf16>(1.01171875f)) == 1.015625f);  // half way: to even
  CHECK(widen(narrow<bf16>(1.004f)) == 1.0078125f);      // above half way
  CHECK(std::isinf(widen(narrow<bf16>(INFINITY))));
  CHECK(std::isnan(widen(narrow<bf16>(NAN))));
  CHECK(ordered(-2) < ordered(-1));
  CHECK(ordered(-1) < ordered(0.5f));
  CHECK(ordered(-0.0f) == ordered(0.0f));
  CHECK(ordered(0.5f) < ordered(3));
}

TEST_CASE("rows, norms and rotations: .cu files against plain loops") {
  each_type([](Type type) {
    const int64_t rows = 5, hidden = 208, vocab = 11, width = 72;
    std::vector<int32_t> tokens = {3, 0, 10, 3, 7};
    Data table = Data::random(type, vocab * hidden);
    std::vector<float> xa(rows * hidden), xb(rows * hidden);
    ref().embed({tokens.data(), table, xa.data(), rows, hidden}, type, nullptr);
    cuda::embed({tokens.data(), table, xb.data(), rows, hidden}, type, nullptr);
    CHECK(xa == xb);

    Data add = Data::random(type, rows * hidden), weight = Data::random(type, hidden, 0.2f, 1);
    Data outa(type, rows * hidden), outb(type, rows * hidden);
    for (const bool first : {true, false}) {
      ref().norm({xa.data(), first ? nullptr : static_cast<void *>(add), weight, outa, rows, hidden, 1e-6f}, type,
                 nullptr);
      cuda::norm({xb.data(), first ? nullptr : static_cast<void *>(add), weight, outb, rows, hidden, 1e-6f}, type,
                 nullptr);
      same(outa, outb);
      CHECK(xa == xb);
    }

    Data gate_up = Data::random(type, rows * 2 * width), dout = Data::random(type, rows * width);
    Data sa(type, rows * width), sb(type, rows * width), ga(type, rows * 2 * width), gb(type, rows * 2 * width);
    ref().swiglu({gate_up, sa, rows, width}, type, nullptr);
    cuda::swiglu({gate_up, sb, rows, width}, type, nullptr);
    same(sa, sb);
    ref().swiglu_slope({gate_up, dout, ga, rows, width}, type, nullptr);
    cuda::swiglu_slope({gate_up, dout, gb, rows, width}, type, nullptr);
    same(ga, gb);

    const int64_t heads = 4, kv = 2, dim = 48, all = heads + 2 * kv;
    Data qkv = Data::random(type, rows * all * dim), bias = Data::random(type, all * dim);
    Data q_norm = Data::random(type, dim, 0.2f, 1), k_norm = Data::random(type, dim, 0.2f, 1);
    const std::vector<int32_t> positions = {0, 5, 2, 9, 1}, slots = {33, 0, -1, 17, 63};
    const std::vector<float> cos = normals(10 * dim / 2), sin = normals(10 * dim / 2);
    for (const int variant : {0, 1, 2}) {
      Data a(type, rows * all * dim), b(type, rows * all * dim);
      std::vector<Data> cache(4, Data(type, 4 * kv * kPageTokens * dim));
      const auto args = [&](Data &out, Data &keys, Data &values) {
        return RopeArgs{qkv,
                        out,
                        variant == 1 ? static_cast<void *>(bias) : nullptr,
                        variant == 2 ? static_cast<void *>(q_norm) : nullptr,
                        variant == 2 ? static_cast<void *>(k_norm) : nullptr,
                        positions.data(),
                        cos.data(),
                        sin.data(),
                        variant == 0 ? nullptr : static_cast<void *>(keys),
                        variant == 0 ? nullptr : static_cast<void *>(values),
                        slots.data(),
                        rows,
                        heads,
                        kv,
                        dim,
                        1e-6f};
      };
      ref().rope(args(a, cache[0], cache[1]), type, nullptr);
      cuda::rope(args(b, cache[2], cache[3]), type, nullptr);
      same(a, b);
      same(cache[0], cache[2]);
      same(cache[1], cache[3]);
      if (variant != 0)
        CHECK(cache[0].at(((2 * kv + 1) * kPageTokens + 1) * dim) == a.at((heads + 1) * dim));  // slot 33
    }
    Data da = qkv, db = qkv;
    ref().rope_slope({da, positions.data(), cos.data(), sin.data(), rows, heads, kv, dim}, type, nullptr);
    cuda::rope_slope({db, positions.data(), cos.data(), sin.data(), rows, heads, kv, dim}, type, nullptr);
    same(da, db);

    std::vector<float> scratch(2 * rows * heads + kRowSlices * hidden);
    for (const bool residual : {true, false}) {
      Data ya = Data::random(type, rows * hidden), yb = ya, norm_weight = Data::random(type, hidden, 0.2f, 1);
      std::vector<float> suma = normals(rows * hidden), sumb = suma, dwa = normals(hidden), dwb = dwa;
      const auto args = [&](Data &dy, std::vector<float> &sum, std::vector<float> &dw) {
        NormSlopeArgs n{};
        if (residual)
          n.x_residual = xa.data(), n.sum = sum.data();
        else
          n.x_heads = add;
        n.dy = dy, n.weight = norm_weight, n.dweight = dw.data(), n.scratch = scratch.data();
        n.rows = rows, n.eps = 1e-6f, n.stride = hidden;
        n.groups = residual ? 1 : 3, n.width = residual ? hidden : 64;  // the rest of a row is not touched
        return n;
      };
      ref().norm_slope(args(ya, suma, dwa), type, nullptr);
      cuda::norm_slope(args(yb, sumb, dwb), type, nullptr);
      same(ya, yb);
      same(suma, sumb, 1e-4);
      same(dwa, dwb, 1e-4);
    }

    std::vector<float> ca = normals(hidden), cb = ca;
    ref().column_sum({add, ca.data(), scratch.data(), rows, hidden - 3, hidden}, type, nullptr);
    cuda::column_sum({add, cb.data(), scratch.data(), rows, hidden - 3, hidden}, type, nullptr);
    same(ca, cb);

    // More rows than slices, several for each lane.
    Data tall = Data::random(type, 1500 * 40);
    ref().column_sum({tall, ca.data(), scratch.data(), 1500, 37, 40}, type, nullptr);
    cuda::column_sum({tall, cb.data(), scratch.data(), 1500, 37, 40}, type, nullptr);
    same(ca, cb, 1e-4);

    const std::vector<int32_t> targets = {4, 0, 2}, offsets = {0, 2, 3, 6}, sources = {1, 4, 0, 2, 2, 3};
    Data ra = Data::random(type, 5 * hidden), rb = ra;
    std::vector<float> fa = normals(5 * hidden), fb = fa;
    ref().sum_rows({add, ra, targets.data(), offsets.data(), sources.data(), 3, 70, hidden, hidden, 0}, type, nullptr);
    cuda::sum_rows({add, rb, targets.data(), offsets.data(), sources.data(), 3, 70, hidden, hidden, 0}, type, nullptr);
    same(ra, rb);
    ref().sum_rows({xa.data(), fa.data(), targets.data(), offsets.data(), sources.data(), 3, 70, hidden, hidden, 1},
                   type, nullptr);
    cuda::sum_rows({xa.data(), fb.data(), targets.data(), offsets.data(), sources.data(), 3, 70, hidden, hidden, 1},
                   type, nullptr);
    same(fa, fb);
  });
}

TEST_CASE("the optimizer's kernels: .cu files against plain loops") {
  each_type([](Type type) {
    const size_t n = 70000;
    std::vector<float> wa = normals(n), ma = normals(n, 0.1f), va = normals(n, 0.1f), g = normals(n);
    for (float &v : va) v *= v;
    auto wb = wa, mb = ma, vb = va;
    Data ra(type, n), rb(type, n);
    const auto args = [&](auto &w, auto &m, auto &v, Data &r) {
      return AdamArgs{w.data(), m.data(), v.data(), g.data(), r,    static_cast<int64_t>(n), 0.5f, 0.9f,
                      0.999f,   1e-2f,    3,        1e-8f,    0.99f};
    };
    ref().adam(args(wa, ma, va, ra), type, nullptr);
    cuda::adam(args(wb, mb, vb, rb), type, nullptr);
    same(wa, wb, 1e-6);
    same(ma, mb, 1e-6);
    same(va, vb, 1e-6);
    same(ra, rb);
    for (size_t i = 0; i < n; i += 999) CHECK(ra.at(i) == (type == Type::f32 ? wa[i] : widen(narrow<bf16>(wa[i]))));
    std::vector<double> squares(4), again(4);
    ref().squares({g.data(), squares.data(), static_cast<int64_t>(n)}, type, nullptr);
    cuda::squares({g.data(), again.data(), static_cast<int64_t>(n)}, type, nullptr);
    for (int i = 0; i < 2; ++i) CHECK(squares[i] == doctest::Approx(again[i]).epsilon(1e-12));
    ref().round({g.data(), ra, static_cast<int64_t>(n)}, type, nullptr);
    cuda::round({g.data(), rb, static_cast<int64_t>(n)}, type, nullptr);
    CHECK(ra.bytes == rb.bytes);
  });
}

TEST_CASE("an adapter's product over its base: the .cu file's bits are the plain loop's") {
  each_type([](Type type) {
    const int64_t rows = 37, width = 48, rank = 5;
    const std::vector<float> base = normals(rows * width), a = normals(rank * width), b = normals(rows * rank);
    Data one(type, rows * width), other(type, rows * width);
    const auto args = [&](Data &out) {
      return MergeArgs{base.data(), a.data(), b.data(), out, rows, width, rank, 0.7f};
    };
    ref().merge(args(one), type, nullptr);
    cuda::merge(args(other), type, nullptr);
    CHECK(one.bytes == other.bytes);
    float sum = base[3 * width + 7];
    for (int64_t k = 0; k < rank; ++k) sum += 0.7f * b[3 * rank + k] * a[k * width + 7];
    CHECK(one.at(3 * width + 7) == (type == Type::f32 ? sum : widen(narrow<bf16>(sum))));
  });
}
