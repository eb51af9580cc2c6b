#include <doctest/doctest.h>

#include <gcop/plugin.h>

// The layout itself is checked by the compiler (layout_0_1.c, header.c, header.cpp).

TEST_CASE("GCOP_HAS goes by the size that the other side wrote") {
  gcop_core_result result{};
  result.struct_size = offsetof(gcop_core_result, attempts);  // an older plugin that ends before `attempts`
  CHECK(GCOP_HAS(&result, usage_known));
  CHECK_FALSE(GCOP_HAS(&result, attempts));
  CHECK_FALSE(GCOP_HAS(&result, served_model));
  result.struct_size = sizeof result;
  CHECK(GCOP_HAS(&result, served_model));
  result.struct_size += 64;  // a newer plugin
  CHECK(GCOP_HAS(&result, served_model));
}

TEST_CASE("while the major version is 0, minor versions do not mix: this build is 0.1") {
  CHECK(GCOP_ABI_MAJOR == 0);
  CHECK(GCOP_ABI_MINOR == 1);
}
