#include "lua/core_price.hpp"

#include <ctime>

#include <fmt/format.h>

#include "base/log.hpp"
#include "base/shipped.hpp"
#include "core/price_list.hpp"
#include "lua/host.hpp"

namespace gcop::lua {
namespace {

constexpr double kDearest = 1e6;

core::Rate read_rate(lua_State *L, const Options &o, const std::string &what, bool optional) {
  for (const char *side : {"input", "output"})
    if (!optional && !o.has(side))
      raise(L,
            fmt::format("gcop.core: {} has no {}; say {} = {{ input =, output = }} (USD per million tokens, 0 if one "
                        "costs nothing); for a core without a price, free = true",
                        what, side, what));
  core::Rate rate;
  rate.input = o.num("input", 0, 0, kDearest);
  rate.output = o.num("output", 0, 0, kDearest);
  rate.cache_read = o.num("cache_read", rate.input, 0, kDearest);
  rate.cache_write = o.num("cache_write", rate.input, 0, kDearest);
  return rate;
}

core::Price said(lua_State *L, const Options &o) {
  core::Price price;
  auto p = o.table("price");
  price.rate = read_rate(L, p, "price", p.has("hour"));
  price.hour = p.num("hour", 0, 0, kDearest);
  if (p.has("tiers")) {
    p.push("tiers");
    const auto n = static_cast<lua_Integer>(lua_rawlen(L, -1));
    for (lua_Integer i = 1; i <= n; ++i) {
      lua_rawgeti(L, -1, i);
      if (!lua_istable(L, -1)) raise(L, fmt::format("gcop.core: price.tiers[{}] is a {}", i, luaL_typename(L, -1)));
      Options tier(L, lua_gettop(L), "gcop.core: price.tiers");
      const auto above = static_cast<uint64_t>(tier.integer("above", 0, 1, int64_t{1} << 40));
      if (!price.tiers.empty() && above <= price.tiers.back().above)
        raise(L, fmt::format("gcop.core: price.tiers[{}].above is {}; it must rise from tier to tier", i, above));
      price.tiers.push_back({above, read_rate(L, tier, fmt::format("price.tiers[{}]", i), false)});
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return price;
}

std::string today(const Clock &clock) {
  const auto now = static_cast<time_t>(clock.unix_seconds());
  tm parts{};
  gmtime_r(&now, &parts);
  return fmt::format("{:04}-{:02}-{:02}", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday);
}

core::Price listed(lua_State *L, const Options &o, const ModelPlugin &model) {
  const std::string base_url = model.config.value("base_url", ""), name = model.config.value("model", model.name);
  const std::string path = shipped_file("prices.toml");
  std::optional<core::PriceEntry> found;
  if (!base_url.empty() && !path.empty()) {
    const auto list = core::read_prices(path);
    if (!list) raise(L, list.error());
    found = core::find_price(*list, core::host_of(base_url), name, today(host_of(L).loop().clock()));
  }
  if (!found)
    raise(L, fmt::format("gcop.core: '{}'{} has no price in recipes/prices.toml, and without one no budget could hold "
                         "its calls; say price = {{ input =, output = }} (USD per million tokens), add it to the list, "
                         "or say free = true",
                         name, base_url.empty() ? "" : " of " + core::host_of(base_url)));
  const bool batch = o.boolean("batch", false);
  if (batch && found->batch == 0)
    raise(L, fmt::format("gcop.core: '{}' has no batch price in recipes/prices.toml; give price itself", name));
  const core::Price price = batch ? core::scaled(found->price, found->batch) : found->price;
  log_info(fmt::format("core '{}': ${:g} in, ${:g} out per million tokens (recipes/prices.toml, read {})", model.name,
                       price.rate.input, price.rate.output, price.read));
  return price;
}

void push_rate(lua_State *L, const core::Rate &rate) {
  lua_createtable(L, 0, 8);
  set(L, "input", rate.input);
  set(L, "output", rate.output);
  set(L, "cache_read", rate.cache_read);
  set(L, "cache_write", rate.cache_write);
}

}  // namespace

core::Price read_price(lua_State *L, const Options &o, const ModelPlugin *model) {
  const bool free = o.boolean("free", !model || model->free);
  if (o.has("price")) {
    if (o.boolean("batch", false))
      raise(L, "gcop.core: batch takes a share of a listed price; give price as it is billed");
    return said(L, o);
  }
  return free ? core::Price{} : listed(L, o, *model);
}

void push_price(lua_State *L, const core::Price &price) {
  push_rate(L, price.rate);
  set(L, "hour", price.hour);
  if (!price.read.empty()) set(L, "read", price.read);
  lua_createtable(L, static_cast<int>(price.tiers.size()), 0);
  for (size_t i = 0; i < price.tiers.size(); ++i) {
    push_rate(L, price.tiers[i].rate);
    set(L, "above", price.tiers[i].above);
    lua_rawseti(L, -2, static_cast<lua_Integer>(i + 1));
  }
  lua_setfield(L, -2, "tiers");
}

}  // namespace gcop::lua
