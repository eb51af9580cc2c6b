// The command line of gcop-run, and where the installation's files are. Main thread, before the run strand starts.
#pragma once
#include <string>
#include <vector>

#include "base/result.hpp"
#include "lua/host.hpp"

namespace gcop::app {

struct CommandLine {
  lua::Settings run;
  std::string out, resume, emit_meta, emit_manual;
  bool quiet = false, json = false, doctor = false, accept_changes = false, profile_given = false, seed_given = false;
  bool folder_made = false;  // by this process
  std::string set_before;    // --resume: the run's options as its store had them
  std::vector<std::string> argv;
};

// Parses; --help and mistakes end with `exit_code` set and everything said.
struct Parsed {
  CommandLine line;
  int exit_code = -1;  // -1: go on
};
Parsed parse(int argc, char **argv);

// The folder that holds scripts/ and recipes/: $GCOP_ROOT, ../share/gcop beside the program, or the source tree.
std::string find_root();
std::string program_folder();
std::string program_name();  // as its user calls it: "gcop-run", or $GCOP_COMMAND

std::string device_name();  // what a run computes on: "cpu: 2 cores, AMD EPYC ..."

}  // namespace gcop::app
