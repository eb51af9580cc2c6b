#include "base/result.hpp"

namespace gcop {

const char *code_name(Code code) {
  switch (code) {
    case Code::cancelled: return "cancelled";
    case Code::timeout: return "timeout";
    case Code::invalid: return "invalid";
    case Code::unavailable: return "unavailable";
    case Code::unsupported: return "unsupported";
    case Code::internal: return "internal";
    case Code::denied: return "denied";
    case Code::exhausted: return "exhausted";
  }
  return "internal";
}

}  // namespace gcop
