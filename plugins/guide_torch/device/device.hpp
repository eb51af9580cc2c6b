// A device to compute on: "cuda" through libtorch_cuda.so and libguide_torch_cuda.so, or "cpu_reference", the same path
// over ATen's CPU tensors and reference.cpp, for tests. All of it is in libguide_torch_device.so, which is opened when
// a device is asked for: nothing else needs LibTorch. No torch types here.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "../compute.hpp"
#include "../learner.hpp"
#include "../lora.hpp"

namespace gcop::guide_torch::device {

struct DeviceOptions {
  std::string kind;  // "cuda" or "cpu_reference"
  bool bf16 = true;  // weights, activations, keys and values; else fp32
  Config config;
  int64_t context = 0;
  int max_batch = 0;
};

class Device {
 public:
  // Unsupported, with the remedy, where the driver, LibTorch's CUDA half, the kernels or the device are missing.
  static Result<std::shared_ptr<Device>> open(const DeviceOptions &options);
  virtual ~Device() = default;

  // What these give keeps the device alive.
  // `lora`: null, or what versions have an adapter of. What is passed by reference outlives what is given.
  virtual Place place(const Layout &layout, const Lora *lora, Crew &crew) = 0;  // of Weights::use_device
  virtual std::unique_ptr<Compute> compute() = 0;
  virtual std::unique_ptr<Learner> learner(const Layout &layout, const Lora *lora) = 0;
  virtual size_t free_bytes() const = 0;  // of its memory, now; 0: the host's
  virtual const std::string &name() const = 0;
};

}  // namespace gcop::guide_torch::device
