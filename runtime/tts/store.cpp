#include "tts/store.hpp"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <unordered_map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tts/grade.hpp"

namespace gcop::tts {
namespace {

using nlohmann::json;
constexpr int64_t kMostTokens = int64_t{1} << 40;  // sums over seeds, questions and branches stay far from overflow

std::string shown(const json &value) {
  std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  return text.size() > 60 ? text.substr(0, 57) + "..." : text;
}

// Reads one question; the first mistake is thrown, as an Error, to load().
class Reader {
 public:
  Reader(const json &object, std::string where) : object_(object), where_(std::move(where)) {}

  Question read() {
    if (!object_.is_object()) fail("", object_, "an object {question, gold_answer, probe_freq, each_branch}");
    Question q;
    q.text = text("question");
    q.gold = text("gold_answer");
    const json &freq = field("probe_freq");
    if (!is_count(freq, 1)) fail("probe_freq", freq, "a whole number of tokens, 1 or more");
    q.probe_freq = freq.get<int64_t>();
    const json &branches = field("each_branch");
    if (!branches.is_array() || branches.empty())
      fail("each_branch", branches, "a list of branches [probe answers, tokens, final answer], at least one");
    if (branches.size() > kMostBranches)
      fail(fmt::format("each_branch has {} branches; at most {} are read", branches.size(), kMostBranches));
    for (size_t b = 0; b < branches.size(); ++b) q.branches.push_back(branch(q, branches[b], b + 1));
    if (object_.contains("final_answers_trace")) check_finals(q, object_["final_answers_trace"]);
    for (const std::string &answer : q.answers)
      q.grades.push_back({answer == q.gold, normalised(answer) == normalised(q.gold)});
    return q;
  }

 private:
  static bool is_count(const json &value, int64_t least) {
    return value.is_number_integer() &&
           (value.is_number_unsigned() ? value.get<uint64_t>() <= uint64_t{kMostTokens} : true) &&
           value.get<int64_t>() >= least && value.get<int64_t>() <= kMostTokens;
  }

  [[noreturn]] void fail(const std::string &what) { throw invalid(where_ + ": " + what); }
  [[noreturn]] void fail(const std::string &name, const json &value, const char *expected) {
    fail(fmt::format("{}is {}; it must be {}", name.empty() ? "" : name + " ", shown(value), expected));
  }

  const json &field(const char *name) {
    const auto found = object_.find(name);
    if (found == object_.end()) fail(fmt::format("{} is missing; add it", name));
    return *found;
  }

  std::string text(const char *name) {
    const json &value = field(name);
    if (!value.is_string() || value.get_ref<const std::string &>().empty()) fail(name, value, "text that is not empty");
    return value.get<std::string>();
  }

  uint32_t intern(Question &q, const std::string &answer) {
    const auto [found, fresh] = ids_.emplace(answer, static_cast<uint32_t>(q.answers.size()));
    if (fresh) q.answers.push_back(answer);
    return found->second;
  }

  Branch branch(Question &q, const json &value, size_t number) {
    const std::string name = fmt::format("branch {}", number);
    if (!value.is_array() || value.size() != 3) fail(name, value, "[probe answers, tokens, final answer]");
    const json &probes = value[0];
    if (!probes.is_array() || probes.empty())
      fail(name + ": its list of probe answers", probes, "a list of answers, at least one");
    Branch out{static_cast<uint32_t>(q.probes.size()), static_cast<uint32_t>(probes.size()), 0, 0};
    for (size_t k = 0; k < probes.size(); ++k) {
      if (!probes[k].is_string()) fail(fmt::format("{}: probe answer {}", name, k + 1), probes[k], "text");
      q.probes.push_back(intern(q, probes[k].get_ref<const std::string &>()));
    }
    if (!is_count(value[1], 0)) fail(name + ": its tokens", value[1], "a whole number, 0 or more");
    out.tokens = value[1].get<int64_t>();
    if (!value[2].is_string()) fail(name + ": its final answer", value[2], "text");
    out.final_answer = intern(q, value[2].get_ref<const std::string &>());
    return out;
  }

  void check_finals(const Question &q, const json &finals) {
    if (!finals.is_array() || finals.size() != q.branches.size())
      fail("final_answers_trace", finals, "the final answers of all branches, or absent");
    for (size_t b = 0; b < finals.size(); ++b)
      if (const std::string &answer = q.answers[q.branches[b].final_answer]; finals[b] != json(answer))
        fail(fmt::format("final_answers_trace says {} for branch {}, whose final answer is {}; correct either",
                         shown(finals[b]), b + 1, shown(answer)));
  }

  const json &object_;
  std::string where_;
  std::unordered_map<std::string, uint32_t> ids_;
};

}  // namespace

Result<Store> parse(std::string_view json_text, const std::string &path) {
  const std::string file = "replay store '" + path + "'";
  json top;
  try {
    top = json::parse(json_text);
  } catch (const json::exception &e) {
    return invalid(file + " is no JSON: " + e.what());
  }
  if (!top.is_array() || top.empty())
    return invalid(fmt::format("{} is {}; it must be a list of questions, at least one", file, shown(top)));
  Store store{path, {}, 0};
  std::map<std::string, size_t> seen;
  try {
    for (size_t i = 0; i < top.size(); ++i) {
      const std::string where = fmt::format("{}: question {}", file, i + 1);
      Question q = Reader(top[i], where).read();
      if (const auto [before, fresh] = seen.emplace(q.text, i + 1); !fresh)
        return invalid(fmt::format("{}: question is {}, which question {} is already; remove either", where,
                                   shown(q.text), before->second));
      if (i == 0) store.branches = static_cast<uint32_t>(q.branches.size());
      if (q.branches.size() != store.branches)
        return invalid(fmt::format("{}: each_branch has {} branches; it must have {}, as question 1 has", where,
                                   q.branches.size(), store.branches));
      store.questions.push_back(std::move(q));
    }
  } catch (const Error &error) {
    return error;
  }
  return store;
}

Result<Store> load(const std::string &path) {
  std::error_code ec;
  if (std::filesystem::is_directory(path, ec)) return invalid("replay store '" + path + "' is a folder; name a file");
  std::ifstream in(path, std::ios::binary);
  if (!in) return invalid("replay store '" + path + "' cannot be read: " + std::strerror(errno) + "; check the path");
  std::string text{std::istreambuf_iterator<char>(in), {}};
  if (in.bad() || text.empty())
    return invalid("replay store '" + path + "' " + (text.empty() ? "is empty" : "cannot be read to its end"));
  return parse(text, path);
}

std::string without_golds(const Store &store, std::span<const uint32_t> questions) {
  json out = json::array();
  for (const uint32_t at : questions) {
    const Question &q = store.questions[at];
    json branches = json::array();
    for (const Branch &b : q.branches) {
      json probes = json::array();
      for (uint32_t k = 0; k < b.probes; ++k) probes.push_back(std::to_string(q.probes[b.first + k]));
      branches.push_back({std::move(probes), b.tokens, std::to_string(b.final_answer)});
    }
    out.push_back({{"question", std::to_string(out.size())},
                   {"gold_answer", "not here"},
                   {"probe_freq", q.probe_freq},
                   {"each_branch", std::move(branches)}});
  }
  return out.dump();
}

}  // namespace gcop::tts
