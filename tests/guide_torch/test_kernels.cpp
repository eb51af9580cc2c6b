// The device's kernels: the .cu files, run on the host over cuda_on_cpu.hpp, beside the reference's plain loops, and
// the reference beside the CPU engine's own draw. In fp32 and bf16; a bf16 result may differ by one rounding.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "cuda_on_cpu.hpp"

#include "device/block.hpp"
#include "device/plan.hpp"
#include "draw.hpp"

using namespace gcop::guide_torch;
using namespace gcop::guide_torch::device;

namespace {

std::mt19937 g_random(7);
float normal() { return std::normal_distribution<float>()(g_random); }

// Memory of one Type.
struct Data {
  Data(Type t, size_t n) : type(t), bytes(n * (t == Type::f32 ? 4 : 2)) {}
  Data(Type t, const std::vector<float> &values) : Data(t, values.size()) {
    for (size_t i = 0; i < values.size(); ++i) set(i, values[i]);
  }
  static Data random(Type t, size_t n, float scale = 1, float shift = 0) {
    Data out(t, n);
    for (size_t i = 0; i < n; ++i) out.set(i, normal() * scale + shift);
    return out;
  }
  size_t size() const { return bytes.size() / (type == Type::f32 ? 4 : 2); }
  void set(size_t i, float x) {
    if (type == Type::f32)
      reinterpret_cast<float *>(bytes.data())[i] = x;
    else
      reinterpret_cast<bf16 *>(bytes.data())[i] = narrow<bf16>(x);
  }
  float at(size_t i) const {
    return type == Type::f32 ? reinterpret_cast<const float *>(bytes.data())[i]
                             : widen(reinterpret_cast<const bf16 *>(bytes.data())[i]);
  }
  operator void *() { return bytes.data(); }
  Type type;
  std::vector<char> bytes;
};

std::vector<float> normals(size_t n, float scale = 1) {
  std::vector<float> out(n);
  for (float &x : out) x = normal() * scale;
  return out;
}

// Both within fp32 sums of each other, and within one rounding of bf16.
void same(const Data &a, const Data &b) {
  REQUIRE(a.size() == b.size());
  const double rounding = a.type == Type::f32 ? 0 : 1.0 / 128;
  for (size_t i = 0; i < a.size(); ++i) {
    const double x = a.at(i), y = b.at(i);
    if (!(std::abs(x - y) <= 2e-5 + (2e-5 + rounding) * std::abs(x))) FAIL("element " << i << ": " << x << ", " << y);
  }
}
void same(const std::vector<float> &a, const std::vector<float> &b, double error = 2e-5) {
  REQUIRE(a.size() == b.size());
  for (size_t i = 0; i < a.size(); ++i)
    if (!(std::abs(a[i] - b[i]) <= error * (1 + std::abs(a[i])))) FAIL("element " << i << ": " << a[i] << ", " << b[i]);
}

void each_type(const std::function<void(Type)> &body) {
  for (const Type type : {Type::f32, Type::bf16}) {
    CAPTURE(static_cast<int>(type));
    body(type);
  }
}

const KernelTable &ref() { return reference_kernels(); }

// A cache with the block tables of several sequences and the rows that look at it, as the engine makes them.
struct Pages {
  Type type;
  int64_t kv_heads, dim;
  Data keys, values;
  std::vector<std::vector<int32_t>> tables;
  std::vector<PlanRow> rows;
  std::vector<int32_t> flat, offsets, limits;

  Pages(Type t, int64_t kv, int64_t d, int64_t blocks)
      : type(t),
        kv_heads(kv),
        dim(d),
        keys(Data::random(t, blocks * kv * kPageTokens * d)),
        values(Data::random(t, blocks * kv * kPageTokens * d)) {}
  void finish() {
    for (const auto &table : tables) {
      offsets.push_back(static_cast<int32_t>(flat.size()));
      flat.insert(flat.end(), table.begin(), table.end());
    }
    for (const PlanRow &row : rows) limits.push_back(row.limit);
  }
  Plan plan(int members, int parallel, bool share = true) const {
    std::vector<const int32_t *> at;
    for (const auto &table : tables) at.push_back(table.data());
    const size_t room = share ? 100000 : 0;
    return plan_attention(rows, at, offsets, {members, parallel, room, room});
  }
};

// Two groups of a common system prompt, a lone sequence and a prompt of many rows; one row that sees nothing.
Pages mixed(Type type, int64_t kv_heads, int64_t dim) {
  Pages p(type, kv_heads, dim, 64);
  p.tables = {{1, 2, 3, 10, 11}, {1, 2, 3, 12, 13}, {1, 2, 3, 14}, {1, 2, 20, 21},
              {1, 2, 20, 22},    {30, 31, 32},      {40, 41, 42}};
  for (int32_t block = 43; block < 59; ++block) p.tables[5].push_back(block);
  p.rows = {{0, 70}, {1, 66}, {2, 49}, {3, 64}, {4, 50}, {5, 300}, {6, 0}};
  for (int32_t limit = 3; limit <= 40; ++limit) p.rows.push_back({6, limit});
  p.finish();
  return p;
}

Data attend(const Pages &p, const Plan &plan, int64_t heads, void (*kernel)(const AttentionArgs &, Type, void *)) {
  const int64_t rows = static_cast<int64_t>(p.rows.size());
  g_random.seed(11);
  Data q = Data::random(p.type, rows * heads * p.dim), out(p.type, rows * heads * p.dim);
  std::vector<float> partials(plan.members.size() * heads * (p.dim + 2));
  const int32_t tasks = static_cast<int32_t>(plan.tasks.size());
  AttentionArgs a{};
  a.q = q;
  a.q_stride = heads * p.dim;
  a.keys = p.keys.bytes.data();
  a.values = p.values.bytes.data();
  a.tasks = plan.tasks.data();
  a.task_count = &tasks;
  a.members = plan.members.data();
  a.tables = p.flat.data();
  a.limits = p.limits.data();
  a.first_slot = plan.first_slot.data();
  a.partials = partials.data();
  a.out = out;
  a.rows = rows, a.heads = heads, a.kv_heads = p.kv_heads, a.dim = p.dim;
  a.scale = 1 / std::sqrt(static_cast<float>(p.dim));
  kernel(a, p.type, nullptr);
  return out;
}

}  // namespace

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

TEST_CASE("a plan reads what rows share once, and every row sees each of its tokens once") {
  const Pages p = mixed(Type::f32, 2, 16);
  for (const bool share : {true, false})
    for (const int parallel : {1, 16, 200}) {
      const Plan plan = p.plan(8, parallel, share);
      std::vector<std::vector<int>> seen(p.rows.size());
      for (size_t r = 0; r < p.rows.size(); ++r) seen[r].resize(static_cast<size_t>(p.rows[r].limit));
      int64_t read = 0;
      for (const AttentionTask &t : plan.tasks) {
        CHECK(t.members <= 8);
        CHECK(t.members > 0);
        CHECK(t.begin % kPageTokens == 0);
        read += t.end - t.begin;
        for (int32_t m = t.first_member; m < t.first_member + t.members; ++m) {
          const auto [row, slot] = plan.members[m];
          CHECK(slot >= plan.first_slot[row]);
          CHECK(slot < plan.first_slot[row + 1]);
          const auto &table = p.tables[p.rows[row].table];
          for (int32_t i = t.begin; i < std::min(t.end, p.rows[row].limit); ++i) {
            ++seen[row][i];
            CHECK(p.flat[t.table + i / kPageTokens] == table[i / kPageTokens]);
          }
        }
      }
      for (const auto &row : seen)
        for (int times : row) REQUIRE(times == 1);
      std::vector<int> slots(plan.members.size());
      for (const AttentionMember &m : plan.members) ++slots[m.slot];
      for (int times : slots) CHECK(times == 1);
      // Five rows share two blocks; three of them a third, the others another.
      const int64_t alone = 70 + 66 + 49 + 64 + 50, together = 2 * 16 + 16 + 16 + 22 + 18 + 1 + 16 + 2;
      int64_t five = 0;
      for (const AttentionTask &t : plan.tasks)
        if (plan.members[t.first_member].row < 5) five += t.end - t.begin;
      CHECK(five == (share ? together : alone));
      if (parallel == 200 && share) CHECK(plan.tasks.size() > p.plan(8, 1).tasks.size());
    }
}

TEST_CASE("attention over shared stretches equals attention of each row alone") {
  each_type([](Type type) {
    for (const auto &[kv_heads, heads, dim] :
         {std::tuple<int64_t, int64_t, int64_t>{2, 4, 32}, {1, 3, 80}, {1, 7, 144}}) {
      CAPTURE(dim);
      const Pages p = mixed(type, kv_heads, dim);
      const int members = kTaskQueries / static_cast<int>(heads / kv_heads);
      const Data alone = attend(p, p.plan(1, 1, false), heads, ref().attention);
      same(alone, attend(p, p.plan(members, 1), heads, ref().attention));
      same(alone, attend(p, p.plan(members, 40), heads, ref().attention));
      same(alone, attend(p, p.plan(members, 1), heads, cuda::attention));
      same(alone, attend(p, p.plan(members, 40), heads, cuda::attention));
      for (int64_t i = 0; i < heads * dim; ++i) CHECK(alone.at(6 * heads * dim + i) == 0);  // the row that sees nothing
    }
  });
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

TEST_CASE("cross-entropy: .cu files against plain loops, and slopes against differences") {
  each_type([](Type type) {
    const int64_t rows = 3, vocab = 1303;
    std::vector<float> logits = normals(rows * vocab, 3), slopes = {0.5f, -2, 1};
    const std::vector<int32_t> targets = {0, 1302, 77};
    std::vector<float> la(rows), lb(rows), sa(rows), sb(rows), ea(rows), eb(rows);
    ref().loss({logits.data(), targets.data(), la.data(), sa.data(), ea.data(), rows, vocab}, type, nullptr);
    cuda::loss({logits.data(), targets.data(), lb.data(), sb.data(), eb.data(), rows, vocab}, type, nullptr);
    same(la, lb);
    same(sa, sb);
    same(ea, eb);
    Data da(type, rows * vocab), db(type, rows * vocab);
    ref().loss_slope({logits.data(), targets.data(), sa.data(), slopes.data(), da, rows, vocab}, type, nullptr);
    cuda::loss_slope({logits.data(), targets.data(), sb.data(), slopes.data(), db, rows, vocab}, type, nullptr);
    same(da, db);
    for (const int64_t v : {int64_t{0}, int64_t{5}}) {
      std::vector<float> up = logits, out(rows);
      up[v] += 0.01f;
      ref().loss({up.data(), targets.data(), out.data(), nullptr, nullptr, rows, vocab}, type, nullptr);
      CHECK(da.at(v) == doctest::Approx(slopes[0] * (out[0] - la[0]) / 0.01).epsilon(0.02));
    }
  });
}

TEST_CASE("the sampling kernel draws the CPU engine's tokens") {
  const int64_t vocab = 5000, rows = 40;
  int drawn = 0, other = 0;
  for (const auto &[temperature, top_k, top_p] : {std::tuple<float, uint32_t, float>{0, 0, 1},
                                                  {1, 0, 1},
                                                  {0.7f, 0, 1},
                                                  {1, 1, 1},
                                                  {1.3f, 20, 1},
                                                  {0.8f, 4000, 0.9f},
                                                  {1, 0, 0.9f},
                                                  {1, 0, 0.999f},
                                                  {1.5f, 0, 1e-6f},
                                                  {0.9f, 9999, 0.5f},
                                                  {40, 0, 0.97f}}) {
    CAPTURE(temperature);
    CAPTURE(top_k);
    CAPTURE(top_p);
    std::vector<float> logits = normals(rows * vocab, 4);
    for (size_t i = 0; i < logits.size(); i += 3) logits[i] = std::round(logits[i]);  // many equal ones
    std::vector<DrawParameters> parameters;
    for (int64_t r = 0; r < rows; ++r) parameters.push_back({uniform(3, r), temperature, top_p, top_k, 0});
    std::vector<DrawnToken> a(rows), b(rows);
    ref().sample({logits.data(), parameters.data(), a.data(), rows, vocab}, Type::f32, nullptr);
    cuda::sample({logits.data(), parameters.data(), b.data(), rows, vocab}, Type::f32, nullptr);
    for (int64_t r = 0; r < rows; ++r) {
      const float *row = logits.data() + r * vocab;
      ++drawn;
      if (a[r].token == b[r].token) {
        CHECK(a[r].logprob == doctest::Approx(b[r].logprob).epsilon(1e-5));
      } else {  // where the sums' rounding decides, its neighbour from best to worst
        ++other;
        std::vector<int32_t> order(static_cast<size_t>(vocab));
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [&](int32_t x, int32_t y) { return row[x] > row[y]; });
        const auto rank = [&](int32_t token) { return std::find(order.begin(), order.end(), token) - order.begin(); };
        CHECK(std::abs(rank(a[r].token) - rank(b[r].token)) == 1);
      }
      if (temperature == 0) CHECK(a[r].token == std::max_element(row, row + vocab) - row);
    }
  }
  CHECK(drawn == 440);
  CHECK(other <= 3);
  // Logits that are no numbers give a log-probability that says so, and a token that exists.
  std::vector<float> bad(vocab, NAN);
  const DrawParameters p{0.5, 1, 0.9f, 10, 0};
  DrawnToken none{};
  cuda::sample({bad.data(), &p, &none, 1, vocab}, Type::f32, nullptr);
  CHECK(none.token == 0);
  CHECK(!std::isfinite(none.logprob));
}
