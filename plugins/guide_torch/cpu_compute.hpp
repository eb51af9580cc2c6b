// The CPU's kernels as the engine's compute.
#pragma once
#include "compute.hpp"
#include "forward.hpp"

namespace gcop::guide_torch {

class CpuCompute : public Compute {
 public:
  CpuCompute(const Config &config, int64_t context, Crew &crew, const Kernels &kernels)
      : config_(config), forward_(config, context, crew, kernels) {}

  int max_rows() const override { return Forward::kMaxRows; }
  size_t block_bytes() const override { return KvPool::block_bytes(config_); }
  std::unique_ptr<KvBlocks> make_blocks(int32_t blocks) override;
  void run(const Version &weights, KvBlocks &blocks, std::span<const Row> rows) override;
  void draw(const Version &weights, std::span<const DrawRow> rows, Drawn *out) override;
  void score(const Version &weights, std::span<const ScoreRow> rows, float *out) override;
  void hidden(int rows, float *out) override;

 private:
  const Config config_;
  Forward forward_;
};

}  // namespace gcop::guide_torch
