// One line of text to a person, on stderr. Every line passes redact(), the one place where registered secrets are
// replaced by "***". Any thread.
#pragma once
#include <functional>
#include <string>
#include <string_view>

namespace gcop {

enum class Level : int { debug = 0, info = 1, warn = 2, error = 3 };  // equals GCOP_LOG_*

void log(Level, std::string_view text);
inline void log_debug(std::string_view text) { log(Level::debug, text); }
inline void log_info(std::string_view text) { log(Level::info, text); }
inline void log_warn(std::string_view text) { log(Level::warn, text); }
inline void log_error(std::string_view text) { log(Level::error, text); }

void set_log_level(Level least);  // default info

// Where redacted lines go instead of stderr: a progress display that must redraw, the run's event table. Called from
// any thread, one call at a time; must not log. An empty function restores stderr.
void set_log_sink(std::function<void(Level, const std::string &)> sink);

}  // namespace gcop
