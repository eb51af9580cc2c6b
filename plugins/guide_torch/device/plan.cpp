#include "plan.hpp"

#include <algorithm>
#include <numeric>

namespace gcop::guide_torch::device {

namespace {

int32_t blocks_of(int32_t tokens) { return (tokens + kPageTokens - 1) / kPageTokens; }

struct Stretch {  // of one table, and who looks at it
  int32_t begin, end, table;
  std::vector<int32_t> rows;
};

class Planner {
 public:
  Planner(std::span<const PlanRow> rows, std::span<const int32_t *const> tables, int members)
      : rows_(rows), tables_(tables), members_(static_cast<size_t>(members)) {}

  // Rows whose tables agree before block `from`, all of which see something from there on.
  void split(std::vector<int32_t> rows, int32_t from) {
    const int32_t *first = tables_[rows_[rows[0]].table];
    int32_t to = blocks_of(rows_[rows[0]].limit);
    for (int32_t r : rows)
      if (tables_[rows_[r].table] == first) to = std::max(to, blocks_of(rows_[r].limit));
    for (int32_t r : rows) {
      const int32_t *table = tables_[rows_[r].table];
      if (table == first) continue;
      int32_t same = from;
      while (same < std::min(to, blocks_of(rows_[r].limit)) && table[same] == first[same]) ++same;
      to = same;
    }
    // A row of the first table may see less than what the others share: its limit masks the rest.
    if (to > from) add(rows, from, to);
    std::erase_if(rows, [&](int32_t r) { return blocks_of(rows_[r].limit) <= to; });
    while (!rows.empty()) {
      const int32_t next = tables_[rows_[rows[0]].table][to];
      const auto rest = std::stable_partition(rows.begin(), rows.end(),
                                              [&](int32_t r) { return tables_[rows_[r].table][to] == next; });
      std::vector<int32_t> mine(rows.begin(), rest);
      rows.erase(rows.begin(), rest);
      split(std::move(mine), to);
    }
  }

  void alone() {
    stretches.clear();
    for (size_t r = 0; r < rows_.size(); ++r)
      if (rows_[r].limit > 0) add({static_cast<int32_t>(r)}, 0, blocks_of(rows_[r].limit));
  }

  std::vector<Stretch> stretches;

 private:
  void add(std::vector<int32_t> rows, int32_t from, int32_t to) {
    std::stable_sort(rows.begin(), rows.end(), [&](int32_t a, int32_t b) { return rows_[a].limit < rows_[b].limit; });
    for (size_t at = 0; at < rows.size(); at += members_) {
      Stretch s{from * kPageTokens, 0, rows_[rows[at]].table, {}};
      for (size_t i = at; i < std::min(rows.size(), at + members_); ++i) {
        s.rows.push_back(rows[i]);
        if (rows_[rows[i]].limit > s.end) s.table = rows_[rows[i]].table, s.end = rows_[rows[i]].limit;
      }
      s.end = std::min(s.end, to * kPageTokens);
      stretches.push_back(std::move(s));
    }
  }

  std::span<const PlanRow> rows_;
  std::span<const int32_t *const> tables_;
  const size_t members_;
};

Plan cut(std::span<const PlanRow> rows, const std::vector<Stretch> &stretches, std::span<const int32_t> offsets,
         int parallel) {
  int64_t total = 0;
  for (const Stretch &s : stretches) total += s.end - s.begin;
  constexpr int64_t kLeast = 64;  // tokens: below it, merging costs more than it gains
  const int64_t piece =
      std::max(kLeast, (total / std::max(1, parallel) + kPageTokens) / kPageTokens * int64_t{kPageTokens});
  Plan plan;
  std::vector<std::vector<size_t>> of_row(rows.size());  // indices into members
  for (const Stretch &s : stretches)
    for (int64_t at = s.begin; at < s.end; at += piece) {
      const auto first = static_cast<int32_t>(plan.members.size());
      for (int32_t r : s.rows)
        if (rows[r].limit > at) {
          of_row[r].push_back(plan.members.size());
          plan.members.push_back({r, 0});
        }
      plan.tasks.push_back({first, static_cast<int32_t>(plan.members.size()) - first, static_cast<int32_t>(at),
                            static_cast<int32_t>(std::min<int64_t>(s.end, at + piece)), offsets[s.table]});
    }
  int32_t slot = 0;
  for (size_t r = 0; r < rows.size(); ++r) {
    plan.first_slot.push_back(slot);
    for (size_t m : of_row[r]) plan.members[m].slot = slot++;
  }
  plan.first_slot.push_back(slot);
  return plan;
}

}  // namespace

Plan plan_attention(std::span<const PlanRow> rows, std::span<const int32_t *const> tables,
                    std::span<const int32_t> offsets, const PlanLimits &limits) {
  Planner planner(rows, tables, limits.members);
  std::vector<int32_t> all;
  for (size_t r = 0; r < rows.size(); ++r)
    if (rows[r].limit > 0) all.push_back(static_cast<int32_t>(r));
  // Rows that share no block at all start in groups of their own.
  while (!all.empty()) {
    const int32_t first = tables[rows[all[0]].table][0];
    const auto rest =
        std::stable_partition(all.begin(), all.end(), [&](int32_t r) { return tables[rows[r].table][0] == first; });
    std::vector<int32_t> mine(all.begin(), rest);
    all.erase(all.begin(), rest);
    planner.split(std::move(mine), 0);
  }
  Plan plan = cut(rows, planner.stretches, offsets, limits.parallel);
  if (plan.tasks.size() > limits.tasks || plan.members.size() > limits.slots) {
    planner.alone();
    plan = cut(rows, planner.stretches, offsets, limits.parallel);
  }
  return plan;
}

}  // namespace gcop::guide_torch::device
