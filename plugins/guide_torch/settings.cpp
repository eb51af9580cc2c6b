#include "settings.hpp"

#include <nlohmann/json.hpp>

namespace gcop::guide_torch {

using Json = nlohmann::json;

const char *const kConfigSchema = R"json({"type":"object","additionalProperties":false,"properties":{
"model":{"type":"string","description":"a .gguf file or a Hugging Face directory"},
"random":{"type":"object","description":"instead of model: sizes of a randomly initialised one (layers, hidden, heads, kv_heads, intermediate, vocab, context)"},
"name":{"type":"string","description":"what answers and identity call it; default: the path's last part"},
"role":{"enum":["guide","core"],"default":"guide","description":"core: no gcop.guide/1"},
"device":{"enum":["cpu","cuda","cpu_reference"],"default":"cpu","description":"what computes; cuda is compiled and tested without a device, but has not run on one; cpu_reference is the device's path on the CPU with plain kernels, for tests"},
"compute":{"enum":["fp32","bf16","int8"],"description":"on the CPU, of cores: bf16 rounds weights, int8 computes with 7-bit weights and activations; default: int8 for a core whose sizes are multiples of 32, else fp32. On a device bf16, with fp32 weights beside it where it is trained"},
"threads":{"type":"integer","minimum":1,"maximum":1024,"description":"default: all this process may use"},
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

// What a device can compute, beside the CPU.
Result<> check_device(Settings &s) {
  if (s.device != "cpu" && s.device != "cuda" && s.device != "cpu_reference")
    return invalid("guide_torch: device is \"" + s.device + "\"; it is cpu or cuda");
  if (s.device == "cpu") return Unit{};
  if (s.compute.empty()) s.compute = "bf16";
  if (s.compute == "int8") return invalid("guide_torch: compute \"int8\" is for device \"cpu\"");
  if (s.device == "cuda" && s.compute != "bf16")
    return invalid("guide_torch: device \"cuda\" computes in bf16; leave compute out");
  return Unit{};
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
  s.device = json.value("device", s.device);
  if (!s.compute.empty() && s.compute != "fp32" && s.compute != "bf16" && s.compute != "int8")
    return invalid("guide_torch: compute is \"" + s.compute + "\"; it is fp32, bf16 or int8");
  if (Result<> good = check_device(s); !good) return good.error();
  if (s.device == "cpu" && !s.compute.empty() && s.compute != "fp32" && s.role != "core")
    return invalid("guide_torch: compute \"" + s.compute + "\" is for cores; a guide is trained and samples in fp32");
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

}  // namespace gcop::guide_torch
