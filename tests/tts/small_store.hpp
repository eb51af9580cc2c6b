// A store small enough to be read here, and recipes that evaluate a controller on it.
#pragma once
#include <string>

#include <doctest/doctest.h>

#include "../lua/recipe.hpp"

// 4 branches: "7", right, after 2 probes; the fourth says "8".
inline const char *const kStore = R"([
  {"question": "one?", "gold_answer": "7", "probe_freq": 100, "each_branch":
    [[["9", "7"], 250, "7"], [["8", "7"], 250, "7"], [["7", "7"], 150, "7"], [["8"], 90, "8"]]},
  {"question": "two?", "gold_answer": "07", "probe_freq": 100, "each_branch":
    [[["7"], 100, "7"], [["7"], 100, "7"], [["7"], 100, "7"], [["7"], 100, "7"]]}])";

inline std::string body(const std::string &lines) { return "return function(env, params)\n" + lines + "\nend"; }
inline bool has(const std::string &text, const std::string &part) {
  const bool found = text.find(part) != std::string::npos;
  if (!found) MESSAGE(text);
  return found;
}

// `lines` after `local store = ...`; the controller is the file c.lua.
inline Ran evaluate(const std::string &controller, const std::string &lines) {
  Recipe recipe("");
  recipe.files["store.json"] = kStore;
  recipe.files["c.lua"] = controller;
  recipe.files["recipe.lua"] =
      "local store = assert(gcop.tts.store('" + (recipe.folder() / "store.json").string() + "'))\n" + lines;
  return recipe.run();
}
