#include <doctest/doctest.h>

#include "recipe.hpp"

namespace {
bool holds(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }
}  // namespace

TEST_CASE("a core written in Lua gets the request and may wait") {
  auto ran = run(R"(
    local core = gcop.core { name = "echo", temperature = 0.5, stop = "END", script = function(request)
      gcop.sleep(0.01)
      return { text = request.messages[1].role .. ":" .. request.prompt .. ":" .. request.sample .. ":" .. request.temperature,
        usage = { input = 7, output = 3 }, finish = "length" }
    end }
    local reply = core:complete { messages = { { role = "system", content = "s" }, { role = "user", content = "u" } }, sample = 4 }
    print(reply.text, reply.finish, reply.tokens_in, reply.tokens_out, reply.cost_usd, reply.cached, reply.model)
    print(core, core.name))");
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  CHECK(ran.all() == "system:u:4:0.5\tlength\t7\t3\t0.0\tfalse\techo\ngcop.Core echo\techo");
}

TEST_CASE("a script's usage is whole tokens, or no answer") {
  for (const char *tokens : {"-5", "100.5", "1e18", "'many'", "2^62"}) {
    auto ran = run(std::string("local core = gcop.core { price = { input = 1, output = 1 }, script = function() return "
                               "{ text = 'x', usage = { "
                               "input = ") +
                   tokens +
                   " } } end }\nlocal reply, err = core:complete { prompt = 'x' }\nprint(reply, err and err.message)");
    CHECK_MESSAGE(holds(ran.all(), "nil\t"), tokens, ran.all());
    CHECK_MESSAGE(holds(ran.all(), "usage.input is "), tokens, ran.all());
  }
}

TEST_CASE("what a script does wrong is an err with the traceback") {
  auto ran = run(R"(
    local good = gcop.core { script = function() return "fine" end }
    assert(good:complete { prompt = "x" })
    local raises = gcop.core { name = "raises", script = function() gcop.sleep(0)
      error("broken") end }
    local reply, err = raises:complete { prompt = "x" }
    print(reply, err.code, err.retryable, err.message)
    local nothing = gcop.core { script = function() end }
    print(select(2, nothing:complete { prompt = "x" }).message)
    local number = gcop.core { script = function() return { text = 3 } end }
    print(select(2, number:complete { prompt = "x" }).message)
    local passes = gcop.core { script = function(request) return raises:complete { prompt = request.prompt } end }
    print(select(2, passes:complete { prompt = "y" }).code))");
  REQUIRE_MESSAGE(ran.code == 0, ran.message);
  REQUIRE(ran.printed.size() == 4);
  CHECK(holds(ran.printed[0],
              "nil\tinvalid\tfalse\tcore 'raises': the script failed: recipe.lua:5: broken\nstack traceback:"));
  CHECK(holds(ran.printed[1], "must return a text, a table { text = ... }, or nil and an err; it returned nothing"));
  CHECK(holds(ran.printed[2], "a table whose text is a number"));
  CHECK(ran.printed[3] == "invalid");
}

TEST_CASE("the store answers what was answered before, also in the next process") {
  Recipe recipe(R"(
    local calls = 0
    local core = gcop.core { script = function(request) calls = calls + 1 return request.prompt .. request.seed % 2 * 0 end }
    local a = core:complete { prompt = "x" }
    local b = core:complete { prompt = "x" }
    local c = core:complete { prompt = "x", sample = 1 }
    print(calls, a.cached, b.cached, c.cached, a.text == b.text))");
  recipe.keep = true;
  auto first = recipe.run();
  CHECK_MESSAGE(first.code == 0, first.message);
  CHECK(first.all() == "2\tfalse\ttrue\tfalse\ttrue");
  auto second = recipe.run();
  CHECK_MESSAGE(second.code == 0, second.message);
  CHECK(second.all() == "0\ttrue\ttrue\ttrue\ttrue");
}

TEST_CASE("a script ends when nobody waits for its call any more") {
  const Ran ran = run(R"(
    local ended, calls = 0, 0
    local core = gcop.core { script = function(request)
      calls = calls + 1
      local _ <close> = setmetatable({}, { __close = function() ended = ended + 1 end })
      gcop.sleep(1000)
      return "late"
    end }
    local _, who = gcop.race { function() return core:complete { prompt = "a" } end, function() return core:complete { prompt = "b" } end,
      function() while calls < 2 do gcop.sleep(0) end end }
    print(who, calls, ended)
    local both = { gcop.spawn(function() return core:complete { prompt = "c" } end), gcop.spawn(function() return core:complete { prompt = "c" } end) }
    while calls < 3 do gcop.sleep(0) end
    both[1]:cancel()
    gcop.sleep(0)
    print(calls, ended)          -- the other one waits for the same call
    both[2]:cancel()
    print(calls, ended))");
  CHECK_MESSAGE(ran.code == 0, ran.message);
  CHECK(ran.all() == "3\t2\t2\n3\t2\n3\t3");
}

TEST_CASE("two scripted cores of one place do not answer for each other") {
  Recipe recipe(R"(
    local function make(word) return gcop.core { script = function() return word end } end
    local one, two = make "one", make "two"
    print(one:complete { prompt = "x" }.text, two:complete { prompt = "x" }.text, one.identity ~= two.identity))");
  recipe.keep = true;
  CHECK(recipe.run().all() == "one\ttwo\ttrue");
  CHECK(recipe.run().all() == "one\ttwo\ttrue");
}

TEST_CASE("the budget: calls wait for what others really cost, and then are refused") {
  Recipe recipe(R"(
    local core = gcop.core { price = { input = 0, output = 10 }, max_tokens = 100, script = function()
      gcop.sleep(0.02)
      return { text = "x", usage = { input = 1, output = 10 } }
    end }
    gcop.store.set_budget(0.00145)   -- one call may cost 0.001 and costs 0.0001: five fit one after the other
    local list = {}
    for i = 1, 8 do list[i] = i end
    local replies, errors = gcop.map(list, {}, function(i) return core:complete { prompt = "x", sample = i } end)
    local answered, refused = 0, 0
    for i = 1, 8 do
      if replies[i] then answered = answered + 1 end
      if errors[i] and errors[i].code == "exhausted" then refused = refused + 1 end
    end
    print(answered, refused, ("%.4f"):format(gcop.store.spent())))");
  recipe.keep = true;
  auto ran = recipe.run();
  CHECK(ran.code == 3);
  CHECK(ran.all() == "5\t3\t0.0005");
  CHECK(holds(ran.message, "budget"));
}

TEST_CASE("too many failed calls end the run") {
  auto ran = run(R"(
    local core = gcop.core { script = function() error("down") end }
    for i = 1, 1000 do core:complete { prompt = "x", sample = i } end
    print("never"))");
  CHECK(ran.code == 1);
  CHECK(ran.printed.empty());
  CHECK(holds(ran.message, "11 of the last 11 calls failed for reasons of infrastructure"));
  CHECK(holds(ran.message, "down"));

  ran = run("local core = gcop.core { script = function() error('down') end }\ncore:complete { prompt = 'x' }");
  CHECK(ran.code == 1);
  CHECK(holds(ran.message, "none of 1 calls succeeded"));
}

TEST_CASE("a role's cap ends the run when that role needs more") {
  Recipe recipe(R"(
    local core = gcop.core { price = { input = 0, output = 10 }, max_tokens = 100, script = function()
      return { text = "x", usage = { input = 1, output = 100 } }
    end }
    gcop.store.set_budget(1)
    gcop.store.set_budget(0.0015, "teacher")
    print(core:complete { prompt = "a", role = "core" } ~= nil, core:complete { prompt = "b", role = "teacher" } ~= nil)
    local _, err = core:complete { prompt = "c", role = "teacher" }
    print(err.code, err.message:match "for role '%a+'"))");
  recipe.keep = true;
  const auto ran = recipe.run();
  CHECK_MESSAGE(ran.code == 3, ran.message);
  CHECK(ran.all() == "true\ttrue\nexhausted\tfor role 'teacher'");
}

TEST_CASE("a model in no price list is refused before the first call, unless it is free or priced") {
  const std::string api =
      "gcop.core { plugin = 'core_http', config = { base_url = 'https://llm.example/v1', model = 'm' }";
  auto ran = run(api + " }");
  CHECK(ran.code == 2);
  for (const char *part :
       {"'m' of llm.example has no price in recipes/prices.toml", "price = { input =, output = }", "free = true"})
    CHECK_MESSAGE(holds(ran.message, part), ran.message);
  CHECK(run(api + ", free = true }").code == 0);
  ran = run(
      "local core = " + api +
      ", price = { input = 1, output = 2, tiers = { { above = 1000, input = 3, output = 4 } } } }\n"
      "print(core.price.input, core.price.tiers[1].above, core.price.tiers[1].output, core.price.tiers[1].cache_read)");
  CHECK(ran.all() == "1.0\t1000\t4.0\t3.0");
  ran = run(
      "local core = gcop.core { plugin = 'core_http', batch = true, config = { base_url = 'https://api.openai.com/v1', "
      "model = 'gpt-4o-mini-2024-07-18' } } print(core.price.output, core.price.read)");
  CHECK(ran.all() == "0.3\t2026-06-20");
  CHECK(holds(run(api + ", price = { input = 1, output = -1 } }").message, "output"));
  CHECK(holds(run(api + ", price = { input = 1 } }").message, "price has no output"));
  CHECK(holds(run(api + ", price = {} }").message, "price has no input"));
  CHECK(holds(run(api + ", price = { input = 1, output = 1, tiers = { { above = 10 } } } }").message,
              "price.tiers[1] has no input"));
  CHECK(run(api + ", price = { hour = 1 } }").code == 0);
  CHECK(holds(
      run(api +
          ", price = { input = 1, output = 1, tiers = { { above = 10, input = 1, output = 1 }, { above = 5 } } } }")
          .message,
      "must rise"));
  CHECK(holds(run(api + ", price = { input = 1, output = 1 }, batch = true }").message, "price as it is billed"));
}

TEST_CASE("settled calls of a run become a file that another run answers from") {
  Recipe first(
      "local core = gcop.core { script = function(r) return r.prompt .. '!' end }\n"
      "print(core:complete { prompt = 'hi', sample = 1 }.text)");
  first.keep = true;
  REQUIRE(first.run().all() == "hi!");
  const std::string folder = (first.folder() / "out").string();
  Recipe second(
      "print(gcop.store.record('" + folder +
      "', 'calls.jsonl'))\n"
      "local core = gcop.core { model = 'replay:' .. gcop.out_dir .. '/calls.jsonl' }\n"
      "print(core:complete { prompt = 'hi', sample = 1 }.text, (select(2, core:complete { prompt = 'other' })).code)");
  second.keep = true;
  const auto ran = second.run();
  CHECK_MESSAGE(ran.code == 0, ran.message);
  CHECK(ran.all() == "1\nhi!\tinvalid");
  CHECK(holds(run("gcop.store.record('/nowhere', 'calls.jsonl')").message, "there is no run in '/nowhere'"));
}
