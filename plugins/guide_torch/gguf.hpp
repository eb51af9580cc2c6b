// The GGUF layout of ModelFile; model_file.cpp opens it. Failures throw Fault.
#pragma once
#include <memory>
#include <string>

#include "model_file.hpp"

namespace gcop::guide_torch {

std::unique_ptr<ModelFile> open_gguf(const std::string &path);

}  // namespace gcop::guide_torch
