// What the engine needs from whatever computes: the CPU's kernels (cpu_compute.hpp) or a device (device/). The batch's
// bookkeeping, the order of rows and the draw's counters are the engine's; a compute sees rows, blocks and weights.
// Engine thread only.
#pragma once
#include <cstdint>
#include <memory>
#include <span>

#include "draw.hpp"
#include "kv_pool.hpp"
#include "weights.hpp"

namespace gcop::guide_torch {

struct Row {
  int32_t token;
  int32_t position;
  const int32_t *blocks;  // its sequence's block table; rows of one sequence give the same pointer
};

struct DrawRow {
  int row;  // index into the rows of the last run()
  Sampling sampling;
  uint64_t index;  // of the draw within its sequence
};

struct ScoreRow {
  int row;
  int32_t token;
};

class Compute {
 public:
  virtual ~Compute() = default;

  virtual int max_rows() const = 0;        // of one run()
  virtual size_t block_bytes() const = 0;  // of keys and values
  virtual std::unique_ptr<KvBlocks> make_blocks(int32_t blocks) = 0;

  // Rows of one sequence come in order of position, after everything before them was run. Writes their keys and values
  // and keeps their final hidden states for what follows.
  virtual void run(const Version &weights, KvBlocks &blocks, std::span<const Row> rows) = 0;
  // out[i]: the token drawn after rows[i].
  virtual void draw(const Version &weights, std::span<const DrawRow> rows, Drawn *out) = 0;
  // out[i] = log p(rows[i].token) after rows[i].row.
  virtual void score(const Version &weights, std::span<const ScoreRow> rows, float *out) = 0;
  // Final hidden states (after the last norm) of the first `rows` rows: [rows][hidden].
  virtual void hidden(int rows, float *out) = 0;
};

}  // namespace gcop::guide_torch
