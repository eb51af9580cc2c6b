// One forward and backward of the trainer without the plugin around it: for tests that look at gradients.
#pragma once
#include "backward.hpp"
#include "probe.hpp"

namespace tiny {

// All sequences of the request in one pass; adds to the gradients. `recompute`: as for long sequences.
inline LossSums one_pass(const Probe &probe, const gcop_train_request &request, const LossScale &scale,
                         Arena &gradients, bool recompute = false) {
  const PackedRows rows(request, 0, request.n);
  const Backward::Plan plan{{static_cast<int64_t>(rows.tokens.size()), rows.longest(), recompute},
                            static_cast<int64_t>(rows.targets.size())};
  const Config &config = probe.file->config();
  Crew crew(2);
  Arena workspace(Backward::workspace_floats(config, nullptr, plan));
  Backward backward({config, probe.layout, *probe.arena, gradients}, *pick_kernels(), plan, workspace.data(), crew);
  const auto done = backward.run(request, rows, scale);
  REQUIRE_MESSAGE(done, (done ? "" : done.error().message));
  return backward.sums();
}

}  // namespace tiny
