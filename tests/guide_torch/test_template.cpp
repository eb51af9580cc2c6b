// Variables for the model's own chat template, from the configuration to the prompt.
#include <fstream>

#include "plugged.hpp"
#include "tiny_model.hpp"

using namespace plugged;
using nlohmann::json;

namespace {

// Of the form that Qwen3's and Llama 3's have.
const char *const kTemplate =
    "{%- if not date_string is defined %}{% set date_string = 'no date' %}{% endif -%}"
    "[{{ date_string }}]{% for m in messages %}{{ m.content }}{% endfor %}"
    "{%- if enable_thinking is defined and enable_thinking is false %}<think></think>{% endif -%}";

struct Fixture {
  Fixture() {
    std::ifstream file(GCOP_SOURCE_DIR "/tests/guide_torch/golden/tiny_models.json");
    directory = std::make_unique<tiny::Directory>(json::parse(file)[0]["config"], "BF16", 1);
    tiny::write_json(directory->path() + "/tokenizer_config.json", {{"chat_template", kTemplate}});
  }
  json config(const json &variables, const char *role = "guide") const {
    json out = {{"model", directory->path()}, {"threads", 1}, {"role", role}, {"compute", "fp32"}};
    if (!variables.is_null()) out["template"] = variables;
    return out;
  }
  std::string prompt(const json &variables) const {
    const Model m(config(variables).dump());
    return m.decode(m.render(R"([{"role":"user","content":"hi"}])"));
  }
  std::string refusal(const json &variables) const {
    try {
      const Model m(config(variables).dump());
    } catch (const std::exception &e) {
      return e.what();
    }
    return "accepted";
  }
  std::unique_ptr<tiny::Directory> directory;
};

}  // namespace

TEST_CASE("template variables reach the chat template, and others are refused") {
  const Fixture f;
  CHECK(f.prompt(nullptr) == "[no date]hi");
  CHECK(f.prompt(json::object()) == "[no date]hi");
  CHECK(f.prompt({{"enable_thinking", false}}) == "[no date]hi<think></think>");
  CHECK(f.prompt({{"enable_thinking", true}}) == "[no date]hi");
  CHECK(f.prompt({{"date_string", "26 Jul 2024"}, {"enable_thinking", false}}) == "[26 Jul 2024]hi<think></think>");

  const auto has = [](const std::string &text, const char *part) {
    CHECK_MESSAGE(text.find(part) != std::string::npos, text);
  };
  has(f.refusal({{"enable_thinkin", false}}), "its chat template does not read \"enable_thinkin\"");
  has(f.refusal({{"date_string", 26}}), "template.date_string is 26; it must be true, false or a text");
  has(f.refusal({{"messages", "x"}}), "template.messages");
  has(f.refusal(json("enable_thinking")), "not of type object");
  has(f.refusal({{"", true}}), "does not read \"\"");
}

TEST_CASE("a core with other template variables is another core to the store") {
  const Fixture f;
  const Model plain(f.config(nullptr, "core").dump()), quiet(f.config({{"enable_thinking", false}}, "core").dump());
  const auto identity = [](const Model &m) { return text(m.core->identity(m.raw)); };
  CHECK(identity(plain) != identity(quiet));
  CHECK(identity(quiet) == identity(Model(f.config({{"enable_thinking", false}}, "core").dump())));
}
