#include "instance.hpp"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "cpu_compute.hpp"
#include "device/device.hpp"
#include "hf_writer.hpp"
#include "json_read.hpp"
#include "model_file.hpp"
#include "open_model.hpp"
#include "quants.hpp"
#include "tokenizer_json.hpp"
#include "trainer.hpp"

namespace gcop::guide_torch {

using Json = nlohmann::json;

const char *const kVersion = "0.1.0";

namespace {

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
  if (settings.device != "cpu") {
    const Result<std::shared_ptr<device::Device>> device =
        device::Device::open({settings.device, settings.compute == "bf16", config, parts.limits.context,
                              static_cast<int>(settings.max_batch)});
    if (!device) return device.error();
    self->device_ = *device;
    self->identity_ += " " + settings.compute + " " + settings.device;
    parts.weights->use_device(self->device_->place(parts.weights->layout(), self->lora_.get(), *parts.crew));
    parts.compute = self->device_->compute();
    // Of what is left, half; a guide also wants what it trains in fp32, gradients, two moments and room for
    // activations, and one with an adapter the matrices under it in fp32.
    size_t training = 0;
    if (settings.role == "guide") {
      const Layout &layout = parts.weights->layout();
      training = (self->lora_ ? self->lora_->layout() : layout).floats * 16 + (size_t{8} << 30);
      if (self->lora_)
        for (const Lora::Target &t : self->lora_->targets()) training += layout.parameters[t.matrix].count * 4;
    }
    const size_t free = self->device_->free_bytes();
    const size_t spare = free > training ? (free - training) / 2 : 0;
    if (settings.kv_bytes == 0)
      parts.limits.kv_bytes =
          std::max({spare, size_t{1} << 30,
                    parts.compute->block_bytes() * static_cast<size_t>(blocks_for(parts.limits.context))});
  } else {
    parts.compute = std::make_unique<CpuCompute>(config, parts.limits.context, *parts.crew, *kernels);
  }
  if (const size_t block = parts.compute->block_bytes(); parts.limits.kv_bytes < block)
    return invalid("guide_torch: kv_bytes is " + std::to_string(settings.kv_bytes) + "; one block of 16 tokens takes " +
                   std::to_string(block));
  parts.tokenizer = self->tokenizer_.get();
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
                     {"device", self->device_ ? self->device_->name() : "cpu"},
                     {"kernels", self->device_ ? settings.device : kernels->name},
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
    if (device_)
      trainer_ = device_->learner(e.weights().layout(), lora_.get());
    else
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
  for (const Parameter &p : engine_->weights().layout().parameters) {
    if (!all_finite(version->arena->data() + p.offset, p.count))
      return invalid("the weights \"" + name + "\" are not saved: " + p.name +
                     " holds a NaN or an infinite number; load an earlier save");
    tensors.push_back(
        {p.name, p.shape, [arena = version->arena, offset = p.offset] { return arena->data() + offset; }});
  }
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
