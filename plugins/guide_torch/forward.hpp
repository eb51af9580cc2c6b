// One pass of a decoder over a flat list of tokens, each of which belongs to some sequence and position: prompt chunks
// and single new tokens go through together. Writes their keys and values and leaves hidden states and logits.
// Engine thread only; buffers are planned once.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "compute.hpp"
#include "crew.hpp"
#include "draw.hpp"
#include "kernels.hpp"
#include "kv_pool.hpp"
#include "weights.hpp"

namespace gcop::guide_torch {

struct HeadRow {
  int row;  // index into the rows of the last run()
  float inverse_temperature = 1;
};

class Forward {
 public:
  static constexpr int kMaxRows = 256;
  static constexpr int kMaxHeadRows = 64;

  Forward(const Config &config, int64_t context, Crew &crew, const Kernels &kernels);

  // At most kMaxRows. Rows of one sequence come in order of position, after everything before them was run.
  void run(const ModelView &model, KvPool &pool, std::span<const Row> rows);
  // Logits of some of these rows, at most kMaxHeadRows at a time.
  void head(const ModelView &model, std::span<const HeadRow> rows);
  LogitColumn column(int head_row) const;
  // Final hidden state (after the last norm) of a row of the last run().
  void hidden(int row, float *out) const;

 private:
  void positions(std::span<const Row> rows);
  void attend(int64_t layer, const LayerView &weights, KvPool &pool, std::span<const Row> rows);
  struct Product {
    Matrix w;
    const float *bias;
    float *y;
    size_t y_stride;
    int n;
  };
  void quantize(const float *x, int k, int panels);  // into bytes_ and byte_scales_
  // `rows`: how many there are; the lanes after them are empty.
  void gemm(const Product &product, const float *x, int k, int rows, int begin, int end);
  int chunk_rows(int outputs, int parts) const;
  void multiply(std::span<const Product> products, const float *x, int k);

  const Config config_;
  Crew &crew_;
  const Kernels &kernels_;
  const int lanes_;
  int rows_ = 0, panels_ = 0;
  std::vector<float> cos_table_, sin_table_;  // [context][head_dim / 2]
  std::vector<float> x_, h_, qkv_, attended_, out_, gate_, up_, cos_, sin_;
  std::vector<uint8_t> bytes_;  // the input of the next int8 products
  std::vector<float> byte_scales_;
  std::vector<float> head_x_, logits_, head_scale_;
  std::vector<LogitStats> stats_;
  std::vector<std::vector<float>> scratch_;  // one per thread
};

}  // namespace gcop::guide_torch
