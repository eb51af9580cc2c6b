// One optimizer step on a device: micro-batches one after another, the gradient's norm, AdamW on fp32 parameters, whose
// rounded copies are the very memory that is sampled from. With an adapter, gradients and moments are its alone, and
// its product is added to the base into that memory.
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
  DeviceLearner(BackendPtr backend, const Layout &layout, const Lora *lora)
      : b_(std::move(backend)),
        model_layout_(layout),
        lora_(lora),
        host_(lora ? lora->layout() : layout),
        layout_(lora ? DeviceLayout(host_) : DeviceLayout(b_->config, host_)),
        rope_(*b_) {}

  Result<TrainStats> step(const Version &version, const gcop_train_request &r,
                          const std::function<bool()> &cancelled) override {
    const Result<size_t> masked = check_request(r, b_->config.vocab, b_->context);
    if (!masked) return masked.error();
    const Scope scope(*b_);
    auto &model = static_cast<DeviceModel &>(*version.placed);
    const TrainedTensors &trained = model.trained(version);
    if (lora_) make_base(version);
    const auto count = static_cast<int64_t>(layout_.count);
    if (!gradients_.defined()) gradients_ = b_->floats({count});
    gradients_.zero_();
    const Gradients gradients = lora_ ? Gradients(b_->config, model_layout_, *lora_, layout_, trained.work, gradients_)
                                      : Gradients(b_->config, model_layout_, layout_, gradients_);

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
    update(trained, clip_scale(norm, r), *r.optimizer);
    if (lora_) merge(model, trained.master);
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
    layout_.download(first_, first);
    layout_.download(second_, second);
    return write_moments(path, host_, &first, &second, step_);
  }

  Result<> read_optimizer(const std::string &path) override {
    Result<Moments> read = read_moments(path, host_);
    if (!read) return read.error();
    reset_optimizer();
    if (read->step == 0) return Unit{};
    const Scope scope(*b_);
    make_moments();
    layout_.upload(*read->first, first_);
    layout_.upload(*read->second, second_);
    step_ = read->step;
    return Unit{};
  }

 private:
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

  // The fp32 matrices that the adapter adds to, one after another. Kept until another base is trained on.
  void make_base(const Version &version) {
    if (base_of_.lock() == version.base) return;
    base_of_.reset();
    base_ = at::Tensor();
    int64_t all = 0;
    for (const Lora::Target &t : lora_->targets()) all += count(t);
    base_ = b_->floats({all});
    int64_t done = 0;
    for (const Lora::Target &t : lora_->targets()) {
      const float *const from = version.base->data() + model_layout_.parameters[t.matrix].offset;
      base_.narrow(0, done, count(t)).copy_(at::from_blob(const_cast<float *>(from), {count(t)}, at::kFloat));
      done += count(t);
    }
    base_of_ = version.base;
  }
  int64_t count(const Lora::Target &t) const { return static_cast<int64_t>(model_layout_.parameters[t.matrix].count); }

  // Into what is sampled from.
  void merge(const DeviceModel &model, const at::Tensor &adapter) const {
    const float *base = data<float>(base_);
    for (const Lora::Target &t : lora_->targets()) {
      const Parameter &w = model_layout_.parameters[t.matrix];
      b_->kernels->merge({base, data<float>(layout_.part(adapter, t.a)), data<float>(layout_.part(adapter, t.b)),
                          data(model.layout().part(model.work(), t.matrix)), w.shape[0], w.shape[1],
                          lora_->settings().rank, lora_->scale()},
                         b_->type, b_->raw_stream);
      base += count(t);
    }
  }

  void update(const TrainedTensors &trained, double scale, const gcop_optimizer_options &o) {
    if (!first_.defined()) make_moments();
    ++step_;
    const auto t = static_cast<double>(step_);
    AdamArgs a{};
    a.scale = static_cast<float>(scale), a.beta1 = o.beta1, a.beta2 = o.beta2, a.eps = o.eps;
    a.rate = static_cast<float>(o.lr / (1 - std::pow(static_cast<double>(o.beta1), t)));
    a.unbias = static_cast<float>(1 / std::sqrt(1 - std::pow(static_cast<double>(o.beta2), t)));
    const bool copies = b_->type == Type::bf16;
    for (size_t i = 0; i < layout_.pieces.size(); ++i) {
      a.weights = data<float>(layout_.part(trained.master, i));
      a.first = data<float>(layout_.part(first_, i)), a.second = data<float>(layout_.part(second_, i));
      a.gradients = data<float>(layout_.part(gradients_, i));
      a.rounded = copies ? data(layout_.part(trained.work, i)) : nullptr;
      a.count = static_cast<int64_t>(layout_.pieces[i].count);
      a.keep = layout_.pieces[i].matrix ? 1 - o.lr * o.weight_decay : 1;
      b_->kernels->adam(a, b_->type, b_->raw_stream);
    }
  }

  const BackendPtr b_;
  const Layout &model_layout_;
  const Lora *const lora_;
  const Layout &host_;         // of what is trained: the model, or its adapter
  const DeviceLayout layout_;  // of the same
  const RopeTables rope_;
  at::Tensor gradients_, first_, second_, base_;
  std::weak_ptr<const Arena> base_of_;
  uint64_t step_ = 0;
};

}  // namespace

std::unique_ptr<Learner> make_learner(BackendPtr backend, const Layout &layout, const Lora *lora) {
  return std::make_unique<DeviceLearner>(std::move(backend), layout, lora);
}

}  // namespace gcop::guide_torch::device
