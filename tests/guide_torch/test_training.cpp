// Training through the C ABI on a tiny random model: it learns, and refuses what it cannot train on.
#include "plugged.hpp"

using namespace plugged;

TEST_CASE("NLL overfits a few sentences, and sampling then writes them") {
  const Model m(kTiny);
  const std::vector<std::string> lines = {"the cat sat on the mat", "a dog ran", "rain falls in spain"};
  Batch b;
  for (size_t i = 0; i < lines.size(); ++i)
    b.add(m.encode("line " + std::to_string(i) + ": "), m.encode(lines[i] + "<|im_end|>"));
  Trained t;
  double first = 0;
  for (int step = 0; step < 120; ++step) {
    t = m.train(b, Model::nll(), Model::adamw(3e-3f));
    REQUIRE_MESSAGE(t.status == GCOP_OK, t.error);
    if (step == 0) first = t.result.loss;
  }
  CHECK(first > 4);
  CHECK(t.result.loss < 0.05);
  CHECK(t.result.n_tokens == b.tokens.size() - 3 * m.encode("line 0: ").size());
  CHECK(t.result.weights_version == 121);
  for (size_t i = 0; i < lines.size(); ++i) {
    Ask ask;
    ask.max_tokens = 40;
    auto r = m.sample(m.encode("line " + std::to_string(i) + ": "), ask);
    CHECK(r->text == lines[i]);
    CHECK(r->finish == GCOP_FINISH_STOP);
    CHECK(r->version == 121);
  }
}

TEST_CASE("policy gradient raises the probability of what is rewarded, and training is repeatable") {
  std::vector<float> after;
  for (int run = 0; run < 2; ++run) {
    const Model m(kTiny);
    const std::vector<int32_t> p = m.encode("choose: "), good = m.encode("A"), bad = m.encode("B");
    Batch b;
    b.add(p, good);
    b.add(p, bad);
    b.advantages = {0.5f, -0.5f};
    const auto probability = [&](const std::vector<int32_t> &c) {
      std::vector<int32_t> s = p;
      s.insert(s.end(), c.begin(), c.end());
      std::vector<float> lp;
      REQUIRE(m.score({s}, &lp).status == GCOP_OK);
      return std::exp(lp.back());
    };
    const double good_before = probability(good), bad_before = probability(bad);
    for (int i = 0; i < 20; ++i) {
      const Trained t = m.train(b, Model::policy(), Model::adamw(1e-3f));
      REQUIRE_MESSAGE(t.status == GCOP_OK, t.error);
      CHECK(t.result.ratio_max == 1);
      CHECK(t.result.clip_frac == 0);
    }
    CHECK(probability(good) > 5 * good_before);
    CHECK(probability(bad) < bad_before);
    after.push_back(static_cast<float>(probability(good)));
  }
  CHECK(after[0] == after[1]);
}

TEST_CASE("the result does not depend on how the batch is cut into micro-batches") {
  // The same 3 sequences, alone and between long ones without weight (advantage 0), which fill micro-batches.
  std::vector<double> norms, losses;
  for (const bool padded : {false, true}) {
    const Model m(kTiny);
    Batch b;
    for (int i = 0; i < 3; ++i) {
      b.add(m.encode("question " + std::to_string(i)), m.encode(" answer " + std::to_string(i)));
      b.advantages.push_back(static_cast<float>(i) - 0.7f);
      if (!padded) continue;
      b.add(m.encode(std::string(400, 'z')), m.encode("zz"));
      b.advantages.push_back(0);
    }
    gcop_loss_options o = Model::policy();
    if (!padded)
      o.max_len *= 1;
    else
      o.max_len /= 2;  // dr_grpo divides by sequences times max_len
    const Trained t = m.train(b, o, Model::adamw(1e-4f));
    REQUIRE(t.status == GCOP_OK);
    norms.push_back(t.result.grad_norm);
    losses.push_back(t.result.loss);
  }
  CHECK(norms[0] == doctest::Approx(norms[1]).epsilon(1e-4));
  CHECK(losses[0] == doctest::Approx(losses[1]).epsilon(1e-4));
}

TEST_CASE("samples before a training step come from the old weights, samples after it from the new") {
  const Model m(kTiny);
  Batch b;
  b.add(m.encode("x"), m.encode("yyyy"));
  Ask ask;
  ask.max_tokens = 50;
  ask.temperature = 1;
  std::vector<std::unique_ptr<Rollout>> before, after;
  for (uint64_t i = 0; i < 4; ++i) {
    ask.seed = i;
    before.push_back(m.start(m.encode("go"), ask));
  }
  struct Training : Pending {
    gcop_status status = -1;
  } p;
  const gcop_loss_options loss = Model::nll();
  const gcop_optimizer_options adam = Model::adamw(1e-2f);
  gcop_train_request q{
      sizeof q, 0, 1, b.offsets.data(), b.tokens.data(), b.mask.data(), nullptr, nullptr, nullptr, 0, &loss, &adam};
  m.guide->train(m.raw, &q, &p.op, [](const gcop_op *op, const gcop_train_result *r) {
    auto &me = static_cast<Training &>(Pending::of(op));
    me.status = r->status;
    me.answered();
  });
  for (uint64_t i = 0; i < 4; ++i) {
    ask.seed = i;
    after.push_back(m.start(m.encode("go"), ask));
  }
  for (auto &r : before) {
    r->wait();
    CHECK(r->version == 1);
  }
  for (auto &r : after) {
    r->wait();
    CHECK(r->version == 2);
    CHECK(r->reused == 0 + (r == after[0] ? 0u : r->reused));
  }
  p.wait();
  CHECK(p.status == GCOP_OK);
  CHECK(after[0]->logprobs != before[0]->logprobs);
}

TEST_CASE("a batch that cannot be trained on is refused and leaves the weights alone") {
  const Model m(kTiny);
  const std::vector<int32_t> probe = m.encode("probe");
  std::vector<float> before, after;
  REQUIRE(m.score({probe}, &before).status == GCOP_OK);
  Batch good;
  good.add(m.encode("a"), m.encode("b"));
  const auto refused = [&](const Batch &b, const gcop_loss_options &o, const std::string &part, uint64_t expect = 0) {
    const Trained t = m.train(b, o, Model::adamw(1e-2f), expect);
    CHECK(t.status == GCOP_INVALID);
    CHECK_MESSAGE(t.error.find(part) != std::string::npos, t.error);
  };
  refused(Batch(), Model::nll(), "at least one sequence");
  Batch b;
  b.add({}, {});
  refused(b, Model::nll(), "training sequence 1 is empty");
  b = good;
  b.mask = {0, 0};
  refused(b, Model::nll(), "nothing to train on");
  b.mask = {1, 1};
  refused(b, Model::nll(), "first token");
  b = good;
  b.tokens[1] = 100000;
  refused(b, Model::nll(), "100000");
  refused(good, Model::policy(), "advantages");
  b = good;
  b.advantages = {NAN};
  refused(b, Model::policy(), "training sequence 1: its advantage is nan");
  b.advantages = {1};
  b.old_logprobs = {0, NAN};
  refused(b, Model::policy(), "training sequence 1, token 2: its old_logprob is nan");
  b.old_logprobs = {NAN, -1};  // not masked in: nobody looks
  CHECK(m.train(b, Model::policy(), Model::adamw(0)).status == GCOP_OK);
  b.advantages = {-1};
  b.old_logprobs = {0, -1e6f};
  refused(b, Model::policy(), "the loss is inf (training sequence 1, token 2: its log-probability is");
  b.advantages = {3e38f};
  b.old_logprobs = {};
  gcop_loss_options o = Model::policy();
  o.max_len = 1;
  refused(b, o, "the gradient's norm is no finite number; it begins with");
  b.advantages = {1};
  o = Model::policy();
  o.max_len = 0;
  refused(b, o, "max_len");
  o = Model::policy();
  o.kl_beta = 0.1f;
  refused(b, o, "ref_logprobs");
  refused(good, Model::nll(), "version 9", 9);
  gcop_optimizer_options constant = Model::adamw(1e-2f);
  constant.beta2 = 1;  // its correction would be 0 / 0
  const Trained t = m.train(good, Model::nll(), constant);
  CHECK(t.status == GCOP_INVALID);
  CHECK_MESSAGE(t.error.find("beta2 is 1.000000") != std::string::npos, t.error);
  b = Batch();
  b.add(std::vector<int32_t>(600, 65), {66});
  refused(b, Model::nll(), "512");
  REQUIRE(m.score({probe}, &after).status == GCOP_OK);
  CHECK(before == after);
}

TEST_CASE("weights that have diverged are neither scored nor saved over a good directory") {
  const TempDir dir;
  const Model m(kTiny);
  const std::string saved = dir.path + "/policy";
  REQUIRE(m.save("current", saved).status == GCOP_OK);
  Batch b;
  b.add(m.encode("a"), m.encode("b"));
  gcop_optimizer_options wild = Model::adamw(3.4e38f);
  wild.weight_decay = 1;
  REQUIRE(m.train(b, Model::nll(), wild).status == GCOP_OK);
  std::vector<float> out;
  const Plain scored = m.score({m.encode("ab")}, &out);
  CHECK(scored.status == GCOP_INVALID);
  CHECK_MESSAGE(scored.error.find("have diverged") != std::string::npos, scored.error);
  const Plain again = m.save("current", saved);
  CHECK(again.status == GCOP_INVALID);
  CHECK_MESSAGE(again.error.find("holds a NaN or an infinite number") != std::string::npos, again.error);
  CHECK(m.load("current", saved).status == GCOP_OK);
}

TEST_CASE("more threads than any machine has are refused") {
  std::string why;
  try {
    const Model m(R"({"random":{},"threads":40000})");
  } catch (const std::runtime_error &e) {
    why = e.what();
  }
  CHECK_MESSAGE(why.find("threads is 40000; it must be at least 1 and at most 1024") != std::string::npos, why);
}

TEST_CASE("a group's shared prompt is stored once and gives the same loss and gradient") {
  // In the first order neighbours share their prompt; in the second they never do.
  const Model a(kTiny), b(kTiny);
  const std::vector<std::string> prompts = {"The first prompt is longer than a few tokens: ",
                                            "Another one, also long enough to be shared: "};
  const std::vector<std::string> ends = {"alpha", "alphabet soup", "b", "beta gamma delta"};
  Batch together, apart;
  for (size_t p = 0; p < 2; ++p)
    for (size_t e = 0; e < 4; ++e) {
      together.add(a.encode(prompts[p]), a.encode(ends[e]));
      together.advantages.push_back(static_cast<float>(p) - 0.3f * static_cast<float>(e));
    }
  for (size_t e = 0; e < 4; ++e)
    for (size_t p = 0; p < 2; ++p) {
      apart.add(a.encode(prompts[p]), a.encode(ends[e]));
      apart.advantages.push_back(static_cast<float>(p) - 0.3f * static_cast<float>(e));
    }
  // A token inside a shared prompt may count too.
  for (size_t i = 0; i < 8; ++i) together.mask[together.offsets[i] + 5] = apart.mask[apart.offsets[i] + 5] = 1;
  for (int step = 0; step < 3; ++step) {
    const Trained x = a.train(together, Model::policy(), Model::adamw(1e-3f)),
                  y = b.train(apart, Model::policy(), Model::adamw(1e-3f));
    REQUIRE_MESSAGE(x.status == GCOP_OK, x.error);
    REQUIRE(y.status == GCOP_OK);
    CHECK(x.result.loss == doctest::Approx(y.result.loss).epsilon(1e-3));
    CHECK(x.result.grad_norm == doctest::Approx(y.result.grad_norm).epsilon(1e-3));
    CHECK(x.result.entropy == doctest::Approx(y.result.entropy).epsilon(1e-4));
  }
  // Scoring shares starts between neighbours as well.
  std::vector<std::vector<int32_t>> list;
  for (size_t i = 0; i < 8; ++i)
    list.emplace_back(together.tokens.begin() + static_cast<int64_t>(together.offsets[i]),
                      together.tokens.begin() + static_cast<int64_t>(together.offsets[i + 1]));
  list.push_back(list[7]);  // twice the same
  list.push_back({list[7].begin(), list[7].begin() + 3});
  std::vector<float> at_once, one;
  REQUIRE(a.score(list, &at_once).status == GCOP_OK);
  size_t from = 0;
  for (const auto &s : list) {
    REQUIRE(a.score({s}, &one).status == GCOP_OK);
    CHECK(std::vector<float>(at_once.begin() + static_cast<int64_t>(from),
                             at_once.begin() + static_cast<int64_t>(from + s.size())) == one);
    from += s.size();
  }
}
