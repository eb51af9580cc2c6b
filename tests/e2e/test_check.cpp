#include <fstream>

#include "run.hpp"

using namespace e2e;

TEST_CASE("--check looks at what every stage was given, not only the first") {
  TempDir dir;
  CHECK(wait_for(start({kRun, "tests/e2e/tiny.lua", "--check"}, dir.path / "fine")) == 0);
  const std::string fine = slurp(dir.path / "fine");
  for (const char *line :
       {"malformed            -1.000   -1.000\n", "leak                 -0.500   -0.500\n",
        "failure              -0.400    0.100\n", "success               1.100    1.100\n",
        "acceptance, rule sprt: at most 3 executions a strategy; false accept 0.2160 at p = 0.6, power",
        "             1.00      1.0000         3.0\n", "w_judge    cannot act: there is no judge",
        "w_harm     acts as a weight of the task"})
    CHECK_MESSAGE(fine.find(line) != std::string::npos, fine);
  CHECK(wait_for(start({kRun, "tests/e2e/tiny.lua", "--check", "--set", "steps=0"}, dir.path / "log")) == 2);
  const std::string said = slurp(dir.path / "log");
  CHECK_MESSAGE(said.find("grpo: steps is 0; it must be at least 1") != std::string::npos, said);
}

TEST_CASE("a misspelled option of a stage is refused before anything runs, at the recipe's line") {
  TempDir dir;
  auto error_of = [&](const std::string &statement) {
    const auto ran = recipe(dir, R"(
local tasks = gcop.tasks { "tests/e2e/tiny.jsonl" }
local core = gcop.core { script = function() return "x" end }
local run = gcop.run { guide = gcop.guide { random = {} }, core = core, check = gcop.validator { "python" } }
)" + statement,
                            {"--check"});
    CHECK_MESSAGE(ran.code == 2, ran.said);
    return ran.said;
  };
  auto says = [&](const std::string &statement, const std::string &words) {
    auto text = error_of(statement);
    CHECK_MESSAGE(text.find(words) != std::string::npos, text);
  };
  says("run:sft { data = {}, epochs = 1, batch = 8, lr = 1, epoch = 2 }",
       "recipe.lua:5: gcop.Run:sft: unknown option 'epoch', did you mean 'epochs'?");
  says("run:sft {}", "recipe.lua:5: gcop.Run:sft: data is missing (gcop.Kept[])");
  says("run.sft { data = {} }", "recipe.lua:5: gcop.Run:sft: call it with a colon on a gcop.Run, got table");
  says("run:evaluate { tasks = tasks.test, samples = 1 }", "recipe.lua:5: gcop.Run:evaluate: systems is missing");
  says("run:evaluate { tasks = tasks.test, samples = 1, systems = { 'cor' } }",
       "recipe.lua:5: evaluate: there is no system 'cor'");
  says("run:evaluate { tasks = tasks.test, samples = 1, systems = { 'core', 'gcop_sft' } }",
       "recipe.lua:5: evaluate: the system gcop_sft needs run:sft before it");
  says("run:evaluate { tasks = tasks.test, samples = 1, systems = { 'core', 'core' } }",
       "recipe.lua:5: evaluate: the system core is named twice");
  for (const char *lambda : {"0/0", "1/0", "-1"})
    says(std::string("run:evaluate { tasks = tasks.test, samples = 1, systems = { 'core' }, lambda = ") + lambda + " }",
         "recipe.lua:5: evaluate: lambda is ");
  says("run:evaluate { tasks = { tasks.test[1], tasks.test[2], tasks.test[1] }, samples = 1, systems = { 'core' } }",
       "; ids tell tasks apart, so that each needs its own");
  says("run:evaluate { tasks = { { prompt = 'p' } }, samples = 1, systems = { 'core' } }",
       "recipe.lua:5: evaluate: tasks[1] has no id");
  says("run:baseline { tasks = {}, samples = 4 }", "recipe.lua:5: baseline: there are no tasks");
  says("run:baseline { tasks = tasks.train, samples = 1 }",
       "recipe.lua:5: baseline: samples is 1; it must be at least 4");
  says("run:accept { tasks = tasks.train, teacher = core, proposals = 1, refine = 0, keep = 1, tau = 2 }", "tau");
  says("run:accept { tasks = tasks.train, teacher = core, proposals = 1, refine = 0, keep = 1, neutral = 'as asked' }",
       "recipe.lua:5: accept: neutral needs run:baseline before it");
  says(
      "run:grpo { tasks = tasks.train, steps = 1, prompts = 1, group = 2, samples = 1, lr = 1, kl_beta = 0, "
      "max_tokens = 9, reward = gcop.reward.gated() }",
      "recipe.lua:5: grpo: run:baseline is needed before it");
  says("gcop.run { guide = run.guide, core = core, check = run.check, prompts = { cor = print } }",
       "recipe.lua:5: gcop.run: there is no prompt 'cor'");
}

TEST_CASE("--plan counts the calls of the core that an evaluation makes, and the guide's apart") {
  TempDir dir;
  const auto ran = recipe(dir, R"(
local tasks = gcop.tasks { "tests/e2e/tiny.jsonl" }
local core = gcop.core { script = function() return "x" end }
local run = gcop.run { guide = gcop.guide { random = {} }, core = core, check = gcop.validator { "python" } }
run:evaluate { tasks = tasks.test, samples = 2, systems = { "core", "guide_only", "core_notes", "gcop_exectune" } }
run:finish {})",
                          {"--plan"});
  CHECK_MESSAGE(ran.code == 0, ran.said);
  CHECK_MESSAGE(ran.said.find("evaluate             core             54 ") != std::string::npos, ran.said);
  CHECK_MESSAGE(ran.said.find("evaluate             guide            27 ") != std::string::npos, ran.said);
}

TEST_CASE("with one task there is no interval, and none is printed") {
  TempDir dir;
  const auto ran = recipe(dir, R"(
local tasks = gcop.tasks { "tests/e2e/tiny.jsonl" }
local core = gcop.core { script = function() return "```python\ndef f(x):\n    return x + 1\n```" end }
local run = gcop.run { guide = gcop.guide { random = {} }, core = core, check = gcop.validator { "python" } }
run:evaluate { tasks = { tasks.test[1] }, samples = 1, systems = { "core" } }
run:finish {})");
  CHECK_MESSAGE(ran.code == 0, ran.said);
  CHECK_MESSAGE(ran.said.find("nan") == std::string::npos, ran.said);
  CHECK_MESSAGE(ran.said.find("1x1  1.000, no interval") != std::string::npos, ran.said);
}

TEST_CASE("template variables reach the guide's chat template from a recipe, and only those that it reads") {
  TempDir dir;
  const auto ran = recipe(dir, R"(gcop.guide { random = {}, template = { enable_thinking = false } })");
  CHECK_MESSAGE(ran.code != 0, ran.said);
  CHECK_MESSAGE(ran.said.find("its chat template does not read \"enable_thinking\"") != std::string::npos, ran.said);
}

TEST_CASE("a recipe that names the isolation `process` runs without a jail, and verdict, log and report say so") {
  TempDir dir;
  auto recipe = dir.path / "weak.lua", log = dir.path / "log";
  std::ofstream(recipe) << R"lua(
local task = { id = "one", prompt = "f", tests = { "assert f(1) == 2" } }
local strong, weak = gcop.validator { "python" }, gcop.validator { "python", isolation = "process" }
local a, b = assert(strong:check(task, "def f(x): return 2")), assert(weak:check(task, "def f(x): return 2"))
print("said", a.score, a.detail.isolation, b.score, b.detail.isolation)
print("said", pcall(gcop.validator, { "python", isolation = "none" }))
gcop.report.write { stages = {} }
)lua";
  CHECK(wait_for(start({kRun, recipe, "--out", dir.path / "run"}, log)) == 0);
  const std::string text = slurp(log);
  for (const char *line : {"said\t1.0\tjail\t1.0\tprocess\n", "'isolation' is \"none\"; it must be \"jail\" or",
                           "isolation = \"process\": what a model wrote runs without a jail"})
    CHECK_MESSAGE(text.find(line) != std::string::npos, text);
  CHECK(slurp(dir.path / "run/report.json").find("\"isolation\": \"process\"") != std::string::npos);
  CHECK(slurp(dir.path / "run/report.html").find("isolation") != std::string::npos);
}
