// A model directory: config.json NUL index NUL weights. Without an index the weights are model.safetensors, with one
// they are a.safetensors. The tokenizer is always the same small one; tokenizer_json fuzzes that.
#include "model.hpp"

namespace {

constexpr std::string_view kTokenizer =
    R"({"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"use_regex":false},)"
    R"("model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}})";

std::span<const uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t *>(text.data()), text.size()};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const fuzz::Bounds bounds(size, 1 << 18, 64);
  const auto parts = fuzz::parts_of({data, size}, 3);
  std::map<std::string, std::span<const uint8_t>> files = {{"config.json", parts[0]},
                                                           {"tokenizer.json", bytes_of(kTokenizer)}};
  if (!parts[1].empty()) files["model.safetensors.index.json"] = parts[1];
  files[parts[1].empty() ? "model.safetensors" : "a.safetensors"] = parts[2];
  fuzz::check_model(gcop::guide_torch::ModelFile::parse("fuzz", files));
  return 0;
}
