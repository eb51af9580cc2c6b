// The comfort layer's promises: one answer to each call whatever the author does, no exception across the boundary,
// destroy() waits for workers. The plugins here live in the test program; they pass through the same tables.
#include <atomic>
#include <chrono>
#include <thread>

#include <doctest/doctest.h>
#include <gcop/plugin.hpp>

#include "driver.hpp"

using namespace gcop::sdk;

namespace {

// Misbehaves as its messages say.
struct Awkward : Core {
  Awkward(Host, std::string_view config) {
    if (config == "failure") throw Failure(GCOP_DENIED, "not you");
    if (config == "exception") throw std::runtime_error("a plain exception");
    if (config == "odd") throw 7;
    if (config == "long") throw Failure(GCOP_INVALID, std::string(5000, 'x'));
  }
  std::string_view identity() const override { return "awkward/1"; }
  void complete(Request request, Completion<Reply> &&completion) override {
    const std::string_view what = request.messages_json;
    if (what == "throw") throw std::runtime_error("thrown before the answer");
    if (what == "failure") throw Failure(GCOP_UNAVAILABLE, "come back later");
    if (what == "drop") {
      Completion<Reply> mine = std::move(completion);
      return;
    }
    if (what == "forget") return;
    Reply reply;
    reply.texts = {"first"};
    completion.ok(reply);
    completion.ok(reply);  // a second answer is ignored
    completion.fail(GCOP_INTERNAL, "third");
    if (what == "late throw") throw std::runtime_error("thrown after the answer");
  }
};

std::atomic<int> finished{0};

struct Slow : BlockingCore {
  Slow(Host, std::string_view) {}
  ~Slow() override { CHECK(finished == 1); }
  std::string_view identity() const override { return "slow/1"; }
  Reply complete(const Request &, const Op &op) override {
    while (!op.cancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    struct Last {
      ~Last() { ++finished; }
    } last;
    throw Failure(GCOP_CANCELLED, "stopped");
  }
};

template <class Type>
const gcop_plugin *plugin() {
  using Plugged = detail::Instance<Type>;
  static const gcop_plugin descriptor = {sizeof(gcop_plugin), GCOP_ABI_MAJOR,   GCOP_ABI_MINOR, "t", "1.0.0", "", "{}",
                                         Plugged::create,     Plugged::destroy, Plugged::query};
  return &descriptor;
}

}  // namespace

TEST_CASE("every call is answered once, whatever the author does") {
  struct Row {
    const char *what;
    gcop_status status;
    const char *error;
  };
  for (const Row &row :
       {Row{"throw", GCOP_INTERNAL, "thrown before the answer"}, Row{"failure", GCOP_UNAVAILABLE, "come back later"},
        Row{"drop", GCOP_INTERNAL, "dropped"}, Row{"forget", GCOP_INTERNAL, "dropped"}, Row{"fine", GCOP_OK, ""},
        Row{"late throw", GCOP_OK, ""}}) {
    CAPTURE(row.what);
    driver::Core core(plugin<Awkward>(), "");
    driver::Request request;
    request.messages = row.what;
    const auto call = core.start(request);
    const driver::Reply got = call->wait();
    CHECK(got.status == row.status);
    CHECK(got.error.find(row.error) != std::string::npos);
    CHECK(call->done() == 1);
  }
}

TEST_CASE("create turns whatever is thrown into an error") {
  struct Row {
    const char *config;
    gcop_status status;
    const char *why;
  };
  for (const Row &row : {Row{"failure", GCOP_DENIED, "not you"}, Row{"exception", GCOP_INTERNAL, "a plain exception"},
                         Row{"odd", GCOP_INTERNAL, "no std::exception"}, Row{"long", GCOP_INVALID, "xxxx"}}) {
    driver::Core core(plugin<Awkward>(), row.config);
    CHECK_FALSE(core);
    CHECK(core.status == row.status);
    CHECK(core.why.find(row.why) != std::string::npos);
    CHECK(core.why.size() < sizeof gcop_error::message);
  }
}

TEST_CASE("destroy waits for the worker that still runs the plugin") {
  finished = 0;
  {
    driver::Core core(plugin<Slow>(), "");
    const auto call = core.start();
    call->cancel();
    CHECK(call->wait().status == GCOP_CANCELLED);
  }
  CHECK(finished == 1);
}

TEST_CASE("a host of another version is refused") {
  CHECK(detail::accepts(GCOP_ABI_MAJOR, GCOP_ABI_MINOR));
  CHECK_FALSE(detail::accepts(GCOP_ABI_MAJOR + 1, GCOP_ABI_MINOR));
  CHECK_FALSE(detail::accepts(GCOP_ABI_MAJOR, GCOP_ABI_MINOR + 1));
}
