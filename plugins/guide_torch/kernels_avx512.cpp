// Compiled with -mavx512f and friends; called only where the CPU has them.
#define GCOP_LANES 16
#define GCOP_KERNELS_NAME "avx512"
#include "kernels_body.hpp"
#include "row_kernels_body.hpp"

namespace gcop::guide_torch {
const Kernels *kernels_avx512() { return &kTable; }
}  // namespace gcop::guide_torch
