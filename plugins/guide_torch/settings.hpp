// What a guide or core is made with: create()'s JSON, checked. Pure functions, any thread.
#pragma once
#include <cstdint>
#include <string>

#include "base/result.hpp"
#include "chat_template.hpp"
#include "lora.hpp"

namespace gcop::guide_torch {

extern const char *const kConfigSchema;

// create()'s config, checked. Defaults: kConfigSchema.
struct Settings {
  std::string model, random, name, role = "guide", compute, device = "cpu";  // compute: "" = what suits
  LoraSettings lora;
  TemplateVariables variables;  // for the chat template
  int64_t context = 0, max_batch = 64, threads = 0;
  uint64_t kv_bytes = 0, seed = 0;
  bool prefix_reuse = true, training = true;
};
Result<Settings> parse_settings(const std::string &json);

}  // namespace gcop::guide_torch
