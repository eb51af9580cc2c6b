#include "lua/option_value.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>

namespace gcop::lua {

using nlohmann::json;

namespace {

// A decimal number as Lua reads it: .32, 5., 1e-3 and 007, too; blanks around it. No nan, inf or hexadecimal one.
std::optional<json> number(std::string_view text) {
  constexpr const char *kBlank = " \t\n";
  text.remove_prefix(std::min(text.find_first_not_of(kBlank), text.size()));
  text.remove_suffix(text.size() - (text.find_last_not_of(kBlank) + 1));
  const char *end = text.data() + text.size();
  int64_t whole = 0;
  if (const auto read = std::from_chars(text.data(), end, whole); read.ec == std::errc() && read.ptr == end)
    return json(whole);
  double value = 0;
  const auto read = std::from_chars(text.data(), end, value);
  if (read.ec != std::errc() || read.ptr != end || !std::isfinite(value)) return {};
  return json(value);
}

}  // namespace

Result<json> option_value(const std::string &text, const json &like) {
  if (like.is_string()) return json(text);
  if (like.is_boolean()) {
    if (text == "true" || text == "1") return json(true);
    if (text == "false" || text == "0") return json(false);
    return invalid("true or false");
  }
  if (like.is_number()) {
    const auto value = number(text);
    if (!value) return invalid(like.is_number_integer() ? "an integer" : "a number");
    if (!like.is_number_integer() || value->is_number_integer()) return *value;
    const double v = value->get<double>();
    if (v != std::floor(v) || std::fabs(v) >= 0x1p63) return invalid("an integer");
    return json(static_cast<int64_t>(v));
  }
  if (like.is_array()) {
    json list = json::array();
    size_t start = 0;
    while (start <= text.size() && !text.empty()) {
      auto comma = std::min(text.find(',', start), text.size());
      auto item = option_value(text.substr(start, comma - start), like.empty() ? json("") : like[0]);
      if (!item) return invalid("a list of such, separated by commas: " + item.error().message);
      list.push_back(*item);
      start = comma + 1;
    }
    return list;
  }
  auto value = json::parse(text, nullptr, false);
  if (value.is_discarded()) return invalid("JSON");
  return value;
}

}  // namespace gcop::lua
