#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>

#include <filesystem>

#include "backend.hpp"
#include "library.hpp"

namespace gcop::guide_torch::device {

namespace {

Error missing(const std::string &what) { return Error{Code::unsupported, "device \"cuda\": " + what, {}}; }

std::string last_error() {
  const char *why = dlerror();
  return why ? why : "unknown";
}

Result<const KernelTable *> open_kernels() {
  const Library library = open_beside("libguide_torch_cuda.so");
  if (!library.handle)
    return missing(library.why.empty() ? "this build has no libguide_torch_cuda.so; install the CUDA toolkit 13 (nvcc) "
                                         "and build gcop again, or use device \"cpu\""
                                       : "libguide_torch_cuda.so does not load: " + library.why);
  const auto entry = reinterpret_cast<gcop_guide_cuda_entry>(dlsym(library.handle, "gcop_guide_cuda"));
  const KernelTable *table = entry ? entry() : nullptr;
  if (!table || table->version != kTableVersion)
    return missing("libguide_torch_cuda.so belongs to another build of gcop; build it again");
  return table;
}

// Both libraries, then a device; in the order in which their absence is cheapest to explain.
Result<const KernelTable *> open_cuda() {
  const Result<const KernelTable *> kernels = open_kernels();
  if (!kernels) return kernels;
  if (!std::filesystem::exists("/proc/driver/nvidia/version") && !std::filesystem::exists("/dev/nvidiactl"))
    return missing("no NVIDIA driver is loaded on this machine; use device \"cpu\"");
  // Global: its kernels register with the ATen that is already here.
  if (!dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE))
    return missing("libtorch_cuda.so does not load (" + last_error() +
                   "); install the whole torch 2.11.0 wheel with its CUDA packages and set GCOP_TORCH_DIR to it");
  if (!at::globalContext().hasCUDA() || at::detail::getCUDAHooks().getNumGPUs() < 1)
    return missing("LibTorch's CUDA half is here but finds no device; look at nvidia-smi and CUDA_VISIBLE_DEVICES");
  return kernels;
}

class AtenDevice : public Device, public std::enable_shared_from_this<AtenDevice> {
 public:
  AtenDevice(BackendPtr backend, std::string name) : backend_(std::move(backend)), name_(std::move(name)) {}
  Place place(const Layout &layout, const Lora *lora, Crew &crew) override {
    return [backend = backend_, &layout, lora, &crew](const Arena &arena) -> std::shared_ptr<Placed> {
      return std::make_shared<DeviceModel>(backend, layout, lora, crew, arena);
    };
  }
  std::unique_ptr<Compute> compute() override { return make_compute(backend_); }
  std::unique_ptr<Learner> learner(const Layout &layout, const Lora *lora) override {
    return make_learner(backend_, layout, lora);
  }
  size_t free_bytes() const override {
    if (backend_->host()) return 0;
    return c10::getDeviceAllocator(backend_->where.type())->getMemoryInfo(backend_->where.index()).first;
  }
  const std::string &name() const override { return name_; }

 private:
  const BackendPtr backend_;
  const std::string name_;
};

Result<std::shared_ptr<Device>> open(const DeviceOptions &o) {
  const Config &c = o.config;
  if (c.heads % c.kv_heads != 0 || c.heads / c.kv_heads > kTaskQueries || c.head_dim > kWidestHead)
    return Error{Code::unsupported,
                 "device \"" + o.kind + "\": at most " + std::to_string(kTaskQueries) +
                     " query heads may share a key/value head, of at most " + std::to_string(kWidestHead) +
                     " dimensions; use device \"cpu\"",
                 {}};
  auto backend = std::make_shared<Backend>(Backend{c, at::Device(at::kCPU), o.bf16 ? at::kBFloat16 : at::kFloat,
                                                   o.bf16 ? Type::bf16 : Type::f32, &reference_kernels(), std::nullopt,
                                                   nullptr, o.context, o.max_batch, 8});
  if (o.kind == "cpu_reference") return std::shared_ptr<Device>(new AtenDevice(backend, "cpu_reference"));
  const Result<const KernelTable *> kernels = open_cuda();
  if (!kernels) return kernels.error();
  try {
    backend->where = at::Device(at::kCUDA, 0);
    at::globalContext().lazyInitDevice(at::kCUDA);
    const c10::impl::VirtualGuardImpl guard(at::kCUDA);
    // Of its own: the default stream waits for others, and cannot be captured.
    backend->stream = guard.getStreamFromGlobalPool(backend->where, true);
    backend->raw_stream = guard.getStreamNativeHandle(*backend->stream);
    backend->kernels = *kernels;
    backend->processors = 132;  // of an H100; only the cutting of work depends on it
  } catch (const std::exception &e) {
    return missing(std::string("the device cannot be used: ") + e.what());
  }
  return std::shared_ptr<Device>(new AtenDevice(backend, "cuda:0"));
}

}  // namespace

}  // namespace gcop::guide_torch::device

extern "C" __attribute__((visibility("default"))) void gcop_guide_device_1(
    const gcop::guide_torch::device::DeviceOptions *options,
    gcop::Result<std::shared_ptr<gcop::guide_torch::device::Device>> *out) {
  *out = gcop::guide_torch::device::open(*options);
}
