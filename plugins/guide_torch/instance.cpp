#include "instance.hpp"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "cpu_compute.hpp"
#include "hf_writer.hpp"
#include "json_read.hpp"
#include "model_file.hpp"
#include "open_model.hpp"
#include "tokenizer_json.hpp"
#include "trainer.hpp"

namespace gcop::guide_torch {

using Json = nlohmann::json;

const char *const kVersion = "0.1.0";

const char *const kConfigSchema = R"json({"type":"object","additionalProperties":false,"properties":{
"model":{"type":"string","description":"a .gguf file or a Hugging Face directory"},
"random":{"type":"object","description":"instead of model: sizes of a randomly initialised one (layers, hidden, heads, kv_heads, intermediate, vocab, context)"},
"name":{"type":"string","description":"what answers and identity call it; default: the path's last part"},
"role":{"enum":["guide","core"],"default":"guide","description":"core: no gcop.guide/1"},
"compute":{"enum":["fp32","bf16","int8"],"description":"bf16: rounded weights; int8: 7-bit weights and activations; both for cores only. Default: int8 for a core whose sizes are multiples of 32, else fp32"},
"threads":{"type":"integer","minimum":1,"description":"default: all this process may use"},
"context":{"type":"integer","minimum":16,"description":"tokens of one sequence; default: the model's, at most 8192"},
"max_batch":{"type":"integer","minimum":1,"maximum":256,"default":64,"description":"sequences computed at once"},
"template":{"type":"object","description":"variables that the model's chat template reads, true, false or text: enable_thinking (Qwen3), date_string (Llama 3); one that it does not read is refused"},
"lora":{"type":"object","description":"train a low-rank adapter instead of all weights: rank, alpha (default 2 rank), targets (default all: q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj)"},
"kv_bytes":{"type":"integer","description":"memory for keys and values; default 1 GiB, and enough for one whole context"},
"prefix_reuse":{"type":"boolean","default":true,"description":"share keys and values of equal prompt starts"},
"training":{"type":"boolean","default":true,"description":"of a guide: make sure at the start that memory for training is there"},
"seed":{"type":"integer","default":0,"description":"of a random model's weights"}}})json";

namespace {

Result<TemplateVariables> parse_variables(const Json &json) {
  TemplateVariables out;
  for (const auto &[name, value] : json.items()) {
    if (name == "messages" || name == "add_generation_prompt")
      return invalid("guide_torch: template." + name + " is what render gives the template; it cannot be set");
    if (value.is_boolean())
      out[name] = value.get<bool>();
    else if (value.is_string())
      out[name] = value.get<std::string>();
    else
      return invalid("guide_torch: template." + name + " is " + value.dump() + "; it must be true, false or a text");
  }
  return out;
}

// Does the template's source have this name anywhere?
bool reads(const std::string &source, const std::string &name) {
  const auto part_of_name = [&](size_t i) {
    return i < source.size() && (std::isalnum(static_cast<unsigned char>(source[i])) || source[i] == '_');
  };
  for (size_t at = source.find(name); at != std::string::npos; at = source.find(name, at + 1))
    if (!(at > 0 && part_of_name(at - 1)) && !part_of_name(at + name.size())) return true;
  return false;
}

}  // namespace

Result<Settings> parse_settings(const std::string &text) {
  const Json json = Json::parse(text.empty() ? "{}" : text, nullptr, false);
  if (!json.is_object()) return invalid("guide_torch: the configuration is no JSON object");
  Settings s;
  const Json known = Json::parse(kConfigSchema)["properties"];
  for (const auto &[key, value] : json.items()) {
    if (!known.contains(key)) {
      std::string names;
      for (const auto &[name, schema] : known.items()) names += (names.empty() ? "" : ", ") + name;
      return invalid("guide_torch has no option \"" + key + "\"; it has " + names);
    }
    const std::string type = known[key].value("type", "string");
    const bool fits = type == "string"    ? value.is_string()
                      : type == "object"  ? value.is_object()
                      : type == "boolean" ? value.is_boolean()
                                          : value.is_number_integer();
    if (!fits) return invalid("guide_torch: " + key + " is " + value.dump() + ", not of type " + type);
    if (type != "integer") continue;
    const bool negative = value.is_number_unsigned() ? false : value.get<int64_t>() < 0;
    const auto least = known[key].value("minimum", int64_t{0}), most = known[key].value("maximum", INT64_MAX);
    if (negative ||
        (key != "seed" && (value.get<uint64_t>() > static_cast<uint64_t>(most) || value.get<int64_t>() < least)))
      return invalid("guide_torch: " + key + " is " + value.dump() + "; it must be at least " + std::to_string(least) +
                     (most == INT64_MAX ? "" : " and at most " + std::to_string(most)));
  }
  s.model = json.value("model", "");
  if (json.contains("random")) s.random = json["random"].dump();
  if (s.model.empty() == s.random.empty())
    return invalid("guide_torch wants either \"model\" (a path) or \"random\" (sizes)");
  while (s.model.size() > 1 && s.model.back() == '/') s.model.pop_back();
  s.name = json.value("name", s.model.empty() ? "random" : s.model.substr(s.model.find_last_of('/') + 1));
  s.role = json.value("role", s.role);
  if (s.role != "guide" && s.role != "core")
    return invalid("guide_torch: role is \"" + s.role + "\"; it is guide or core");
  s.compute = json.value("compute", s.compute);
  if (!s.compute.empty() && s.compute != "fp32" && s.compute != "bf16" && s.compute != "int8")
    return invalid("guide_torch: compute is \"" + s.compute + "\"; it is fp32, bf16 or int8");
  if (!s.compute.empty() && s.compute != "fp32" && s.role != "core")
    return invalid("guide_torch: compute \"" + s.compute +
                   "\" is for cores; a guide is trained and samples in fp32");
  if (json.contains("lora")) {
    const Result<LoraSettings> lora = parse_lora(json["lora"].dump());
    if (!lora) return invalid("guide_torch: " + lora.error().message);
    if (s.role == "core") return invalid("guide_torch: lora is for guides; a core is not trained");
    s.lora = *lora;
  }
  if (json.contains("template")) {
    const Result<TemplateVariables> variables = parse_variables(json["template"]);
    if (!variables) return variables.error();
    s.variables = *variables;
  }
  s.threads = json.value("threads", s.threads);
  s.context = json.value("context", s.context);
  s.max_batch = json.value("max_batch", s.max_batch);
  s.kv_bytes = json.value("kv_bytes", s.kv_bytes);
  s.prefix_reuse = json.value("prefix_reuse", s.prefix_reuse);
  s.training = json.value("training", s.training);
  s.seed = json.value("seed", s.seed);
  return s;
}

Result<std::unique_ptr<Instance>> Instance::make(const Settings &settings) {
  std::unique_ptr<Instance> self(new Instance(settings));
  Engine::Parts parts;
  const Kernels *const kernels = pick_kernels();
  if (!kernels)
    return Error{
        Code::unsupported, "guide_torch: this CPU has neither AVX-512 nor AVX2 with FMA, which the engine needs", {}};
  parts.crew =
      std::make_unique<Crew>(settings.threads > 0 ? static_cast<int>(settings.threads)
                                                  : std::max(1, static_cast<int>(std::thread::hardware_concurrency())));
  Result<OpenModel> opened = open_model(settings, *parts.crew);
  if (!opened) return opened.error();
  OpenModel &model = *opened;
  self->config_ = model.config;
  self->template_source_ = model.template_source;
  self->identity_ = model.identity;
  const Config &config = self->config_;
  TokenizerData &tokens = model.tokens;
  const auto special = [&](int32_t id) {
    return id >= 0 && id < static_cast<int32_t>(tokens.tokens.size()) ? tokens.tokens[id] : std::string();
  };
  Result<ChatTemplate> chat = ChatTemplate::parse(self->template_source_, special(tokens.bos), special(tokens.eos));
  if (!chat) return Error{chat.error().code, "model '" + settings.name + "': " + chat.error().message, {}};
  self->template_ = std::make_unique<ChatTemplate>(std::move(*chat));
  for (const auto &[name, value] : settings.variables)
    if (name.empty() || !reads(self->template_source_, name))
      return invalid("model '" + settings.name + "': its chat template does not read \"" + name +
                     "\"; take it out of template = {}");
  Result<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::make(std::move(tokens));
  if (!tokenizer) return tokenizer.error();
  self->tokenizer_ = std::move(*tokenizer);

  parts.limits.context = model.context;
  parts.limits.max_batch = static_cast<int>(settings.max_batch);
  parts.limits.reuse = settings.prefix_reuse;
  parts.limits.kv_bytes = model.kv_bytes;
  parts.weights = std::make_unique<Weights>(config, std::move(model.arena));
  if (model.compact) parts.weights->use_compact(std::move(model.compact));
  parts.tokenizer = self->tokenizer_.get();
  Json lora_info;
  if (settings.lora.rank > 0) {
    self->lora_ = std::make_unique<Lora>(settings.lora, parts.weights->layout());
    const std::shared_ptr<Arena> base = parts.weights->find("current")->arena;
    parts.weights->put("current", copy_of(*base), base, self->lora_->fresh(settings.seed));
    lora_info = {{"rank", settings.lora.rank},
                 {"alpha", settings.lora.alpha},
                 {"targets", settings.lora.targets},
                 {"parameters", self->lora_->layout().count}};
  }

  if (!settings.variables.empty()) {  // other prompts for the same messages
    Json variables;
    for (const auto &[name, value] : settings.variables)
      std::visit([&variables, &name = name](const auto &v) { variables[name] = v; }, value);
    self->identity_ += " " + variables.dump();
  }
  self->identity_ = std::string("guide_torch/") + kVersion + " " + settings.name + " " + self->identity_;
  self->info_ = Json{{"name", settings.name},
                     {"architecture", config.arch},
                     {"parameters", parts.weights->layout().count},
                     {"layers", config.layers},
                     {"hidden", config.hidden},
                     {"context", parts.limits.context},
                     {"vocabulary", config.vocab},
                     {"eos", self->tokenizer_->data().eos},
                     {"device", "cpu"},
                     {"kernels", kernels->name},
                     {"threads", parts.crew->size()},
                     {"compute", model.compute},
                     {"lora", lora_info},
                     {"bytes", model.bytes},
                     {"kv_bytes", parts.limits.kv_bytes},
                     {"training_bytes", model.training_bytes},
                     {"max_batch", parts.limits.max_batch}}
                    .dump();
  self->core = core_table();
  self->guide = guide_table();
  self->embedder = embedder_table(config.hidden);
  parts.compute = std::make_unique<CpuCompute>(config, parts.limits.context, *parts.crew, *kernels);
  self->engine_ = std::make_unique<Engine>(std::move(parts));
  return self;
}

Result<std::vector<int32_t>> Instance::render(const std::string &messages_json) const {
  const Json json = Json::parse(messages_json, nullptr, false);
  if (!json.is_array() || json.empty()) return invalid("messages are no JSON list of {\"role\":...,\"content\":...}");
  std::vector<Message> messages;
  for (const Json &m : json) {
    if (!m.is_object() || !m.contains("role") || !m.contains("content") || !m["role"].is_string() ||
        !m["content"].is_string())
      return invalid("message " + std::to_string(messages.size() + 1) + " is " + m.dump().substr(0, 80) +
                     "; it needs the texts \"role\" and \"content\"");
    messages.push_back({m["role"], m["content"]});
  }
  const Result<std::string> prompt = template_->render(messages, true, settings_.variables);
  if (!prompt) return prompt.error();
  return tokenizer_->encode(*prompt);
}

Learner &Instance::trainer() {
  if (!trainer_) {
    Engine &e = *engine_;
    trainer_ = std::make_unique<Trainer>(config_, e.weights().layout(), lora_.get(), e.context(), e.crew());
  }
  return *trainer_;
}

Result<TrainStats> Instance::train(const gcop_train_request &request, const std::function<bool()> &cancelled) {
  Weights &weights = engine_->weights();
  const Version &current = *weights.find("current");
  if (request.expect_version != 0 && request.expect_version != current.number)
    return invalid("the samples were drawn from version " + std::to_string(request.expect_version) +
                   " of the weights and \"current\" is at version " + std::to_string(current.number));
  Result<TrainStats> stats = trainer().step(current, request, cancelled);
  if (!stats) return stats;
  weights.changed("current");
  engine_->weights_changed("current");
  return stats;
}

Result<> Instance::copy(const std::string &source, const std::string &to) {
  if (to.empty()) return invalid("copy needs a name for the new weights");
  if (Result<> done = engine_->weights().copy(source, to); !done) return done;
  engine_->weights_changed(to);
  if (to == "current") trainer().reset_optimizer();
  return Unit{};
}

Result<> Instance::drop(const std::string &name) {
  if (Result<> done = engine_->weights().drop(name); !done) return done;
  engine_->weights_changed(name);
  return Unit{};
}

Result<> Instance::save(const std::string &name, const std::string &dir, bool optimizer) {
  const Version *version = engine_->weights().fetched(name);
  if (!version) return engine_->weights().unknown(name);
  std::vector<TensorOut> tensors;
  for (const Parameter &p : engine_->weights().layout().parameters)
    tensors.push_back(
        {p.name, p.shape, [arena = version->arena, offset = p.offset] { return arena->data() + offset; }});
  std::vector<FileOut> more;
  if (lora_)
    more.push_back({kAdapterDir, [this, adapter = version->adapter](const std::string &path) {
                      return lora_->write(path, *adapter);
                    }});
  if (optimizer)
    more.push_back({kOptimizerFile, [this](const std::string &path) { return trainer().write_optimizer(path); }});
  return write_hf_dir(dir, config_, tokenizer_->data(), template_source_, tensors, StoredAs::f32, more);
}

// Rows of the embeddings mean the same tokens in weights or an adapter from `dir`. A file may leave unused ids out at
// its end.
Result<> Instance::check_vocabulary(const std::vector<std::string> &found, const std::string &dir) const {
  const std::vector<std::string> &ours = tokenizer_->data().tokens;
  const auto at = [](const std::vector<std::string> &tokens, size_t id) {
    return id < tokens.size() ? tokens[id] : std::string();
  };
  for (size_t id = 0; id < std::max(ours.size(), found.size()); ++id)
    if (at(ours, id) != at(found, id))
      return invalid(presentable("'" + dir + "' has another vocabulary than '" + settings_.name + "': token " +
                                 std::to_string(id) + " is '" + at(found, id) + "' there and '" + at(ours, id) +
                                 "' here; it belongs to another model"));
  return Unit{};
}

// An adapter over the base of "current". `merged`: the weights that lie beside it, or null.
Result<Instance::Loaded> Instance::read_adapter(const std::string &dir, const Arena *merged) {
  const Result<LoraSettings> found = find_adapter(dir);
  if (!found) return found.error();
  const auto key = [](const LoraSettings &s) {
    return std::make_tuple(s.rank, s.alpha, std::set<std::string>(s.targets.begin(), s.targets.end()));
  };
  if (!lora_ || key(*found) != key(settings_.lora))
    return invalid("'" + dir + "' holds an adapter of rank " + std::to_string(found->rank) + " and alpha " +
                   std::to_string(found->alpha) +
                   "; load it into a guide whose lora = { rank, alpha, targets } are the same");
  if (const std::string path = dir + "/tokenizer.json"; std::filesystem::exists(path)) {  // PEFT's users add it
    const Result<TokenizerData> tokens =
        guarded("'" + path + "'", [&] { return read_tokenizer_json(load_json(path, size_t{256} << 20), path); });
    if (!tokens) return tokens.error();
    if (Result<> same = check_vocabulary(tokens->tokens, dir); !same) return same.error();
  }
  const Result<std::shared_ptr<Arena>> adapter = lora_->read(dir);
  if (!adapter) return adapter.error();
  const std::shared_ptr<const Arena> base = engine_->weights().find("current")->base;
  std::shared_ptr<Arena> arena = copy_of(*base);
  lora_->merge(*base, **adapter, *arena, engine_->crew());
  if (merged && std::memcmp(arena->data(), merged->data(), arena->size() * sizeof(float)) != 0)
    return invalid("'" + dir + "' belongs to other base weights than those of '" + settings_.name +
                   "': base and adapter do not give the model beside it");
  return Loaded{std::move(arena), base, *adapter};
}

Result<Instance::Loaded> Instance::read_model(const std::string &dir) {
  const Result<std::unique_ptr<ModelFile>> file = ModelFile::open(dir);
  if (!file) return file.error();
  const auto shape = [](const Config &c) {
    return std::make_tuple(c.arch, c.vocab, c.hidden, c.layers, c.heads, c.kv_heads, c.head_dim, c.intermediate, c.tied,
                           c.rope.type, c.rope.theta, c.rope.factor);
  };
  if (shape((*file)->config()) != shape(config_))
    return invalid("'" + dir + "' holds a model of another shape than '" + settings_.name +
                   "'; load it as a model of its own");
  if (Result<> same = check_vocabulary((*file)->tokenizer().tokens, dir); !same) return same.error();
  const Result<std::shared_ptr<Arena>> arena = read_weights(**file, engine_->weights().layout(), engine_->crew());
  if (!arena) return arena.error();
  if (!lora_) return Loaded{*arena, nullptr, nullptr};
  const std::string adapter = dir + "/" + kAdapterDir;
  if (std::filesystem::exists(adapter)) return read_adapter(adapter, arena->get());
  return Loaded{copy_of(**arena), *arena, lora_->fresh(settings_.seed)};  // a new base
}

Result<> Instance::load(const std::string &name, const std::string &dir) {
  const bool adapter_alone = std::filesystem::exists(dir + "/adapter_config.json");
  Result<Loaded> loaded = adapter_alone ? read_adapter(dir, nullptr) : read_model(dir);
  if (!loaded) return loaded.error();
  if (name == "current") {
    const std::string path = dir + "/" + kOptimizerFile;
    if (!std::filesystem::exists(path))
      trainer().reset_optimizer();
    else if (Result<> read = trainer().read_optimizer(path); !read)
      return read;
  }
  engine_->weights().put(name, loaded->arena, loaded->base, loaded->adapter);
  engine_->weights_changed(name);
  return Unit{};
}

void write_error(gcop_error *out, gcop_status status, const std::string &message) noexcept {
  if (!out || !GCOP_HAS(out, message)) return;
  out->code = status;
  const size_t n = std::min(message.size(), sizeof out->message - 1);
  std::memcpy(out->message, message.data(), n);
  out->message[n] = '\0';
}

}  // namespace gcop::guide_torch
