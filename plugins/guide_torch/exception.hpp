// Where exceptions of LibTorch and the standard library become Errors, before they could cross a thread or the C ABI.
#pragma once
#include "base/result.hpp"

namespace gcop::guide_torch {

// The exception in flight as an Error of one line: LibTorch puts a stack trace behind its first one.
Error current_exception_error() noexcept;

}  // namespace gcop::guide_torch
