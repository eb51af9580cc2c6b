// validator_python: runs a task's tests against the program in a model's answer. Each check is two cells of the host's
// jail: the candidate cell runs the model's code, the judge cell holds the tests and writes the verdict.
// check() is called on any thread and only queues; answers come on the sandbox's thread.
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

#include <gcop/plugin.hpp>
#include <nlohmann/json.hpp>

#include "check_job.hpp"
#include "extract.hpp"
#include "programs.hpp"

namespace gcop::validator_python {
namespace {

constexpr char kVersion[] = "0.2.0";
constexpr uint32_t kJudgeExtraMs = 3000;  // the judge outlives its candidate, to say how that ended
constexpr uint64_t kJudgeExtraBytes = 128u << 20;

// A program that the sandbox keeps ready in a box and copies for every cell. No site packages, no bytecode files, a
// fixed hash seed (order of sets decides tests).
struct Program {
  std::vector<gcop_str> argv;
  gcop_str name, text;

  Program(const std::string &python, const char *file, const std::string &source)
      : argv{sdk::str("/usr/bin/env"), sdk::str("-i"), sdk::str("PYTHONHASHSEED=0"),
             sdk::str(python),         sdk::str("-s"), sdk::str("-P"),
             sdk::str("-S"),           sdk::str("-B"), sdk::str(file)},
        name(sdk::str(file)),
        text(sdk::str(source)) {}
};

gcop_cell make_cell(const Program &program, std::string_view input, const Limits &limits, bool jailed) {
  gcop_cell cell{};
  cell.struct_size = sizeof cell;
  cell.argv = program.argv.data();
  cell.n_argv = static_cast<uint32_t>(program.argv.size());
  cell.n_files = 1;
  cell.file_names = &program.name;
  cell.file_texts = &program.text;
  cell.stdin_text = sdk::str(input);
  cell.cpu_ms = limits.cpu_ms;
  cell.wall_ms = limits.wall_ms;
  cell.mem_bytes = limits.mem_bytes;
  cell.isolation = jailed ? GCOP_ISOLATION_JAIL : GCOP_ISOLATION_PROCESS;
  return cell;
}

struct Settings {
  Limits limits;
  bool jailed = true;
  std::string python = "/usr/bin/python3";
};

Settings read_settings(std::string_view config_json) {
  Settings settings;
  const auto config = nlohmann::json::parse(config_json.empty() ? "{}" : config_json, nullptr, false);
  if (!config.is_object()) throw sdk::Failure(GCOP_INVALID, "validator_python: the configuration is no JSON object");
  const auto number = [](const std::string &key, const nlohmann::json &value, uint64_t low, uint64_t high) {
    if (!value.is_number_integer() || value < low || value > high)
      throw sdk::Failure(GCOP_INVALID, "validator_python: '" + key + "' is " + value.dump() +
                                           ", it must be an integer from " + std::to_string(low) + " to " +
                                           std::to_string(high));
    return value.get<uint64_t>();
  };
  for (const auto &[key, value] : config.items()) {
    if (key == "cpu_ms")
      settings.limits.cpu_ms = static_cast<uint32_t>(number(key, value, 10, 3'600'000));
    else if (key == "wall_ms")
      settings.limits.wall_ms = static_cast<uint32_t>(number(key, value, 100, 3'600'000));
    else if (key == "mem_bytes")
      settings.limits.mem_bytes = number(key, value, 32u << 20, uint64_t{1} << 40);
    else if (key == "isolation" && (value == "jail" || value == "process"))
      settings.jailed = value == "jail";
    else if (key == "isolation")
      throw sdk::Failure(GCOP_INVALID, "validator_python: 'isolation' is " + value.dump() +
                                           "; it must be \"jail\" or, without any protection from what a model wrote "
                                           "but limits on time and memory, \"process\"");
    else if (key == "python" && value.is_string())
      settings.python = value.get<std::string>();
    else
      throw sdk::Failure(GCOP_INVALID, "validator_python: unknown setting '" + key +
                                           "'; it takes cpu_ms, wall_ms, mem_bytes, isolation, python");
  }
  if (!settings.python.starts_with("/usr/"))
    throw sdk::Failure(GCOP_INVALID, "validator_python: 'python' is '" + settings.python +
                                         "', but a box shows only what lies under /usr");
  return settings;
}

// Its version, from a first judge, who also shows that the jail works.
std::string ask_version(const gcop_host_sandbox &sandbox, const Settings &settings, const Program &judge) {
  const std::string nonce = make_nonce(), input = judge_input(nonce, Tests());
  const gcop_cell cell = make_cell(judge, input, Limits{10'000, 60'000, 512u << 20}, settings.jailed);
  struct Call : gcop_op {
    std::mutex mutex;
    std::condition_variable over;
    bool done = false;
    gcop_status status = GCOP_INTERNAL;
    std::string text, out;
  } call{};
  call.struct_size = sizeof(gcop_op);
  call.id = uint64_t{1} << 63 | (reinterpret_cast<uintptr_t>(&call) & ((uint64_t{1} << 62) - 1));
  const gcop_cell *cells[] = {&cell};
  sandbox.run(&sandbox, cells, 1, &call, [](const gcop_op *op, const gcop_sandbox_result *result) {
    Call &mine = *const_cast<Call *>(static_cast<const Call *>(op));
    std::lock_guard lock(mine.mutex);
    mine.status = result->status;
    mine.text = sdk::view(result->status == GCOP_OK ? result->cells[0]->err : result->error);
    if (result->status == GCOP_OK) mine.out = sdk::view(result->cells[0]->out);
    mine.done = true;
    mine.over.notify_one();
  });
  std::unique_lock lock(call.mutex);
  call.over.wait(lock, [&] { return call.done; });
  if (call.status == GCOP_UNSUPPORTED)
    call.text += ". Only a recipe that names isolation = \"process\" runs what a model wrote without a jail";
  if (call.status != GCOP_OK) throw sdk::Failure(call.status, "validator_python: " + call.text);
  const std::string opening = "gcop-python " + nonce + " ";
  if (!call.out.starts_with(opening) || !call.out.ends_with("\n"))
    throw sdk::Failure(
        GCOP_UNSUPPORTED,
        "validator_python: " + settings.python +
            " in the jail could not run the judge; it must be CPython 3.11 or later: " + call.text.substr(0, 300));
  return call.out.substr(opening.size(), call.out.size() - opening.size() - 1);
}

class PythonValidator : public sdk::Validator {
 public:
  PythonValidator(sdk::Host host, std::string_view config)
      : settings_(read_settings(config)),
        sandbox_(host.query<gcop_host_sandbox>(GCOP_HOST_SANDBOX)),
        judge_source_(std::string(kWireSource) + kSuiteSource + kJudgeSource),
        candidate_source_(std::string(kWireSource) + kCandidateSource),
        judge_(settings_.python, "judge.py", judge_source_),
        candidate_(settings_.python, "candidate.py", candidate_source_) {
    if (!sandbox_)
      throw sdk::Failure(GCOP_UNSUPPORTED, "validator_python: this host offers no " GCOP_HOST_SANDBOX
                                           ", and without a jail no candidate runs");
    const std::string version = ask_version(*sandbox_, settings_, judge_);
    const Limits &l = settings_.limits;
    identity_ = std::string("validator_python/") + kVersion + " programs=" + std::string(kSourcesHash).substr(0, 16) +
                " python=" + version + " cpu_ms=" + std::to_string(l.cpu_ms) + " wall_ms=" + std::to_string(l.wall_ms) +
                " mem_bytes=" + std::to_string(l.mem_bytes) + (settings_.jailed ? "" : " isolation=process");
  }

  ~PythonValidator() override {  // every check has been answered, but a thread may still be on its way out
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [this] { return inside_ == 0; });
  }

  std::string_view identity() const override { return identity_; }

  void check(sdk::Check what, sdk::Completion<sdk::Verdict> &&completion) override {
    const Inside inside(*this);
    auto job = std::make_unique<Job>(*this, std::move(completion));
    job->limits = settings_.limits;
    if (what.cpu_ms) job->limits.cpu_ms = what.cpu_ms;
    if (what.wall_ms) job->limits.wall_ms = what.wall_ms;
    if (what.mem_bytes) job->limits.mem_bytes = what.mem_bytes;
    try {
      job->tests = read_tests(what.task_json);
      job->nonce = make_nonce();
    } catch (const sdk::Failure &failure) {
      return job->completion.fail(failure.status(), failure.what());
    }
    job->input = judge_input(job->nonce, job->tests);
    job->code =
        extract_code(what.candidate, job->tests.entry.empty() ? guess_entry(job->tests.asserts) : job->tests.entry);
    Job *raw = job.get();
    {
      std::lock_guard lock(mutex_);
      jobs_.emplace(raw->id, std::move(job));
      waiting_.push_back(raw);
    }
    pump();
  }

  void cancel(uint64_t op_id) override {
    const Inside inside(*this);
    std::unique_lock lock(mutex_);
    const auto at = jobs_.find(op_id);
    if (at == jobs_.end()) return;
    Job &job = *at->second;
    if (job.running) return sandbox_->cancel(sandbox_, &job);
    std::erase(waiting_, &job);
    std::erase(alone_, &job);
    Outcome outcome;
    outcome.status = GCOP_CANCELLED;
    outcome.error = "cancelled";
    lock.unlock();
    finish(job, outcome);
  }

 private:
  struct Job : gcop_op {  // its own op towards the sandbox, with the host's deadline
    PythonValidator &owner;
    sdk::Completion<sdk::Verdict> completion;
    Limits limits;
    Tests tests;
    std::string nonce, input, code;
    gcop_cell judge{}, candidate{};
    const gcop_cell *cells[2] = {&judge, &candidate};
    bool running = false, second_time = false, had_company = false;

    Job(PythonValidator &o, sdk::Completion<sdk::Verdict> &&c) : gcop_op{}, owner(o), completion(std::move(c)) {
      const gcop_op *host = completion.op().raw();
      struct_size = sizeof(gcop_op);
      id = host->id;
      deadline_ns = host->deadline_ns;
    }
  };

  struct Inside {  // a thread that may still touch the object after its last answer
    PythonValidator &owner;
    explicit Inside(PythonValidator &o) : owner(o) {
      std::lock_guard lock(owner.mutex_);
      ++owner.inside_;
    }
    ~Inside() {
      std::lock_guard lock(owner.mutex_);
      if (--owner.inside_ == 0) owner.idle_.notify_all();
    }
  };

  // Starts what may start. A check that met the wall limit beside others runs once more with no other check of this
  // instance beside it; new ones wait meanwhile.
  void pump() {
    std::unique_lock lock(mutex_);
    if (pumping_) return;  // that loop sees what has changed, also when an answer came from inside start()
    pumping_ = true;
    while (Job *next = take_next()) {
      lock.unlock();
      start(*next);
      lock.lock();
    }
    pumping_ = false;
  }

  Job *take_next() {  // under the lock
    auto &queue = alone_.empty() ? waiting_ : alone_;
    if (alone_running_ || queue.empty() || (!alone_.empty() && running_ > 0)) return nullptr;
    Job *next = queue.front();
    alone_running_ = !alone_.empty();
    queue.pop_front();
    next->running = true;
    next->had_company = ++running_ > 1;
    return next;
  }

  void start(Job &job) {
    job.judge = make_cell(judge_, job.input, job.limits, settings_.jailed);
    job.candidate = make_cell(candidate_, job.code, job.limits, settings_.jailed);
    job.judge.cpu_ms += kJudgeExtraMs;
    job.judge.wall_ms += kJudgeExtraMs;
    job.judge.mem_bytes += kJudgeExtraBytes;
    job.judge.max_processes = 2;
    job.judge.reusable = 1;
    job.judge.tmp_bytes = 1u << 20;
    job.candidate.max_processes = 8;
    job.candidate.output_bytes = 1;  // nobody reads it
    sandbox_->run(sandbox_, job.cells, 2, &job, on_end);
  }

  static void on_end(const gcop_op *op, const gcop_sandbox_result *result) {
    Job &job = *const_cast<Job *>(static_cast<const Job *>(op));
    job.owner.ended(job, *result);
  }

  void ended(Job &job, const gcop_sandbox_result &result) {
    const Inside inside(*this);
    Outcome outcome;
    if (result.status != GCOP_OK) {
      outcome.status = result.status;
      outcome.error = sdk::view(result.error);
    } else {
      outcome = read_outcome(*result.cells[0], *result.cells[1], job.nonce, job.tests, job.limits);
      outcome.verdict.detail_json =
          "{\"cpu_ms\":" + std::to_string((result.cells[0]->cpu_ns + result.cells[1]->cpu_ns) / 1'000'000) +
          ",\"wall_ms\":" + std::to_string(result.cells[0]->wall_ns / 1'000'000) + ",\"isolation\":\"" +
          (settings_.jailed ? "jail" : "process") + "\"}";
    }
    double load = 0;
    const bool loaded = job.had_company || (getloadavg(&load, 1) == 1 && load > std::thread::hardware_concurrency());
    const bool again = outcome.out_of_wall && loaded && !job.second_time;
    {
      std::lock_guard lock(mutex_);
      job.running = false;
      --running_;
      if (job.second_time) alone_running_ = false;
      if (again) {
        job.second_time = true;
        alone_.push_back(&job);
      }
    }
    if (!again) finish(job, outcome);
    pump();
  }

  void finish(Job &job, const Outcome &outcome) {
    if (outcome.status == GCOP_OK)
      job.completion.ok(outcome.verdict);
    else
      job.completion.fail(outcome.status, outcome.error);
    std::lock_guard lock(mutex_);
    jobs_.erase(job.id);
  }

  const Settings settings_;
  const gcop_host_sandbox *sandbox_;
  const std::string judge_source_, candidate_source_;
  const Program judge_, candidate_;
  std::string identity_;
  std::mutex mutex_;  // guards all below
  std::condition_variable idle_;
  std::map<uint64_t, std::unique_ptr<Job>> jobs_;  // by the host's op id
  std::deque<Job *> waiting_, alone_;
  unsigned running_ = 0, inside_ = 0;
  bool alone_running_ = false, pumping_ = false;
};

}  // namespace
}  // namespace gcop::validator_python

GCOP_PLUGIN(
    gcop::validator_python::PythonValidator, "org.gcop.validator_python", "0.2.0",
    "unit tests of Python answers, in two cells of the host's jail",
    R"({"type":"object","properties":{"cpu_ms":{"type":"integer"},"wall_ms":{"type":"integer"},)"
    R"("mem_bytes":{"type":"integer"},"isolation":{"enum":["jail","process"]},"python":{"type":"string"}},"additionalProperties":false})")
