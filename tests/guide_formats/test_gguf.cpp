#include <algorithm>
#include <cmath>

#include "files.hpp"
#include "utf8.hpp"

using namespace gcop::guide_torch;

namespace {

// llama.cpp's order of q and k rows: the two halves of each head interleaved.
std::vector<float> interleave(const std::vector<float> &rows, int64_t heads, int64_t head_dim, int64_t width) {
  std::vector<float> out;
  for (int64_t h = 0; h < heads; ++h)
    for (int64_t i = 0; i < head_dim / 2; ++i)
      for (int64_t half = 0; half < 2; ++half) {
        auto row = rows.begin() + (h * head_dim + half * head_dim / 2 + i) * width;
        out.insert(out.end(), row, row + width);
      }
  return out;
}

std::string open_bytes(const TempFolder &folder, const std::string &bytes) {
  write_file(folder / "m.gguf", bytes);
  return why_not(folder / "m.gguf");
}

}  // namespace

TEST_CASE("a GGUF gives configuration, tokenizer and weights under Hugging Face's names and in its layout") {
  TempFolder folder;
  for (const char *arch : {"llama", "qwen2", "qwen3"}) {
    CAPTURE(arch);
    Config c = tiny_config(arch);
    auto weights = tiny_weights(c), stored = weights;
    if (c.arch == "llama")
      for (auto &[name, values] : stored) {
        if (name.ends_with("q_proj.weight")) values = interleave(values, c.heads, c.head_dim, c.hidden);
        if (name.ends_with("k_proj.weight")) values = interleave(values, c.kv_heads, c.head_dim, c.hidden);
      }
    write_file(folder / "m.gguf", tiny_gguf(c, stored).bytes());
    auto file = ModelFile::open(folder / "m.gguf");
    REQUIRE_MESSAGE(file, (file ? "" : file.error().message));
    const Config &got = (*file)->config();
    CHECK(got.arch == c.arch);
    CHECK(got.vocab == 259);
    CHECK(got.hidden == 8);
    CHECK(got.layers == 2);
    CHECK(got.heads == 2);
    CHECK(got.kv_heads == 1);
    CHECK(got.head_dim == 4);
    CHECK(got.intermediate == 12);
    CHECK(got.context == 64);
    CHECK(got.rms_eps == doctest::Approx(1e-5));
    CHECK(got.rope.theta == 5000);
    CHECK(got.tied == c.tied);
    CHECK(got.qkv_bias == c.qkv_bias);
    CHECK(got.qk_norm == c.qk_norm);
    CHECK((*file)->has("lm_head.weight") == !c.tied);
    for (const TensorSpec &spec : tensor_specs(c)) {
      CAPTURE(spec.name);
      CHECK(read_tensor(**file, spec.name) == weights.at(spec.name));
    }
    float one = 0;
    CHECK_FALSE((*file)->read("model.norm.weight", &one, 1));
    CHECK_FALSE((*file)->read("nonsense", &one, 1));
    auto tokenizer = Tokenizer::make((*file)->tokenizer());
    REQUIRE(tokenizer);
    CHECK((*tokenizer)->encode("hi<|im_end|>") == std::vector<int32_t>{'h', 'i', 258});
    CHECK((*tokenizer)->is_stop(258));
    CHECK_FALSE((*file)->chat_template().empty());
  }
}

TEST_CASE("quantised tensors are decoded row by row, the llama row order undone") {
  TempFolder folder;
  Config c = tiny_config("llama");
  c.hidden = 32;
  c.head_dim = 16;
  auto weights = tiny_weights(c);
  GgufBuilder file = tiny_gguf(c, weights);
  // One tensor's entry and bytes are replaced: Q8_0 with scale 1, row r holding the value r everywhere.
  std::string rows;
  for (int r = 0; r < 32; ++r) rows += std::string("\x00\x3c", 2) + std::string(32, static_cast<char>(r));
  std::string bytes = file.bytes();
  size_t at = bytes.find("blk.1.attn_q.weight");
  REQUIRE(at != std::string::npos);
  // The name is followed by rank (4), two sizes (16), type (4), offset (8).
  size_t type_at = at + std::string("blk.1.attn_q.weight").size() + 4 + 16;
  uint64_t offset = 0;
  std::memcpy(&offset, bytes.data() + type_at + 4, 8);
  size_t data_at = bytes.size() - file.data.size() + offset;
  bytes.replace(type_at, 4, GgufBuilder::raw<uint32_t>(8));
  bytes.replace(data_at, rows.size(), rows);
  write_file(folder / "m.gguf", bytes);
  auto open = ModelFile::open(folder / "m.gguf");
  REQUIRE_MESSAGE(open, (open ? "" : open.error().message));
  std::vector<float> q = read_tensor(**open, "model.layers.1.self_attn.q_proj.weight");
  for (int r = 0; r < 32; ++r) {
    int in_head = r % 16, stored_at = r - in_head + 2 * (in_head % 8) + in_head / 8;
    CHECK(q[static_cast<size_t>(r) * 32] == stored_at);
    CHECK(q[static_cast<size_t>(r) * 32 + 31] == stored_at);
  }
}

TEST_CASE("a GGUF's rule for cutting words says how it tokenizes") {
  TempFolder folder;
  Config c = tiny_config("llama");
  auto words = [&](const std::string &pre) {
    GgufBuilder file = tiny_gguf(c, tiny_weights(c));
    TokenizerData bytes = make_byte_tokenizer();
    bytes.tokens[200] = "1234", bytes.tokens[201] = "123", bytes.tokens[202] = "x1";  // words no merge leads to
    file.put_texts("tokenizer.ggml.tokens", bytes.tokens);
    file.put_text("tokenizer.ggml.pre", pre);
    write_file(folder / "m.gguf", file.bytes());
    auto model = ModelFile::open(folder / "m.gguf");
    REQUIRE_MESSAGE(model, (model ? "" : model.error().message));
    CHECK((*model)->tokenizer().add_bos == (pre == "llama-bpe"));
    auto tokenizer = Tokenizer::make((*model)->tokenizer());
    REQUIRE(tokenizer);
    return (*tokenizer)->encode("x1234");
  };
  CHECK(words("llama-bpe") == std::vector<int32_t>{'x', 201, '4'});  // at most three digits, a known word taken whole
  for (const char *pre : {"gpt-2", "smollm", "qwen2"})
    CHECK(words(pre) == std::vector<int32_t>{'x', '1', '2', '3', '4'});
}

TEST_CASE("identity is the file's SHA-256 and changes with any weight") {
  TempFolder folder;
  Config c = tiny_config("qwen2");
  auto weights = tiny_weights(c);
  auto identity = [&] {
    write_file(folder / "m.gguf", tiny_gguf(c, weights).bytes());
    auto file = ModelFile::open(folder / "m.gguf");
    REQUIRE(file);
    auto id = (*file)->identity();
    REQUIRE(id);
    return *id;
  };
  std::string first = identity();
  CHECK(first.size() == 7 + 64);
  CHECK(first.starts_with("sha256:"));
  CHECK(identity() == first);
  weights["model.norm.weight"][3] += 1;
  CHECK(identity() != first);
}

TEST_CASE("a GGUF cut at any byte is refused in one sentence") {
  TempFolder folder;
  Config c = tiny_config("llama");
  std::string bytes = tiny_gguf(c, tiny_weights(c)).bytes();
  for (size_t size = 0; size < bytes.size(); size += size < 2000 ? 3 : 97) {
    CAPTURE(size);
    std::string why = open_bytes(folder, bytes.substr(0, size));
    CHECK(why.find("m.gguf") != std::string::npos);
    CHECK(why.find('\n') == std::string::npos);
  }
  CHECK(open_bytes(folder, bytes) == "");
}

TEST_CASE("a GGUF with changed bytes is refused or read, and nothing worse") {
  TempFolder folder;
  Config c = tiny_config("qwen2");
  const std::string good = tiny_gguf(c, tiny_weights(c)).bytes();
  size_t header = good.size() - tiny_gguf(c, tiny_weights(c)).data.size(), refused = 0;
  uint64_t state = 12345;
  auto draw = [&](uint64_t n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % n;
  };
  for (int round = 0; round < 1500; ++round) {
    std::string bytes = good;
    for (uint64_t k = draw(3); k < 3; ++k) bytes[draw(header)] = static_cast<char>(draw(2) ? draw(256) : 0xff);
    write_file(folder / "m.gguf", bytes);
    auto file = ModelFile::open(folder / "m.gguf");
    if (!file) {
      ++refused;
      CHECK_FALSE(file.error().message.empty());
    } else {
      for (const TensorSpec &spec : tensor_specs((*file)->config())) read_tensor(**file, spec.name);
      auto tokenizer = Tokenizer::make((*file)->tokenizer());
      if (tokenizer) (*tokenizer)->decode((*tokenizer)->encode("some text"));
    }
  }
  CHECK(refused > 300);
}

TEST_CASE("a lying header is refused before anything is allocated") {
  TempFolder folder;
  Config c = tiny_config("llama");
  auto weights = tiny_weights(c);
  auto why = [&](auto change) {
    GgufBuilder file = tiny_gguf(c, weights);
    change(file);
    return open_bytes(folder, file.bytes());
  };
  auto has = [](const std::string &text, const char *part) {
    CAPTURE(text);
    CHECK(text.find(part) != std::string::npos);
  };
  has(why([](GgufBuilder &f) {
        f.put("x", 9, GgufBuilder::raw<uint32_t>(4) + GgufBuilder::raw<uint64_t>(UINT64_MAX));
      }),
      "claims 18446744073709551615");
  has(why([](GgufBuilder &f) {
        f.put("x", 9, GgufBuilder::raw<uint32_t>(8) + GgufBuilder::raw<uint64_t>(uint64_t{1} << 60));
      }),
      "truncated or corrupt");
  has(why([](GgufBuilder &f) { f.put("x", 8, GgufBuilder::raw<uint64_t>(UINT64_MAX - 3)); }), "truncated or corrupt");
  has(why([](GgufBuilder &f) { f.put("x", 99, ""); }), "unknown type 99");
  has(why([](GgufBuilder &f) { f.put("x", 9, GgufBuilder::raw<uint32_t>(9) + GgufBuilder::raw<uint64_t>(1)); }),
      "unknown type 9");
  has(why([](GgufBuilder &f) { f.n_tensors = UINT64_MAX; }), "truncated or corrupt");
  has(why([](GgufBuilder &f) { f.floats("blk.0.attn_q.weight", {1}, {1}); }), "twice");
  has(why([](GgufBuilder &f) { f.floats("rope_freqs.weight", {1}, {1}); }), "rope_freqs.weight");
  has(why([](GgufBuilder &f) { f.floats("blk.0.attn_q.bias", {8}, std::vector<float>(8)); }), "q_proj.bias");
  has(why([](GgufBuilder &f) { f.tensor("big", {int64_t{1} << 40, int64_t{1} << 40}, 0, ""); }), "impossible shape");
  has(why([](GgufBuilder &f) { f.tensor("big", {1 << 20, 1 << 10}, 0, ""); }), "needs 4294967296 bytes");
  has(why([](GgufBuilder &f) { f.tensor("odd", {33}, 8, std::string(68, 'x')); }), "not a multiple");
  has(why([](GgufBuilder &f) { f.tensor("iq", {32}, 20, std::string(68, 'x')); }), "ggml type 20");
  has(why([](GgufBuilder &f) { f.put_u32("general.alignment", 24); }), "power of two");
  has(why([](GgufBuilder &f) { f.put_text("general.architecture", "mamba"); }), "'mamba'");
  has(why([](GgufBuilder &f) { f.put_u32("llama.attention.head_count", 0); }), "heads");
  has(why([](GgufBuilder &f) { f.put_u32("llama.attention.head_count", 4); }), "the configuration asks for");
  has(why([](GgufBuilder &f) { f.put_u32("llama.block_count", 4000000000u); }), "layers");
  has(why([](GgufBuilder &f) { f.put_u32("llama.block_count", 3); }), "lacks the tensor 'model.layers.2.");
  has(why([](GgufBuilder &f) { f.put_u32("llama.block_count", 1); }), "no place");
  has(why([](GgufBuilder &f) { f.put_text("llama.block_count", "two"); }), "should be an integer");
  has(why([](GgufBuilder &f) { f.put_text("llama.rope.scaling.type", "yarn"); }), "rope.scaling.factor");
  has(why([](GgufBuilder &f) { f.put_text("llama.rope.scaling.type", "longrope"); }), "'longrope'");
  has(why([](GgufBuilder &f) { f.floats("rope_freqs.weight", {2}, {3, 5}); }), "not those of Llama 3");
  has(why([](GgufBuilder &f) { f.values.erase("llama.context_length"); }), "llama.context_length");
  has(why([](GgufBuilder &f) { f.put_text("tokenizer.ggml.model", "llama"); }), "'llama' tokenizer");
  has(why([](GgufBuilder &f) { f.put_text("tokenizer.ggml.pre", "tekken"); }), "'tekken'");
  has(why([](GgufBuilder &f) { f.values.erase("tokenizer.ggml.model"); }), "no metadata 'tokenizer.ggml.model'");
  has(why([](GgufBuilder &f) { f.values.erase("tokenizer.ggml.tokens"); }), "no metadata 'tokenizer.ggml.tokens'");
  has(why([](GgufBuilder &f) { f.put_texts("tokenizer.ggml.tokens", std::vector<std::string>(300, "t")); }),
      "token types");
  has(why([](GgufBuilder &f) { f.put_u32("tokenizer.ggml.eos_token_id", 300); }), "eos_token_id is 300");
  has(why([](GgufBuilder &f) { f.put_texts("tokenizer.ggml.merges", {"nopair"}); }), "'nopair'");
  has(why([](GgufBuilder &f) { f.put_ints("tokenizer.ggml.token_type", {1, 2}); }), "2 token types");
  has(why([](GgufBuilder &f) {
        f.put("llama.attention.key_length", 10, GgufBuilder::raw<uint64_t>(uint64_t{1} << 60));
        f.floats("rope_freqs.weight", {2}, {1, 1});
      }),
      "rope_freqs.weight is not one number");
  has(why([](GgufBuilder &f) { f.tensor("iq", {32}, 20, std::string(68, 'x')); }), "Q5_K");
}

TEST_CASE("tensors of a GGUF that share bytes are refused: a small file would make a large model") {
  TempFolder folder;
  Config c = tiny_config("llama");
  GgufBuilder file = tiny_gguf(c, tiny_weights(c));
  std::string bytes = file.bytes();
  // The offsets, which are the last eight bytes of each entry, all become 0.
  for (const char *name : {"blk.0.ffn_gate.weight", "blk.0.ffn_up.weight", "blk.1.ffn_gate.weight"}) {
    size_t at = bytes.find(name);
    REQUIRE(at != std::string::npos);
    bytes.replace(at + std::strlen(name) + 4 + 16 + 4, 8, GgufBuilder::raw<uint64_t>(0));
  }
  CHECK(open_bytes(folder, bytes) == "");  // room enough is there: nothing is gained by it
  size_t cut = bytes.size() - 32;
  CHECK(open_bytes(folder, bytes.substr(0, cut)).find("m.gguf") != std::string::npos);
  GgufBuilder twice = tiny_gguf(c, tiny_weights(c));
  std::string entry = GgufBuilder::text("more") + GgufBuilder::raw<uint32_t>(1);
  entry += GgufBuilder::raw<uint64_t>(twice.data.size() / 4) + GgufBuilder::raw<uint32_t>(0);
  twice.tensors += entry + GgufBuilder::raw<uint64_t>(0);
  ++twice.n_tensors;
  CHECK(open_bytes(folder, twice.bytes()).find("some overlap") != std::string::npos);
}

TEST_CASE("a weight that is no finite number is found while it is read, and its tensor named") {
  TempFolder folder;
  for (float bad : {NAN, INFINITY, -INFINITY}) {
    Config c = tiny_config("qwen2");
    auto weights = tiny_weights(c);
    weights["model.layers.1.mlp.up_proj.weight"][7] = bad;
    write_file(folder / "m.gguf", tiny_gguf(c, weights).bytes());
    auto ok = write_hf_dir(folder / "m", c, make_byte_tokenizer(), "", as_tensors(c, weights), StoredAs::f32);
    REQUIRE(ok);
    for (const std::string &path : {folder / "m.gguf", folder / "m"}) {
      auto file = ModelFile::open(path);
      REQUIRE(file);
      std::vector<float> values(12 * 8);
      auto read = (*file)->read("model.layers.1.mlp.up_proj.weight", values.data(), values.size());
      REQUIRE_FALSE(read);
      CHECK(read.error().message.find("'model.layers.1.mlp.up_proj.weight' holds a NaN or an infinite number") !=
            std::string::npos);
      CHECK((*file)->read("model.layers.0.mlp.up_proj.weight", values.data(), values.size()));
    }
  }
}

TEST_CASE("whatever a file calls its parts, a refusal is one line of UTF-8 that fits a screen") {
  Config c = tiny_config("llama");
  for (const std::string &name :
       {std::string("line\nline\t\x01"), std::string("\xff\xfe\xc3"), std::string(100'000, 'x'),
        std::string(3000, '\xe2'), std::string(1000, 'x') + "\xe2\x82\xac"}) {
    GgufBuilder file = tiny_gguf(c, tiny_weights(c));
    file.floats(name, {1}, {1});
    const std::string bytes = file.bytes();
    auto model = ModelFile::parse("m.gguf", {reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size()});
    REQUIRE_FALSE(model);
    const std::string &why = model.error().message;
    CHECK(why.find("m.gguf") != std::string::npos);
    CHECK(why.size() < 1000);
    CHECK(valid_utf8(why, false) == why);
    CHECK(std::none_of(why.begin(), why.end(), [](char ch) { return static_cast<unsigned char>(ch) < 0x20; }));
  }
}

TEST_CASE("what is no model says so") {
  TempFolder folder;
  CHECK(why_not(folder / "absent.gguf").find("No such file") != std::string::npos);
  CHECK(open_bytes(folder, "").find("no GGUF file") != std::string::npos);
  CHECK(open_bytes(folder, "PK\x03\x04 a zip").find("no GGUF file") != std::string::npos);
  CHECK(open_bytes(folder, "GGUF" + GgufBuilder::raw<uint32_t>(9) + std::string(64, 0)).find("version 9") !=
        std::string::npos);
  write_file(folder / "x.safetensors", "");
  CHECK(why_not(folder / "x.safetensors").find("directory") != std::string::npos);
}
