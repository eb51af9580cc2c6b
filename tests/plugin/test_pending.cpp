#include <cstdlib>

#include "base/secret.hpp"
#include "core/core.hpp"
#include "wayward.hpp"

using namespace gcop;

namespace {

core::Request ask(const std::string &text) {
  core::Request request;
  request.messages = {{"user", text}};
  return request;
}

// One call through the core handle, the thinnest way to a Calls object with a real plugin behind it.
Result<Reply> call(Bench &bench, core::Core &handle, const std::string &text = "hello") {
  Result<Reply> out = Error{};
  bench.until([&](auto end) {
    handle.complete(ask(text), [&out, end](auto result) {
      out = std::move(result);
      end();
    });
  });
  return out;
}

}  // namespace

TEST_CASE("an answer from inside the starting call arrives later, on the strand") {
  Bench bench;
  core::Core handle(bench.loop, nullptr, bench.wayward("echo"), "w", {}, 4, 0);
  bool inside = true, on_strand = false;
  bench.until([&](auto end) {
    handle.complete(ask("x"), [&, end](auto) {
      on_strand = bench.loop.on_strand() && !inside;
      end();
    });
    inside = false;
  });
  CHECK(on_strand);
}

TEST_CASE("a second answer is logged with the plugin's name and ignored") {
  Bench bench;
  core::Core handle(bench.loop, nullptr, bench.wayward("twice"), "w", {}, 4, 0);
  int answers = 0;
  bench.until([&](auto end) {
    handle.complete(ask("x"), [&, end](auto result) {
      CHECK(result);
      ++answers;
      bench.loop.post(end);
    });
  });
  CHECK(answers == 1);
  CHECK(bench.logged("plugin 'test.wayward', complete: answered twice"));
}

TEST_CASE("a plugin that never answers is a timeout that names plugin and call, and destroy is never called") {
  Bench bench;
  {
    core::Core handle(bench.loop, nullptr, bench.wayward("never"), "w", {}, 4, 20);
    const auto result = call(bench, handle);
    REQUIRE_FALSE(result);
    CHECK(result.error().code == Code::timeout);
    CHECK(has(result.error().message, "core 'w': plugin 'test.wayward', complete: no answer after 270 ms"));
  }
  CHECK_FALSE(bench.logged("destroyed"));
}

TEST_CASE("an answer after the host has given up is harmless") {
  Bench bench;
  core::Core handle(bench.loop, nullptr, bench.wayward("late"), "w", {}, 4, 20);
  const auto result = call(bench, handle);
  REQUIRE_FALSE(result);
  CHECK(result.error().code == Code::timeout);
  bench.until_logged("complete: answered after the host had given up");
}

TEST_CASE("cancel reaches the plugin's op, and its answer is still awaited") {
  for (const std::string mode : {"hold", "after_cancel"}) {
    CAPTURE(mode);
    Bench bench;
    {
      core::Core handle(bench.loop, nullptr, bench.wayward(mode), "w", {}, 4, 0);
      Result<Reply> out = Error{};
      bench.until([&](auto end) {
        const uint64_t id = handle.complete(ask("x"), [&out, end](auto result) {
          out = std::move(result);
          end();
        });
        handle.cancel(id);
      });
      REQUIRE_FALSE(out);
      CHECK(out.error().code == Code::cancelled);
    }
    bench.until_logged("destroyed");  // only once the op was answered
    if (mode == "after_cancel") CHECK(bench.logged("answered twice"));
  }
}

TEST_CASE("an exception and a null result become internal errors") {
  Bench bench;
  core::Core throws(bench.loop, nullptr, bench.wayward("throws"), "t", {}, 4, 0);
  const auto thrown = call(bench, throws);
  REQUIRE_FALSE(thrown);
  CHECK(thrown.error().code == Code::internal);
  CHECK(has(thrown.error().message, "bad luck"));
  core::Core nothing(bench.loop, nullptr, bench.wayward("nothing"), "n", {}, 4, 0);
  const auto empty = call(bench, nothing);
  REQUIRE_FALSE(empty);
  CHECK(empty.error().code == Code::internal);
}

TEST_CASE("a plugin may answer from a host worker") {
  Bench bench;
  core::Core handle(bench.loop, nullptr, bench.wayward("posts"), "w", {}, 4, 0);
  CHECK(call(bench, handle));
}

TEST_CASE("a registered secret leaves no error of a plugin") {
  Bench bench;
  setenv("WAYWARD_KEY", "sk-wayward-1234567", 1);
  REQUIRE(Secret::from_env("WAYWARD_KEY"));
  core::Core handle(bench.loop, nullptr, bench.wayward("denied"), "w", {}, 4, 0);
  const auto result = call(bench, handle);
  REQUIRE_FALSE(result);
  CHECK(result.error().code == Code::denied);
  CHECK(result.error().message == "core 'w': key *** is refused");
}

TEST_CASE("twenty thousand calls rest and are used again without mixing answers") {
  Bench bench;
  core::Core handle(bench.loop, nullptr, bench.wayward("echo"), "w", {}, 8, 1000);
  size_t right = 0, left = 20'000;  // more than rest at a time
  bench.until([&](auto end) {
    for (size_t i = 0; i < 20'000; ++i) {
      const std::string text = "number " + std::to_string(i) + ".";
      handle.complete(ask(text), [&, text, end](auto result) {
        if (result && has(result->text, text)) ++right;
        if (--left == 0) end();
      });
    }
  });
  CHECK(right == 20'000);
}
