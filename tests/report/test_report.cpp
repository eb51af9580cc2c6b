#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include "base/secret.hpp"
#include "fixture.hpp"
#include "report/report.hpp"

using namespace gcop;
using nlohmann::json;

namespace {

std::string read(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

size_t occurrences(const std::string &text, const std::string &part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++n;
  return n;
}

// Left there, so that a person can look at it.
std::string folder() {
  const std::string dir = GCOP_BIN_DIR "/../report-fixture";
  std::filesystem::create_directories(dir);
  return dir;
}

// The page as a browser has drawn it, without its scripts; none where there is no browser.
std::optional<std::string> drawn_by_a_browser(const json &report) {
  REQUIRE(report::write(folder(), report));
  if (std::system("command -v chromium >/dev/null 2>&1") != 0) {
    MESSAGE("skipped: no chromium here");
    return {};
  }
  const std::string page = std::filesystem::canonical(folder() + "/report.html"), dom = folder() + "/dom.html";
  const std::string profile = folder() + "/profile";
  const int rc = std::system(("timeout 120 chromium --headless --no-sandbox --disable-gpu --user-data-dir=" + profile +
                              " --virtual-time-budget=3000 --dump-dom file://" + page + " >" + dom + " 2>/dev/null")
                                 .c_str());
  std::filesystem::remove_all(profile);
  if (rc != 0) {
    MESSAGE("skipped: chromium does not start here");
    return {};
  }
  std::string text = read(dom);
  for (size_t at; (at = text.find("<script")) != std::string::npos;)
    text.erase(at, text.find("</script>", at) + std::string_view("</script>").size() - at);
  return text;
}

}  // namespace

TEST_CASE("report.json is schema 1: sorted, stable, without details") {
  const json report = fixture_report();
  REQUIRE(report::write(folder(), report));
  const std::string text = read(folder() + "/report.json");
  const json back = json::parse(text);
  CHECK(back["schema"] == 1);
  CHECK_FALSE(back.contains("details"));
  CHECK(back["systems"].size() == 6);
  CHECK(back["tasks"].size() == 84);
  CHECK(back["paired"][0]["diff"] == report["paired"][0]["diff"]);
  REQUIRE(report::write(folder(), fixture_report()));
  CHECK(read(folder() + "/report.json") == text);
  CHECK(text.find("\"acceptance\"") < text.find("\"commit\""));
  CHECK_FALSE(std::filesystem::exists(folder() + "/report.json.part"));
}

TEST_CASE("the canonical view is blind to time and to nothing else") {
  json a = fixture_report(), b = a;
  b["stages"][0]["seconds"] = 1;
  b["systems"][2]["latency_s"] = 99;
  b.erase("details");
  b["unknown_calls"] = json::array();
  CHECK(report::canonical(a) == report::canonical(b));
  b["systems"][2]["mean"] = 0.123;
  CHECK(report::canonical(a) != report::canonical(b));
}

TEST_CASE("what Lua's one empty table means is known from the schema") {
  json report = {{"stages", json::object()}, {"cost", json::array()}, {"seed", 7.0}};
  report["acceptance"] = {{"proposed", 3.0}, {"tested", 3},    {"kept", 0},         {"kept_by_origin", json::array()},
                          {"trials", 6},     {"beta_fa", 0.1}, {"expected_bad", 0}, {"certified_bad_95", 0}};
  const auto out = report::checked(report);
  REQUIRE(out);
  CHECK((*out)["stages"].dump() == "[]");
  CHECK((*out)["cost"].dump() == "{}");
  CHECK((*out)["acceptance"]["kept_by_origin"].dump() == "{}");
  CHECK((*out)["seed"].dump() == "7");
  CHECK((*out)["acceptance"]["proposed"].dump() == "3");
}

TEST_CASE("mistakes are named by their path") {
  auto message = [](json change) {
    json report = fixture_report();
    report.merge_patch(change);
    const auto out = report::checked(report);
    return out ? std::string("accepted") : out.error().message;
  };
  CHECK(message({{"seed", "seven"}}).find("report.seed") != std::string::npos);
  CHECK(message({{"systems", json::array({{{"n", 3}}})}}).find("systems[1] lacks 'name'") != std::string::npos);
  CHECK(message({{"systems", 3}}).find("systems must be a list") != std::string::npos);
  CHECK(message({{"acceptance", {{"kept", 1.5}}}}).find("acceptance.kept must be a whole number") != std::string::npos);
  CHECK(message({{"grpo", {{"reward_slope_ci95", 3}}}}).find("grpo.reward_slope_ci95") != std::string::npos);
  CHECK(message({{"grpo", {{"reward_slope_ci95", {"a", "b"}}}}}).find("interval") != std::string::npos);
  CHECK(message({{"cost", {{"core", "much"}}}}).find("cost.core") != std::string::npos);
  CHECK(message({{"unknown_calls", json::array({{{"role", "core"}}})}}).find("unknown_calls[1] lacks 'model'") !=
        std::string::npos);
  CHECK(message({{"discovery", {{"rounds", 3}}}}).find("discovery.rounds must be a list") != std::string::npos);
  CHECK(message({{"evaluations", json::array({{{"store", "s"}}})}}).find("evaluations[1] lacks 'method'") !=
        std::string::npos);
  CHECK(message({{"our_own_section", {{"x", 1}}}}) == "accepted");
  CHECK_FALSE(report::checked(json::array()));
}

TEST_CASE("figures that the data cannot give are null") {
  json report = fixture_report();
  report["paired"][0]["ci95"] = json::array({std::nan(""), std::nan("")});
  report["grpo"].erase("reward_slope");
  REQUIRE(report::write(folder() + "/", report));
  const json back = json::parse(read(folder() + "/report.json"));
  CHECK(back["paired"][0]["ci95"][0].is_null());
  CHECK(back["grpo"]["reward_slope"].is_null());
}

TEST_CASE("nothing in the data can end the script or become markup; no address is ever asked") {
  json report = fixture_report();
  const std::string hostile =
      "</script><script>document.title='owned'</script><img src=x onerror=alert(1)><!-- {{style}} \xFF";
  report["recipe"] = hostile;
  report["details"][0]["prompt"] = hostile;
  report["details"][0]["systems"]["core"]["output"] = hostile;
  const auto page = report::html(report);
  REQUIRE(page);
  CHECK(occurrences(*page, "<script") == 2);  // the data, and ours
  CHECK(occurrences(*page, "</script>") == 2);
  CHECK(occurrences(*page, "<img") == 0);
  CHECK(occurrences(*page, "{{style}}") == 3);  // as data: left alone
  CHECK(occurrences(*page, "src=x") == 3);
  CHECK(page->find("default-src 'none'") != std::string::npos);
  CHECK(occurrences(*page, "http") ==
        occurrences(*page, "http://www.w3.org/2000/svg") + occurrences(*page, "http-equiv"));
}

TEST_CASE("secrets stay out") {
  register_secret("sk-canary-report-55");
  json report = fixture_report();
  report["details"][0]["systems"]["core"]["output"] = "key sk-canary-report-55";
  report["device"] = "sk-canary-report-55";
  REQUIRE(report::write(folder(), report));
  CHECK(read(folder() + "/report.html").find("sk-canary") == std::string::npos);
  CHECK(read(folder() + "/report.json").find("sk-canary") == std::string::npos);
}

TEST_CASE("a folder that is not there is a clear error") {
  const auto done = report::write("/nonexistent/folder", fixture_report());
  REQUIRE_FALSE(done);
  CHECK(done.error().message.find("/nonexistent/folder/report.json: No such file") != std::string::npos);
}

TEST_CASE("a browser draws every section from the file alone") {
  const auto drawn = drawn_by_a_browser(fixture_report());
  if (!drawn) return;
  for (const char *id :
       {"systems", "differences", "acceptance", "training", "discovery", "evaluations", "cost", "tasks"}) {
    CAPTURE(id);
    CHECK(drawn->find("<section id=\"" + std::string(id) + "\"") != std::string::npos);
  }
  CHECK(occurrences(*drawn, "<svg") >= 12);
  CHECK(drawn->find("NaN") == std::string::npos);
  CHECK(drawn->find(">undefined<") == std::string::npos);
}

TEST_CASE("with two systems there is nothing below a task's two sides") {
  json report = fixture_report();
  for (json &task : report["details"])
    for (const char *other : {"guide_only", "core_notes", "gcop_base", "gcop_sft"}) task["systems"].erase(other);
  const auto drawn = drawn_by_a_browser(report);
  if (!drawn) return;
  CHECK(drawn->find("class=\"sides\"") != std::string::npos);
  CHECK(drawn->find("The other systems") == std::string::npos);
  CHECK(drawn->find(">null<") == std::string::npos);
}

TEST_CASE("the page of a resumed run says so; report.json is an unkilled run's") {
  json report = fixture_report();
  report["resumed"] = {{"times", 2}, {"answered", 1534}};
  CHECK(report::checked(report).value() == report::checked(fixture_report()).value());
  const auto drawn = drawn_by_a_browser(report), calm = drawn_by_a_browser(fixture_report());
  if (!drawn || !calm) return;
  for (const char *part : {"resumed <b>2 times</b>", "time of all processes <b>",
                           "This run was resumed 2 times; the store answered 1,534 calls of its last process"})
    CHECK_MESSAGE(drawn->find(part) != std::string::npos, part);
  CHECK(calm->find("resumed <b>") == std::string::npos);
  CHECK(calm->find("This run was resumed") == std::string::npos);
}
