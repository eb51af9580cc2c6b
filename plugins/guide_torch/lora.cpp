#include "lora.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "draw.hpp"
#include "durable_file.hpp"
#include "json_read.hpp"
#include "safetensors.hpp"

namespace gcop::guide_torch {
namespace {

const std::vector<std::string> kTargets = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"};

std::string list(const std::vector<std::string> &names) {
  std::string out;
  for (const std::string &name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

Result<> check(const LoraSettings &s) {
  if (s.rank < 1 || s.rank > 1024)
    return invalid("lora: rank is " + std::to_string(s.rank) + "; 1 to 1024 is possible");
  if (!(s.alpha > 0) || !std::isfinite(s.alpha))
    return invalid("lora: alpha is " + std::to_string(s.alpha) + "; it must be above 0");
  if (s.targets.empty()) return invalid("lora: targets is empty; there are: " + list(kTargets));
  for (size_t i = 0; i < s.targets.size(); ++i) {
    if (std::find(kTargets.begin(), kTargets.end(), s.targets[i]) == kTargets.end())
      return invalid("lora: there is no target \"" + s.targets[i] + "\"; there are: " + list(kTargets));
    if (std::find(s.targets.begin(), s.targets.begin() + static_cast<std::ptrdiff_t>(i), s.targets[i]) !=
        s.targets.begin() + static_cast<std::ptrdiff_t>(i))
      return invalid("lora: the target \"" + s.targets[i] + "\" is named twice");
  }
  return Unit{};
}

std::vector<TensorSpec> adapter_specs(const LoraSettings &settings, const Layout &model,
                                      std::vector<Lora::Target> &at) {
  std::vector<TensorSpec> specs;
  for (size_t i = 0; i < model.parameters.size(); ++i) {
    const Parameter &p = model.parameters[i];
    const std::string stem = p.name.substr(0, p.name.find(".weight"));
    const std::string part = stem.substr(stem.find_last_of('.') + 1);
    if (!p.matrix() || std::find(settings.targets.begin(), settings.targets.end(), part) == settings.targets.end())
      continue;
    at.push_back({i, specs.size(), specs.size() + 1});
    specs.push_back({"base_model.model." + stem + ".lora_A.weight", {settings.rank, p.shape[1]}});
    specs.push_back({"base_model.model." + stem + ".lora_B.weight", {p.shape[0], settings.rank}});
  }
  return specs;
}

}  // namespace

Result<LoraSettings> parse_lora(const std::string &text) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return invalid("lora is no table; it holds rank, alpha and targets");
  LoraSettings s;
  for (const auto &[key, value] : json.items()) {
    if (key == "rank" && value.is_number_integer()) {
      s.rank = value.get<int64_t>();
    } else if (key == "alpha" && value.is_number()) {
      s.alpha = value.get<double>();
    } else if (key == "targets" && value.is_array() &&
               std::all_of(value.begin(), value.end(), [](const Json &v) { return v.is_string(); })) {
      s.targets = value.get<std::vector<std::string>>();
    } else if (key == "rank" || key == "alpha" || key == "targets") {
      return invalid("lora: " + key + " is " + value.dump() +
                     "; rank is a whole number, alpha a number, targets a list of names");
    } else {
      return invalid("lora has no option \"" + key + "\"; it has rank, alpha, targets");
    }
  }
  if (!json.contains("alpha")) s.alpha = 2 * static_cast<double>(s.rank);
  if (!json.contains("targets")) s.targets = kTargets;
  if (Result<> good = check(s); !good) return good.error();
  return s;
}

Lora::Lora(const LoraSettings &settings, const Layout &model)
    : settings_(settings), model_(model), layout_(adapter_specs(settings, model, targets_)) {}

std::shared_ptr<Arena> Lora::fresh(uint64_t seed) const {
  auto arena = std::make_shared<Arena>(layout_.floats);
  for (const Target &t : targets_) {
    const Parameter &a = layout_.parameters[t.a];
    const double bound = 1 / std::sqrt(static_cast<double>(a.shape[1]));
    for (size_t j = 0; j < a.count; ++j)
      arena->data()[a.offset + j] = static_cast<float>(bound * (2 * uniform(seed + t.a, j) - 1));
  }
  return arena;
}

void Lora::merge(const Arena &base, const Arena &adapter, Arena &weights, Crew &crew) const {
  struct Rows {
    size_t target;
    int64_t begin, end;
  };
  constexpr int64_t kRows = 64;
  std::vector<Rows> parts;
  for (size_t i = 0; i < targets_.size(); ++i)
    for (int64_t row = 0, all = model_.parameters[targets_[i].matrix].shape[0]; row < all; row += kRows)
      parts.push_back({i, row, std::min(all, row + kRows)});
  crew.run(parts.size(), [&](size_t i, int) {
    const auto [target, begin, end] = parts[i];
    const Target &t = targets_[target];
    const Parameter &w = model_.parameters[t.matrix];
    const int64_t width = w.shape[1], rank = settings_.rank;
    const float *const a = adapter.data() + layout_.parameters[t.a].offset;
    const float *const b = adapter.data() + layout_.parameters[t.b].offset;
    for (int64_t row = begin; row < end; ++row) {
      float *const out = weights.data() + w.offset + row * width;
      std::memcpy(out, base.data() + w.offset + row * width, static_cast<size_t>(width) * sizeof(float));
      for (int64_t r = 0; r < rank; ++r) {
        const float factor = scale() * b[row * rank + r];
        const float *const from = a + r * width;
        for (int64_t c = 0; c < width; ++c) out[c] += factor * from[c];
      }
    }
  });
}

Result<> Lora::write(const std::string &dir, const Arena &adapter) const {
  return guarded("'" + dir + "'", [&] {
    std::filesystem::create_directory(dir);
    const Json config = {{"peft_type", "LORA"},
                         {"task_type", "CAUSAL_LM"},
                         {"base_model_name_or_path", nullptr},
                         {"r", settings_.rank},
                         {"lora_alpha", settings_.alpha},
                         {"target_modules", settings_.targets},
                         {"lora_dropout", 0.0},
                         {"bias", "none"},
                         {"fan_in_fan_out", false},
                         {"use_rslora", false},
                         {"use_dora", false},
                         {"modules_to_save", nullptr},
                         {"inference_mode", true}};
    write_json(dir + "/adapter_config.json", config);
    std::vector<TensorOut> tensors;
    for (const Parameter &p : layout_.parameters)
      tensors.push_back({p.name, p.shape, [&adapter, offset = p.offset] { return adapter.data() + offset; }});
    write_safetensors(dir + "/adapter_model.safetensors", tensors, StoredAs::f32);
    return Unit{};
  });
}

Result<std::shared_ptr<Arena>> Lora::read(const std::string &dir) const {
  return guarded("'" + dir + "'", [&] {
    const SafetensorsFile file(dir + "/adapter_model.safetensors");
    auto arena = std::make_shared<Arena>(layout_.floats);
    for (const Parameter &p : layout_.parameters) {
      const auto found = file.tensors().find(p.name);
      if (found == file.tensors().end())
        fail("'" + dir + "' has no tensor " + p.name + "; it belongs to another model");
      if (found->second.shape != p.shape)
        fail("'" + dir + "': " + p.name + " has another shape; it belongs to another model");
      if (!decode_finite(found->second, arena->data() + p.offset))
        fail("'" + dir + "': " + p.name + " holds a NaN or an infinite number");
    }
    for (const auto &[name, tensor] : file.tensors())
      if (std::none_of(layout_.parameters.begin(), layout_.parameters.end(),
                       [&name = name](const Parameter &p) { return p.name == name; }))
        fail("'" + dir + "' has the tensor " + name + ", which is no part of such an adapter", Code::unsupported);
    return arena;
  });
}

Result<LoraSettings> find_adapter(const std::string &dir) {
  return guarded("'" + dir + "'", [&]() -> LoraSettings {
    LoraSettings s;
    const std::string path = dir + "/adapter_config.json";
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored)) return s;
    const Json json = load_json(path, size_t{16} << 20);
    const auto unsupported = [&](const std::string &what) {
      fail("'" + path + "': " + what + " is not supported", Code::unsupported);
    };
    if (text_field(json, "peft_type", path) != "LORA")
      unsupported("peft_type " + field(json, "peft_type", path).dump());
    for (const char *name : {"use_dora", "use_rslora", "fan_in_fan_out", "lora_bias"})
      if (flag_field(json, name, path, false)) unsupported(name);
    for (const char *name :
         {"modules_to_save", "rank_pattern", "alpha_pattern", "layers_to_transform", "target_parameters"})
      if (const Json &value = field(json, name, path); !value.is_null() && !value.empty()) unsupported(name);
    if (!field(json, "bias", path).is_null() && field(json, "bias", path) != "none") unsupported("bias");
    s.rank = integer_field(json, "r", path);
    s.alpha = real_field(json, "lora_alpha", path, 8);
    const Json &targets = field(json, "target_modules", path);
    if (!targets.is_array()) unsupported("target_modules that is no list");
    for (const Json &target : targets) {
      if (!target.is_string()) fail("'" + path + "': target_modules should hold names");
      s.targets.push_back(target.get<std::string>());
    }
    if (const Result<> good = check(s); !good) fail("'" + path + "': " + good.error().message);
    return s;
  });
}

}  // namespace gcop::guide_torch
