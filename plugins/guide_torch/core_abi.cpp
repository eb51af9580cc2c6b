// gcop.core/1 over the same engine: chat messages in, text out; and gcop.embedder/1: mean of the final hidden states.
#include <cmath>
#include <nlohmann/json.hpp>

#include "instance.hpp"

namespace gcop::guide_torch {

namespace {

gcop_str identity(gcop_instance *raw) { return view(from(raw).identity()); }
void cancel(gcop_instance *raw, const gcop_op *op) { from(raw).engine().cancel(op); }

void answer(const gcop_op *op, gcop_core_done done, gcop_core_result out) {
  out.struct_size = sizeof out;
  done(op, &out);
}

// One call in flight: its choices end one by one, all on the engine thread.
struct Call {
  const gcop_op *op;
  gcop_core_done done;
  std::string model;
  size_t prompt = 0, left = 0;
  std::vector<SampleResult> choices;

  void ended(size_t choice, SampleResult &&result) {
    choices[choice] = std::move(result);
    if (--left == 0) finish();
  }
  void finish() {
    gcop_core_result out{};
    std::vector<std::string> kept;
    std::vector<gcop_str> texts, finishes;
    for (const SampleResult &r : choices) {
      if (r.status != GCOP_OK && out.status == GCOP_OK) out.status = r.status, out.error = view(r.error);
      out.output_tokens += r.tokens.size();
      kept.push_back(r.text.substr(0, r.stop_at));
    }
    for (size_t i = 0; i < choices.size(); ++i) {
      texts.push_back(view(kept[i]));
      const char *finish = choices[i].status != GCOP_OK ? "cancelled" : choices[i].stopped ? "stop" : "length";
      finishes.push_back({finish, std::char_traits<char>::length(finish)});
    }
    out.n_texts = texts.size();
    out.texts = texts.data();
    out.finish = finishes.data();
    // The prompt is counted once, as APIs do for several choices of one request.
    out.cache_read_tokens = choices[0].reused;
    out.input_tokens = prompt - choices[0].reused;
    out.usage_known = 1;
    out.attempts = 1;
    out.served_model = view(model);
    answer(op, done, out);
  }
};

uint64_t mix(uint64_t a, uint64_t b) {  // splitmix64's finisher over both
  uint64_t x = a + 0x9e3779b97f4a7c15u * (b + 1);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

Result<uint32_t> top_k(gcop_str extra) {
  if (!extra.len) return 0u;
  const nlohmann::json json = nlohmann::json::parse(text(extra), nullptr, false);
  if (!json.is_object()) return invalid("extra parameters are no JSON object");
  for (const auto &[key, value] : json.items())
    if (key != "top_k" || !value.is_number_unsigned())
      return Error{Code::unsupported,
                   "a local model does not know the extra parameter " + key + " = " + value.dump() +
                       "; it takes top_k (a whole number)",
                   {}};
  return json.value("top_k", 0u);
}

std::optional<Error> start(Instance &instance, const gcop_core_request &in, const gcop_op *op, gcop_core_done done) {
  if (in.max_tokens == 0) return invalid("max_tokens is 0; it must be at least 1");
  if (in.n_choices == 0) return invalid("n_choices is 0; it must be at least 1");
  if (!std::isfinite(in.temperature)) return invalid("temperature is no finite number");
  if (!(in.top_p > 0 && in.top_p <= 1))
    return invalid("top_p is " + std::to_string(in.top_p) + "; it must lie in (0, 1]");
  const Result<uint32_t> k = top_k(in.extra_json);
  if (!k) return k.error();
  Result<std::vector<int32_t>> prompt = instance.render(text(in.messages_json));
  if (!prompt) return prompt.error();
  if (in.prefix.len)
    for (int32_t id : instance.tokenizer().encode(text(in.prefix), false)) prompt->push_back(id);

  auto call = std::make_shared<Call>();
  call->op = op;
  call->done = done;
  call->model = instance.name();
  call->prompt = prompt->size();
  call->left = in.n_choices;
  call->choices.resize(in.n_choices);
  std::vector<SampleRequest> requests(in.n_choices);
  for (uint32_t c = 0; c < in.n_choices; ++c) {
    SampleRequest &r = requests[c];
    r.op = op;
    r.prompt = *prompt;
    r.max_tokens = in.max_tokens;
    // The model's default is greedy: these files name no other.
    r.sampling = {static_cast<float>(std::max(0.0, in.temperature)), static_cast<float>(in.top_p), *k,
                  mix(mix(in.seed, in.sample_index), c)};
    for (size_t i = 0; i < in.n_stop; ++i)
      if (in.stop[i].len) r.stop.push_back(text(in.stop[i]));
    r.partial = true;
    if (in.part) r.part = [op, c, part = in.part](const std::string &piece) { part(op, c, view(piece)); };
    r.done = [call, c](SampleResult &&result) { call->ended(c, std::move(result)); };
  }
  for (SampleRequest &r : requests) instance.engine().sample(std::move(r));
  return std::nullopt;
}

void complete(gcop_instance *raw, const gcop_core_request *in, const gcop_op *op, gcop_core_done done) {
  std::optional<Error> wrong;
  try {
    wrong = start(from(raw), *in, op, done);
  } catch (...) {
    wrong = current_exception_error();
  }
  if (!wrong) return;
  gcop_core_result out{};
  out.status = static_cast<gcop_status>(wrong->code);
  out.error = view(wrong->message);
  answer(op, done, out);
}

void embed(gcop_instance *raw, const gcop_str *texts, size_t n, const gcop_op *op, gcop_embed_done done) {
  using Vectors = std::vector<float>;
  Instance &instance = from(raw);
  const auto reply = [op, done](gcop_status status, const std::string &why, const Vectors *out) {
    done(op, status, view(why), out ? out->data() : nullptr, out ? out->size() : 0);
  };
  const auto body = [&instance, texts, n, op]() -> Result<Vectors> {
    const Version model = *instance.engine().weights().find("current");
    const size_t hidden = static_cast<size_t>(instance.hidden());
    Vectors out(n * hidden);
    for (size_t i = 0; i < n; ++i) {
      if (const auto [status, why] = ended(op); status != GCOP_OK) return Error{static_cast<Code>(status), why, {}};
      std::vector<int32_t> tokens = instance.tokenizer().encode(text(texts[i]), false);
      if (tokens.empty()) return invalid("text " + std::to_string(i) + " to embed is empty");
      tokens.resize(std::min(tokens.size(), static_cast<size_t>(instance.engine().context())));
      instance.engine().embed(model, tokens, out.data() + i * hidden);
    }
    return out;
  };
  try {
    post_job<Vectors>(instance, op, "", body, reply);
  } catch (...) {
    const Error failed = current_exception_error();
    reply(static_cast<gcop_status>(failed.code), failed.message, nullptr);
  }
}

}  // namespace

gcop_core core_table() {
  gcop_core table{};
  table.struct_size = sizeof table;
  table.capabilities =
      GCOP_CORE_PARTS | GCOP_CORE_PARTIAL | GCOP_CORE_STOP | GCOP_CORE_PREFIX | GCOP_CORE_SEED | GCOP_CORE_CHOICES;
  table.identity = identity;
  table.complete = complete;
  table.cancel = cancel;
  return table;
}

gcop_embedder embedder_table(int64_t hidden) {
  gcop_embedder table{};
  table.struct_size = sizeof table;
  table.dim = static_cast<uint32_t>(hidden);
  table.identity = identity;
  table.embed = embed;
  table.cancel = cancel;
  return table;
}

}  // namespace gcop::guide_torch
