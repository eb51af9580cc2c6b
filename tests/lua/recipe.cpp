#include "recipe.hpp"

#include <unistd.h>

#include <fstream>

#include <doctest/doctest.h>

#include "validator/sandbox/sandbox.hpp"

namespace fs = std::filesystem;

std::string Ran::all() const {
  std::string out;
  for (const auto &line : printed) out += (out.empty() ? "" : "\n") + line;
  return out;
}

Recipe::Recipe(std::string text) : text_(std::move(text)) {
  std::string pattern = (fs::temp_directory_path() / "gcop-lua-XXXXXX").string();
  REQUIRE(mkdtemp(pattern.data()));
  folder_ = pattern;
  settings.recipe = (folder_ / "recipe.lua").string();
  settings.root = folder_.string();
  files["recipe.lua"] = text_;
}

Recipe::~Recipe() {
  std::error_code ec;
  fs::remove_all(folder_, ec);
}

Ran Recipe::run() {
  for (const auto &[name, content] : files) {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name, std::ios::binary) << content;
  }
  Ran ran;
  gcop::Loop loop(2);
  gcop::plugin::Registry registry(loop, {GCOP_BIN_DIR "/plugins"});
  gcop::lua::Console console({true, false});
  gcop::set_log_level(gcop::Level::error);
  auto sandbox = gcop::sandbox::Sandbox::make();
  REQUIRE(sandbox);
  registry.offer(GCOP_HOST_SANDBOX, (*sandbox)->service());
  std::shared_ptr<gcop::store::Store> store;
  if (keep) {
    settings.out_dir = (folder_ / "out").string();
    fs::create_directories(settings.out_dir);
    auto opened = gcop::store::Store::open(settings.out_dir);
    REQUIRE_MESSAGE(opened, opened.error().text());
    store = *opened;
  }
  {
    gcop::lua::Host host(loop, registry, console, settings);
    host.state().on_print = [&](const std::string &line) { ran.printed.push_back(line); };
    auto loaded = host.load();
    if (!loaded) return {gcop::lua::Outcome::wrong, loaded.error().text(), {}};
    host.start(store, [&](gcop::lua::Outcome outcome) {
      ran.code = outcome.code;
      ran.message = outcome.message;
      loop.stop();
    });
    loop.run();
  }
  return ran;
}

Ran run(const std::string &text) { return Recipe(text).run(); }
