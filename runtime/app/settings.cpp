#include "app/settings.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

namespace gcop::app {
namespace {

namespace fs = std::filesystem;

const char *const kAbout =
    "Runs a gcop recipe: a guide model learns to write strategies that a core model can execute.\n"
    "`gcop-run doctor` says what of this machine, its models, sandbox and keys works.";

const char *const kFooter =
    "\nExamples:\n"
    "  gcop-run recipes/exectune_code.lua                        the whole method, about 10 minutes on two cores\n"
    "  gcop-run recipes/exectune_code.lua --plan                 calls, tokens, dollars and time it expects\n"
    "  gcop-run recipes/exectune_code.lua --set m=8 --seed 2     other options; --set help=1 lists them\n"
    "  gcop-run recipes/autotts_replay.lua STORE.json            controllers of test-time compute on recorded traces\n"
    "  gcop-run --resume runs/exectune_code-20260101-120000-1a2b goes on after a kill, a crash or an empty budget\n"
    "\nThe output folder holds run.db (everything), report.json, report.html and policy/.\n"
    "\nExit codes:\n"
    "    0  done\n"
    "    1  the run failed; it can be resumed\n"
    "    2  a mistake that --check would have found: command line, recipe, options, files, keys\n"
    "    3  stopped by the budget; it can be resumed with a larger one\n"
    "  130  interrupted; it can be resumed\n";

bool parse_sets(const std::vector<std::string> &items, CommandLine &line, std::string &wrong) {
  for (const auto &item : items) {
    auto equals = item.find('=');
    if (equals == std::string::npos || equals == 0) {
      wrong = fmt::format("--set {}: write it as --set name=value", item);
      return false;
    }
    line.run.set[item.substr(0, equals)] = item.substr(equals + 1);
  }
  return true;
}

// Help names the command its reader typed.
std::string as_called(std::string text) {
  const std::string plain = "gcop-run", name = program_name();
  for (size_t at = 0; (at = text.find(plain, at)) != std::string::npos; at += name.size())
    text.replace(at, plain.size(), name);
  return text;
}

}  // namespace

std::string program_name() {
  const char *name = std::getenv("GCOP_COMMAND");
  return name && *name ? name : "gcop-run";
}

Parsed parse(int argc, char **argv) {
  Parsed out;
  CommandLine &line = out.line;
  for (int i = 0; i < argc; ++i) line.argv.emplace_back(argv[i]);
  CLI::App app{as_called(kAbout), program_name()};
  app.footer(as_called(kFooter));
  app.get_formatter()->column_width(34);
  app.positionals_at_end(false);
  std::vector<std::string> sets;
  std::string profile;
  app.add_option("RECIPE", line.run.recipe, "the recipe, a .lua file; or: doctor")->type_name("");
  app.add_option("ARGS", line.run.args, "handed to the recipe as gcop.args")->type_name("");
  app.add_option("--profile", profile, "quick (default), standard or full (for GPUs, which the engine cannot use yet)")
      ->type_name("NAME")
      ->check(CLI::IsMember({"quick", "standard", "full"}));
  app.add_option("--set", sets, "overrides an option that the recipe declares; repeatable")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
  app.add_option("--out", line.out, "output folder; default runs/RECIPE-TIME-ID")->type_name("DIR");
  auto *seed = app.add_option("--seed", line.run.seed, "of every random draw; default 1")
                   ->type_name("N")
                   ->check(CLI::Range(uint64_t{0}, uint64_t{1} << 53));
  app.add_option("--resume", line.resume, "goes on with the run in DIR: nothing finished is done or paid again")
      ->type_name("DIR");
  app.add_flag("--accept-changes", line.accept_changes,
               "resumes although the recipe, a file it read, a plugin or an option changed");
  app.add_flag("--check", line.run.checking, "checks recipe, plugins, models and keys; spends nothing");
  app.add_flag("--plan", line.run.planning, "prints what the run would call and cost; spends nothing");
  app.add_flag("--offline", line.run.offline, "never fetches a model");
  app.add_flag("--quiet", line.quiet, "warnings, errors and results only");
  app.add_flag("--json", line.json, "one JSON object a line on stdout");
  app.add_option("--emit-lua-meta", line.emit_meta)->group("");
  app.add_option("--emit-lua-manual", line.emit_manual)->group("");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError &e) {
    out.exit_code = app.exit(e) == 0 ? 0 : lua::Outcome::wrong;
    return out;
  }
  std::string wrong;
  line.seed_given = seed->count() > 0;
  line.profile_given = !profile.empty();
  line.run.profile = profile.empty() ? "quick" : profile;
  line.doctor = line.run.recipe == "doctor";
  if (!parse_sets(sets, line, wrong)) {
  } else if (line.emit_meta.empty() && line.emit_manual.empty() && line.run.recipe.empty() && line.resume.empty()) {
    wrong = as_called("name a recipe, as in: gcop-run recipes/exectune_code.lua (more with --help)");
  } else if (!line.resume.empty() && !line.run.recipe.empty()) {
    wrong = "--resume takes the recipe from the run's folder; leave '" + line.run.recipe + "' out";
  } else if (!line.resume.empty() && (!line.out.empty() || line.seed_given || line.profile_given)) {
    wrong = "--resume keeps the run's folder, seed and profile; leave --out, --seed and --profile out";
  } else if (line.run.checking && line.run.planning) {
    wrong = "--check and --plan: choose one";
  }
  if (!wrong.empty()) {
    fmt::print(stderr, "gcop-run: {}\n", wrong);
    out.exit_code = lua::Outcome::wrong;
  }
  return out;
}

std::string program_folder() {
  std::error_code ec;
  return fs::read_symlink("/proc/self/exe", ec).parent_path().string();
}

std::string find_root() {
  std::error_code ec;
  const char *env = std::getenv("GCOP_ROOT");
  for (const std::string &folder :
       {std::string(env ? env : ""), program_folder() + "/../share/gcop", std::string(GCOP_SOURCE_ROOT)})
    if (!folder.empty() && fs::is_directory(folder + "/scripts", ec)) return fs::weakly_canonical(folder, ec).string();
  return fs::current_path(ec).string();
}

std::string device_name() {
  std::string model = "unknown processor", text;
  std::ifstream info("/proc/cpuinfo");
  while (std::getline(info, text))
    if (text.starts_with("model name")) {
      model = text.substr(text.find(':') + 2);
      break;
    }
  return fmt::format("cpu: {} cores, {}", std::thread::hardware_concurrency(), model);
}

}  // namespace gcop::app
