// Registration and argument checks, both from the rows.
#include "lua/api.hpp"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "lua/bind.hpp"
#include "lua/host.hpp"

namespace gcop::lua {

extern const Module base_module, run_module, values_module, flow_module, task_module, core_module, guide_module,
    training_module, validator_module, strategy_module, trainer_module, tts_module, live_module, stats_module,
    store_module, report_module;

const std::vector<const Module *> &modules() {
  static const std::vector<const Module *> all = {
      &base_module,  &run_module,      &values_module,    &flow_module,     &task_module,    &core_module,
      &guide_module, &training_module, &validator_module, &strategy_module, &trainer_module, &tts_module,
      &live_module,  &stats_module,    &store_module,     &report_module};
  return all;
}

namespace {

const Class *find_class(std::string_view name) {
  static const auto by_name = [] {
    std::map<std::string_view, const Class *> map;
    for (auto *module : modules())
      for (auto &c : module->classes) map.emplace(c.name, &c);
    return map;
  }();
  auto it = by_name.find(name);
  return it == by_name.end() ? nullptr : it->second;
}

// "integer[]|nil" at the top level only: bars inside (), {}, <> and quotes belong to a part.
std::vector<std::string_view> alternatives(std::string_view type) {
  std::vector<std::string_view> out;
  int depth = 0;
  bool quoted = false;
  size_t start = 0;
  for (size_t i = 0; i < type.size(); ++i) {
    char c = type[i];
    if (c == '"') quoted = !quoted;
    if (quoted) continue;
    if (c == '(' || c == '{' || c == '<') ++depth;
    if (c == ')' || c == '}' || c == '>') --depth;
    if (c == '|' && depth == 0) {
      out.push_back(type.substr(start, i - start));
      start = i + 1;
    }
  }
  out.push_back(type.substr(start));
  return out;
}

void check_fields(lua_State *L, int index, const std::vector<Field> &fields, const std::string &where);

bool only_named(lua_State *L, int index) {  // { a = 1 }, where a list is wanted
  if (lua_rawlen(L, index) > 0) return false;
  index = lua_absindex(L, index);
  lua_pushnil(L);
  if (!lua_next(L, index)) return false;
  lua_pop(L, 2);
  return true;
}

bool fits(lua_State *L, int index, std::string_view type, const std::string &where) {
  int is = lua_type(L, index);
  if (type == "any") return true;
  if (type.starts_with("fun(") || type.starts_with("(fun(")) return is == LUA_TFUNCTION;
  if (type.ends_with("[]")) return is == LUA_TTABLE && !only_named(L, index);
  if (type.starts_with("{") || type.starts_with("table<") || type == "table") return is == LUA_TTABLE;
  if (type.starts_with("\"")) return is == LUA_TSTRING && view(L, index) == type.substr(1, type.size() - 2);
  if (type == "integer") {
    int ok = 0;
    if (is == LUA_TNUMBER) lua_tointegerx(L, index, &ok);
    return ok;
  }
  if (type == "nil") return is <= LUA_TNIL;  // or nothing at all
  if (type == "false") return is == LUA_TBOOLEAN && !lua_toboolean(L, index);
  if (type.starts_with("gcop.")) {
    if (is == LUA_TUSERDATA) return luaL_testudata(L, index, std::string(type).c_str());
    const Class *shape = find_class(type);
    if (is != LUA_TTABLE || !shape || shape->fields.empty()) return false;
    if (shape->closed) check_fields(L, index, shape->fields, where);
    return true;
  }
  return type == lua_typename(L, is);
}

bool optional(std::string_view &type) {
  if (!type.ends_with("?")) return false;
  type.remove_suffix(1);
  return true;
}

std::string shown(lua_State *L, int index) {
  int type = lua_type(L, index);
  if (type == LUA_TSTRING) return fmt::format("string '{}'", view(L, index).substr(0, 60));
  if (type == LUA_TNUMBER || type == LUA_TBOOLEAN)
    return fmt::format("{} {}", luaL_typename(L, index), error_text(L, index));
  if (type == LUA_TUSERDATA && luaL_getmetafield(L, index, "__name") == LUA_TSTRING) {
    std::string name(view(L, -1));
    lua_pop(L, 1);
    return name;
  }
  if (type == LUA_TTABLE && only_named(L, index)) return "table with named fields";
  return luaL_typename(L, index);
}

void check_type(lua_State *L, int index, std::string_view type, const std::string &where) {
  if (optional(type) && lua_isnoneornil(L, index)) return;
  for (auto part : alternatives(type))
    if (fits(L, index, part, where)) return;
  if (lua_isnoneornil(L, index)) raise(L, fmt::format("{} is missing ({})", where, type));
  raise(L, fmt::format("{} must be {}, got {}", where, type, shown(L, index)));
}

size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t change = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, change});
    }
  }
  return row[b.size()];
}

void check_fields(lua_State *L, int index, const std::vector<Field> &fields, const std::string &where) {
  index = lua_absindex(L, index);
  for (const auto &field : fields) {
    std::string_view name = field.name;
    if (name == "[...]") continue;
    if (name.starts_with("["))
      lua_rawgeti(L, index, name[1] - '0');
    else
      lua_getfield(L, index, field.name);
    check_type(L, lua_gettop(L), field.type, fmt::format("{}: {}", where, name));
    lua_pop(L, 1);
  }
  auto known = [&](std::string_view key) {
    return std::any_of(fields.begin(), fields.end(), [&](const Field &f) { return key == f.name; });
  };
  lua_pushnil(L);
  while (lua_next(L, index)) {
    lua_pop(L, 1);
    if (lua_isinteger(L, -1) && (known("[...]") || known(fmt::format("[{}]", lua_tointeger(L, -1))))) continue;
    if (lua_type(L, -1) != LUA_TSTRING)
      raise(L, fmt::format("{}: named options only, got an item [{}]", where, error_text(L, -1)));
    auto key = view(L, -1);
    if (known(key)) continue;
    std::string names, nearest;
    size_t best = 3;
    for (const auto &field : fields) {
      if (field.name[0] == '[') continue;
      names += (names.empty() ? "" : ", ") + std::string(field.name);
      if (auto d = distance(key, field.name); d < best) best = d, nearest = field.name;
    }
    raise(L, fmt::format("{}: unknown option '{}'{}; known: {}", where, key,
                         nearest.empty() ? "" : fmt::format(", did you mean '{}'?", nearest), names));
  }
}

int object_gc(lua_State *L) {
  using Held = std::shared_ptr<void>;
  static_cast<Held *>(lua_touserdata(L, 1))->~Held();
  return 0;
}

int object_tostring(lua_State *L) {
  luaL_getmetafield(L, 1, "__name");
  std::string text(view(L, -1));
  if (lua_getiuservalue(L, 1, 1) == LUA_TTABLE && lua_getfield(L, -1, "name") == LUA_TSTRING)
    text += " " + std::string(view(L, -1));
  push(L, text);
  return 1;
}

// Methods first, then the fields that the binding keeps beside the object; a name that is neither is a mistake.
int object_index(lua_State *L) {
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
  if (lua_getiuservalue(L, 1, 1) == LUA_TTABLE) {
    lua_pushvalue(L, 2);
    if (lua_rawget(L, -2) != LUA_TNIL) return 1;
  }
  luaL_getmetafield(L, 1, "__name");
  std::string name(view(L, -1)), known;
  lua_pushnil(L);
  while (lua_next(L, lua_upvalueindex(1))) {
    known += (known.empty() ? "" : ", ") + std::string(view(L, -2));
    lua_pop(L, 1);
  }
  raise(L, fmt::format("{} has no '{}'; it has {}", name, error_text(L, 2), known));
}

void make_class(lua_State *L, const char *name) {
  if (!luaL_newmetatable(L, name)) return;  // leaves the metatable on the stack either way
  lua_newtable(L);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "methods");
  lua_pushcclosure(L, object_index, 1);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, object_gc);
  lua_setfield(L, -2, "__gc");
  lua_pushcfunction(L, object_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pushboolean(L, false);
  lua_setfield(L, -2, "__metatable");
}

// Pushes the table that holds the function of this row, and returns its key there.
std::string push_home(lua_State *L, std::string_view name) {
  if (auto colon = name.find(':'); colon != std::string_view::npos) {
    make_class(L, std::string(name.substr(0, colon)).c_str());
    lua_getfield(L, -1, "methods");
    lua_remove(L, -2);
    return std::string(name.substr(colon + 1));
  }
  lua_getglobal(L, "gcop");
  name.remove_prefix(5);
  while (true) {
    auto dot = name.find('.');
    if (dot == std::string_view::npos) return std::string(name);
    luaL_getsubtable(L, -1, std::string(name.substr(0, dot)).c_str());
    lua_remove(L, -2);
    name.remove_prefix(dot + 1);
  }
}

}  // namespace

void check_arguments(lua_State *L, const Function &row) {
  int index = std::string_view(row.name).find(':') == std::string_view::npos ? 0 : 1;
  std::string name = row.name;
  if (index) {
    auto cls = name.substr(0, name.find(':'));
    bool is = luaL_testudata(L, 1, cls.c_str());
    if (!is && !row.call && luaL_getmetafield(L, 1, "__name") != LUA_TNIL) {  // a class written in Lua
      is = view(L, -1) == cls;
      lua_pop(L, 1);
    }
    if (!is) raise(L, fmt::format("{}: call it with a colon on a {}, got {}", name, cls, shown(L, 1)));
  }
  for (const auto &param : row.params) {
    ++index;
    if (std::string_view(param.name) == "...") return;
    bool options = std::string_view(param.name) == "options";
    check_type(L, index, param.type, fmt::format("{}: {}", name, param.name));
    if (options && !lua_isnoneornil(L, index)) check_fields(L, index, row.options, name);
  }
  if (lua_gettop(L) > index)
    raise(L, fmt::format("{}: takes {} argument{}, got {}", name, row.params.size(), row.params.size() == 1 ? "" : "s",
                         lua_gettop(L) - (index - static_cast<int>(row.params.size()))));
  lua_settop(L, index);  // what was left out is nil
}

int call_row(lua_State *L) {
  const auto &row = *static_cast<const Function *>(lua_touserdata(L, lua_upvalueindex(1)));
  return guarded(L, [&] {
    check_arguments(L, row);
    if (row.waits == Waits::no) return row.call(L);
    if (!lua_isyieldable(L))
      raise(L,
            fmt::format("{} waits, and waiting is not possible inside a table.sort comparator, a string.gsub callback, "
                        "or a metamethod such as __tostring, __gc or __close; call it before",
                        row.name));
    if (row.waits == Waits::yes) {
      Host &host = host_of(L);
      if (!host.settle()) return host.scheduler().leave(L);
      if (host.settings().checking || host.settings().planning) {
        host.end({Outcome::done, host.settings().checking ? "check: ok" : ""});
        return host.scheduler().leave(L);
      }
    }
    return row.call(L);
  });
}

void register_api(lua_State *L) {
  make_error_metatable(L);
  make_array_metatable(L);
  lua_newtable(L);
  lua_setglobal(L, "gcop");
  for (auto *module : modules())
    for (const auto &row : module->functions) {
      if (!row.call) continue;
      auto key = push_home(L, row.name);
      lua_pushlightuserdata(L, const_cast<Function *>(&row));
      lua_pushcclosure(L, call_row, 1);
      lua_setfield(L, -2, key.c_str());
      lua_pop(L, 1);
    }
}

}  // namespace gcop::lua
