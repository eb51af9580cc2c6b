// The Hugging Face directory layout of ModelFile; model_file.cpp opens it. Failures throw Fault.
#pragma once
#include <memory>

#include "mapped_file.hpp"
#include "model_file.hpp"

namespace gcop::guide_torch {

std::unique_ptr<ModelFile> open_hf_dir(ModelFolder folder);

}  // namespace gcop::guide_torch
