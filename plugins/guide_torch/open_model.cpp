#include "open_model.hpp"

#include <algorithm>
#include <future>

#include "crew.hpp"
#include "kv_pool.hpp"
#include "memory_plan.hpp"
#include "model_file.hpp"
#include "settings.hpp"
#include "trainer.hpp"

namespace gcop::guide_torch {

namespace {

constexpr size_t kKeptVersions = 2;  // that a recipe keeps beside the current weights: before training, and after SFT

Result<> choose_form(const Settings &s, OpenModel &m) {
  if (s.device != "cpu") {
    m.compute = s.compute;
    return Unit{};
  }
  const bool fits = CompactWeights::fits(CompactWeights::Form::int8, m.config);
  m.compute = !s.compute.empty() ? s.compute : s.role == "core" && fits ? "int8" : "fp32";
  if (m.compute == "int8" && !fits)
    return Error{Code::unsupported,
                 "model '" + s.name + "': compute \"int8\" needs sizes in multiples of 32, and these are hidden " +
                     std::to_string(m.config.hidden) + ", intermediate " + std::to_string(m.config.intermediate) +
                     "; use bf16 or fp32",
                 {}};
  if (m.config.head_dim % 16 != 0)
    return Error{Code::unsupported,
                 "model '" + s.name + "' has heads of " + std::to_string(m.config.head_dim) +
                     " dimensions; the engine computes multiples of 16",
                 {}};
  return Unit{};
}

CompactWeights::Form form_of(const OpenModel &m) {
  return m.compute == "bf16" ? CompactWeights::Form::bf16 : CompactWeights::Form::int8;
}

Result<> plan_memory(const Settings &s, const Layout &layout, int threads, OpenModel &m) {
  m.context = s.context > 0 ? std::min(s.context, m.config.context) : std::min<int64_t>(m.config.context, 8192);
  if (s.device != "cpu") {  // where keys, values and training are; the host keeps fp32 weights, and an adapter's base
    m.kv_bytes = s.kv_bytes;
    m.bytes = layout.floats * sizeof(float);
    return check_memory(s.lora.rank > 0 ? 2 * m.bytes : m.bytes, "'" + s.name + "'", "weights",
                        "free some, or take a smaller model");
  }
  const size_t block = KvPool::block_bytes(m.config);
  m.kv_bytes =
      s.kv_bytes > 0 ? s.kv_bytes : std::max(size_t{1} << 30, block * static_cast<size_t>(blocks_for(m.context)));
  size_t once = 0;  // fp32 values of the largest matrix, while it is made compact
  for (const Parameter &p : layout.parameters) {
    if (m.compute == "fp32" || !CompactWeights::takes(p)) {
      m.bytes += p.count * sizeof(float);
      continue;
    }
    once = std::max(once, p.count * sizeof(float));
    m.bytes += CompactWeights::bytes(form_of(m), p.count);
  }
  if (m.config.tied && m.compute != "fp32")
    m.bytes += CompactWeights::bytes(form_of(m), static_cast<size_t>(m.config.vocab * m.config.hidden));
  const size_t weights = s.lora.rank > 0 ? 2 * m.bytes : m.bytes;
  std::string parts = "weights " + gigabytes(weights + once) + ", keys and values " + gigabytes(m.kv_bytes);
  std::string remedy = "free some, take a smaller model, or give keys and values less with \"kv_bytes\"";
  if (s.role == "guide" && s.training) {
    const std::unique_ptr<Lora> lora = s.lora.rank > 0 ? std::make_unique<Lora>(s.lora, layout) : nullptr;
    m.training_bytes = Trainer::typical_bytes(m.config, layout, lora.get(), threads) + kKeptVersions * weights;
    parts += ", training " + gigabytes(m.training_bytes);
    remedy +=
        "; training takes less with lora = { rank = 16 } or fewer \"threads\", and nothing with config = { training = "
        "false }";
  }
  return check_memory(weights + once + m.kv_bytes + m.training_bytes, "'" + s.name + "'", parts, remedy);
}

}  // namespace

Result<OpenModel> open_model(const Settings &s, Crew &crew) {
  OpenModel m;
  std::unique_ptr<ModelFile> file;
  if (s.model.empty()) {
    m.tokens = make_byte_tokenizer();
    m.template_source = kChatMlTemplate;
    const Result<Config> config = random_config(s.random, static_cast<int64_t>(m.tokens.tokens.size()));
    if (!config) return config.error();
    m.config = *config;
    if (const Result<> good = check_config(m.config); !good) return good.error();
  } else {
    Result<std::unique_ptr<ModelFile>> opened = ModelFile::open(s.model);
    if (!opened) return opened.error();
    file = std::move(*opened);
    m.config = file->config();
    m.tokens = file->tokenizer();
    m.template_source = file->chat_template().empty() ? kChatMlTemplate : file->chat_template();
  }
  const Layout layout(m.config);
  if (const Result<> chosen = choose_form(s, m); !chosen) return chosen.error();
  if (const Result<> fits = plan_memory(s, layout, crew.size(), m); !fits) return fits.error();

  const bool compact = s.device == "cpu" && m.compute != "fp32";
  std::future<Result<std::string>> hash;  // of every byte of the model, while the weights are read
  if (file) {
    hash = std::async(std::launch::async, [&file] { return file->identity(); });
    const Result<std::shared_ptr<Arena>> read =
        read_weights(*file, layout, crew, [&](const Parameter &p) { return !compact || !CompactWeights::takes(p); });
    if (!read) return read.error();
    m.arena = *read;
  } else {
    m.arena = random_weights(m.config, layout, s.seed);
    m.identity = "random:" + fingerprint(*m.arena);
  }
  if (hash.valid()) {
    const Result<std::string> sum = hash.get();
    if (!sum) return sum.error();
    m.identity = *sum;
  }
  if (!compact) return m;
  const auto read = [&](const Parameter &p, float *out) -> Result<> {
    if (file) return file->read(p.name, out, p.count);
    std::copy_n(m.arena->data() + p.offset, p.count, out);
    return Unit{};
  };
  const float *const embedding = m.arena->data() + layout.parameters[layout.index("model.embed_tokens.weight")].offset;
  Result<std::shared_ptr<const CompactWeights>> made_compact =
      CompactWeights::make(form_of(m), m.config, layout, embedding, read, crew);
  if (!made_compact) return made_compact.error();
  m.compact = std::move(*made_compact);
  m.identity += " " + m.compute;
  return m;
}

}  // namespace gcop::guide_torch
