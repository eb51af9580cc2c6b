// One pass of a decoder over a flat list of tokens, each of which belongs to some sequence and position: prompt chunks
// and single new tokens go through together. Writes their keys and values and leaves hidden states and logits.
// Up to kFewTokens tokens (kFewInt8 in 7 bits) lie in rows and pass gemv (forward_few.cpp), more of them in panels
// (forward.cpp); the numbers are the same, bit for bit. Engine thread only; buffers are planned once.
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
  struct Column {
    const float *at;
    int64_t stride;
  };
  Column state(int row) const;
  void positions(std::span<const Row> rows);
  void reserve_scores(std::span<const Row> rows);
  void attend(int64_t layer, const LayerView &weights, KvPool &pool, std::span<const Row> rows);
  struct Product {
    Matrix w;
    const float *bias;
    float *y;
    size_t y_stride;  // of panels, or of rows
    int n;
  };
  void quantize(const float *x, int k, int panels);  // into bytes_ and byte_scales_
  void product(const Product &product, const float *x, int k, int panels, int begin, int end);
  void product_few(const Product &product, const float *x, int k, int tokens, int begin, int end);
  int chunk_rows(int outputs, int parts) const;
  // Rows [begin, end) of a product, as one thread takes them.
  struct Part {
    int product, begin, end;
  };
  std::vector<Part> shares_few(std::span<const Product> products) const;
  void multiply(std::span<const Product> products, const float *x, int k);
  void quantize_few(const float *x, int k, int tokens);
  void multiply_few(std::span<const Product> products, const float *x, int k);

  int most_few(const ModelView &model) const { return model.head.int8 ? kFewInt8 : kFewTokens; }
  void run_few(const ModelView &model, KvPool &pool, std::span<const Row> rows);
  void attend_few(int64_t layer, const LayerView &weights, KvPool &pool, std::span<const Row> rows);
  void head_few(const ModelView &model, std::span<const HeadRow> rows);

  const Config config_;
  Crew &crew_;
  const Kernels &kernels_;
  const int lanes_;
  int panels_ = 0, few_ = 0;  // of the last run(): tokens in panels, or a few in rows
  bool head_few_ = false;
  std::vector<float> cos_table_, sin_table_;  // [context][head_dim / 2]
  std::vector<float> x_, h_, qkv_, attended_, out_, gate_, up_, cos_, sin_;
  std::vector<uint8_t> bytes_;  // the input of the next int8 products
  std::vector<float> byte_scales_;
  std::vector<float> head_x_, logits_, head_scale_;
  std::vector<LogitStats> stats_;
  std::vector<std::vector<float>> scratch_;  // one per thread
};

}  // namespace gcop::guide_torch
