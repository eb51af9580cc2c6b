#include "lua/core_script.hpp"

#include <fmt/format.h>

#include "lua/bind.hpp"
#include "lua/function_ref.hpp"
#include "lua/host.hpp"

namespace gcop::lua {
namespace {

void push_request(lua_State *L, const core::Request &request) {
  lua_createtable(L, 0, 10);
  lua_createtable(L, static_cast<int>(request.messages.size()), 0);
  std::string prompt;
  for (size_t i = 0; i < request.messages.size(); ++i) {
    lua_createtable(L, 0, 2);
    set(L, "role", request.messages[i].role);
    set(L, "content", request.messages[i].content);
    if (request.messages[i].role == "user") prompt = request.messages[i].content;
    lua_rawseti(L, -2, static_cast<lua_Integer>(i + 1));
  }
  lua_setfield(L, -2, "messages");
  set(L, "prompt", prompt);
  set(L, "prefix", request.prefix);
  set(L, "max_tokens", request.max_tokens);
  set(L, "temperature", request.temperature);
  set(L, "top_p", request.top_p);
  set(L, "seed", request.seed >> 1);
  set(L, "sample", request.sample);
  set(L, "role", request.role);
}

constexpr lua_Integer kMostTokens = 1'000'000'000;  // of one call

// What the function returned: text, or { text =, usage =, finish = }, or nil and an err.
Result<Reply> script_reply(lua_State *L, const Fiber &task, const core::Request &request) {
  int top = lua_gettop(L), count = task.push_results(L), first = top + 1;
  Reply reply;
  reply.finish = "stop";
  std::string wrong;
  std::optional<Error> error;
  uint64_t bytes = 0;
  for (const auto &m : request.messages) bytes += m.content.size();
  if (count >= 1 && lua_type(L, first) == LUA_TSTRING) {
    reply.text = view(L, first);
    reply.usage.known = false;
  } else if (count >= 1 && lua_istable(L, first)) {
    Options o(L, first, "script");
    if (o.push("text") != LUA_TSTRING) wrong = fmt::format("a table whose text is a {}", luaL_typename(L, -1));
    lua_pop(L, 1);
    reply.text = o.str("text");
    reply.finish = o.str("finish", "stop");
    if (o.push("usage") == LUA_TTABLE) {
      for (auto [key, value] : {std::pair{"input", &reply.usage.input}, {"output", &reply.usage.output}}) {
        lua_getfield(L, -1, key);
        int whole = lua_isnil(L, -1);
        const lua_Integer tokens = whole ? 0 : lua_tointegerx(L, -1, &whole);
        if (!whole || tokens < 0 || tokens > kMostTokens)
          wrong = fmt::format("a table whose usage.{} is {}, not a number of tokens", key, error_text(L, -1));
        else
          *value = static_cast<uint64_t>(tokens);
        lua_pop(L, 1);
      }
    } else {
      reply.usage.known = false;
    }
    lua_pop(L, 1);
  } else if (count >= 2 && (error = to_error(L, first + 1))) {
  } else {
    wrong = count == 0 ? "nothing" : luaL_typename(L, first);
  }
  if (!reply.usage.known) reply.usage.input = bytes / 4 + 1, reply.usage.output = reply.text.size() / 4 + 1;
  lua_settop(L, top);
  if (error) return *error;
  if (!wrong.empty())
    return invalid("the script must return a text, a table { text = ... }, or nil and an err; it returned " + wrong);
  return reply;
}

}  // namespace

core::Script make_script(lua_State *state, int index) {
  auto fn = std::make_shared<FunctionRef>(state, index);
  return [fn](const core::Request &request, core::Done done) {
    lua_State *L = fn->host.state().get();
    lua_rawgeti(L, LUA_REGISTRYINDEX, fn->ref);
    push_request(L, request);
    auto task = fn->host.scheduler().start(L, 1);
    task->observed = true;
    std::weak_ptr<Fiber> weak = task;
    task->on_end([weak, fn, request, done = std::move(done)] {
      auto ended = weak.lock();
      if (ended->state() == Fiber::State::done)
        done(script_reply(fn->host.state().get(), *ended, request));
      else if (ended->state() == Fiber::State::cancelled)
        done(Error{Code::cancelled, "cancelled", {}});
      else
        done(Error{
            Code::invalid, "the script failed: " + ended->failure().text + "\n" + ended->failure().traceback, {}});
    });
    return [weak, fn] {
      if (auto running = weak.lock(); running && fn->host.scheduler().open()) fn->host.scheduler().cancel(*running);
    };
  };
}

std::string script_identity(lua_State *L, int fn, const std::string &name) {
  Host &host = host_of(L);
  lua_Debug at{};
  lua_pushvalue(L, fn);
  lua_getinfo(L, ">S", &at);
  std::string source = at.source[0] == '@' ? at.source + 1 : at.source;
  auto hash = host.sources().find(source);
  auto place = fmt::format("lua:{}:{}:{}:{}", source, at.linedefined, name,
                           hash == host.sources().end() ? "" : hash->second.substr(0, 16));
  return fmt::format("{}#{}", place, host.count_of(place));
}

}  // namespace gcop::lua
