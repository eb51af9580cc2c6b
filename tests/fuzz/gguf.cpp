// A .gguf file: header, configuration, tensors of every encoding, tokenizer.
#include "model.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const fuzz::Bounds bounds(size, 1 << 18, 64);
  fuzz::check_model(gcop::guide_torch::ModelFile::parse("fuzz.gguf", std::span(data, size)));
  return 0;
}
