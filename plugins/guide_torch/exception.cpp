#include "exception.hpp"

#include <exception>
#include <new>

namespace gcop::guide_torch {

Error current_exception_error() noexcept {
  try {
    try {
      throw;
    } catch (const std::bad_alloc &) {
      return {Code::exhausted, "guide_torch ran out of memory; lower kv_bytes, max_batch or the training batch", {}};
    } catch (const std::exception &e) {
      const std::string what = e.what();
      return {Code::internal, "guide_torch: " + what.substr(0, what.find('\n')), {}};
    } catch (...) {
      return {Code::internal, "guide_torch: an unknown exception", {}};
    }
  } catch (...) {
    return {};  // no memory left even for the message
  }
}

}  // namespace gcop::guide_torch
