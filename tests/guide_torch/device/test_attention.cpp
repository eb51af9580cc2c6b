// Paged attention over shared stretches: the plan, the .cu file run on the host over cuda_on_cpu.hpp, plain loops.
#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>
#include <string>

#include "device/plan.hpp"
#include "operands.hpp"

using namespace operands;

namespace {

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
