// What scripts/gcop adds to the gcop table in Lua is checked and documented like what is bound in C++.
#include <fstream>
#include <sstream>

#include <doctest/doctest.h>

#include "lua/api.hpp"
#include "recipe.hpp"

namespace {

Ran run_with_scripts(const std::string &text) {
  Recipe recipe(text);
  const std::filesystem::path scripts = GCOP_SOURCE_DIR "/scripts";
  for (const auto &entry : std::filesystem::recursive_directory_iterator(scripts)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream in(entry.path(), std::ios::binary);
    std::stringstream file;
    file << in.rdbuf();
    recipe.files["scripts" / entry.path().lexically_relative(scripts)] = file.str();
  }
  return recipe.run();
}

std::string error_of(const std::string &statement) {
  auto ran = run_with_scripts("\n" + statement);
  CHECK(ran.code == 2);
  return ran.message.substr(0, ran.message.find('\n'));
}

}  // namespace

TEST_CASE("everything in the gcop table has a row, and init.lua leaves nothing of its own behind") {
  std::string names = "|";
  for (auto *module : gcop::lua::modules()) {
    for (const auto &f : module->functions) names += std::string(f.name) + "|";
    for (const auto &v : module->values) names += std::string(v.name) + "|";
  }
  auto ran = run_with_scripts("local names = [=[" + names + R"(]=]
    local count = 0
    local function walk(table, prefix)
      for key, value in pairs(table) do
        local name = prefix .. key
        if type(value) == "table" and name ~= "gcop.args" then walk(value, name .. ".")
        elseif not names:find("|" .. name .. "|", 1, true) then print("not documented: " .. name)
        else count = count + 1 end
      end
    end
    walk(gcop, "gcop.")
    print(count > 60))");
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  CHECK(ran.all() == "true");
}

TEST_CASE("a misspelled or missing option of a Lua function is refused at the recipe's line") {
  CHECK(error_of("gcop.run { gide = 1 }") == "recipe.lua:2: gcop.run: guide is missing (gcop.Guide)");
  CHECK(error_of("gcop.reward.gated { w_ham = 1 }")
            .find("recipe.lua:2: gcop.reward.gated: unknown option 'w_ham', did you mean 'w_harm'?") == 0);
  CHECK(error_of("gcop.reward.gated { leak = 2 }").find("recipe.lua:2: ") == 0);
  const std::string caps =
      "gcop.run { guide = gcop.guide { random = {} }, core = gcop.core { script = print }, check = gcop.validator { "
      "print }, budget_usd = ";
  CHECK(error_of(caps + "{ totl = 5 } }").find("recipe.lua:2: gcop.run: budget_usd.totl caps nobody") == 0);
  CHECK(error_of(caps + "{ teacher = -1 } }").find("recipe.lua:2: gcop.run: budget_usd.teacher is -1") == 0);
  CHECK(error_of("gcop.prompts.wrap(7, 8)").find("recipe.lua:2: gcop.prompts.wrap: ") == 0);
}

TEST_CASE("the reward of each kind of episode") {
  auto ran = run_with_scripts(R"(
    local reward = gcop.reward.gated { w_harm = 0.5, c_valid = 0.1 }
    print((reward { malformed = "no" }), (reward { leak = "literal" }), (reward { score = 0, unguided = 1 }), (reward { score = 1 }))
    local _, parts = reward { score = 0.25, unguided = 0.75 }
    print(parts.task, parts.valid, parts.harm)
    -- J and the cost count within the bounds that the order was checked for.
    local priced = gcop.reward.gated { lambda = 2, cost_max = 0.04 }
    print((priced { score = 0, cost = 5 }), (priced { score = 0, cost = 0.02 }), (priced { score = 0, judge = 50 }), (priced { score = 0, judge = -50 }))
    print((gcop.reward.gated { lambda = 2 } { score = 0, cost = 5 })))");
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  CHECK(ran.all() == "-1\t-0.5\t-0.4\t1.1\n0.25\t0.1\t-0.25\n0.02\t0.06\t0.3\t0.1\n0.1");
}
