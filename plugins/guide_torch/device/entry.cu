// libguide_torch_cuda.so: the table, graphs and errors. Needs the CUDA runtime alone.
#include "block.hpp"

namespace gcop::guide_torch::device::cuda {

namespace {

thread_local cudaError_t g_failed = cudaSuccess;
void note(cudaError_t status) {
  if (status != cudaSuccess && g_failed == cudaSuccess) g_failed = status;
}

// Thread-local: what other threads of the process do on the device meanwhile is their affair.
void record(void *stream) {
  note(cudaStreamBeginCapture(static_cast<cudaStream_t>(stream), cudaStreamCaptureModeThreadLocal));
}
void *finish(void *stream) {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t ready = nullptr;
  note(cudaStreamEndCapture(static_cast<cudaStream_t>(stream), &graph));
  if (!graph) return nullptr;
  note(cudaGraphInstantiate(&ready, graph, 0));
  note(cudaGraphDestroy(graph));
  return ready;
}
void replay(void *graph, void *stream) {
  note(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), static_cast<cudaStream_t>(stream)));
}
void forget(void *graph) { note(cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph))); }

const char *failure() {
  note(cudaGetLastError());
  const cudaError_t failed = g_failed;
  g_failed = cudaSuccess;
  return failed == cudaSuccess ? nullptr : cudaGetErrorString(failed);
}

constexpr KernelTable kTable = {kTableVersion, "cuda",   embed,      norm,       rope,       attention,
                                swiglu,        sample,   loss,       loss_slope, norm_slope, rope_slope,
                                swiglu_slope,  sum_rows, column_sum, round,      squares,    adam,
                                merge,         record,   finish,     replay,     forget,     failure};

}  // namespace
}  // namespace gcop::guide_torch::device::cuda

extern "C" __attribute__((visibility("default"))) const gcop::guide_torch::device::KernelTable *gcop_guide_cuda() {
  return &gcop::guide_torch::device::cuda::kTable;
}
