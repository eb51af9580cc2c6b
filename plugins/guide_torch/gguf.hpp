// The GGUF layout of ModelFile; model_file.cpp opens it. Failures throw Fault.
#pragma once
#include <memory>

#include "mapped_file.hpp"
#include "model_file.hpp"

namespace gcop::guide_torch {

std::unique_ptr<ModelFile> open_gguf(MappedFile file);

}  // namespace gcop::guide_torch
