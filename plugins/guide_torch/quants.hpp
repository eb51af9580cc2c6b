// ggml's tensor encodings that the supported GGUF files use, and their conversion to fp32. Pure functions, any thread.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace gcop::guide_torch {

// How many values one block holds and how many bytes it takes. A row is a whole number of blocks.
struct Encoding {
  uint32_t ggml_type;
  const char *name;
  size_t values, bytes;
  void (*decode)(const uint8_t *blocks, float *out, size_t n);  // n is a multiple of values; no alignment needed
};

const Encoding *find_encoding(uint32_t ggml_type);  // nullptr = not supported
std::string encoding_names();                       // "F32, F16, ...", for messages
const Encoding &f32_encoding();
const Encoding &f16_encoding();
const Encoding &bf16_encoding();

bool all_finite(const float *values, size_t n);

float half_to_float(uint16_t bits);
uint16_t float_to_bf16(float value);  // nearest, ties to even; NaN stays NaN

}  // namespace gcop::guide_torch
