// The plugin's entry: descriptor, create, destroy, query.
#include <cstring>

#include "instance.hpp"

namespace gcop::guide_torch {

namespace {

gcop_instance *create(const gcop_host *, gcop_str config, gcop_error *error) {
  Error failed;
  try {
    const Result<Settings> settings = parse_settings(text(config));
    if (settings) {
      Result<std::unique_ptr<Instance>> made = Instance::make(*settings);
      if (made) return reinterpret_cast<gcop_instance *>(made->release());
      failed = made.error();
    } else {
      failed = settings.error();
    }
  } catch (...) {
    failed = current_exception_error();
  }
  write_error(error, static_cast<gcop_status>(failed.code), failed.message);
  return nullptr;
}

void destroy(gcop_instance *raw) { delete reinterpret_cast<Instance *>(raw); }

const void *query(gcop_instance *raw, const char *id) {
  Instance &instance = from(raw);
  if (!std::strcmp(id, GCOP_CORE)) return &instance.core;
  if (!std::strcmp(id, GCOP_EMBEDDER)) return &instance.embedder;
  if (!std::strcmp(id, GCOP_GUIDE) && instance.role() == "guide") return &instance.guide;
  return nullptr;
}

}  // namespace
}  // namespace gcop::guide_torch

extern "C" GCOP_EXPORT const gcop_plugin *gcop_plugin_entry(uint32_t host_major, uint32_t host_minor) {
  using namespace gcop::guide_torch;
  static const gcop_plugin descriptor = {
      sizeof(gcop_plugin),
      GCOP_ABI_MAJOR,
      GCOP_ABI_MINOR,
      "gcop.guide_torch",
      kVersion,
      "local guide, core and embedder: Llama, Qwen2 and Qwen3 models on the CPU, or on a GPU through LibTorch",
      kConfigSchema,
      create,
      destroy,
      query};
  return host_major == GCOP_ABI_MAJOR && host_minor == GCOP_ABI_MINOR ? &descriptor : nullptr;
}
