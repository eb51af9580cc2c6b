#include <sys/stat.h>

#include "files.hpp"
#include "safetensors.hpp"

using namespace gcop::guide_torch;

namespace {

struct Model {
  Config config;
  std::map<std::string, std::vector<float>> weights;
};

Model save_tiny(const std::string &dir, const std::string &arch, StoredAs stored_as = StoredAs::f32) {
  Model model{tiny_config(arch), tiny_weights(tiny_config(arch))};
  auto ok = write_hf_dir(dir, model.config, make_byte_tokenizer(), "{{ messages[0].content }}",
                         as_tensors(model.config, model.weights), stored_as);
  REQUIRE_MESSAGE(ok, (ok ? "" : ok.error().message));
  return model;
}

std::string safetensors(const std::string &header, const std::string &data) {
  return GgufBuilder::raw<uint64_t>(header.size()) + header + data;
}

void change_json(const std::string &path, const Json &patch) {
  Json json = Json::parse(read_file(path));
  json.merge_patch(patch);
  write_file(path, json.dump());
}

}  // namespace

TEST_CASE("a directory that was written is read back bit for bit") {
  TempFolder folder;
  for (const char *arch : {"llama", "qwen2", "qwen3"}) {
    CAPTURE(arch);
    Model model = save_tiny(folder / arch, arch);
    auto file = ModelFile::open(folder / arch);
    REQUIRE_MESSAGE(file, (file ? "" : file.error().message));
    const Config &c = (*file)->config();
    CHECK(c.arch == arch);
    CHECK(c.head_dim == 4);
    CHECK(c.rope.theta == 5000);
    CHECK(c.rms_eps == 1e-5);
    CHECK(c.tied == model.config.tied);
    for (const auto &[name, values] : model.weights) CHECK(read_tensor(**file, name) == values);
    CHECK((*file)->chat_template() == "{{ messages[0].content }}");
    CHECK((*file)->tokenizer().tokens == make_byte_tokenizer().tokens);
    CHECK((*file)->tokenizer().eos == 258);
    CHECK((*file)->tokenizer().pad == 256);
    CHECK((*file)->tokenizer().stop_ids == std::vector<int32_t>{258, 256});
    auto tokenizer = Tokenizer::make((*file)->tokenizer());
    REQUIRE(tokenizer);
    CHECK((*tokenizer)->encode("x<|im_end|>") == std::vector<int32_t>{'x', 258});
    auto id = (*file)->identity();
    REQUIRE(id);
    CHECK(id->size() == 5 + 32);
    CHECK(id->starts_with("xxh3:"));
  }
}

TEST_CASE("a directory's identity changes with a weight and with the tokenizer, and with nothing else") {
  TempFolder folder;
  save_tiny(folder / "m", "llama", StoredAs::f32);
  const auto identity = [&] {
    auto file = ModelFile::open(folder / "m");
    REQUIRE(file);
    auto id = (*file)->identity();
    REQUIRE(id);
    return *id;
  };
  const std::string first = identity();
  write_file(folder / "m/README.md", "of no matter");
  CHECK(identity() == first);
  std::string weights = read_file(folder / "m/model.safetensors");
  weights[weights.size() - 4] = static_cast<char>(weights[weights.size() - 4] ^ 1);  // of a float's lowest bits
  write_file(folder / "m/model.safetensors", weights);
  const std::string second = identity();
  CHECK(second != first);
  std::string tokenizer = read_file(folder / "m/tokenizer.json");
  write_file(folder / "m/tokenizer.json", tokenizer + "\n");
  CHECK(identity() != second);
  write_file(folder / "m/tokenizer.json", tokenizer);
  CHECK(identity() == second);
}

TEST_CASE("weights stored as bf16 come back rounded") {
  TempFolder folder;
  Model model = save_tiny(folder / "m", "llama", StoredAs::bf16);
  auto file = ModelFile::open(folder / "m");
  REQUIRE(file);
  for (const auto &[name, values] : model.weights) {
    std::vector<float> got = read_tensor(**file, name);
    for (size_t i = 0; i < values.size(); ++i)
      if (!(std::abs(got[i] - values[i]) <= std::abs(values[i]) / 256)) FAIL(name << "[" << i << "]");
  }
}

TEST_CASE("a model in several files follows its index") {
  TempFolder folder;
  Model model = save_tiny(folder / "m", "qwen2");
  std::string dir = folder / "m";
  Json map = Json::object(), headers[2];
  std::string data[2];
  size_t i = 0;
  for (const TensorSpec &spec : tensor_specs(model.config)) {
    size_t part = i++ % 2;
    const auto &values = model.weights[spec.name];
    std::string bytes(reinterpret_cast<const char *>(values.data()), values.size() * 4);
    headers[part][spec.name] = {{"dtype", "F32"},
                                {"shape", spec.shape},
                                {"data_offsets", {data[part].size(), data[part].size() + bytes.size()}}};
    data[part] += bytes;
    map[spec.name] = "part-" + std::to_string(part) + ".safetensors";
  }
  for (size_t part : {0, 1})
    write_file(dir + "/part-" + std::to_string(part) + ".safetensors", safetensors(headers[part].dump(), data[part]));
  fs::remove(dir + "/model.safetensors");
  CHECK(why_not(dir).find("neither model.safetensors nor") != std::string::npos);
  REQUIRE(::mkfifo((dir + "/model.safetensors").c_str(), 0600) == 0);  // nobody writes into it
  CHECK(why_not(dir).find("is not a regular file") != std::string::npos);
  fs::remove(dir + "/model.safetensors");
  write_file(dir + "/model.safetensors.index.json", Json{{"weight_map", map}}.dump());
  auto file = ModelFile::open(dir);
  REQUIRE_MESSAGE(file, (file ? "" : file.error().message));
  for (const auto &[name, values] : model.weights) CHECK(read_tensor(**file, name) == values);

  map["model.norm.weight"] = "../elsewhere.safetensors";
  write_file(dir + "/model.safetensors.index.json", Json{{"weight_map", map}}.dump());
  CHECK(why_not(dir).find("same directory") != std::string::npos);
  map["model.norm.weight"] = "part-0.safetensors";
  map["model.embed_tokens.weight"] = "part-1.safetensors";
  write_file(dir + "/model.safetensors.index.json", Json{{"weight_map", map}}.dump());
  CHECK(why_not(dir).find("that the index promises") != std::string::npos);
}

TEST_CASE("configurations this project would run wrongly are refused by name") {
  TempFolder folder;
  save_tiny(folder / "m", "llama");
  std::string config = folder / "m/config.json", good = read_file(config);
  auto why = [&](const Json &patch) {
    write_file(config, good);
    change_json(config, patch);
    return why_not(folder / "m");
  };
  auto has = [](const std::string &text, const char *part) {
    CAPTURE(text);
    CHECK(text.find(part) != std::string::npos);
  };
  CHECK(why(Json::object()) == "");
  has(why({{"model_type", "mamba"}}), "'mamba'");
  has(why({{"model_type", "qwen3"}}), "q_norm.weight");
  has(why({{"rope_scaling", {{"rope_type", "llama3"}, {"factor", 8.0}}}}), "low_freq_factor");
  has(why({{"rope_scaling", {{"rope_type", "longrope"}, {"factor", 8.0}}}}), "'longrope'");
  has(why({{"rope_scaling", {{"type", "yarn"}, {"factor", 0.5}}}}), "factor is 0.5");
  has(why({{"rope_scaling", {{"type", "yarn"}}}}), "of type yarn lacks 'factor'");
  has(why({{"rope_scaling", {{"type", "yarn"}, {"factor", 4.0}, {"mscale", 1.0}}}}), "mscale");
  has(why({{"attention_bias", true}}), "attention_bias");
  has(why({{"hidden_act", "gelu"}}), "gelu");
  has(why({{"quantization_config", {{"bits", 4}}}}), "quantization_config");
  has(why({{"hidden_size", 16}}), "embed_tokens");
  has(why({{"hidden_size", "big"}}), "hidden_size");
  has(why({{"hidden_size", 18446744073709551615u}}), "hidden_size");
  has(why({{"num_hidden_layers", 100000}}), "layers");
  has(why({{"num_hidden_layers", nullptr}}), "num_hidden_layers");
  has(why({{"num_key_value_heads", 3}}), "heads");
  CHECK(why({{"rope_theta", nullptr}, {"rope_parameters", {{"rope_type", "default"}, {"rope_theta", 7000.0}}}}) == "");
  CHECK((*ModelFile::open(folder / "m"))->config().rope.theta == 7000);
  write_file(config, good.substr(0, good.size() / 2));
  has(why_not(folder / "m"), "config.json' is not valid JSON");
  write_file(config, good);
  fs::remove(folder / "m/tokenizer.json");
  has(why_not(folder / "m"), "no tokenizer.json");
}

TEST_CASE("chat template and end tokens are found wherever Hugging Face keeps them") {
  TempFolder folder;
  save_tiny(folder / "m", "llama");
  std::string config = folder / "m/tokenizer_config.json";
  change_json(config, {{"chat_template", Json::array({{{"name", "tool_use"}, {"template", "T"}},
                                                      {{"name", "default"}, {"template", "D"}}})},
                       {"eos_token", {{"content", "<|endoftext|>"}}}});
  change_json(folder / "m/generation_config.json", {{"eos_token_id", 65}});
  auto file = ModelFile::open(folder / "m");
  REQUIRE_MESSAGE(file, (file ? "" : file.error().message));
  CHECK((*file)->chat_template() == "D");
  CHECK((*file)->tokenizer().eos == 256);
  CHECK((*file)->tokenizer().stop_ids == std::vector<int32_t>{65, 258, 256});  // generation_config, config, eos_token
  write_file(folder / "m/chat_template.jinja", "J");
  CHECK((*ModelFile::open(folder / "m"))->chat_template() == "J");
  change_json(config, {{"eos_token", "<nope>"}});
  CHECK(why_not(folder / "m").find("<nope>") != std::string::npos);
}

TEST_CASE("safetensors that lie or are cut are refused in one sentence") {
  TempFolder folder;
  save_tiny(folder / "m", "llama");
  std::string path = folder / "m/model.safetensors", good = read_file(path);
  for (size_t size = 0; size < good.size(); size += size < 400 ? 13 : 211) {
    CAPTURE(size);
    write_file(path, good.substr(0, size));
    std::string why = why_not(folder / "m");
    CHECK(why.find("model.safetensors") != std::string::npos);
    CHECK(why.find('\n') == std::string::npos);
  }
  auto why = [&](const std::string &bytes) {
    write_file(path, bytes);
    return why_not(folder / "m");
  };
  auto has = [](const std::string &text, const char *part) {
    CAPTURE(text);
    CHECK(text.find(part) != std::string::npos);
  };
  has(why(GgufBuilder::raw<uint64_t>(UINT64_MAX) + "{}"), "claims 18446744073709551615");
  has(why(safetensors("[1]", "")), "no JSON object");
  has(why(safetensors("{nope", "")), "not valid JSON");
  has(why(safetensors(R"({"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}})", "12345678")), "I64");
  has(why(safetensors(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", "1234")),
      "its shape and type need 8");
  has(why(safetensors(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", "1234")), "truncated");
  has(why(safetensors(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[18446744073709551612,0]}})", "1234")),
      "truncated");
  has(why(safetensors(R"({"a":{"dtype":"F32","shape":[1099511627776,1099511627776],"data_offsets":[0,4]}})", "1234")),
      "impossible shape");
  has(why(safetensors(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", "1234")), "impossible shape");
  has(why(safetensors(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "1234")), "lacks the tensor");
  has(why(safetensors(R"({"a":7})", "")), "no object");
  has(why(safetensors(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                      R"("b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
                      "123456789012")),
      "share byte 4");
  has(why(safetensors(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "12345678")),
      "its tensors need 4 bytes");
  has(why(safetensors(std::string(1'000'000, '['), "")), "nests its JSON deeper");
}

TEST_CASE("JSON by a stranger nests only so deep, brackets inside its texts apart") {
  TempFolder folder;
  save_tiny(folder / "m", "llama");
  std::string config = folder / "m/config.json", good = read_file(config);
  // Reading lists of end tokens, normalizers and splits goes one call deeper for each bracket.
  std::string deep = std::string(1'000'000, '[') + std::string(1'000'000, ']');
  write_file(config, good.substr(0, good.rfind('}')) + ",\"eos_token_id\":" + deep + "}");
  CHECK(why_not(folder / "m").find("config.json' nests its JSON deeper than 100") != std::string::npos);
  change_json(folder / "m/tokenizer_config.json",
              {{"chat_template", std::string(500, '{') + "\"[\\" + std::string(500, '[')}});
  write_file(config, good);
  CHECK(why_not(folder / "m") == "");
}
