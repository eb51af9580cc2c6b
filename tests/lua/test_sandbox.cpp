#include <doctest/doctest.h>

#include "recipe.hpp"

namespace {
bool holds(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }
}  // namespace

TEST_CASE("what a recipe cannot reach") {
  auto ran = run(R"(
    print(io, debug, package, coroutine, load, loadstring, loadfile, dofile, collectgarbage)
    print(string.dump, ("").dump, os.execute, os.exit, os.getenv, os.remove, os.rename, os.tmpname, math.randomseed)
    print(getmetatable(""), getmetatable(gcop.core { script = function() end }))
    local names = {}
    for name in pairs(_G) do names[#names + 1] = name end
    table.sort(names)
    print(table.concat(names, " ")))");
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  CHECK(ran.printed[0] == "nil\tnil\tnil\tnil\tnil\tnil\tnil\tnil\tnil");
  CHECK(ran.printed[1] == "nil\tnil\tnil\tnil\tnil\tnil\tnil\tnil\tnil");
  CHECK(ran.printed[2] == "false\tfalse");
  CHECK(ran.printed[3] ==
        "_G _VERSION assert error gcop getmetatable ipairs math next os pairs pcall print rawequal rawget "
        "rawlen rawset require select setmetatable string table tonumber tostring type utf8 xpcall");
}

TEST_CASE("require finds text modules in the recipe's folder, recipes/ and scripts/, and nothing else") {
  Recipe recipe(R"(
    print(require "near", require "deep.down", require "shared.part", require "near")
    for _, name in ipairs { "../outside", "/etc/passwd", "..outside", "absent", "a/b", "", "binary", "broken" } do
      print(select(2, pcall(require, name)))
    end)");
  recipe.files["near.lua"] = "count = (count or 0) + 1 return 'near' .. count";
  recipe.files["recipes/deep/down.lua"] = "gcop.sleep(0) return ...";
  recipe.files["scripts/shared/part.lua"] = "return 'part'";
  recipe.files["binary.lua"] = "\x1bLua binary";
  recipe.files["broken.lua"] = "\n\nreturn +";
  auto ran = recipe.run();
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  REQUIRE(ran.printed.size() == 9);
  CHECK(ran.printed[0] == "near1\tdeep.down\tpart\tnear1");
  for (int i = 1; i <= 6; ++i) CHECK(holds(ran.printed[i], "no such module"));
  CHECK(holds(ran.printed[7], "binary.lua: attempt to load a binary chunk"));
  CHECK(holds(ran.printed[8], "broken.lua:3: unexpected symbol"));
}

TEST_CASE("modules that require each other are told so") {
  Recipe recipe("require 'one'");
  recipe.files["one.lua"] = "require 'two'";
  recipe.files["two.lua"] = "require 'one'";
  auto ran = recipe.run();
  CHECK(ran.code == 2);
  CHECK(holds(ran.message, "two.lua:1: require 'one': it is still being loaded"));
}

TEST_CASE("memory has a cap that a recipe can catch, and that leaves the run alive") {
  Recipe recipe(R"(
    local ok, err = pcall(function() local t = {} for i = 1, 1e9 do t[i] = ("x"):rep(1000) .. i end end)
    print(ok, err)
    gcop.sleep(0)
    print("alive"))");
  recipe.settings.memory_cap = 32 << 20;
  auto ran = recipe.run();
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  CHECK(ran.all() == "false\tnot enough memory\nalive");

  Recipe uncaught("gcop.sleep(0) local s = ('x'):rep(1e9)");
  uncaught.settings.memory_cap = 32 << 20;
  ran = uncaught.run();
  CHECK(ran.code == 1);
  CHECK(holds(ran.message, "not enough memory"));
}

TEST_CASE("math.random repeats with the seed") {
  auto with_seed = [](uint64_t seed) {
    Recipe recipe("print(math.random(1, 1000000), math.random())");
    recipe.settings.seed = seed;
    return recipe.run().all();
  };
  CHECK(with_seed(3) == with_seed(3));
  CHECK(with_seed(3) != with_seed(4));
}

TEST_CASE("errors carry file and line") {
  CHECK(holds(run("local x = 1\nlocal y = = 2").message, "recipe.lua:2: unexpected symbol near '='"));
  auto ran = run("#!/usr/bin/env gcop-run\nlocal t = nil\nprint(t.x)");
  CHECK(ran.code == 2);
  CHECK(holds(ran.message, "recipe.lua:3: attempt to index a nil value (local 't')"));
  ran = run("gcop.sleep(0)\nerror { a = 1 }");
  CHECK(ran.code == 1);
  CHECK(holds(ran.message, "table"));
}
