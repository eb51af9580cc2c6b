# The ABI's version, as plugin.h has it. While the major version is 0 only the same minor version fits.
set(_gcop_at ${CMAKE_CURRENT_LIST_DIR})
while(NOT EXISTS ${_gcop_at}/include/gcop/plugin.h AND NOT _gcop_at STREQUAL "/")
  get_filename_component(_gcop_at ${_gcop_at} DIRECTORY)
endwhile()
file(READ ${_gcop_at}/include/gcop/plugin.h _gcop_abi)
string(REGEX MATCH "GCOP_ABI_MAJOR ([0-9]+)u" _ "${_gcop_abi}")
set(_gcop_major ${CMAKE_MATCH_1})
string(REGEX MATCH "GCOP_ABI_MINOR ([0-9]+)u" _ "${_gcop_abi}")
set(_gcop_minor ${CMAKE_MATCH_1})
set(PACKAGE_VERSION ${_gcop_major}.${_gcop_minor}.0)
if(PACKAGE_FIND_VERSION_MAJOR STREQUAL _gcop_major AND
   (PACKAGE_FIND_VERSION_MINOR STREQUAL _gcop_minor OR
    (NOT _gcop_major STREQUAL "0" AND PACKAGE_FIND_VERSION_MINOR LESS_EQUAL _gcop_minor)))
  set(PACKAGE_VERSION_COMPATIBLE TRUE)
  if(PACKAGE_FIND_VERSION VERSION_EQUAL PACKAGE_VERSION)
    set(PACKAGE_VERSION_EXACT TRUE)
  endif()
endif()
