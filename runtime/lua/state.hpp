// The Lua state of one run: memory cap, the libraries a recipe may use, and its require. On the run strand only.
// Recipes are trusted but may be wrong: the sandbox keeps runs repeatable and typos harmless, it is no jail.
#pragma once
#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <lua.hpp>

#include "base/result.hpp"

namespace gcop::lua {

class Host;

struct StateOptions {
  size_t memory_cap = size_t{2} << 30;  // bytes that recipe code may hold
  uint64_t seed = 0;                    // of math.random
  std::vector<std::string> folders;     // where require looks, in order
  std::string root;                     // chunk names are relative to it
};

class State {
 public:
  State(StateOptions options, Host *host);
  ~State();
  State(const State &) = delete;
  State &operator=(const State &) = delete;

  lua_State *get() const { return L_; }
  void close();                                               // finalizers run; the host must still be whole
  Result<> load_file(lua_State *L, const std::string &path);  // leaves the compiled chunk on L
  void in_recipe(bool on) { capped_ = on; }  // the cap holds for recipe code; the host itself may go on
  size_t used() const { return used_; }
  std::string chunk_name(const std::string &path) const;
  std::string find_module(const std::string &name) const;  // "" if there is none
  // Called with each file that is loaded, and its text.
  std::function<void(const std::string &path, const std::string &text)> on_load;
  std::function<void(const std::string &)> on_print;

 private:
  static void *allocate(void *ud, void *p, size_t old_size, size_t new_size);
  void open_libraries();
  StateOptions options_;
  lua_State *L_ = nullptr;
  size_t used_ = 0;
  bool capped_ = false;
};

State &state_of(lua_State *L);

}  // namespace gcop::lua
