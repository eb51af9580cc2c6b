// The whole method on a tiny random guide: it learns, and what it learns from is what the recipe says.
#include "run.hpp"

using namespace e2e;
namespace fs = std::filesystem;
using nlohmann::json;

TEST_CASE("a tiny guide with random weights learns to steer a scripted core") {
  TempDir dir;
  fs::path out = dir.path / "run", log = dir.path / "log";
  int code = wait_for(start({kRun, "tests/e2e/tiny.lua", "--out", out, "--seed", "7"}, log));
  INFO(slurp(log));
  REQUIRE(code == 0);
  check_complete(out);
  json report = json::parse(slurp(out / "report.json"));
  double core = system_named(report, "core").at("mean"), base = system_named(report, "gcop_base").at("mean"),
         trained = system_named(report, "gcop_exectune").at("mean");
  CHECK(core == 0);
  CHECK(base == 0);
  const double tuned = system_named(report, "gcop_sft").at("mean");
  CHECK(tuned >= 0.5);
  CHECK(trained >= tuned);  // what GRPO earns is not bought with what fine-tuning had learned
  CHECK(report.at("grpo").at("reward_slope_ci95").at(0).get<double>() > 0);  // the reward rises, beyond noise
}

TEST_CASE("one GRPO step on the guide as it is, without fine-tuning: a whole run, which claims no slope") {
  TempDir dir;
  fs::path out = dir.path / "run", log = dir.path / "log";
  int code = wait_for(start({kRun, "tests/e2e/tiny.lua", "--out", out, "--set", "epochs=0", "--set", "steps=1"}, log));
  INFO(slurp(log));
  REQUIRE(code == 0);
  json report = json::parse(slurp(out / "report.json"));
  CHECK(report.at("grpo").at("steps") == 1);
  CHECK(report.at("grpo").at("reward_slope").is_null());
  CHECK(report.at("systems").size() == 2);
  CHECK(report.at("options").at("steps") == 1);
  double before = 0;
  for (const auto &stage : report.at("stages")) before += stage.at("seconds").get<double>();
  // Resumed when all is done: the figures stay, also the time that was spent.
  REQUIRE(wait_for(start({kRun, "--resume", out}, log)) == 0);
  json again = json::parse(slurp(out / "report.json"));
  CHECK(again.at("systems") == report.at("systems"));
  double after = 0;
  for (const auto &stage : again.at("stages")) after += stage.at("seconds").get<double>();
  CHECK(after >= before);
}

TEST_CASE("a loss that is no finite number ends the run; the batch it came from is kept and named") {
  TempDir dir;
  const fs::path out = dir.path / "run";
  const auto ran = recipe(dir, R"(
    local guide = gcop.guide { random = { context = 64 } }
    guide:train { sequences = {
        { tokens = { 65, 66 }, mask = { 0, 1 }, old_logprobs = { 0, -5 }, advantage = 1 },
        { tokens = { 65, 66, 67 }, mask = { 0, 1, 1 }, old_logprobs = { 0, -5, -1e6 }, advantage = -0.5 } },
      loss = { objective = "policy", max_len = 4 }, optimizer = { lr = 0.5 } }
  )");
  CHECK(ran.code == 1);
  INFO(ran.said);
  CHECK(ran.said.find("the loss is inf (training sequence 2, token 3: its log-probability is") != std::string::npos);
  CHECK(ran.said.find("the weights are unchanged; the batch is in '" + (out / "failed-batch.json").string()) !=
        std::string::npos);
  json batch = json::parse(slurp(out / "failed-batch.json"));
  CHECK(batch.at("sequences").size() == 2);
  CHECK(batch.at("sequences").at(1).at("tokens") == json::array({65, 66, 67}));
  CHECK(batch.at("sequences").at(1).at("mask") == json::array({0, 1, 1}));
  CHECK(batch.at("sequences").at(1).at("old_logprobs").at(2) == -1e6);
  CHECK(batch.at("sequences").at(1).at("advantage") == -0.5);
  CHECK(batch.at("loss").at("objective") == "policy");
  CHECK(batch.at("loss").at("max_len") == 4);
  CHECK(batch.at("optimizer").at("lr") == 0.5);
  CHECK(batch.at("error").get<std::string>().find("the loss is inf") != std::string::npos);
}

TEST_CASE("the guide is not trained on samples of other weights than the recipe says") {
  TempDir dir;
  const auto ran = recipe(dir, R"(
local guide = gcop.guide { random = {} }
local function draw()
  local rollout = assert(guide:sample { prompt = guide:encode "x", n = 1, max_tokens = 4, seed = 1 })[1]
  local tokens, mask = guide:encode "x", { 0 }
  for i, id in ipairs(rollout.tokens) do tokens[i + 1], mask[i + 1] = id, 1 end
  return { tokens = tokens, mask = mask, advantage = 1, weights_version = rollout.weights_version }
end
local function train(sequences, expect)
  return guide:train { sequences = sequences, expect_version = expect, loss = { objective = "policy", reduction = "dapo" } }
end
local old = draw()
print("first", train({ old }).weights_version)
local new = draw()
print("mixed", pcall(train, { new, old }))
print("stale", pcall(train, { old }))
print("told", pcall(train, { new }, 1))
print("fresh", train({ new, draw() }, 2).weights_version)
for _, wrong in ipairs { { "Advantage", 1 }, { "old_logprob", {} }, { "advantage", "1" }, { "weights_version", 1.5 },
    { "mask", { 0, 2, 1, 1, 1 } } } do
  local s = draw()
  s[wrong[1]] = wrong[2]
  print("wrong", pcall(train, { s }))
end
local idle = draw()
idle.advantage = nil
print("wrong", pcall(train, { idle }))
old.weights_version = nil
print("unnamed", train({ old }).weights_version)
)");
  CHECK_MESSAGE(ran.code == 0, ran.said);
  for (const char *line :
       {"first\t2", "sequences[2] was drawn from version 1 of the weights, not from 2 as those before it",
        "the samples were drawn from version 1 of the weights and \"current\" is at version 2",
        "sequences[1] was drawn from version 2 of the weights, not from 1 as expect_version says", "fresh\t3",
        "sequences[1] has a field 'Advantage'; a gcop.Sequence has", "sequences[1] has a field 'old_logprob'",
        "sequences[1].advantage is a string; a number", "sequences[1].weights_version is a number; a whole number",
        "sequences[1].mask holds 2", "sequences[1].advantage is missing", "unnamed\t4"})
    CHECK_MESSAGE(ran.said.find(line) != std::string::npos, ran.said);
}
