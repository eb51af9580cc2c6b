#include "hf_writer.hpp"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <set>
#include <unordered_map>

#include "durable_file.hpp"
#include "json_read.hpp"
#include "tokenizer_json.hpp"

namespace gcop::guide_torch {
namespace {

namespace fs = std::filesystem;

void add_role_ids(Json &json, const TokenizerData &tokenizer) {
  if (tokenizer.bos >= 0) json["bos_token_id"] = tokenizer.bos;
  if (tokenizer.pad >= 0) json["pad_token_id"] = tokenizer.pad;
}

Json rope_json(const Rope &rope) {
  Json json = {{"rope_type", rope.type}, {"factor", rope.factor}};
  if (rope.type != "linear") json["original_max_position_embeddings"] = rope.original_context;
  if (rope.type == "llama3") {
    json["low_freq_factor"] = rope.low_freq_factor;
    json["high_freq_factor"] = rope.high_freq_factor;
  }
  if (rope.type == "yarn") {
    json["beta_fast"] = rope.beta_fast;
    json["beta_slow"] = rope.beta_slow;
    if (rope.attention_factor > 0) json["attention_factor"] = rope.attention_factor;
  }
  return json;
}

Json config_json(const Config &c, const TokenizerData &tokenizer, StoredAs stored_as) {
  const char *name = c.arch == "qwen2"   ? "Qwen2ForCausalLM"
                     : c.arch == "qwen3" ? "Qwen3ForCausalLM"
                                         : "LlamaForCausalLM";
  Json json = {{"architectures", Json::array({name})},
               {"model_type", c.arch},
               {"vocab_size", c.vocab},
               {"hidden_size", c.hidden},
               {"num_hidden_layers", c.layers},
               {"num_attention_heads", c.heads},
               {"num_key_value_heads", c.kv_heads},
               {"head_dim", c.head_dim},
               {"intermediate_size", c.intermediate},
               {"max_position_embeddings", c.context},
               {"rms_norm_eps", c.rms_eps},
               {"rope_theta", c.rope.theta},
               {"hidden_act", "silu"},
               {"attention_dropout", 0.0},
               {"initializer_range", 0.02},
               {"tie_word_embeddings", c.tied},
               {"use_cache", true},
               {"torch_dtype", stored_as == StoredAs::f32 ? "float32" : "bfloat16"},
               {"transformers_version", "4.46.0"}};  // whose format this is; newer ones warn where none is named
  if (c.arch != "llama") json["use_sliding_window"] = false;
  if (c.arch != "qwen2") json["attention_bias"] = false;
  if (c.arch == "llama") json["mlp_bias"] = false;
  if (c.rope.type != "default") json["rope_scaling"] = rope_json(c.rope);
  add_role_ids(json, tokenizer);
  if (tokenizer.eos >= 0) json["eos_token_id"] = tokenizer.eos;
  return json;
}

void write_tokenizer(const fs::path &dir, const Config &c, const TokenizerData &tokenizer,
                     const std::string &chat_template) {
  write_json(dir / "tokenizer.json", write_tokenizer_json(tokenizer));
  Json roles = Json::object();
  for (auto [name, id] : {std::pair{"bos_token", tokenizer.bos},
                          {"eos_token", tokenizer.eos},
                          {"pad_token", tokenizer.pad},
                          {"unk_token", tokenizer.unk}})
    if (id >= 0) roles[name] = tokenizer.tokens[static_cast<size_t>(id)];
  write_json(dir / "special_tokens_map.json", roles);
  Json json = roles;  // the generic class uses tokenizer.json as it is; a model's own class would rebuild parts of it
  json["tokenizer_class"] = "PreTrainedTokenizerFast";
  json["clean_up_tokenization_spaces"] = false;
  json["model_max_length"] = c.context;
  if (!chat_template.empty()) json["chat_template"] = chat_template;
  write_json(dir / "tokenizer_config.json", json);
  Json generation = Json::object();
  add_role_ids(generation, tokenizer);
  if (!tokenizer.stop_ids.empty()) generation["eos_token_id"] = tokenizer.stop_ids;
  write_json(dir / "generation_config.json", generation);
}

void check_tensors(const Config &config, const std::vector<TensorOut> &tensors) {
  std::unordered_map<std::string, std::vector<int64_t>> wanted;
  for (TensorSpec &spec : tensor_specs(config)) wanted.emplace(std::move(spec.name), std::move(spec.shape));
  for (const TensorOut &tensor : tensors) {
    auto found = wanted.find(tensor.name);
    if (found == wanted.end() || found->second != tensor.shape)
      fail("tensor '" + tensor.name + "' does not belong into this model, is there twice or has another shape",
           Code::internal);
    wanted.erase(found);
  }
  if (!wanted.empty()) fail("tensor '" + wanted.begin()->first + "' is missing", Code::internal);
}

// Removes what saves to `dir` left behind when their process was killed.
void remove_leftovers(const fs::path &dir) {
  const std::string start = dir.filename().string() + ".part-";
  std::error_code ec;
  std::vector<fs::path> dead;
  for (const fs::directory_entry &entry : fs::directory_iterator(dir.parent_path(), ec)) {
    const std::string name = entry.path().filename().string();
    const std::string pid = name.starts_with(start) ? name.substr(start.size()) : "";
    if (pid.empty() || pid.size() > 9 || pid.find_first_not_of("0123456789") != std::string::npos) continue;
    if (::kill(std::stoi(pid), 0) != 0 && errno == ESRCH) dead.push_back(entry.path());
  }
  for (const fs::path &path : dead) fs::remove_all(path, ec);
}

// Everything in the old directory goes when the new one takes its place: it may hold nothing else.
void check_replaceable(const fs::path &dir, const std::vector<FileOut> &more) {
  std::set<std::string> ours = {"config.json",           "model.safetensors",       "tokenizer.json",
                                "tokenizer_config.json", "special_tokens_map.json", "generation_config.json",
                                "chat_template.jinja",   "optimizer.safetensors",   "adapter"};
  for (const FileOut &file : more) ours.insert(file.name);
  if (!fs::exists(dir)) return;
  if (!fs::is_directory(dir)) fail("'" + dir.string() + "' is there and is no directory; choose another name");
  for (const fs::directory_entry &entry : fs::directory_iterator(dir))
    if (const std::string name = entry.path().filename().string(); !ours.count(name))
      fail("'" + dir.string() + "' holds '" + name +
           "', which is no part of a saved model and would be lost; choose another name");
}

// Puts `made` in the place of `dir`, whole or not at all.
void move_into_place(const fs::path &made, const fs::path &dir) {
  std::error_code ec;
  if (!fs::exists(dir, ec)) {
    if (::rename(made.c_str(), dir.c_str()) != 0) fail_io("cannot create '" + dir.string() + "'", errno);
  } else if (::renameat2(AT_FDCWD, made.c_str(), AT_FDCWD, dir.c_str(), RENAME_EXCHANGE) == 0) {
    fs::remove_all(made, ec);  // the old model
  } else {
    // A file system that cannot exchange: for a moment the old model lies beside its place.
    fs::path old = made.string() + "-old";
    if (::rename(dir.c_str(), old.c_str()) != 0) fail_io("cannot replace '" + dir.string() + "'", errno);
    if (::rename(made.c_str(), dir.c_str()) != 0) {
      int reason = errno;
      if (::rename(old.c_str(), dir.c_str()) != 0)
        fail_io("the old '" + dir.string() + "' now lies in '" + old.string() + "'", reason);
      fail_io("cannot replace '" + dir.string() + "'", reason);
    }
    fs::remove_all(old, ec);
  }
  sync_folder(dir.parent_path());
}

}  // namespace

Result<> write_hf_dir(const std::string &dir_text, const Config &config, const TokenizerData &tokenizer,
                      const std::string &chat_template, const std::vector<TensorOut> &tensors, StoredAs stored_as,
                      const std::vector<FileOut> &more) {
  std::error_code ec;
  fs::path dir = fs::absolute(dir_text, ec).lexically_normal();
  if (!dir.has_filename()) dir = dir.parent_path();
  fs::path made = dir.string() + ".part-" + std::to_string(::getpid());
  auto result = guarded("'" + dir.string() + "'", [&] {
    if (auto ok = check_config(config); !ok) throw Fault{ok.error()};
    check_tensors(config, tensors);
    check_replaceable(dir, more);
    size_t need = size_t{16} << 20;  // tokenizer and configuration
    for (const TensorOut &tensor : tensors) need += value_count(tensor.shape) * (stored_as == StoredAs::f32 ? 4 : 2);
    fs::create_directories(dir.parent_path(), ec);
    if (ec) fail_io("cannot create '" + dir.parent_path().string() + "'", ec.value());
    remove_leftovers(dir);
    fs::remove_all(made, ec);
    if (!fs::create_directory(made, ec)) fail_io("cannot create '" + made.string() + "'", ec ? ec.value() : EEXIST);
    fs::space_info space = fs::space(made, ec);
    if (!ec && space.available < need)
      fail("the disk is full: '" + dir.string() + "' needs " + std::to_string(need >> 20) + " MiB, " +
               std::to_string(space.available >> 20) + " MiB are free; free space or choose another folder",
           Code::exhausted);
    write_json(made / "config.json", config_json(config, tokenizer, stored_as));
    write_tokenizer(made, config, tokenizer, chat_template);
    write_safetensors(made / "model.safetensors", tensors, stored_as);
    for (const FileOut &file : more)
      if (auto ok = file.write((made / file.name).string()); !ok) throw Fault{ok.error()};
    sync_folder(made);
    move_into_place(made, dir);
    return Unit{};
  });
  if (!result) fs::remove_all(made, ec);
  return result;
}

}  // namespace gcop::guide_torch
