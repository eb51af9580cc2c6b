// How the parsers in this folder give up from deep inside: throw a Fault, and the public function that started the
// parse turns it into its Result with guarded(). A Fault never leaves this folder's formats code.
#pragma once
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

#include "base/result.hpp"

namespace gcop::guide_torch {

struct Fault {
  Error error;
};

[[noreturn]] inline void fail(std::string message, Code code = Code::invalid) {
  throw Fault{{code, std::move(message), {}}};
}

// A message that quotes a stranger's file, as one line of valid UTF-8 of bounded length.
std::string presentable(const std::string &message);

// Runs fn() and gives its value; a Fault, or an exception of a library, becomes the Error. `what` names the thing.
template <class F>
auto guarded(const std::string &what, F fn) -> Result<decltype(fn())> {
  try {
    return fn();
  } catch (Fault &fault) {
    fault.error.message = presentable(fault.error.message);
    return std::move(fault.error);
  } catch (const std::bad_alloc &) {
    return Error{Code::exhausted, what + ": not enough memory", {}};
  } catch (const std::exception &e) {
    return Error{Code::internal, presentable(what + ": " + e.what()), {}};
  }
}

}  // namespace gcop::guide_torch
