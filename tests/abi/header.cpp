// The header compiles as C++, without a warning.
#include <gcop/plugin.h>

int gcop_abi_header_cpp(const gcop_plugin *p);
int gcop_abi_header_cpp(const gcop_plugin *p) { return GCOP_HAS(p, query); }
