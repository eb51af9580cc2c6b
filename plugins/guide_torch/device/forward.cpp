// The engine's steps on a device. Everything of a step is enqueued on one stream into memory planned once; steps in
// which every row is the next token of its sequence are rounded up to a bucket of rows and captured, one graph for each
// bucket and weight version, so that a step of ~300 launches costs the host one.
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <unordered_map>

#include "backend.hpp"
#include "plan.hpp"

namespace gcop::guide_torch::device {

namespace {

constexpr int kHeadRows = 256;  // logits at a time
constexpr int kBuckets[] = {1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 224, 256};

class DeviceBlocks : public KvBlocks {
 public:
  DeviceBlocks(BackendPtr backend, int32_t blocks, uint64_t number)
      : KvBlocks(blocks), id(number), backend_(std::move(backend)) {
    const Scope scope(*backend_);
    const Config &c = backend_->config;
    // One block more: rows that fill up a bucket write there.
    pool = at::zeros({c.layers, 2, int64_t{blocks} + 1, c.kv_heads, kPageTokens, c.head_dim},
                     at::TensorOptions(backend_->where).dtype(backend_->scalar));
  }
  void copy(int32_t from, int32_t to) override {
    const Scope scope(*backend_);
    pool.select(2, to).copy_(pool.select(2, from));
  }

  const uint64_t id;
  at::Tensor pool;  // [layer][keys, values][block][kv_head][16][dim]

 private:
  const BackendPtr backend_;
};

// The integers of a step, in one piece for one transfer. Offsets depend on the capacity alone, tables come last.
struct Inputs {
  Inputs(const Backend &b, int64_t rows_, int64_t tables, int parallel)
      : rows(rows_),
        limits{0, parallel, static_cast<size_t>(2 * (rows_ + parallel)), static_cast<size_t>(4 * (rows_ + parallel))} {
    int64_t end = 0;
    const auto take = [&](int64_t n) { return std::exchange(end, end + (n + 3) / 4 * 4); };
    tokens = take(rows), positions = take(rows), slots = take(rows), seen = take(rows), first_slot = take(rows + 1);
    task_count = take(1);
    tasks = take(static_cast<int64_t>(limits.tasks * sizeof(AttentionTask) / 4));
    members = take(static_cast<int64_t>(limits.slots * sizeof(AttentionMember) / 4));
    table_data = end;
    host = at::empty({end + tables}, at::TensorOptions().dtype(at::kInt).pinned_memory(!b.host()));
    device = b.ints({end + tables});
  }
  int32_t *at(int64_t offset) const { return data<int32_t>(host) + offset; }
  template <class T = int32_t>
  T *there(int64_t offset) const {
    return reinterpret_cast<T *>(data<int32_t>(device) + offset);
  }

  int64_t rows, tokens, positions, slots, seen, first_slot, task_count, tasks, members, table_data;
  PlanLimits limits;
  at::Tensor host, device;
};

class DeviceCompute : public Compute {
 public:
  explicit DeviceCompute(BackendPtr backend)
      : b_(std::move(backend)),
        c_(b_->config),
        max_rows_(b_->host() ? 256 : 2048),
        members_(static_cast<int>(std::max<int64_t>(1, kTaskQueries / (c_.heads / c_.kv_heads)))),
        parallel_(std::max(1, 2 * b_->processors / static_cast<int>(c_.kv_heads))),
        rope_(*b_) {
    const Scope scope(*b_);
    const int64_t rows = max_rows_, q = c_.heads * c_.head_dim;
    x_ = b_->floats({rows, c_.hidden});
    h_ = b_->empty({rows, c_.hidden});
    out_ = b_->empty({rows, c_.hidden});
    qkv_ = b_->empty({rows, q + 2 * c_.kv_heads * c_.head_dim});
    attended_ = b_->empty({rows, q});
    gate_up_ = b_->empty({rows, 2 * c_.intermediate});
    active_ = b_->empty({rows, c_.intermediate});
    Inputs &all = inputs(rows);
    partials_ = b_->floats({static_cast<int64_t>(all.limits.slots), c_.heads, c_.head_dim + 2});
    logits_ = b_->floats({kHeadRows, c_.vocab});
  }
  ~DeviceCompute() override {
    for (auto &[key, graph] : graphs_)
      if (graph.ready) b_->kernels->forget(graph.ready);
  }

  int max_rows() const override { return max_rows_; }
  size_t block_bytes() const override {
    return static_cast<size_t>(c_.layers * 2 * c_.kv_heads * kPageTokens * c_.head_dim) *
           (b_->type == Type::f32 ? 4 : 2);
  }
  std::unique_ptr<KvBlocks> make_blocks(int32_t blocks) override {
    return std::make_unique<DeviceBlocks>(b_, blocks, next_pool_++);
  }

  void run(const Version &weights, KvBlocks &blocks, std::span<const Row> rows) override {
    if (rows.empty()) return;
    const Scope scope(*b_);
    auto &kv = static_cast<DeviceBlocks &>(blocks);
    const int bucket = bucket_of(rows);
    Inputs &in = inputs(bucket > 0 ? bucket : max_rows_);
    const int64_t n = bucket > 0 ? bucket : static_cast<int64_t>(rows.size());
    fill(in, rows, n, kv.blocks());
    const auto model = std::static_pointer_cast<DeviceModel>(weights.placed);
    // Steps of the batch alone are captured: its blocks stay, those of a scoring job go.
    if (bucket > 0 && b_->kernels->record && kv.id == 0)
      replay(model, kv, in, n);
    else
      issue(model->tensors(), kv, in, n);
    b_->check();
  }

  void draw(const Version &weights, std::span<const DrawRow> rows, Drawn *out) override {
    const Scope scope(*b_);
    for (size_t from = 0; from < rows.size(); from += kHeadRows) {
      const std::span<const DrawRow> some = rows.subspan(from, std::min<size_t>(kHeadRows, rows.size() - from));
      const auto n = static_cast<int64_t>(some.size());
      std::vector<int32_t> index;
      std::vector<DrawParameters> parameters;
      for (const DrawRow &r : some) {
        index.push_back(r.row);
        const Sampling &s = r.sampling;
        parameters.push_back(
            {s.temperature > 0 ? uniform(s.seed, r.index) : 0, std::max(s.temperature, 0.0f), s.top_p, s.top_k, 0});
      }
      head(weights, index);
      const at::Tensor given = bytes(parameters.data(), parameters.size() * sizeof(DrawParameters));
      const at::Tensor drawn = b_->make({n * static_cast<int64_t>(sizeof(DrawnToken))}, at::kByte);
      b_->kernels->sample({data<float>(logits_), data<DrawParameters>(given), data<DrawnToken>(drawn), n, c_.vocab},
                          b_->type, b_->raw_stream);
      const at::Tensor here = drawn.to(at::kCPU);
      b_->check();
      for (int64_t i = 0; i < n; ++i) {
        const DrawnToken &d = data<DrawnToken>(here)[i];
        out[from + static_cast<size_t>(i)] = {d.token, d.logprob};
      }
    }
  }

  void score(const Version &weights, std::span<const ScoreRow> rows, float *out) override {
    const Scope scope(*b_);
    for (size_t from = 0; from < rows.size(); from += kHeadRows) {
      const std::span<const ScoreRow> some = rows.subspan(from, std::min<size_t>(kHeadRows, rows.size() - from));
      const auto n = static_cast<int64_t>(some.size());
      std::vector<int32_t> index, targets;
      for (const ScoreRow &r : some) index.push_back(r.row), targets.push_back(r.token);
      head(weights, index);
      const at::Tensor wanted = b_->upload(targets), logprobs = b_->floats({n});
      b_->kernels->loss(
          {data<float>(logits_), data<int32_t>(wanted), data<float>(logprobs), nullptr, nullptr, n, c_.vocab}, b_->type,
          b_->raw_stream);
      const at::Tensor here = logprobs.to(at::kCPU);
      b_->check();
      std::copy_n(data<float>(here), n, out + from);
    }
  }

  void hidden(int rows, float *out) override {
    const Scope scope(*b_);
    const at::Tensor here = h_.narrow(0, 0, rows).to(at::kCPU, at::kFloat).contiguous();
    std::copy_n(data<float>(here), here.numel(), out);
  }

 private:
  struct Graph {
    std::weak_ptr<DeviceModel> model;
    void *ready = nullptr;
    int uses = 0;
    bool refused = false;
  };

  // The bucket for these rows, or 0: some sequence has several rows, or there are too many.
  int bucket_of(std::span<const Row> rows) const {
    const int *bucket = std::lower_bound(std::begin(kBuckets), std::end(kBuckets), static_cast<int>(rows.size()));
    if (bucket == std::end(kBuckets) || *bucket > max_rows_) return 0;
    for (size_t i = 1; i < rows.size(); ++i)  // a sequence's rows stand together
      if (rows[i].blocks == rows[i - 1].blocks) return 0;
    return *bucket;
  }

  Inputs &inputs(int64_t rows) {
    auto &in = inputs_[rows];
    const int64_t tables = std::min<int64_t>(rows, std::max(b_->max_batch, 1));
    if (!in) in = std::make_unique<Inputs>(*b_, rows, tables * blocks_for(b_->context), parallel_);
    in->limits.members = members_;
    return *in;
  }

  void fill(Inputs &in, std::span<const Row> rows, int64_t n, int32_t spare_block) {
    std::vector<PlanRow> planned;
    std::vector<const int32_t *> tables;
    std::vector<int32_t> lengths;  // of tables, in blocks
    std::unordered_map<const int32_t *, int32_t> known;
    for (size_t r = 0; r < rows.size(); ++r) {
      const auto [at, fresh] = known.try_emplace(rows[r].blocks, static_cast<int32_t>(tables.size()));
      if (fresh) tables.push_back(rows[r].blocks), lengths.push_back(0);
      const int32_t limit = rows[r].position + 1;
      lengths[at->second] = std::max(lengths[at->second], blocks_for(limit));
      planned.push_back({at->second, limit});
    }
    std::vector<int32_t> offsets;
    int64_t used = 0;
    for (size_t t = 0; t < tables.size(); ++t) {
      offsets.push_back(static_cast<int32_t>(used));
      std::copy_n(tables[t], lengths[t], in.at(in.table_data + used));
      used += lengths[t];
    }
    for (int64_t r = 0; r < n; ++r) {
      const bool there = r < static_cast<int64_t>(rows.size());
      const int32_t position = there ? rows[r].position : 0;
      const int32_t block = there ? rows[r].blocks[position / kPageTokens] : spare_block;
      in.at(in.tokens)[r] = there ? rows[r].token : 0;
      in.at(in.positions)[r] = position;
      in.at(in.slots)[r] = block * kPageTokens + position % kPageTokens;
      in.at(in.seen)[r] = there ? position + 1 : 0;
    }
    const Plan plan = plan_attention(planned, tables, offsets, in.limits);
    std::copy(plan.first_slot.begin(), plan.first_slot.end(), in.at(in.first_slot));
    for (int64_t r = static_cast<int64_t>(rows.size()); r <= n; ++r) in.at(in.first_slot)[r] = plan.first_slot.back();
    *in.at(in.task_count) = static_cast<int32_t>(plan.tasks.size());
    std::copy(plan.tasks.begin(), plan.tasks.end(), reinterpret_cast<AttentionTask *>(in.at(in.tasks)));
    std::copy(plan.members.begin(), plan.members.end(), reinterpret_cast<AttentionMember *>(in.at(in.members)));
    in.device.narrow(0, 0, in.table_data + used).copy_(in.host.narrow(0, 0, in.table_data + used), false);
  }

  // Nothing here allocates on the device, or waits for it.
  void issue(const ModelTensors &model, const DeviceBlocks &kv, const Inputs &in, int64_t n) {
    const KernelTable &k = *b_->kernels;
    const Type type = b_->type;
    void *const stream = b_->raw_stream;
    const auto eps = static_cast<float>(c_.rms_eps);
    const int64_t q = c_.heads * c_.head_dim, all = q + 2 * c_.kv_heads * c_.head_dim;
    const auto top = [&](const at::Tensor &t) { return t.narrow(0, 0, n); };
    const at::Tensor h = top(h_), qkv = top(qkv_), attended = top(attended_), out = top(out_), gate_up = top(gate_up_),
                     active = top(active_);
    const auto norm = [&](const at::Tensor &weight, bool add) {
      k.norm({data<float>(x_), add ? data(out_) : nullptr, data(weight), data(h_), n, c_.hidden, eps}, type, stream);
    };
    k.embed({in.there(in.tokens), data(model.embed), data<float>(x_), n, c_.hidden}, type, stream);
    for (int64_t i = 0; i < c_.layers; ++i) {
      const LayerTensors &layer = model.layers[i];
      void *const keys = data(kv.pool.select(0, i).select(0, 0)), *const values =
                                                                      data(kv.pool.select(0, i).select(0, 1));
      norm(layer.norm1, i > 0);
      b_->multiply(qkv, h, layer.qkv);
      k.rope({data(qkv), data(qkv), data(layer.qkv_bias), data(layer.q_norm), data(layer.k_norm),
              in.there(in.positions), data<float>(rope_.cos), data<float>(rope_.sin), keys, values, in.there(in.slots),
              n, c_.heads, c_.kv_heads, c_.head_dim, eps},
             type, stream);
      k.attention({data(qkv), all, keys, values, in.there<AttentionTask>(in.tasks), in.there(in.task_count),
                   in.there<AttentionMember>(in.members), in.there(in.table_data), in.there(in.seen),
                   in.there(in.first_slot), data<float>(partials_), data(attended_), n, c_.heads, c_.kv_heads,
                   c_.head_dim, 1 / std::sqrt(static_cast<float>(c_.head_dim))},
                  type, stream);
      b_->multiply(out, attended, layer.o);
      norm(layer.norm2, true);
      b_->multiply(gate_up, h, layer.gate_up);
      k.swiglu({data(gate_up), data(active), n, c_.intermediate}, type, stream);
      b_->multiply(out, active, layer.down);
    }
    norm(model.norm, true);
  }

  void replay(const std::shared_ptr<DeviceModel> &model, const DeviceBlocks &kv, const Inputs &in, int64_t n) {
    Graph &g = graphs_[{model.get(), n}];
    if (g.model.lock() != model) {  // another model was here before, at this address
      if (g.ready) b_->kernels->forget(g.ready);
      g = {model};
    }
    // The first step runs as it is: libraries set themselves up, and their workspaces for this stream stay.
    if (++g.uses == 1 || g.refused) return issue(model->tensors(), kv, in, n);
    if (!g.ready) {
      const uint64_t before = b_->allocations();
      b_->kernels->record(b_->raw_stream);
      issue(model->tensors(), kv, in, n);
      g.ready = b_->kernels->finish(b_->raw_stream);
      // Memory that a captured step took would belong to others by the time it is replayed.
      if (!g.ready || b_->allocations() != before) {
        if (g.ready) b_->kernels->forget(g.ready);
        g.ready = nullptr;
        g.refused = true;
        return issue(model->tensors(), kv, in, n);
      }
    }
    b_->kernels->replay(g.ready, b_->raw_stream);
  }

  // Logits of rows of the last run.
  void head(const Version &weights, const std::vector<int32_t> &rows) {
    const auto n = static_cast<int64_t>(rows.size());
    bool in_order = true;
    for (size_t i = 0; i < rows.size(); ++i) in_order = in_order && rows[i] == static_cast<int32_t>(i);
    const at::Tensor states = in_order ? h_.narrow(0, 0, n) : at::index_select(h_, 0, b_->upload(rows));
    const auto &model = static_cast<const DeviceModel &>(*weights.placed);
    b_->multiply_floats(logits_.narrow(0, 0, n), states, model.tensors().head);
  }

  at::Tensor bytes(const void *from, size_t n) const {
    at::Tensor out = b_->make({static_cast<int64_t>(n)}, at::kByte);
    out.copy_(at::from_blob(const_cast<void *>(from), out.sizes(), at::kByte));
    return out;
  }

  const BackendPtr b_;
  const Config c_;
  const int max_rows_, members_, parallel_;
  const RopeTables rope_;
  at::Tensor x_, h_, out_, qkv_, attended_, gate_up_, active_, partials_, logits_;
  std::map<int64_t, std::unique_ptr<Inputs>> inputs_;  // by rows
  std::map<std::pair<const DeviceModel *, int64_t>, Graph> graphs_;
  uint64_t next_pool_ = 0;
};

}  // namespace

std::unique_ptr<Compute> make_compute(BackendPtr backend) {
  return std::make_unique<DeviceCompute>(std::move(backend));
}

}  // namespace gcop::guide_torch::device
