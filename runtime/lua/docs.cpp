// The LuaLS meta files and the manual, from the rows.
#include <algorithm>

#include <fmt/format.h>

#include "lua/api.hpp"

namespace gcop::lua {
namespace {

// "gcop.json.encode" -> "gcop.json": tables that must exist before their functions are declared.
std::string parent(std::string_view name) { return std::string(name.substr(0, name.find_last_of(".:"))); }

bool optional(std::string_view type) { return type.ends_with("?"); }
std::string plain(std::string_view type) {
  return std::string(optional(type) ? type.substr(0, type.size() - 1) : type);
}

std::string comment(const std::string &prefix, const std::string &text) {
  return text.empty() ? "" : prefix + text + "\n";
}

bool has_options(const Function &f) { return !f.options.empty(); }

std::string options_class(const Function &f) {
  std::string name = f.name;
  for (char &c : name)
    if (c == ':') c = '.';
  return name + ".Options";
}

void meta_class(std::string &out, const std::string &name, const std::string &doc, const std::vector<Field> &fields) {
  out += comment("--- ", doc) + "---@class " + name + "\n";
  for (const auto &f : fields) {
    bool opt = optional(f.type);
    out += fmt::format("---@field {}{} {} {}\n", f.name, opt ? "?" : "", plain(f.type), f.doc);
    if (out[out.size() - 2] == ' ') out.erase(out.size() - 2, 1);
  }
}

std::string signature(const Function &f) {
  std::string args;
  for (const auto &p : f.params) {
    bool opt = optional(p.type);
    args += fmt::format("{}{}{}", args.empty() ? "" : ", ", p.name, opt ? "?" : "");
  }
  std::string returns;
  for (const auto &r : f.returns) returns += fmt::format("{}{}", returns.empty() ? "" : ", ", r.name);
  return fmt::format("{}({}){}", f.name, args, returns.empty() ? "" : " -> " + returns);
}

void meta_function(std::string &out, const Function &f) {
  if (has_options(f)) {
    meta_class(out, options_class(f), "", f.options);
    out += "\n";
  }
  out += comment("--- ", f.doc);
  if (f.waits != Waits::no) out += "--- Waits.\n";
  out += comment("--- ", f.errors);
  std::string args;
  for (const auto &p : f.params) {
    std::string type = plain(p.type);
    if (std::string_view(p.name) == "options") type = options_class(f);
    std::string line = fmt::format("---@param {}{} {} {}", p.name, optional(p.type) ? "?" : "", type, p.doc);
    while (line.back() == ' ') line.pop_back();
    out += line + "\n";
    args += (args.empty() ? "" : ", ") + std::string(p.name);
  }
  for (const auto &r : f.returns) {
    std::string name = std::string_view(r.name) == "..." ? "" : std::string(r.name);
    std::string line = fmt::format("---@return {} {} {}", r.type, name, r.doc);
    while (line.back() == ' ') line.pop_back();
    out += line + "\n";
  }
  out += fmt::format("function {}({}) end\n\n", f.name, args);
}

std::string escaped(std::string_view text) {  // a bar would end a cell of the table
  std::string out;
  for (char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

void manual_fields(std::string &out, const std::vector<Field> &fields, const char *first) {
  if (fields.empty()) return;
  out += fmt::format("| {} | type | |\n|---|---|---|\n", first);
  for (const auto &f : fields) {
    std::string type = f.type;
    out += fmt::format("| `{}` | `{}` | {} |\n", f.name, escaped(type), escaped(f.doc));
  }
  out += "\n";
}

void manual_class(std::string &out, const Class &c) {
  out += fmt::format("### {}\n\n{}\n\n", c.name, c.doc);
  manual_fields(out, c.fields, "field");
}

void manual_function(std::string &out, const Function &f) {
  out += fmt::format("### `{}`\n\n{}\n\n", signature(f), f.doc);
  manual_fields(out, f.params, "argument");
  manual_fields(out, f.options, "option");
  manual_fields(out, f.returns, "result");
  if (*f.errors) out += fmt::format("Errors: {}\n\n", f.errors);
  out += fmt::format("{} Since {}.\n\n",
                     f.waits == Waits::no      ? "Does not wait."
                     : f.waits == Waits::setup ? "Waits; also runs under --check."
                                               : "Waits.",
                     f.since);
  if (*f.example) out += fmt::format("```lua\n{}\n```\n\n", f.example);
}

}  // namespace

std::string meta_file(const Module &module) {
  std::string out = "---@meta\n-- Made by `gcop-run --emit-lua-meta`; the source is runtime/lua/.\n\n";
  std::vector<std::string> tables;
  for (const auto &c : module.classes) {
    meta_class(out, c.name, c.doc, c.fields);
    bool methods = false;
    for (const auto &f : module.functions) methods = methods || parent(f.name) == c.name;
    if (methods) out += fmt::format("local {} = {{}}\n", std::string(c.name).substr(5));
    out += "\n";
  }
  if (std::string_view(module.name) == "base") {
    out += "---@class gcop\n";
    for (const auto &v : module.values)
      out += fmt::format("---@field {} {} {}\n", std::string(v.name).substr(5), v.type, v.doc);
    out += "gcop = {}\n\n";
  }
  for (const auto &f : module.functions) {
    auto home = parent(f.name);
    bool ours = std::string_view(f.name).find(':') == std::string_view::npos;
    for (const auto &c : module.classes) ours = ours || home == c.name;
    if (!ours &&
        std::find(tables.begin(), tables.end(), home) == tables.end()) {  // more methods of another file's class
      tables.push_back(home);
      out += fmt::format("---@class {}\nlocal {} = {{}}\n\n", home, home.substr(5));
    }
    bool known = home == "gcop" || std::string_view(f.name).find(':') != std::string_view::npos;
    for (const auto &t : tables) known = known || t == home;
    if (!known) {
      tables.push_back(home);
      out += home + " = {}\n\n";
    }
    auto before = out.size();
    meta_function(out, f);
    if (std::string_view(f.name).find(':') != std::string_view::npos) {  // methods hang on the class's local
      auto at = out.find("function gcop.", before);
      out.erase(at + 9, 5);
    }
  }
  out.pop_back();
  return out;
}

std::string manual_of(std::string_view name) {
  std::string out;
  for (auto *module : modules()) {
    for (const auto &c : module->classes)
      if (c.name == name) manual_class(out, c);
    for (const auto &f : module->functions)
      if (f.name == name || parent(f.name) == name) manual_function(out, f);
  }
  return out;
}

std::string manual() {
  std::string out =
      "# The Lua API\n\n"
      "Made by `gcop-run --emit-lua-manual`; the source is `runtime/lua/`. Editors with the Lua language server find "
      "the same in `sdk/lua/`.\n\n"
      "A recipe is a Lua 5.4 file. It has the basic functions, `string`, `table`, `math`, `utf8`, `os.time`, "
      "`os.clock` and `os.date`, and "
      "`require`, which finds text modules in the recipe's folder, `recipes/` and `scripts/`. It has no `io`, `load`, "
      "`debug`, `package` or "
      "`coroutine`: files, tasks and processes belong to the run.\n\n"
      "**Waiting.** A function that waits lets other tasks run meanwhile; it works inside `pcall`, loops and "
      "iterators, but not inside a "
      "`table.sort` comparator, a `string.gsub` callback or a metamethod.\n\n"
      "**Errors.** A mistake in a recipe is raised with file and line. What may be expected to fail returns `nil, "
      "err`; see `gcop.Error`. "
      "An option that a function does not know is a mistake, and the message lists the known ones.\n\n"
      "**Types.** `T?` may be left out; `T[]` is a list; `\"a\"|\"b\"` is one of these.\n\n";
  for (auto *module : modules()) out += fmt::format("- [{}](#{})\n", module->title, module->name);
  out += "\n";
  for (auto *module : modules()) {
    out += fmt::format("<a id=\"{}\"></a>\n\n## {}\n\n{}\n\n", module->name, module->title, module->doc);
    if (!module->values.empty()) {
      out += "| value | type | |\n|---|---|---|\n";
      for (const auto &v : module->values)
        out += fmt::format("| `{}` | `{}` | {} |\n", v.name, escaped(v.type), escaped(v.doc));
      out += "\n";
    }
    for (const auto &f : module->functions) manual_function(out, f);
    for (const auto &c : module->classes) manual_class(out, c);
  }
  while (out.ends_with("\n\n")) out.pop_back();
  return out;
}

}  // namespace gcop::lua
