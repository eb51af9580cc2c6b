// Compiled with -mavx2 -mfma: the least this engine runs on (x86-64-v3).
#define GCOP_LANES 8
#define GCOP_KERNELS_NAME "avx2"
#include "kernels_body.hpp"
#include "row_kernels_body.hpp"

namespace gcop::guide_torch {
const Kernels *kernels_avx2() { return &kTable; }
}  // namespace gcop::guide_torch
