// Libraries that lie beside the object this code is in (or in plugins/ there) and are opened when they are first
// needed.
#pragma once
#include <string>

#include "base/result.hpp"
#include "device.hpp"

namespace gcop::guide_torch::device {

struct Library {
  void *handle = nullptr;  // null: not there, or `why` it does not load
  std::string why;
};
// Stays loaded until the process ends.
Library open_beside(const std::string &file);

// The one symbol of libguide_torch_device.so. Both sides are of one build; the number changes where that could be
// mistaken.
constexpr char kDeviceEntry[] = "gcop_guide_device_1";
using DeviceEntry = void (*)(const DeviceOptions *options, Result<std::shared_ptr<Device>> *out);

}  // namespace gcop::guide_torch::device
