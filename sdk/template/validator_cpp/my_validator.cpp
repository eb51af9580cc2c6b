// A validator in one file: a candidate passes each of the task's "must_say" words that it contains.
//
//   local check = gcop.validator { "/path/to/my_validator.gcop.so", config = { ignore_case = true } }
//   local verdict = check:check(task, reply.text)      -- the task's row holds "must_say": ["sorry", "refund"]
//
// Copy the folder, rename, and replace check(). It runs on a worker thread of the host and may take its time;
// several checks run at once, so members that change need a lock.
#include <algorithm>
#include <cctype>

#include <gcop/plugin.hpp>
#include <nlohmann/json.hpp>

using namespace gcop::sdk;
using nlohmann::json;

class MyValidator : public BlockingValidator {
 public:
  // Throwing Failure here makes create() fail with its message.
  MyValidator(Host host, std::string_view config_json) {
    const json config = json::parse(config_json, nullptr, false);
    if (!config.is_object()) throw Failure(GCOP_INVALID, "my_validator: the configuration must be a JSON object");
    for (const auto &[name, value] : config.items())
      if (name != "ignore_case" || !value.is_boolean())
        throw Failure(GCOP_INVALID, "my_validator: '" + name + "' = " + value.dump() +
                                        "; the one option is ignore_case, true or false");
    ignore_case_ = config.value("ignore_case", false);
    identity_ = std::string("my_validator/1 ignore_case=") + (ignore_case_ ? "1" : "0");
    host.log(GCOP_LOG_DEBUG, identity_ + " is ready");
  }

  // Whatever changes verdicts belongs in here: it is part of the key under which they are cached.
  std::string_view identity() const override { return identity_; }

  // A verdict says what the check found. If the check itself cannot run, throw Failure: that is never a score of 0.
  Verdict check(const Check &what, const Op &op) override {
    const json task = json::parse(what.task_json, nullptr, false);
    if (!task.is_object() || !task.contains("must_say") || !task["must_say"].is_array())
      throw Failure(GCOP_INVALID, "my_validator: the task has no list 'must_say'; add it to its row");
    const std::string said = fold(std::string(what.candidate));
    Verdict verdict;
    std::string missing;
    for (const json &word : task["must_say"]) {
      if (op.cancelled()) throw Failure(GCOP_CANCELLED, "my_validator: cancelled");
      ++verdict.total;
      if (said.find(fold(word.get<std::string>())) != std::string::npos)
        ++verdict.passed;
      else
        missing += (missing.empty() ? "" : ", ") + word.get<std::string>();
    }
    verdict.score = verdict.total ? double(verdict.passed) / verdict.total : 1;
    if (!missing.empty()) verdict.feedback = ("does not say: " + missing).substr(0, 2000);
    return verdict;
  }

 private:
  std::string fold(std::string text) const {
    if (ignore_case_)
      std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return char(std::tolower(c)); });
    return text;
  }

  bool ignore_case_ = false;
  std::string identity_;
};

GCOP_PLUGIN(MyValidator, "org.example.my_validator", "1.0.0", "counts the words a candidate must say",
            R"({"type": "object", "additionalProperties": false, "properties": {"ignore_case": {"type": "boolean"}}})")
