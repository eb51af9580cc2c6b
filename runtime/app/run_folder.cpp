#include "app/run_folder.hpp"

#include <unistd.h>

#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/hash.hpp"
#include "base/log.hpp"
#include "lua/option_value.hpp"

namespace gcop::app {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string first_line_of(const char *command) {
  std::string out;
  if (FILE *pipe = popen(command, "r")) {
    char buffer[256];
    if (std::fgets(buffer, sizeof buffer, pipe)) out = buffer;
    pclose(pipe);
  }
  while (!out.empty() && (out.back() == '\n' || out.back() == ' ')) out.pop_back();
  return out;
}

// The commit of the folder that recipes and scripts come from, with a + when files differ from it.
std::string commit_of(const std::string &root) {
  std::string quoted;
  for (char c : root) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  auto commit = first_line_of(fmt::format("git -C '{}' rev-parse HEAD 2>/dev/null", quoted).c_str());
  if (commit.empty()) return "unknown";
  auto dirty =
      first_line_of(fmt::format("git -C '{}' status --porcelain --untracked-files=no 2>/dev/null", quoted).c_str());
  return commit + (dirty.empty() ? "" : "+");
}

std::string new_folder_name(const std::string &recipe) {
  std::time_t now = std::time(nullptr);
  std::tm parts{};
  localtime_r(&now, &parts);
  char time[32];
  std::strftime(time, sizeof time, "%Y%m%d-%H%M%S", &parts);
  return fmt::format("runs/{}-{}-{:04x}", fs::path(recipe).stem().string(), time, std::random_device{}() & 0xffff);
}

// Whether a run.db says how its run was started; one killed in its first moment does not.
bool began(const std::string &dir) {
  auto opened = store::Store::open(dir);
  return !opened || (*opened)->meta().contains("seed");
}

std::string hash_of_file(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return {};
  std::stringstream text;
  text << in.rdbuf();
  return sha256(text.str());
}

void changed(const json &before, const std::vector<std::string> &folders, const char *what,
             std::vector<std::string> &out) {
  for (const auto &[name, hash] : before.items()) {
    std::string now;
    for (const auto &folder : folders)
      if (now.empty()) now = hash_of_file(fs::path(name).is_absolute() ? name : (fs::path(folder) / name).string());
    if (now != hash.get<std::string>())
      out.push_back(fmt::format("{} {} {}", what, name, now.empty() ? "is gone" : "has changed"));
  }
}

}  // namespace

Result<std::shared_ptr<store::Store>> make_run_folder(CommandLine &line) {
  auto &run = line.run;
  run.out_dir = line.out.empty() ? new_folder_name(run.recipe) : line.out;
  std::error_code ec;
  if (fs::exists(run.out_dir + "/run.db", ec) && began(run.out_dir))
    return invalid(fmt::format("--out {}: there is a run in it already; go on with --resume {}, or name another folder",
                               run.out_dir, run.out_dir));
  line.folder_made = fs::create_directories(run.out_dir, ec);
  if (ec)
    return Error{Code::denied,
                 fmt::format("cannot make the output folder '{}': {}; name another one with --out DIR", run.out_dir,
                             ec.message()),
                 {}};
  const std::map<std::string, std::string> meta = {
      {"recipe", fs::absolute(run.recipe, ec).string()},
      {"recipe_sha256", hash_of_file(run.recipe)},
      {"args", json(run.args).dump()},
      {"set", json(run.set).dump()},
      {"seed", std::to_string(run.seed)},
      {"profile", run.profile},
      {"device", run.device},
      {"commit", commit_of(run.root)},
      {"argv", json(line.argv).dump(-1, ' ', false, json::error_handler_t::replace)},
      {"cwd", fs::current_path(ec).string()}};
  auto opened = store::Store::open(run.out_dir);
  if (!opened) return opened;
  for (const auto &[key, value] : meta)
    if (auto kept = (*opened)->set_meta(key, value); !kept) return kept.error();
  return opened;
}

void remove_run_folder(const CommandLine &line) {
  std::error_code ec;
  for (const char *file : {"run.db", "run.db-wal", "run.db-shm", "run.lock"})
    fs::remove(fs::path(line.run.out_dir) / file, ec);
  if (line.folder_made) fs::remove(line.run.out_dir, ec);  // refuses while something else is in it
}

Result<std::shared_ptr<store::Store>> resume_run_folder(CommandLine &line) {
  auto &run = line.run;
  std::error_code ec;
  if (!fs::exists(line.resume + "/run.db", ec))
    return invalid(fmt::format("--resume {}: there is no run in it (no run.db)", line.resume));
  auto opened = store::Store::open(line.resume);
  if (!opened) return opened;
  auto meta = (*opened)->meta();
  auto parsed = [&](const char *key) { return json::parse(meta.contains(key) ? meta[key] : "", nullptr, false); };
  auto args = parsed("args"), set = parsed("set"), sources = parsed("sources"), plugins = parsed("plugins");
  if (!meta.contains("recipe") || !args.is_array() || !set.is_object() || !meta.contains("seed"))
    return invalid(
        fmt::format("--resume {}: this run was killed before it began, there is nothing to go on with; start it anew, "
                    "also with --out {}",
                    line.resume, line.resume));
  run.recipe = meta["recipe"];
  run.args = args.get<std::vector<std::string>>();
  run.profile = meta["profile"];
  run.seed = std::stoull(meta["seed"]);  // the store has checked that it is what was written
  run.resumed = (meta.contains("resumed") ? std::stoull(meta["resumed"]) : 0) + 1;
  run.out_dir = fs::absolute(line.resume, ec).lexically_normal().string();
  fs::current_path(meta["cwd"],
                   ec);  // relative names in the recipe mean what they meant; a folder that is gone is no harm yet
  std::vector<std::string> differences;
  // A larger budget is what resuming is for; any other option would make the run's halves differ.
  const auto values = parsed("options");
  for (const auto &[key, value] : run.set) {
    const std::string before = set.contains(key) ? set[key].get<std::string>()
                               : values.contains(key)
                                   ? (values[key].is_string() ? values[key].get<std::string>() : values[key].dump())
                                   : value;
    // What counts is the value, however it is written: 3 and 3.0 are one integer. Its type is that of the value there
    // was.
    const auto read = [&, &name = key](const std::string &text) {
      return values.contains(name) ? lua::option_value(text, values[name]) : Result<json>(json(text));
    };
    const auto was = read(before), is = read(value);
    const bool same = was && is ? *was == *is : before == value;
    if (!key.starts_with("budget_") && !same)
      differences.push_back(fmt::format("option {} was {} and is now {}", key, before, value));
  }
  for (const auto &[key, value] : set.items())
    if (!run.set.contains(key)) run.set[key] = value.get<std::string>();

  if (auto now = hash_of_file(run.recipe); now != meta["recipe_sha256"])
    differences.push_back(fmt::format("recipe {} {}", run.recipe, now.empty() ? "is gone" : "has changed"));
  if (sources.is_object()) {
    for (const std::string &name : {fs::path(run.recipe).lexically_relative(run.root).string(), run.recipe})
      sources.erase(name);  // said above
    changed(sources, {run.root, "."}, "file", differences);
  }
  if (plugins.is_object()) changed(plugins, plugin::default_search_path(), "plugin", differences);
  if (!differences.empty()) {
    std::string list;
    for (const auto &d : differences) list += "\n  " + d;
    if (!line.accept_changes)
      return invalid(
          fmt::format("--resume {}: this is not what the run was started with:{}\nput it back, or go on anyway with "
                      "--accept-changes",
                      line.resume, list));
    log_warn("going on although:" + list);
    if (auto kept = (*opened)->set_meta("recipe_sha256", hash_of_file(run.recipe)); !kept) return kept.error();
  }
  line.set_before = meta["set"];
  if (auto kept = (*opened)->set_meta("set", json(run.set).dump()); !kept) return kept.error();
  return opened;
}

}  // namespace gcop::app
