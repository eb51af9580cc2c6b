// The Hugging Face directory layout of ModelFile; model_file.cpp opens it. Failures throw Fault.
#pragma once
#include <memory>
#include <string>

#include "model_file.hpp"

namespace gcop::guide_torch {

std::unique_ptr<ModelFile> open_hf_dir(const std::string &dir);

}  // namespace gcop::guide_torch
