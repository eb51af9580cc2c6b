#include "library.hpp"

#include <dlfcn.h>

#include <filesystem>

namespace gcop::guide_torch::device {

namespace {

std::filesystem::path own_folder() {
  Dl_info info{};
  static const char here = 0;
  if (!dladdr(&here, &info) || !info.dli_fname) return ".";
  return std::filesystem::absolute(info.dli_fname).parent_path();
}

}  // namespace

Library open_beside(const std::string &file) {
  Library library;
  for (const std::filesystem::path &folder : {own_folder(), own_folder() / "plugins"}) {
    const std::filesystem::path path = folder / file;
    if (!std::filesystem::exists(path)) continue;
    library.handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (library.handle) break;
    const char *why = dlerror();
    library.why = why ? why : "unknown";
  }
  return library;
}

Result<std::shared_ptr<Device>> Device::open(const DeviceOptions &o) {
  const auto missing = [&](const std::string &what) {
    return Error{Code::unsupported, "device \"" + o.kind + "\": " + what, {}};
  };
  const Library library = open_beside("libguide_torch_device.so");
  if (!library.handle)
    return missing(library.why.empty()
                       ? "this build has no libguide_torch_device.so, since there was no NVIDIA driver when it was "
                         "made; call ./dev build on a machine with one, or use device \"cpu\""
                       : "libguide_torch_device.so does not load: " + library.why);
  const auto entry = reinterpret_cast<DeviceEntry>(dlsym(library.handle, kDeviceEntry));
  if (!entry) return missing("libguide_torch_device.so belongs to another build of gcop; build it again");
  Result<std::shared_ptr<Device>> device = std::shared_ptr<Device>();
  entry(&o, &device);
  return device;
}

}  // namespace gcop::guide_torch::device
