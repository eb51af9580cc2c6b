// One optimizer step on a device: micro-batches one after another, the gradient's norm, AdamW on fp32 parameters, whose
// rounded copies are the very memory that is sampled from.
#include <ATen/ops/from_blob.h>
#include <c10/core/CachingDeviceAllocator.h>

#include <algorithm>
#include <cmath>

#include "../adamw.hpp"
#include "backward.hpp"

namespace gcop::guide_torch::device {

namespace {

class DeviceLearner : public Learner {
 public:
  DeviceLearner(BackendPtr backend, const Layout &layout)
      : b_(std::move(backend)), host_(layout), layout_(b_->config, layout), rope_(*b_) {}

  Result<TrainStats> step(const Version &version, const gcop_train_request &r,
                          const std::function<bool()> &cancelled) override {
    const Result<size_t> masked = check_request(r, b_->config.vocab, b_->context);
    if (!masked) return masked.error();
    const Scope scope(*b_);
    auto &model = static_cast<DeviceModel &>(*version.placed);
    const at::Tensor master = model.master(*version.arena);
    const auto count = static_cast<int64_t>(layout_.count);
    if (!gradients_.defined()) gradients_ = b_->floats({count});
    gradients_.zero_();
    ModelTensors gradients(b_->config, host_, layout_, gradients_);

    const LossScale scale{r.n, *masked};
    LossSums sums;
    for (size_t first = 0, last; first < r.n; first = last) {
      if (cancelled()) return Error{Code::cancelled, "cancelled by the host; the weights are unchanged", {}};
      uint64_t rows = r.offsets[first + 1] - r.offsets[first];
      for (last = first + 1; last < r.n; ++last) {
        const uint64_t more = r.offsets[last + 1] - r.offsets[last] - shared_start(r, last - 1);
        if (rows + more > micro_rows()) break;
        rows += more;
      }
      MicroBatch batch(*b_, rope_, model.tensors(), gradients, {kept_layers(rows), logit_rows()});
      batch.run(r, first, last, scale, sums);
      b_->check();
      if (!std::isfinite(sums.loss))
        return Error{Code::invalid,
                     "the loss is " + std::to_string(sums.loss) +
                         ": the weights have diverged, or a ratio to old_logprobs or ref_logprobs is too large; the "
                         "weights are unchanged",
                     {}};
    }
    const double norm = gradient_norm();
    if (!std::isfinite(norm))
      return Error{Code::invalid, "the gradient's norm is no finite number; the weights are unchanged", {}};
    update(model, master, clip_scale(norm, r), *r.optimizer);
    model.changed();
    b_->check();
    return train_stats(sums, r, *masked, norm);
  }

  void reset_optimizer() override {
    first_ = second_ = at::Tensor();
    step_ = 0;
  }

  Result<> write_optimizer(const std::string &path) override {
    if (step_ == 0) return write_moments(path, host_, nullptr, nullptr, 0);
    const Scope scope(*b_);
    Arena first(host_.floats), second(host_.floats);
    for (const auto &[arena, tensor] : {std::pair(&first, &first_), std::pair(&second, &second_)})
      for (const DeviceLayout::Piece &p : layout_.pieces) host_part(*arena, p).copy_(part(*tensor, p));
    return write_moments(path, host_, &first, &second, step_);
  }

  Result<> read_optimizer(const std::string &path) override {
    Result<Moments> read = read_moments(path, host_);
    if (!read) return read.error();
    reset_optimizer();
    if (read->step == 0) return Unit{};
    const Scope scope(*b_);
    make_moments();
    for (const auto &[arena, tensor] : {std::pair(read->first.get(), &first_), std::pair(read->second.get(), &second_)})
      for (const DeviceLayout::Piece &p : layout_.pieces) part(*tensor, p).copy_(host_part(*arena, p));
    step_ = read->step;
    return Unit{};
  }

 private:
  static at::Tensor host_part(const Arena &arena, const DeviceLayout::Piece &p) {
    return at::from_blob(arena.data() + p.host_offset, {static_cast<int64_t>(p.count)}, at::kFloat);
  }
  static at::Tensor part(const at::Tensor &flat, const DeviceLayout::Piece &p) {
    return flat.narrow(0, static_cast<int64_t>(p.offset), static_cast<int64_t>(p.count));
  }
  uint64_t micro_rows() const { return b_->host() ? 512 : 8192; }
  int64_t logit_rows() const { return b_->host() ? 64 : 2048; }

  // How many layers may keep their activations: what half of the free memory holds. On the host, half of them: both
  // ways are then taken.
  int64_t kept_layers(uint64_t rows) const {
    const Config &c = b_->config;
    if (b_->host()) return c.layers / 2;
    const int64_t q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
    const uint64_t row =
        static_cast<uint64_t>(2 * (2 * c.hidden + 2 * (q + 2 * kv) + 2 * kv + q + 3 * c.intermediate) + 8 * c.hidden);
    const size_t free = c10::getDeviceAllocator(b_->where.type())->getMemoryInfo(b_->where.index()).first;
    return std::min<int64_t>(c.layers, static_cast<int64_t>(free / 2 / (row * rows)));
  }

  double gradient_norm() const {
    constexpr int64_t kSlice = 65536;
    const int64_t n = gradients_.numel();
    const at::Tensor squares = b_->make({(n + kSlice - 1) / kSlice}, at::kDouble);
    b_->kernels->squares({data<float>(gradients_), data<double>(squares), n}, b_->type, b_->raw_stream);
    const at::Tensor here = squares.to(at::kCPU);
    double sum = 0;
    for (int64_t i = 0; i < here.numel(); ++i) sum += data<double>(here)[i];
    return std::sqrt(sum);
  }

  void make_moments() {
    const auto count = static_cast<int64_t>(layout_.count);
    first_ = b_->floats({count});
    second_ = b_->floats({count});
    first_.zero_();
    second_.zero_();
  }

  void update(const DeviceModel &model, const at::Tensor &master, double scale, const gcop_optimizer_options &o) {
    if (!first_.defined()) make_moments();
    ++step_;
    const auto t = static_cast<double>(step_);
    AdamArgs a{};
    a.scale = static_cast<float>(scale), a.beta1 = o.beta1, a.beta2 = o.beta2, a.eps = o.eps;
    a.rate = static_cast<float>(o.lr / (1 - std::pow(static_cast<double>(o.beta1), t)));
    a.unbias = static_cast<float>(1 / std::sqrt(1 - std::pow(static_cast<double>(o.beta2), t)));
    const bool copies = b_->type == Type::bf16;
    for (const DeviceLayout::Piece &p : layout_.pieces) {
      a.weights = data<float>(part(master, p));
      a.first = data<float>(part(first_, p)), a.second = data<float>(part(second_, p));
      a.gradients = data<float>(part(gradients_, p));
      a.rounded = copies ? data(part(model.work(), p)) : nullptr;
      a.count = static_cast<int64_t>(p.count);
      a.keep = p.matrix ? 1 - o.lr * o.weight_decay : 1;
      b_->kernels->adam(a, b_->type, b_->raw_stream);
    }
  }

  const BackendPtr b_;
  const Layout &host_;
  const DeviceLayout layout_;
  const RopeTables rope_;
  at::Tensor gradients_, first_, second_;
  uint64_t step_ = 0;
};

}  // namespace

std::unique_ptr<Learner> make_learner(BackendPtr backend, const Layout &layout) {
  return std::make_unique<DeviceLearner>(std::move(backend), layout);
}

}  // namespace gcop::guide_torch::device
