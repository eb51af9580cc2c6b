// What a person sees while a run goes on: log lines, and one line of progress that is rewritten on a terminal and
// repeated every few seconds elsewhere. Log lines come from any thread; progress from the run strand.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "base/log.hpp"

namespace gcop::lua {

struct ConsoleOptions {
  bool quiet = false;  // warnings and errors only
  bool json = false;   // one JSON object a line on stdout instead of text
};

class Console {
 public:
  explicit Console(ConsoleOptions options);
  ~Console();
  Console(const Console &) = delete;
  Console &operator=(const Console &) = delete;

  void line(Level level, const std::string &text);                             // [any]
  void print(const std::string &text);                                         // results, on stdout [any]
  void end(int code, const std::string &out_dir, const std::string &message);  // the last line of a run

  // A step of known or unknown (0) length. Ends with done() or with the last reference.
  class Bar {
   public:
    Bar(Console &console, std::string label, uint64_t total);
    ~Bar() {
      if (count_ > 0) done();
    }
    void add(uint64_t n, std::string text);
    void done();

   private:
    friend class Console;
    std::string render(bool last) const;
    Console &console_;
    std::string label_, text_;
    uint64_t total_, count_ = 0;
    bool done_ = false;
    std::chrono::steady_clock::time_point started_, shown_;
  };

 private:
  void show(Bar &bar, bool last);
  void erase();  // the progress line, mutex held
  ConsoleOptions options_;
  bool terminal_;
  std::mutex mutex_;
  std::string drawn_;  // the progress line that stands on the terminal
};

}  // namespace gcop::lua
