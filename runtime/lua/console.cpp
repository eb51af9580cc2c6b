#include "lua/console.hpp"

#include <sys/ioctl.h>
#include <unistd.h>
#include <cstdio>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/secret.hpp"

namespace gcop::lua {
namespace {

constexpr auto kRedraw = std::chrono::milliseconds(100);
constexpr auto kPlain = std::chrono::seconds(5);

std::string duration(double seconds) {
  auto s = static_cast<int64_t>(seconds + 0.5);
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{}:{:02} min", s / 60, s % 60);
  return fmt::format("{}:{:02} h", s / 3600, s / 60 % 60);
}

std::string json_line(nlohmann::json value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

size_t terminal_width() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

// A model's words must not move the cursor or set colours: control characters, C1 ones too, are shown as \x1b.
std::string printable(const std::string &text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const bool c1 = c == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0;
    if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
      out += fmt::format("\\x{:02x}", c);
    else if (c1)
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[++i]));
    else
      out += text[i];
  }
  return out;
}

void put(FILE *to, const std::string &text) {
  std::fwrite(text.data(), 1, text.size(), to);
  std::fflush(to);
}

}  // namespace

Console::Console(ConsoleOptions options) : options_(options), terminal_(isatty(STDERR_FILENO) && !options.json) {
  set_log_level(options.quiet ? Level::warn : Level::info);
  set_log_sink([this](Level level, const std::string &text) { line(level, text); });
}

Console::~Console() {
  set_log_sink({});
  std::lock_guard lock(mutex_);
  erase();
}

void Console::erase() {
  if (drawn_.empty()) return;
  put(stderr, "\r\x1b[K");
  drawn_.clear();
}

void Console::line(Level level, const std::string &text) {
  static constexpr const char *kNames[] = {"debug", "info", "warning", "error"};
  const char *name = kNames[static_cast<int>(level)];
  std::lock_guard lock(mutex_);
  if (options_.json) return put(stdout, json_line({{"event", "log"}, {"level", name}, {"text", text}}));
  auto standing = drawn_;
  erase();
  put(stderr, level >= Level::warn ? fmt::format("{}: {}\n", name, printable(text)) : printable(text) + "\n");
  if (!standing.empty()) put(stderr, drawn_ = standing);
}

void Console::print(const std::string &text) {
  const std::string safe = redact(text);
  std::lock_guard lock(mutex_);
  if (options_.json) return put(stdout, json_line({{"event", "print"}, {"text", safe}}));
  auto standing = drawn_;
  erase();
  put(stdout, (isatty(STDOUT_FILENO) ? printable(safe) : safe) + "\n");
  if (!standing.empty()) put(stderr, drawn_ = standing);
}

void Console::end(int code, const std::string &out_dir, const std::string &message) {
  const std::string safe = redact(message);
  std::lock_guard lock(mutex_);
  erase();
  if (options_.json)
    return put(stdout, json_line({{"event", "end"}, {"exit", code}, {"out", out_dir}, {"message", safe}}));
  if (!safe.empty() && (code != 0 || !options_.quiet)) put(stderr, printable(safe) + "\n");
}

void Console::show(Bar &bar, bool last) {
  if (options_.quiet) return;
  auto now = std::chrono::steady_clock::now();
  if (!last && now - bar.shown_ < (terminal_ ? kRedraw : std::chrono::milliseconds(kPlain))) return;
  bar.shown_ = now;
  std::lock_guard lock(mutex_);
  if (options_.json) {
    put(stdout, json_line({{"event", "progress"},
                           {"label", bar.label_},
                           {"count", bar.count_},
                           {"total", bar.total_},
                           {"text", bar.text_},
                           {"done", last}}));
  } else if (terminal_) {
    erase();
    auto text = bar.render(last).substr(0, terminal_width() - 1);
    if (last)
      put(stderr, text + "\n");
    else
      put(stderr, drawn_ = text);
  } else {
    put(stderr, bar.render(last) + "\n");
  }
}

Console::Bar::Bar(Console &console, std::string label, uint64_t total)
    : console_(console),
      label_(printable(label)),
      total_(total),
      started_(std::chrono::steady_clock::now()),
      shown_(started_) {}

void Console::Bar::add(uint64_t n, std::string text) {
  if (done_) return;
  count_ += n;
  if (!text.empty()) text_ = printable(text);
  console_.show(*this, false);
}

void Console::Bar::done() {
  if (std::exchange(done_, true)) return;
  console_.show(*this, true);
}

std::string Console::Bar::render(bool last) const {
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count();
  double rate = seconds > 0 ? static_cast<double>(count_) / seconds : 0;
  std::string out = total_ ? fmt::format("{} {}/{}", label_, count_, total_) : fmt::format("{} {}", label_, count_);
  if (last) {
    out += fmt::format(" in {}", duration(seconds));
  } else if (count_ > 0) {
    out += rate >= 1 ? fmt::format(" · {:.1f}/s", rate) : fmt::format(" · {} each", duration(1 / rate));
    // The first of many that run side by side end late and say little about the rest.
    if (total_ > count_ && 20 * count_ >= total_)
      out += fmt::format(" · {} left", duration(static_cast<double>(total_ - count_) / rate));
  }
  if (!text_.empty()) out += " · " + text_;
  return out;
}

}  // namespace gcop::lua
