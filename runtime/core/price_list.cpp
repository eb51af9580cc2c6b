#include "core/price_list.hpp"

#include <algorithm>
#include <cmath>

#define TOML_EXCEPTIONS 1
#include <toml++/toml.h>

namespace gcop::core {
namespace {

std::string day(const toml::date &d) {
  char text[32];
  std::snprintf(text, sizeof text, "%04u-%02u-%02u", unsigned{d.year}, unsigned{d.month}, unsigned{d.day});
  return text;
}

// One entry being read; the first thing wrong is kept.
struct Reader {
  std::string path, title;
  std::optional<Error> wrong;

  void refuse(const toml::node &at, const std::string &what) {
    if (!wrong) wrong = invalid("price of " + title + ": " + what, path + ":" + std::to_string(at.source().begin.line));
  }

  double money(const toml::table &table, const char *key, double otherwise) {
    const toml::node *node = table.get(key);
    if (!node) return otherwise;
    const auto value = node->value<double>();
    if (!value || !std::isfinite(*value) || *value < 0)
      refuse(*node, std::string(key) + " must be a number of dollars, 0 or more");
    return value.value_or(0);
  }

  std::string date(const toml::table &table, const char *key) {
    const toml::node *node = table.get(key);
    if (!node) return {};
    if (const auto value = node->value<toml::date>(); node->is_date() && value) return day(*value);
    refuse(*node, std::string(key) + " must be a date, as in 2026-11-01");
    return {};
  }

  Rate rate(const toml::table &table, const Rate *base) {
    for (const char *key : {"input", "output"})
      if (!table.contains(key)) refuse(table, std::string(key) + " is missing");
    Rate r;
    r.input = money(table, "input", 0);
    r.output = money(table, "output", 0);
    // A tier scales what it does not name as it scales the input.
    const double up = base && base->input > 0 ? r.input / base->input : 1;
    r.cache_read = money(table, "cache_read", base ? base->cache_read * up : r.input);
    r.cache_write = money(table, "cache_write", base ? base->cache_write * up : r.input);
    return r;
  }

  void known(const toml::table &table, std::initializer_list<const char *> names) {
    for (const auto &[key, node] : table)
      if (std::none_of(names.begin(), names.end(), [k = key.str()](const char *name) { return k == name; }))
        refuse(node, "there is no field '" + std::string(key.str()) + "'");
  }

  PriceEntry entry(const toml::table &table) {
    PriceEntry out;
    out.host = table["host"].value_or(std::string());
    out.model = table["model"].value_or(std::string());
    title = "'" + out.model + "'";
    known(table, {"host", "model", "from", "read", "input", "output", "cache_read", "cache_write", "tiers", "batch"});
    if (out.host.empty() || out.model.empty()) refuse(table, "host and model must say whose it is");
    out.from = date(table, "from");
    out.price.read = date(table, "read");
    if (out.price.read.empty()) refuse(table, "read must say the day it was read off the provider's page");
    out.price.rate = rate(table, nullptr);
    if (const toml::node *node = table.get("batch")) {
      out.batch = node->value<double>().value_or(0);
      if (!(out.batch > 0 && out.batch <= 1))
        refuse(*node, "batch must be the share of the price that a batch costs, above 0 and at most 1");
    }
    if (const toml::node *node = table.get("tiers")) {
      const toml::array *tiers = node->as_array();
      if (!tiers) refuse(*node, "tiers must be a list of { above =, input =, output = }");
      for (size_t i = 0; tiers && i < tiers->size(); ++i) {
        const toml::table *tier = (*tiers)[i].as_table();
        if (!tier) {
          refuse((*tiers)[i], "a tier is a table");
          break;
        }
        known(*tier, {"above", "input", "output", "cache_read", "cache_write"});
        const int64_t above = (*tier)["above"].value_or(int64_t{0});
        const uint64_t before = out.price.tiers.empty() ? 0 : out.price.tiers.back().above;
        if (above <= 0 || static_cast<uint64_t>(above) <= before)
          refuse(*tier, "above must be a number of tokens, rising from tier to tier");
        out.price.tiers.push_back({static_cast<uint64_t>(std::max<int64_t>(0, above)), rate(*tier, &out.price.rate)});
      }
    }
    return out;
  }
};

// What follows NAME in a snapshot's name: -2024-07-18, -20251001, -latest.
bool is_snapshot(std::string_view rest) {
  if (rest == "-latest") return true;
  if (rest.size() < 9 || rest.front() != '-') return false;
  size_t digits = 0;
  for (const char c : rest.substr(1)) {
    if (c != '-' && (c < '0' || c > '9')) return false;
    digits += c != '-';
  }
  return digits == 8;
}

}  // namespace

Result<std::vector<PriceEntry>> read_prices(const std::string &path) {
  toml::table root;
  try {
    root = toml::parse_file(path);
  } catch (const toml::parse_error &e) {
    const auto line = e.source().begin.line;
    return invalid("the price list cannot be read: " + std::string(e.description()),
                   line > 0 ? path + ":" + std::to_string(line) : path);
  }
  std::vector<PriceEntry> entries;
  Reader reader{path, {}, {}};
  for (const auto &[key, node] : root)
    if (key.str() != "price")
      reader.refuse(node, "the list holds [[price]] tables, not '" + std::string(key.str()) + "'");
  if (const toml::array *prices = root["price"].as_array())
    for (const toml::node &node : *prices)
      if (const toml::table *table = node.as_table()) {
        PriceEntry entry = reader.entry(*table);
        for (const PriceEntry &other : entries)
          if (other.host == entry.host && other.model == entry.model && other.from == entry.from)
            reader.refuse(node, "it is there twice for the same day");
        entries.push_back(std::move(entry));
      }
  if (reader.wrong) return *reader.wrong;
  return entries;
}

std::optional<PriceEntry> find_price(const std::vector<PriceEntry> &entries, const std::string &host,
                                     const std::string &model, const std::string &today) {
  const PriceEntry *best = nullptr;
  for (const PriceEntry &entry : entries) {
    if (entry.host != host || entry.from > today || !model.starts_with(entry.model)) continue;
    if (model != entry.model && !is_snapshot(std::string_view(model).substr(entry.model.size()))) continue;
    const auto rank = [](const PriceEntry &e) { return std::pair(e.model.size(), e.from); };
    if (!best || rank(*best) < rank(entry)) best = &entry;
  }
  return best ? std::optional(*best) : std::nullopt;
}

std::string host_of(const std::string &base_url) {
  const size_t scheme = base_url.find("://");
  const size_t start = scheme == std::string::npos ? 0 : scheme + 3;
  return base_url.substr(start, base_url.find('/', start) - start);
}

bool on_this_machine(const std::string &base_url) {
  const std::string host = host_of(base_url), name = host.substr(0, host.rfind(':'));
  return name == "localhost" || name == "[::1]" ||
         (host.starts_with("127.") && host.find_first_not_of("0123456789.:") == std::string::npos);
}

}  // namespace gcop::core
