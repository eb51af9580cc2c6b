#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "wayward.hpp"

using namespace gcop;
namespace fs = std::filesystem;

TEST_CASE("a plugin is loaded once, its instance logs under its name and is destroyed with the last reference") {
  Bench bench;
  const auto first = bench.registry.open("wayward"),
             second = bench.registry.open(std::string(GCOP_BIN_DIR) + "/faults/wayward.gcop.so");
  REQUIRE(first);
  REQUIRE(second);
  CHECK(first->descriptor == second->descriptor);
  auto instance = bench.wayward("echo");
  CHECK(bench.logged("test.wayward: created with mode echo, sandbox absent"));
  CHECK(instance->interface(GCOP_CORE) != nullptr);
  CHECK(instance->interface("gcop.core/99") == nullptr);
  CHECK_FALSE(bench.logged("destroyed"));
  instance.reset();
  CHECK(bench.logged("test.wayward: destroyed"));
}

TEST_CASE("services that the host offers are found by id") {
  Bench bench;
  static const gcop_host_sandbox service{};
  bench.registry.offer(GCOP_HOST_SANDBOX, &service);
  bench.wayward("echo");
  CHECK(bench.logged("sandbox there"));
}

TEST_CASE("a name that is not there lists what is") {
  Bench bench;
  const auto opened = bench.registry.open("core_htpp");
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code == Code::invalid);
  CHECK(has(opened.error().message, "core_htpp"));
  CHECK(has(opened.error().message, " wayward"));
  const auto missing = bench.registry.open("./nowhere/x.gcop.so");
  REQUIRE_FALSE(missing);
  CHECK(has(missing.error().message, "No such file"));
}

TEST_CASE("a file that exists and does not load is an error, not a search elsewhere") {
  Bench bench;
  const fs::path folder = fs::temp_directory_path() / ("gcop-registry-" + std::to_string(getpid()));
  fs::create_directories(folder);
  std::ofstream(folder / "wayward.gcop.so") << "this is text";
  plugin::Registry registry(bench.loop, {folder, std::string(GCOP_BIN_DIR) + "/faults"});
  const auto opened = registry.open("wayward");
  REQUIRE_FALSE(opened);
  CHECK(has(opened.error().message, (folder / "wayward.gcop.so").string()));
  CHECK(has(opened.error().message, "cannot be loaded"));
  fs::remove_all(folder);
}

TEST_CASE("what is wrong with a shared object is said") {
  Bench bench;
  const auto said = [&](const std::string &name) {
    const auto opened = bench.registry.open(name);
    REQUIRE_FALSE(opened);
    return opened.error().message;
  };
  CHECK(has(said("not_a_plugin"), "does not export gcop_plugin_entry"));
  CHECK(has(said("broken_OtherAbi"), "was built for ABI 0.7, this host has 0.1"));
  CHECK(has(said("broken_Refuses"), "refuses this host's ABI 0.1"));
  CHECK(has(said("broken_ShortDescriptor"), "incomplete descriptor"));
  CHECK(has(said("broken_NoQuery"), "incomplete descriptor"));
}

TEST_CASE("create that throws, fails, or says nothing becomes an error that names the plugin") {
  Bench bench;
  const auto thrown = bench.make("broken_Throws");
  REQUIRE_FALSE(thrown);
  CHECK(thrown.error().code == Code::internal);
  CHECK(thrown.error().message == "plugin 'test.broken' threw in create(): no such tokenizer");
  const auto failed = bench.make("broken_Fails");
  REQUIRE_FALSE(failed);
  CHECK(failed.error().code == Code::invalid);
  CHECK(failed.error().message == "plugin 'test.broken': config field 'file' is missing; add it");
  const auto silent = bench.make("broken_FailsSilently");
  REQUIRE_FALSE(silent);
  CHECK(silent.error().message == "plugin 'test.broken': create() failed without a message");
}

TEST_CASE("create that hangs is given up") {
  Bench bench;
  const auto hung = bench.make("broken_Hangs", "{}", 50);
  REQUIRE_FALSE(hung);
  CHECK(hung.error().code == Code::timeout);
  CHECK(has(hung.error().message, "plugin 'test.broken' has not returned from create() after 50 ms"));
}

TEST_CASE("destroy that throws is logged") {
  Bench bench;
  CHECK(bench.make("broken_DestroyThrows"));
  CHECK(bench.logged("plugin 'test.broken' threw in destroy()"));
}
