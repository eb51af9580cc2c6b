// `gcop-run doctor`: what of this machine, its models, its sandbox and its keys works. Main thread.
#pragma once
#include "app/settings.hpp"

namespace gcop::app {

int doctor(const CommandLine &line);  // the exit code: 1 when something that recipes need is missing

}  // namespace gcop::app
