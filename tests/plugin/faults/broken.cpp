// One fault a build, chosen by FAULT: what a loader meets in the field.
#include <gcop/plugin.h>

#include <cstdio>
#include <stdexcept>

#include <unistd.h>

namespace {

enum Fault { kOtherAbi, kRefuses, kShortDescriptor, kNoQuery, kThrows, kFails, kFailsSilently, kHangs, kDestroyThrows };
constexpr Fault kFault = FAULT;

struct Nothing {
} nothing;

gcop_instance *create(const gcop_host *, gcop_str, gcop_error *error) {
  switch (kFault) {
    case kThrows: throw std::runtime_error("no such tokenizer");
    case kFails:
      error->code = GCOP_INVALID;
      std::snprintf(error->message, sizeof error->message, "config field 'file' is missing; add it");
      return nullptr;
    case kFailsSilently: return nullptr;
    case kHangs:
      for (;;) pause();
    default: return reinterpret_cast<gcop_instance *>(&nothing);
  }
}

void destroy(gcop_instance *) {
  if (kFault == kDestroyThrows) throw 7;
}

const void *query(gcop_instance *, const char *) { return nullptr; }

const gcop_plugin descriptor = {kFault == kShortDescriptor ? 16u : uint32_t{sizeof(gcop_plugin)},
                                GCOP_ABI_MAJOR,
                                static_cast<uint16_t>(GCOP_ABI_MINOR + (kFault == kOtherAbi ? 6u : 0u)),
                                "test.broken",
                                "1.0.0",
                                "a fault",
                                "{}",
                                create,
                                destroy,
                                kFault == kNoQuery ? nullptr : query};

}  // namespace

GCOP_EXPORT const gcop_plugin *gcop_plugin_entry(uint32_t, uint32_t) {
  return kFault == kRefuses ? nullptr : &descriptor;
}
