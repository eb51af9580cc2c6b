// Every published result of the five methods, to the integer, per shuffle: 44 evaluations of the stores that lie beside
// the source tree (they carry no licence and are not part of it).
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

#include "lua/controller.hpp"

using namespace gcop;
using nlohmann::json;

namespace {

const std::filesystem::path kRoot = GCOP_SOURCE_DIR, kFacts = kRoot / "../shared/autotts";

std::string text_of(const std::filesystem::path &path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

TEST_CASE("all published results, to the integer") {
  if (!std::filesystem::exists(kFacts / "reference_aime24.json")) {
    MESSAGE("skipped: ../shared/autotts is not there");
    return;
  }
  const std::map<std::string, std::string> files = {
      {"MajorityVote", "sc"}, {"ASC", "asc"}, {"ESC", "esc"}, {"Parallel_Probe", "parallel_probe"}, {"CMC", "cmc"}};
  const json reference = json::parse(text_of(kFacts / "reference_aime24.json"));
  REQUIRE(reference.size() == 44);
  std::map<std::string, std::shared_ptr<const tts::Store>> stores;
  size_t normalised_more = 0;
  for (const json &row : reference) {
    const std::string model = row["model"], method = row["method"];
    auto &store = stores[model];
    if (!store) {
      auto loaded = tts::load((kFacts / "aime24" / (model + ".json")).string());
      REQUIRE_MESSAGE(loaded, loaded.error().message);
      store = std::make_shared<tts::Store>(std::move(*loaded));
    }
    REQUIRE(files.contains(method));
    const std::string name = "scripts/gcop/tts/" + files.at(method) + ".lua";
    const std::string text = text_of(kRoot / name);
    tts::Shuffles shuffles;
    for (uint32_t q = 0; q < store->questions.size(); ++q) shuffles.questions.push_back(q);
    std::unique_ptr<tts::Evaluation> evaluation;
    evaluation = std::make_unique<tts::Evaluation>(shuffles, 1, [&]() -> Result<std::unique_ptr<tts::Player>> {
      auto made = lua::Controller::make(text, name, row["params"], evaluation->cancelled());
      if (!made) return made.error();
      return std::unique_ptr<tts::Player>(
          new tts::LocalPlayer(store, shuffles.questions, std::move(*made), evaluation->cancelled()));
    });
    std::thread other([&] { evaluation->work(); });
    evaluation->work();
    other.join();
    const auto solved = evaluation->result();
    REQUIRE_MESSAGE(solved, solved.error().message);
    std::vector<tts::Sum> seeds(shuffles.count);
    for (size_t i = 0; i < solved->size(); ++i) seeds[i / shuffles.questions.size()].add((*solved)[i]);
    json found = json::array();
    int64_t correct = 0, cost = 0, normalised = 0;
    for (const auto &s : seeds) {
      found.push_back({s.correct, s.cost});
      correct += s.correct, cost += s.cost, normalised += s.normalised;
    }
    INFO(model << " " << method << " " << row["params"].dump());
    CHECK(correct == row["correct_total"]);
    CHECK(cost == row["cost_total"]);
    CHECK(found == row["per_seed"]);
    CHECK(normalised >= correct);
    normalised_more += normalised > correct;
  }
  MESSAGE(normalised_more << " of 44 have more answers right by value than by byte");
}
