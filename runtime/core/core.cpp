#include "core/core.hpp"

#include <algorithm>
#include <map>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/hash.hpp"
#include "base/random.hpp"
#include "plugin/pending.hpp"
#include "plugin/queue.hpp"
#include "store/store.hpp"

namespace gcop::core {
namespace {

using nlohmann::json;

std::string dump(const json &value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

json messages_json(const Request &request) {
  json messages = json::array();
  for (const Message &m : request.messages) messages.push_back({{"role", m.role}, {"content", m.content}});
  return messages;
}

// Keys sorted, numbers in their shortest form that reads back equal: the same bytes on every machine.
json canonical(const Request &request) {
  json extra = json::parse(request.extra_json, nullptr, false);
  if (extra.is_discarded()) extra = request.extra_json;
  return {{"messages", messages_json(request)},
          {"prefix", request.prefix},
          {"extra", extra},
          {"stop", request.stop},
          {"max_tokens", request.max_tokens},
          {"temperature", request.temperature},
          {"top_p", request.top_p},
          {"seed", request.seed},
          {"sample", request.sample}};
}

// What a prompt has at most: a token is at least a byte, and a message's frame a few tokens.
uint64_t most_input(const Request &request) {
  uint64_t input = request.prefix.size() + 16;
  for (const Message &m : request.messages) input += m.content.size() + 16;
  return input;
}

// What a gcop_core_request points to; lives until the op is answered.
struct Wire {
  Request request;
  std::string messages;
  std::vector<gcop_str> stop;
  gcop_core_request raw{};

  explicit Wire(const Request &r) : request(r), messages(dump(messages_json(r))) {
    for (const std::string &s : request.stop) stop.push_back(plugin::view(s));
    raw.struct_size = sizeof raw;
    raw.max_tokens = request.max_tokens;
    raw.n_choices = 1;
    raw.temperature = request.temperature;
    raw.top_p = request.top_p;
    raw.seed = request.seed;
    raw.sample_index = request.sample;
    raw.messages_json = plugin::view(messages);
    if (!request.prefix.empty()) raw.prefix = plugin::view(request.prefix);
    if (!request.extra_json.empty()) raw.extra_json = plugin::view(request.extra_json);
    raw.stop = stop.data();
    raw.n_stop = stop.size();
  }
};

// What came of a call, and what it may have cost.
struct Answer {
  Result<Reply> result;
  store::Bill bill;
};

bool nobody_knows(Code code) { return code == Code::cancelled || code == Code::timeout; }

constexpr uint64_t kMostTokens = 1'000'000'000;

Answer take(const gcop_core_result *result) {
  if (!result || !GCOP_HAS(result, error)) return {Error{Code::internal, "answered without a result", {}}};
  Reply reply;
  if (GCOP_HAS(result, usage_known))
    reply.usage = {result->input_tokens,  result->cache_read_tokens, result->cache_write_tokens,
                   result->output_tokens, result->reasoning_tokens,  result->usage_known != 0};
  if (GCOP_HAS(result, attempts)) reply.attempts = result->attempts;
  if (GCOP_HAS(result, served_model)) reply.model = plugin::text(result->served_model);
  const uint32_t unanswered = GCOP_HAS(result, unanswered) ? result->unanswered : 0;
  if (result->status != GCOP_OK) {
    Error error = plugin::plugin_error("", result->status, result->error);
    const bool refused = GCOP_HAS(result, http_status) && result->http_status >= 400;  // nobody bills an error answer
    auto billed = store::Billed::no;
    if (GCOP_HAS(result, usage_known) && result->usage_known)
      billed = store::Billed::yes;
    else if (!refused && (reply.attempts > 0 || nobody_knows(error.code)))
      billed = store::Billed::unknown;
    return {std::move(error), {billed, std::move(reply), unanswered}};
  }
  const Usage &used = reply.usage;
  if (std::max({used.input, used.cache_read, used.cache_write, used.output, used.reasoning}) > kMostTokens)
    return {Error{Code::internal, "reported more than 10^9 tokens for one call; that is no bill", {}},
            {store::Billed::unknown, {}, unanswered}};
  if (!GCOP_HAS(result, usage_known) || result->n_texts == 0 || !result->texts) {
    const auto billed = reply.usage.known ? store::Billed::yes : store::Billed::unknown;
    return {Error{Code::internal, "answered OK without a text", {}}, {billed, std::move(reply), unanswered}};
  }
  reply.text = plugin::text(result->texts[0]);
  if (result->finish) reply.finish = plugin::text(result->finish[0]);
  return {std::move(reply), {store::Billed::no, {}, unanswered}};
}

void on_done(const gcop_op *op, const gcop_core_result *result) {
  plugin::Calls::answer<Answer>(op, [&] { return Result<Answer>(take(result)); });
}

Answer failed(Error error) {
  const auto billed = nobody_knows(error.code) ? store::Billed::unknown : store::Billed::no;
  return {std::move(error), {billed, {}, 0}};
}

}  // namespace

std::string request_key(const std::string &identity, const Request &request) {
  json whole = canonical(request);
  whole["identity"] = identity;
  return sha256(dump(whole));
}

uint64_t request_seed(uint64_t run_seed, const Request &request) {
  Request unseeded = request;
  unseeded.seed = 0;
  unseeded.sample = 0;
  return draw(run_seed, "core.request:" + request_key("", unseeded), {request.sample});
}

struct Core::Impl : std::enable_shared_from_this<Core::Impl> {
  Loop &loop;
  store::Store *store;
  std::string name, identity;
  Price price;
  Script script;
  const gcop_core *table = nullptr;
  std::shared_ptr<plugin::Calls> calls;                  // null for a script
  std::map<std::string, uint64_t> ops;                   // started calls at the plugin, by key
  std::map<std::string, std::function<void()>> scripts;  // what ends those of a script, by key
  std::map<std::string, bool> unsent;  // calls whose intent is not safe yet, by key: true if nobody waits any more
  uint32_t timeout_ms = 0;
  // Time as a call sees it that shares the core with `busy` - 1 others.
  double shared_s = 0;
  uint64_t shared_at = 0;
  uint32_t busy = 0;
  std::shared_ptr<plugin::CallQueue<Reply>> queue;

  Impl(Loop &l, store::Store *s, std::string n) : loop(l), store(s), name(std::move(n)) {}

  void make_queue(uint32_t limit) {
    queue = std::make_shared<plugin::CallQueue<Reply>>(loop, std::max(1u, limit), [this](const std::string &key) {
      if (const auto found = ops.find(key); found != ops.end()) calls->cancel(found->second);
      if (const auto found = unsent.find(key); found != unsent.end()) found->second = true;
      if (const auto found = scripts.find(key); found != scripts.end() && found->second)
        std::exchange(found->second, nullptr)();
    });
  }

  std::string title() const { return "core '" + name + "'"; }

  void send(const Request &request, std::function<void(Answer)> done) {
    if (script) return run_script(request_key(identity, request), request, std::move(done));
    if (!table) {
      loop.post([done = std::move(done),
                 error = Error{Code::unsupported, calls->name() + " offers no " GCOP_CORE, {}}] { done({error}); });
      return;
    }
    auto wire = std::make_shared<Wire>(request);
    const std::string key = request_key(identity, request);
    ops[key] = calls->start<Answer>(
        "complete", wire, [&](gcop_instance *raw, const gcop_op *op) { table->complete(raw, &wire->raw, op, on_done); },
        [self = shared_from_this(), key, done = std::move(done)](Result<Answer> answer) {
          self->ops.erase(key);
          done(answer ? std::move(*answer) : failed(std::move(answer.error())));
        });
  }

  void run_script(const std::string &key, const Request &request, std::function<void(Answer)> done) {
    // A script may answer at once, twice or from a nested call: only the first answer counts, and it comes later.
    auto once = std::make_shared<std::function<void(Answer)>>(std::move(done));
    scripts[key] = script(request, [self = shared_from_this(), key, once](Result<Reply> result) {
      if (!*once) return;
      self->loop.post([self, key, handler = std::exchange(*once, nullptr), result = std::move(result)] {
        self->scripts.erase(key);
        handler(result ? Answer{result} : failed(result.error()));
      });
    });
  }

  double share_now() {
    const uint64_t now = loop.clock().steady_ns();
    if (busy) shared_s += 1e-9 * static_cast<double>(now - shared_at) / busy;
    shared_at = now;
    return shared_s;
  }

  // One paid call: intent row, send, outcome row.
  void begin(const std::string &key, const Request &request, std::function<void(Result<Reply>)> answer) {
    if (!store) return go(key, request, std::move(answer));
    json params = canonical(request);
    params.erase("messages");
    const double seconds = 1e-3 * (timeout_ms ? timeout_ms : 600'000);
    const auto begun =
        store->begin_call({key, request.role, name, request.stage, dump(messages_json(request)), dump(params),
                           most_cost(price, most_input(request), request.max_tokens, seconds)});
    if (!begun) {
      loop.post([answer = std::move(answer), error = begun.error()] { answer(error); });
      return;
    }
    unsent[key] = false;
    store->when_kept([self = shared_from_this(), key, request, answer = std::move(answer)](Result<> kept) {
      const bool dropped = self->unsent.extract(key).mapped();
      if (!kept) return answer(kept.error());
      if (!dropped) return self->go(key, request, answer);
      answer(self->settle(key, 0, 0, {Error{Code::cancelled, "cancelled before it was sent", {}}}));
    });
  }

  void go(const std::string &key, const Request &request, std::function<void(Result<Reply>)> answer) {
    const uint64_t started = loop.clock().steady_ns();
    const double share = share_now();
    ++busy;
    send(request, [self = shared_from_this(), key, started, share, answer = std::move(answer)](Answer got) {
      const double mine = self->share_now() - share;
      --self->busy;
      answer(self->settle(key, 1e-9 * static_cast<double>(self->loop.clock().steady_ns() - started), mine,
                          std::move(got)));
    });
  }

  Result<Reply> settle(const std::string &key, double latency_s, double share_s, Answer got) {
    if (price.hour > 0 && tokens_free(price)) got.bill.billed = store::Billed::yes;  // time is known, answered or not
    Reply &reply = got.result ? *got.result : got.bill.used;
    reply.latency_s = latency_s;
    reply.cost_usd = reply.price_usd = tokens_cost(price, reply.usage) + price.hour * share_s / 3600;
    reply.cached = false;
    if (reply.model.empty()) reply.model = name;
    if (!got.result) got.result.error().message = title() + ": " + got.result.error().message;
    if (!store) return std::move(got.result);
    if (auto ended = store->end_call(key, got.result, got.bill); !ended) return std::move(ended.error());
    return std::move(got.result);
  }
};

Core::Core(Loop &loop, store::Store *store, std::shared_ptr<plugin::Instance> instance, std::string name, Price price,
           uint32_t max_in_flight, uint32_t timeout_ms)
    : impl_(std::make_shared<Impl>(loop, store, std::move(name))) {
  impl_->price = std::move(price);
  impl_->timeout_ms = timeout_ms;
  const auto *table = static_cast<const gcop_core *>(instance->interface(GCOP_CORE));
  if (table && GCOP_HAS(table, cancel) && table->identity && table->complete && table->cancel) impl_->table = table;
  if (impl_->table) impl_->identity = plugin::text(table->identity(instance->raw()));
  impl_->calls =
      std::make_shared<plugin::Calls>(loop, std::move(instance), impl_->table ? table->cancel : nullptr, timeout_ms);
  impl_->make_queue(max_in_flight);
}

Core::Core(Loop &loop, store::Store *store, Script script, std::string identity, std::string name, Price price)
    : impl_(std::make_shared<Impl>(loop, store, std::move(name))) {
  impl_->price = std::move(price);
  impl_->identity = std::move(identity);
  impl_->script = std::move(script);
  impl_->make_queue(UINT32_MAX);
}

Core::~Core() { impl_->queue->cancel_all(impl_->title()); }

uint64_t Core::complete(Request request, Done done) {
  const std::string key = request_key(impl_->identity, request);
  if (impl_->store) {  // a hit waits for nobody; an equal call still in flight is joined below
    if (auto hit = impl_->store->find_call(key)) {
      hit->cached = true;
      hit->cost_usd = 0;
      if (impl_->price.hour == 0) hit->price_usd = tokens_cost(impl_->price, hit->usage);  // else what it cost then
      impl_->loop.post([done = std::move(done), reply = std::move(*hit)] { done(reply); });
      return impl_->queue->take_id();
    }
  }
  auto begin = [impl = impl_, key, request = std::move(request)](std::function<void(Result<Reply>)> answer) {
    impl->begin(key, request, std::move(answer));
  };
  return impl_->queue->add(key, std::move(begin), [done = std::move(done)](Result<Reply> result, bool shared) {
    if (shared && result) {  // another caller of the same request paid
      result->cached = true;
      result->cost_usd = 0;
    }
    done(std::move(result));
  });
}

void Core::cancel(uint64_t call_id) { impl_->queue->cancel(call_id, impl_->title()); }
const std::string &Core::name() const { return impl_->name; }
const std::string &Core::identity() const { return impl_->identity; }
uint32_t Core::capabilities() const { return impl_->table ? impl_->table->capabilities : 0; }
uint32_t Core::in_flight() const { return impl_->queue->in_flight(); }

}  // namespace gcop::core
