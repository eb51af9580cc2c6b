// What both model layouts are put through once they are open: every tensor decoded, the tokenizer used.
#pragma once
#include "fuzz.hpp"
#include "model_file.hpp"
#include "safetensors.hpp"

namespace fuzz {

inline void check_tokenizer(const gcop::guide_torch::Tokenizer &tokenizer, std::string_view text) {
  using gcop::guide_torch::valid_utf8;
  for (bool special : {true, false}) {
    std::vector<int32_t> ids;
    try {
      ids = tokenizer.encode(text, special);
    } catch (const std::runtime_error &) {
      return;  // a split pattern that PCRE2 gives up on, as the header says
    }
    for (int32_t id : ids) claim(id >= 0 && id < tokenizer.vocab(), "an id lies outside the vocabulary");
    const std::string decoded = tokenizer.decode(ids, !special), so_far = tokenizer.decode_so_far(ids);
    claim(valid_utf8(decoded, false) == decoded, "a decoded text is no UTF-8");
    claim(valid_utf8(so_far, false) == so_far, "a streamed text is no UTF-8");
    claim(tokenizer.decode(ids).starts_with(so_far), "a stream hands out what decoding takes back");
  }
}

inline void check_model(const gcop::Result<std::unique_ptr<gcop::guide_torch::ModelFile>> &opened) {
  using namespace gcop::guide_torch;
  if (!opened) return check_refusal(opened.error());
  const ModelFile &file = **opened;
  std::vector<float> values;
  for (const TensorSpec &spec : tensor_specs(file.config())) {
    claim(file.shape(spec.name) == spec.shape, "an open model lacks a tensor");
    values.resize(value_count(spec.shape));
    const gcop::Result<> read = file.read(spec.name, values.data(), values.size());
    if (!read) check_refusal(read.error());
  }
  const auto tokenizer = Tokenizer::make(file.tokenizer());
  if (!tokenizer) return check_refusal(tokenizer.error());
  check_tokenizer(**tokenizer, "It's 12 \xf0\x9f\x91\x8d\n  a\xff<|im_end|>");
}

}  // namespace fuzz
