#include <doctest/doctest.h>

#include "recipe.hpp"

namespace {

// The error of one statement, which stands in line 2.
std::string error_of(const std::string &statement) {
  auto ran = run("local core = gcop.core { script = function(r) return r.prompt end }\n" + statement);
  CHECK(ran.code != 0);
  return ran.message.substr(0, ran.message.find('\n'));
}

}  // namespace

TEST_CASE("unknown option keys name the known ones and the nearest") {
  CHECK(error_of("gcop.strategy.plan { tua = 0.5 }") ==
        "recipe.lua:2: gcop.strategy.plan: unknown option 'tua', did you mean 'tau'?; known: tau, epsilon, m, rule, "
        "p1, rounds_of");
  CHECK(error_of("gcop.strategy.plan { wholly_else = 1 }") ==
        "recipe.lua:2: gcop.strategy.plan: unknown option 'wholly_else'; known: tau, epsilon, m, rule, p1, rounds_of");
  CHECK(error_of("core:complete { prompt = 'x', 3 }") ==
        "recipe.lua:2: gcop.Core:complete: named options only, got an item [1]");
  CHECK(error_of("gcop.core { script = function() end, price = { in_ = 1 } }")
            .find("gcop.core: price: unknown option 'in_'") != std::string::npos);
}

TEST_CASE("wrong types say what was expected and what came") {
  CHECK(error_of("gcop.sleep('long')") == "recipe.lua:2: gcop.sleep: seconds must be number, got string 'long'");
  CHECK(error_of("gcop.sleep()") == "recipe.lua:2: gcop.sleep: seconds is missing (number)");
  CHECK(error_of("gcop.sleep(1, 2)") == "recipe.lua:2: gcop.sleep: takes 1 argument, got 2");
  CHECK(error_of("gcop.strategy.plan { m = 1.5 }") ==
        "recipe.lua:2: gcop.strategy.plan: m must be integer, got number 1.5");
  CHECK(error_of("gcop.map({ a = 1 }, {}, print)") ==
        "recipe.lua:2: gcop.map: items must be any[], got table with named fields");
  CHECK(error_of("gcop.map({}, {}, 7)") ==
        "recipe.lua:2: gcop.map: fn must be fun(item: any, index: integer): any, any, got number 7");
  CHECK(error_of("gcop.trainer.advantages({}, {}, 'groups')") ==
        "recipe.lua:2: gcop.trainer.advantages: scaling must be \"none\"|\"group\"|\"batch\"|nil, got string 'groups'");
  CHECK(error_of("core.complete { prompt = 'x' }") ==
        "recipe.lua:2: gcop.Core:complete: call it with a colon on a gcop.Core, got table with named fields");
  CHECK(error_of("gcop.strategy.leaks('x', core)") ==
        "recipe.lua:2: gcop.strategy.leaks: task must be gcop.Task, got gcop.Core");
}

TEST_CASE("values out of range and fields that do not exist") {
  CHECK(error_of("gcop.core { script = function() end, temperature = -1 }") ==
        "recipe.lua:2: gcop.core: temperature is -1, allowed are 0 to 10");
  CHECK(error_of("core:complete { prompt = 'x', max_tokens = 0 }") ==
        "recipe.lua:2: gcop.Core:complete: max_tokens is 0, allowed are 1 to 1048576");
  CHECK(error_of("print(core.complet)") == "recipe.lua:2: gcop.Core has no 'complet'; it has complete");
  CHECK(error_of("core:complete { messages = { { role = 'usr', content = 'x' } } }") ==
        "recipe.lua:2: gcop.Core:complete: messages[1].role is 'usr'; known: system, user, assistant");
  CHECK(error_of("core:complete {}").find("give either messages") != std::string::npos);
  CHECK(error_of("gcop.core { model = 'replay:x', free = true, price = { input = 1 } }").find("either price") !=
        std::string::npos);
  CHECK(error_of("gcop.stats.t_test { 1, 0 / 0 }").find("gcop.stats.t_test: values[2] is") != std::string::npos);
  CHECK(error_of("gcop.stats.mean_ci { 1, math.huge }").find("values[2] is inf, not a finite number") !=
        std::string::npos);
  CHECK(error_of("gcop.stats.holm { 0.1, 1.5 }") == "recipe.lua:2: gcop.stats.holm: p[2] is 1.5, allowed are 0 to 1");
  CHECK(error_of("gcop.core {}").find("give one of model") != std::string::npos);
  CHECK(error_of("gcop.core { model = 'gpt' }").find("model 'gpt' is not understood") != std::string::npos);
  CHECK(error_of("gcop.core { model = 'replay:/does/not/exist' }").find("'/does/not/exist' are not there") !=
        std::string::npos);
  CHECK(error_of("gcop.core { model = 'http://127.0.0.1:1/v1' }").find("after a #") != std::string::npos);
  CHECK(error_of("gcop.core { model = 'openai:x', key_env = 'GCOP_TEST_NO_SUCH_KEY' }").find("GCOP_TEST_NO_SUCH_KEY") !=
        std::string::npos);
}

TEST_CASE("mistakes before the first waiting call end with code 2, later ones with 1") {
  CHECK(run("gcop.strategy.plan { tau = 2 }").code == 2);
  CHECK(run("gcop.sleep(0) gcop.strategy.plan { tau = 2 }").code == 1);
}
