#include "cpu_compute.hpp"

#include <algorithm>
#include <vector>

namespace gcop::guide_torch {

std::unique_ptr<KvBlocks> CpuCompute::make_blocks(int32_t blocks) {
  return std::make_unique<KvPool>(config_, block_bytes() * static_cast<size_t>(blocks));
}

void CpuCompute::run(const Version &weights, KvBlocks &blocks, std::span<const Row> rows) {
  forward_.run(*weights.view, static_cast<KvPool &>(blocks), rows);
}

void CpuCompute::draw(const Version &weights, std::span<const DrawRow> rows, Drawn *out) {
  for (size_t from = 0; from < rows.size(); from += Forward::kMaxHeadRows) {
    const std::span<const DrawRow> part =
        rows.subspan(from, std::min<size_t>(Forward::kMaxHeadRows, rows.size() - from));
    std::vector<HeadRow> heads;
    for (const DrawRow &r : part) heads.push_back({r.row, r.sampling.inverse_temperature()});
    forward_.head(*weights.view, heads);
    for (size_t i = 0; i < part.size(); ++i)
      out[from + i] = guide_torch::draw(forward_.column(static_cast<int>(i)), part[i].sampling, part[i].index);
  }
}

void CpuCompute::score(const Version &weights, std::span<const ScoreRow> rows, float *out) {
  for (size_t from = 0; from < rows.size(); from += Forward::kMaxHeadRows) {
    const std::span<const ScoreRow> part =
        rows.subspan(from, std::min<size_t>(Forward::kMaxHeadRows, rows.size() - from));
    std::vector<HeadRow> heads;
    for (const ScoreRow &r : part) heads.push_back({r.row, 1});
    forward_.head(*weights.view, heads);
    for (size_t i = 0; i < part.size(); ++i) {
      const LogitColumn column = forward_.column(static_cast<int>(i));
      out[from + i] = static_cast<float>(column.at(part[i].token) - log_sum_exp(column));
    }
  }
}

void CpuCompute::hidden(int rows, float *out) {
  for (int i = 0; i < rows; ++i) forward_.hidden(i, out + i * config_.hidden);
}

}  // namespace gcop::guide_torch
