// Which rows of a step read which stretches of the key/value cache together: the tasks of KernelTable::attention.
// Block tables that start with the same blocks share that start, at any depth (a system prompt within it a group's
// prompt within it a sequence). Pure functions over plain values.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "kernels.hpp"

namespace gcop::guide_torch::device {

struct PlanRow {
  int32_t table;  // index into the tables
  int32_t limit;  // tokens it sees
};

struct PlanLimits {
  int members = 8;              // rows of one task
  int parallel = 1;             // tasks wanted, if the work can be cut that far
  size_t tasks = 0, slots = 0;  // that there is room for; at least rows + parallel each
};

struct Plan {
  std::vector<AttentionTask> tasks;
  std::vector<AttentionMember> members;
  std::vector<int32_t> first_slot;  // of each row's partial results; one more at the end
};

// tables[t] is a block table that begins at offsets[t] of what the kernel sees.
Plan plan_attention(std::span<const PlanRow> rows, std::span<const int32_t *const> tables,
                    std::span<const int32_t> offsets, const PlanLimits &limits);

}  // namespace gcop::guide_torch::device
