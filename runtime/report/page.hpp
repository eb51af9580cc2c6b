// The texts that report.html is made of, compiled in. Any thread.
#pragma once
#include <string_view>

namespace gcop::report {

struct Page {
  std::string_view html, style, charts, sections,
      tasks;  // html holds {{style}} {{data}} {{charts}} {{sections}} {{tasks}}
};
const Page &page();

}  // namespace gcop::report
