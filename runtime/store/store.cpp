#include "store/store.hpp"

#include <algorithm>
#include <cstdio>

#include <nlohmann/json.hpp>

#include "base/clock.hpp"
#include "base/secret.hpp"
#include "store/impl.hpp"

namespace gcop::store {
namespace {

std::string dollars(int64_t nano_usd) {
  char text[32];
  std::snprintf(text, sizeof text, "$%.6g", usd(nano_usd));
  return text;
}

}  // namespace

Store::Store(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Store::~Store() { (void)flush(); }

Result<std::shared_ptr<Store>> Store::open(const std::string &dir) {
  auto impl = std::make_shared<Impl>();
  if (auto ok = impl->open(dir); !ok) return ok.error();
  return std::shared_ptr<Store>(new Store(std::move(impl)));
}

std::optional<Reply> Store::find_call(const std::string &key) {
  Statement &s = impl_->call_done;
  const int rc = s.bind_all(key).step();
  if (rc != SQLITE_ROW) {
    if (rc != SQLITE_DONE) (void)impl_->fail("reading a call");
    s.reset();
    return std::nullopt;
  }
  Reply reply;
  reply.text = impl_->text_of(s, 0, 13);
  reply.finish = s.text(1);
  reply.model = s.text(2);
  reply.usage = {uint64_t(s.integer(3)), uint64_t(s.integer(4)), uint64_t(s.integer(5)),
                 uint64_t(s.integer(6)), uint64_t(s.integer(7)), s.integer(8) != 0};
  reply.latency_s = s.real(9);
  reply.attempts = uint32_t(s.integer(10));
  reply.cached = true;
  reply.price_usd = usd(s.integer(12));
  ++impl_->hits[s.text(11)];
  s.reset();
  if (impl_->failed) return std::nullopt;
  return reply;
}

Result<> Store::begin_call(const CallIntent &intent) {
  Impl &self = *impl_;
  if (self.failed) return *self.failed;
  const int64_t need = std::max<int64_t>(0, nano(intent.reserved_usd));
  for (const std::string &role : {std::string(), intent.role}) {
    const auto budget = self.budgets.find(role);
    const Impl::Sums &sums = role.empty() ? self.total : self.by_role[role];
    if (need == 0 || budget == self.budgets.end() || sums.held() + need <= budget->second) continue;
    self.over_budget = true;
    return Error{Code::exhausted,
                 "budget of " + dollars(budget->second) + (role.empty() ? "" : " for role '" + role + "'") +
                     ": a call of role '" + intent.role + "' to " + intent.model + " may cost " + dollars(need) +
                     ", but " + dollars(sums.spent) + " are spent, " + dollars(sums.reserved) +
                     " held for calls in flight and " + dollars(sums.unknown) +
                     " for calls of unknown outcome; raise the budget and resume",
                 {}};
  }
  int64_t id = 0;
  auto written = self.write("recording a call", [&] {
    const int64_t messages = self.blob(redact(intent.messages_json));
    const std::string params = redact(intent.params_json);
    if (!messages || !self.call_in
                          .bind_all(intent.key, intent.role, intent.model, intent.stage, messages, params, need,
                                    real_clock().unix_seconds())
                          .run())
      return false;
    id = sqlite3_last_insert_rowid(self.db.get());
    return true;
  });
  if (!written) return written.error();
  self.pending.emplace(intent.key, Impl::Pending{id, need, intent.role});
  self.total.reserved += need;
  self.by_role[intent.role].reserved += need;
  return Unit{};
}

Result<> Store::end_call(const std::string &key, const Result<Reply> &result, const Bill &bill) {
  Impl &self = *impl_;
  const auto found = self.pending.find(key);
  if (found == self.pending.end())
    return Error{Code::internal, "end_call for key " + key + ", which no begin_call announced", {}};
  const Impl::Pending call = found->second;
  self.pending.erase(found);

  static const Reply kNothing;
  const Reply &used = result ? *result : bill.billed == Billed::yes ? bill.used : kNothing;
  const bool unknown = !result && bill.billed == Billed::unknown;
  const int64_t cost = nano(used.cost_usd);
  for (Impl::Sums *sums : {&self.total, &self.by_role[call.role]}) {
    sums->reserved -= call.reserved;
    sums->spent += cost;
    sums->unknown += call.reserved * (int64_t{unknown} + bill.unanswered);
  }
  return self.write("recording an answer", [&] {
    const int64_t reply = result ? self.blob(redact(used.text)) : 0;
    const std::string error = result ? "" : redact(result.error().text()), finish = used.finish,
                      model = redact(used.model);
    const Usage &u = used.usage;
    const char *const state = result ? "done" : unknown ? "unknown" : "failed";
    return (!result || reply) &&
           self.call_out
               .bind_all(call.id, std::string_view(state), cost, reply, finish, model, u.input, u.cache_read,
                         u.cache_write, u.output, u.reasoning, u.known, used.latency_s, used.attempts, bill.unanswered,
                         error, real_clock().unix_seconds())
               .run();
  });
}

void Store::set_budget(double budget_usd, const std::string &role) {
  if (budget_usd < 0)
    impl_->budgets.erase(role);
  else
    impl_->budgets[role] = nano(budget_usd);
}
double Store::spent() const { return usd(impl_->total.spent); }
double Store::reserved() const { return usd(impl_->total.reserved); }

std::vector<RoleCost> Store::costs() const {
  std::map<std::string, RoleCost> by_role;
  for (const auto &[role, hits] : impl_->hits) by_role[role].hits = hits;
  Statement s(impl_->db.get(),
              "SELECT role, sum(cost_nano), sum(reserved_nano * ((state = 'unknown') + unanswered)), "
              "count(*), sum(state = 'failed'), sum((state = 'unknown') + unanswered), "
              "sum(input), sum(cache_read), sum(cache_write), sum(output), sum(reasoning), min(usage_known) FROM calls "
              "GROUP BY role");
  while (s.ready() && s.step() == SQLITE_ROW) {
    RoleCost &c = by_role[s.text(0)];
    c.usd = usd(s.integer(1));
    c.possible_usd = usd(s.integer(2));
    c.calls = uint64_t(s.integer(3));
    c.failed = uint64_t(s.integer(4));
    c.unknown = uint64_t(s.integer(5));
    c.usage = {uint64_t(s.integer(6)), uint64_t(s.integer(7)),  uint64_t(s.integer(8)),
               uint64_t(s.integer(9)), uint64_t(s.integer(10)), s.integer(11) != 0};
  }
  std::vector<RoleCost> costs;
  for (auto &[role, cost] : by_role) {
    cost.role = role;
    costs.push_back(cost);
  }
  return costs;
}

std::vector<UnknownCall> Store::unknown_calls() const {
  std::vector<UnknownCall> calls;
  Statement s(impl_->db.get(),
              "SELECT key, role, model, stage, reserved_nano * ((state = 'unknown') + unanswered) FROM calls "
              "WHERE state = 'unknown' OR unanswered > 0 ORDER BY id");
  while (s.ready() && s.step() == SQLITE_ROW)
    calls.push_back({s.text(0), s.text(1), s.text(2), s.text(3), usd(s.integer(4))});
  return calls;
}

Result<> Store::each_recorded(const std::function<void(const std::string &line)> &take) const {
  using nlohmann::json;
  Statement s(impl_->db.get(),
              "SELECT m.text, c.params, r.text, finish, served_model, input, cache_read, cache_write, output, "
              "reasoning, usage_known, m.sha256, r.sha256 FROM calls c JOIN blobs m ON m.id = c.messages JOIN blobs r "
              "ON r.id = c.reply "
              "WHERE state = 'done' ORDER BY c.id");
  int rc = SQLITE_ERROR;
  while (s.ready() && (rc = s.step()) == SQLITE_ROW) {
    json request = json::parse(s.text(1), nullptr, false);
    if (!request.is_object()) request = json::object();
    request["messages"] = json::parse(impl_->text_of(s, 0, 11), nullptr, false);
    json reply = {{"text", impl_->text_of(s, 2, 12)},
                  {"finish", s.text(3)},
                  {"model", s.text(4)},
                  {"input", s.integer(5)},
                  {"cache_read", s.integer(6)},
                  {"cache_write", s.integer(7)},
                  {"output", s.integer(8)},
                  {"reasoning", s.integer(9)},
                  {"usage_known", s.integer(10)}};
    if (impl_->failed) return *impl_->failed;
    const json line = {
        {"request", request}, {"sample", request.value("sample", int64_t{0})}, {"reply", std::move(reply)}};
    take(line.dump(-1, ' ', false, json::error_handler_t::replace));
  }
  return rc == SQLITE_DONE ? Result<>(Unit{}) : impl_->fail("reading the calls");
}

std::optional<Verdict> Store::find_check(const std::string &key) {
  Statement &s = impl_->check_out;
  const int rc = s.bind_all(key).step();
  std::optional<Verdict> verdict;
  if (rc == SQLITE_ROW)
    verdict = Verdict{s.real(0), uint32_t(s.integer(1)), uint32_t(s.integer(2)), s.text(3), s.text(4), true};
  else if (rc != SQLITE_DONE)
    (void)impl_->fail("reading a check");
  s.reset();
  return verdict;
}

Result<> Store::put_check(const std::string &key, const std::string &task, const std::string &candidate,
                          const Verdict &v) {
  return impl_->write("recording a check", [&] {
    const int64_t blob = impl_->blob(redact(candidate));
    const std::string feedback = redact(v.feedback), detail = redact(v.detail);
    return blob && impl_->check_in.bind_all(key, task, blob, v.score, v.passed, v.total, feedback, detail).run();
  });
}

Result<> Store::put(const std::string &kind, const std::string &key, const std::string &json) {
  auto written = impl_->write("recording a " + kind, [&] {
    const std::string clean = redact(json);
    return impl_->entry_in.bind_all(kind, key, clean).run();
  });
  return written ? flush() : written;
}

std::optional<std::string> Store::get(const std::string &kind, const std::string &key) const {
  Statement &s = impl_->entry_out;
  const int rc = s.bind_all(kind, key).step();
  std::optional<std::string> json;
  if (rc == SQLITE_ROW)
    json = s.text(0);
  else if (rc != SQLITE_DONE)
    (void)impl_->fail("reading a " + kind);
  s.reset();
  return json;
}

std::vector<std::pair<std::string, std::string>> Store::list(const std::string &kind, const std::string &prefix) const {
  std::vector<std::pair<std::string, std::string>> found;
  Statement s(impl_->db.get(),
              "SELECT key, json FROM entries WHERE kind = ?1 AND substr(key, 1, length(?2)) = ?2 ORDER BY key");
  if (!s.ready()) return found;
  s.bind_all(kind, prefix);
  while (s.step() == SQLITE_ROW) found.emplace_back(s.text(0), s.text(1));
  return found;
}

Result<> Store::event(const std::string &level, const std::string &text) {
  return impl_->write("recording an event", [&] {
    const std::string clean = redact(text);
    return impl_->event_in.bind_all(real_clock().unix_seconds(), level, clean).run();
  });
}

Result<> Store::set_meta(const std::string &key, const std::string &value) {
  auto written = impl_->write("recording " + key, [&] {
    const std::string clean = redact(value);
    return impl_->meta_in.bind_all(key, clean).run();
  });
  return written ? flush() : written;
}

std::map<std::string, std::string> Store::meta() const {
  std::map<std::string, std::string> values;
  Statement s(impl_->db.get(), "SELECT key, value FROM meta");
  while (s.ready() && s.step() == SQLITE_ROW) values[s.text(0)] = s.text(1);
  return values;
}

void Store::commit_by_turn(Loop &loop) { impl_->poster = loop.poster(); }

void Store::when_kept(std::function<void(Result<>)> then) {
  if (impl_->open_batch)
    impl_->waiting.push_back(std::move(then));
  else
    then(impl_->failed ? Result<>(*impl_->failed) : Result<>(Unit{}));
}

Result<> Store::flush() { return impl_->flush("committing a batch"); }

const std::optional<Error> &Store::failed() const { return impl_->failed; }
bool Store::over_budget() const { return impl_->over_budget; }

}  // namespace gcop::store
