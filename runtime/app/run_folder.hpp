// The output folder of a run and what its store remembers about how it was started. Main thread.
#pragma once
#include <memory>
#include <string>

#include "app/settings.hpp"
#include "base/result.hpp"
#include "store/store.hpp"

namespace gcop::app {

// Makes the folder (runs/RECIPE-TIME-ID, or --out), opens its store and writes how the run was started.
Result<std::shared_ptr<store::Store>> make_run_folder(CommandLine &line);

// Takes back what make_run_folder made, for a recipe with a mistake in it; all other files stay.
void remove_run_folder(const CommandLine &line);

// Opens the store of --resume and fills the settings from it: recipe, arguments, options, seed, profile. Errors: what
// changed since (recipe, scripts, plugins), unless --accept-changes was given.
Result<std::shared_ptr<store::Store>> resume_run_folder(CommandLine &line);

}  // namespace gcop::app
