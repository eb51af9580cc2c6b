// The inputs that fuzzing starts from are good ones: a target that only ever refuses finds nothing.
#include "fault.hpp"
#include "files.hpp"
#include "json_read.hpp"
#include "tokenizer_json.hpp"

using namespace gcop::guide_torch;

namespace {

std::map<std::string, std::string> seeds(const std::string &target) {
  std::map<std::string, std::string> out;
  for (const auto &entry : fs::directory_iterator(std::string(GCOP_SOURCE_DIR) + "/tests/fuzz/seeds/" + target))
    out[entry.path().filename().string()] = read_file(entry.path().string());
  return out;
}

std::span<const uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t *>(text.data()), text.size()};
}

void check_weights(const gcop::Result<std::unique_ptr<ModelFile>> &file) {
  REQUIRE_MESSAGE(file, (file ? "" : file.error().message));
  for (const TensorSpec &spec : tensor_specs((*file)->config())) read_tensor(**file, spec.name);
  CHECK(Tokenizer::make((*file)->tokenizer()));
}

}  // namespace

TEST_CASE("fuzzing starts from models, tokenizers and templates that are read") {
  CHECK(seeds("gguf").size() == 15);
  for (const auto &[name, bytes] : seeds("gguf")) {
    CAPTURE(name);
    check_weights(ModelFile::parse(name, bytes_of(bytes)));
  }
  for (const auto &[name, bytes] : seeds("safetensors")) {
    CAPTURE(name);
    size_t index = bytes.find('\0') + 1, weights = bytes.find('\0', index) + 1;
    std::string config = bytes.substr(0, index - 1), map = bytes.substr(index, weights - 1 - index);
    std::string tokenizer = write_tokenizer_json({{"a", "b"}, {}, {}, {}}).dump();
    std::map<std::string, std::span<const uint8_t>> files = {{"config.json", bytes_of(config)},
                                                             {"tokenizer.json", bytes_of(tokenizer)}};
    if (!map.empty()) files["model.safetensors.index.json"] = bytes_of(map);
    files[map.empty() ? "model.safetensors" : "a.safetensors"] = bytes_of(bytes).subspan(weights);
    check_weights(ModelFile::parse(name, files));
  }
  for (const auto &[name, bytes] : seeds("tokenizer_json")) {
    CAPTURE(name);
    auto read =
        guarded(name, [&] { return read_tokenizer_json(parse_json(bytes.substr(0, bytes.find('\0')), name), name); });
    REQUIRE_MESSAGE(read, (read ? "" : read.error().message));
    CHECK(Tokenizer::make(*read));
  }
  for (const auto &[name, bytes] : seeds("template")) {
    CAPTURE(name);
    auto made = ChatTemplate::parse(bytes.substr(0, bytes.find('\0')), "<s>", "</s>");
    REQUIRE_MESSAGE(made, (made ? "" : made.error().message));
    auto text = made->render({{"system", "s"}, {"user", "u"}, {"assistant", "<think>\n</think>\na"}}, true);
    CHECK((name == "refuse") == !text);
  }
}
