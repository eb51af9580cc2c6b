// What a model needs in memory, known before anything is allocated, and what this process may still take.
// Pure functions but for available_memory(); any thread.
#pragma once
#include <cstddef>
#include <string>

#include "base/result.hpp"

namespace gcop::guide_torch {

// Bytes that can be had without others being swapped or killed: what the kernel calls available, less where a control
// group's limit is nearer. 0: unknown.
size_t available_memory();

// An error with the numbers if `bytes` are not there. `what`: "sampling with 'smollm2'"; `parts` lists what makes the
// sum up; `remedy` what to change.
Result<> check_memory(size_t bytes, const std::string &what, const std::string &parts, const std::string &remedy);

std::string gigabytes(size_t bytes);  // "1.5 GB"

}  // namespace gcop::guide_torch
