# gcop_add_plugin(name SOURCES a.cpp ... [LIBRARIES lib ...]): a plugin `name.gcop.so` in bin/plugins with one exported symbol.
set(GCOP_PLUGIN_MAP ${CMAKE_CURRENT_LIST_DIR}/plugin.map)
function(gcop_add_plugin name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBRARIES" ${ARGN})
  add_library(${name} MODULE ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE gcop_sdk $<TARGET_NAME_IF_EXISTS:gcop_warnings> Threads::Threads ${ARG_LIBRARIES})
  set_target_properties(${name} PROPERTIES PREFIX "" SUFFIX ".gcop.so" CXX_VISIBILITY_PRESET hidden
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin/plugins)
  target_link_options(${name} PRIVATE -Wl,--version-script=${GCOP_PLUGIN_MAP} -Wl,--no-undefined)
endfunction()
