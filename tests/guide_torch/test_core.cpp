// The same engine as a core and as an embedder.
#include "plugged.hpp"

using namespace plugged;

namespace {

struct Reply : Pending {
  gcop_status status = -1;
  std::string error, model, streamed;
  std::vector<std::string> texts, finish;
  uint64_t input = 0, cached = 0, output = 0;
};

std::unique_ptr<Reply> start(const Model &m, const std::string &messages, gcop_core_request q,
                             std::unique_ptr<Reply> r = nullptr) {
  if (!r) r = std::make_unique<Reply>();
  q.struct_size = sizeof q;
  q.messages_json = view(messages);
  if (q.top_p == 0) q.top_p = 1;
  if (q.n_choices == 0) q.n_choices = 1;
  m.core->complete(m.raw, &q, &r->op, [](const gcop_op *op, const gcop_core_result *out) {
    auto &me = static_cast<Reply &>(Pending::of(op));
    me.status = out->status;
    me.error = plugged::text(out->error);
    for (size_t i = 0; i < out->n_texts; ++i) {
      me.texts.push_back(plugged::text(out->texts[i]));
      me.finish.push_back(plugged::text(out->finish[i]));
    }
    me.model = plugged::text(out->served_model);
    me.input = out->input_tokens;
    me.cached = out->cache_read_tokens;
    me.output = out->output_tokens;
    me.answered();
  });
  return r;
}

std::unique_ptr<Reply> ask(const Model &m, const std::string &messages, const gcop_core_request &q,
                           std::unique_ptr<Reply> r = nullptr) {
  r = start(m, messages, q, std::move(r));
  r->wait();
  return r;
}

const std::string kHello = R"([{"role":"system","content":"be brief"},{"role":"user","content":"hello"}])";

}  // namespace

TEST_CASE("a core answers over the chat template, counts tokens and cuts stop strings off") {
  const Model m(kTiny.substr(0, kTiny.size() - 1) + R"(,"role":"core","name":"tiny"})");
  CHECK(m.guide == nullptr);
  gcop_core_request q{};
  q.max_tokens = 40;
  q.temperature = 1;
  q.seed = 5;
  auto first = ask(m, kHello, q);
  REQUIRE_MESSAGE(first->status == GCOP_OK, first->error);
  CHECK(first->model == "tiny");
  CHECK(first->cached == 0);
  CHECK(first->output <= 40);
  CHECK((first->finish[0] == "length" || first->finish[0] == "stop"));
  auto again = ask(m, kHello, q);
  CHECK(again->texts == first->texts);
  CHECK(again->cached + again->input == first->input);
  CHECK(again->input == 1);
  q.sample_index = 1;
  CHECK(ask(m, kHello, q)->texts != first->texts);
  q.sample_index = 0;

  const size_t at = first->texts[0].find_first_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", 2);
  REQUIRE(at != std::string::npos);
  const std::string stop = first->texts[0].substr(at, 1);
  const gcop_str stops[] = {view(stop)};
  q.stop = stops;
  q.n_stop = 1;
  q.part = [](const gcop_op *op, uint32_t, gcop_str piece) {
    static_cast<Reply &>(Pending::of(op)).streamed += plugged::text(piece);
  };
  auto cut = ask(m, kHello, q);
  CHECK(cut->finish[0] == "stop");
  CHECK(cut->texts[0] == first->texts[0].substr(0, first->texts[0].find(stop)));
  CHECK(cut->streamed == cut->texts[0]);
}

TEST_CASE("choices, a given prefix, and what is refused") {
  const Model m(kTiny);
  gcop_core_request q{};
  q.max_tokens = 10;
  q.temperature = 1;
  q.n_choices = 3;
  auto r = ask(m, kHello, q);
  REQUIRE(r->texts.size() == 3);
  CHECK(r->texts[0] != r->texts[1]);
  q.n_choices = 1;
  q.temperature = 0;
  const std::string prefix = "Sure: ";
  const auto plain = ask(m, kHello, q);
  q.prefix = view(prefix);
  const auto led = ask(m, kHello, q);
  CHECK(led->status == GCOP_OK);
  CHECK(led->input + led->cached == plain->input + plain->cached + prefix.size());  // a byte is a token here
  q.prefix = {};
  const auto refused = [&](const std::string &messages, const gcop_core_request &bad, gcop_status status,
                           const std::string &part) {
    auto out = ask(m, messages, bad);
    CHECK(out->status == status);
    CHECK_MESSAGE(out->error.find(part) != std::string::npos, out->error);
  };
  refused("[]", q, GCOP_INVALID, "messages");
  refused(R"([{"role":"user"}])", q, GCOP_INVALID, "content");
  gcop_core_request bad = q;
  bad.max_tokens = 0;
  refused(kHello, bad, GCOP_INVALID, "max_tokens");
  const std::string extra = R"({"logit_bias":{}})";
  bad = q;
  bad.extra_json = view(extra);
  refused(kHello, bad, GCOP_UNSUPPORTED, "logit_bias");
  refused(R"([{"role":"user","content":")" + std::string(600, 'x') + "\"}]", q, GCOP_INVALID, "512");
}

TEST_CASE("a cancelled core call carries what there is") {
  const Model m(kTiny);
  gcop_core_request q{};
  q.max_tokens = 450;
  q.temperature = 1;
  q.part = [](const gcop_op *op, uint32_t, gcop_str) {
    auto &me = static_cast<Reply &>(Pending::of(op));
    me.cancel = true;  // after the first text
  };
  auto r = ask(m, kHello, q);
  CHECK(r->status == GCOP_CANCELLED);
  REQUIRE(r->texts.size() == 1);
  CHECK(r->output > 0);
  CHECK(r->output < 450);
  CHECK(!r->texts[0].empty());
}

TEST_CASE("embeddings have norm 1 and tell texts apart") {
  const Model m(kTiny);
  REQUIRE(m.embedder->dim == 64);
  const std::string a = "one text", b = "another, longer text that says more";
  const gcop_str texts[] = {view(a), view(b), view(a)};
  struct Embedding : Pending {
    std::vector<float> out;
    gcop_status status = -1;
  } p;
  m.embedder->embed(m.raw, texts, 3, &p.op,
                    [](const gcop_op *op, gcop_status status, gcop_str, const float *v, size_t n) {
                      auto &me = static_cast<Embedding &>(Pending::of(op));
                      me.status = status;
                      me.out.assign(v, v + n);
                      me.answered();
                    });
  p.wait();
  REQUIRE(p.out.size() == 3 * 64);
  double norm = 0, ab = 0, aa = 0;
  for (size_t i = 0; i < 64; ++i)
    norm += p.out[i] * p.out[i], ab += p.out[i] * p.out[64 + i], aa += p.out[i] * p.out[128 + i];
  CHECK(norm == doctest::Approx(1));
  CHECK(aa == doctest::Approx(1));
  CHECK(ab < 0.999);
}
