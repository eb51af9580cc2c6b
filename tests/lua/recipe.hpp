// Runs Lua text as a recipe in a folder of its own, through the real state, strand and store.
#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "lua/host.hpp"

struct Ran {
  int code = -1;
  std::string message;
  std::vector<std::string> printed;
  std::string all() const;  // printed lines joined by newlines
};

class Recipe {
 public:
  explicit Recipe(std::string text);
  ~Recipe();
  Recipe(const Recipe &) = delete;
  Recipe &operator=(const Recipe &) = delete;

  gcop::lua::Settings settings;
  std::map<std::string, std::string> files;  // further files of the folder, by relative name
  bool keep = false;                         // with a store in <folder>/out
  Ran run();
  const std::filesystem::path &folder() const { return folder_; }

 private:
  std::string text_;
  std::filesystem::path folder_;
};

Ran run(const std::string &text);
