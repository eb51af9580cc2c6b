#include "chat_template.hpp"
#include "files.hpp"

using namespace gcop::guide_torch;

namespace {

gcop::Result<std::string> render(const std::string &source, const std::vector<Message> &messages = {{"user", "hi"}}) {
  auto made = ChatTemplate::parse(source, "<s>", "</s>");
  if (!made) return made.error();
  return made->render(messages, true);
}

}  // namespace

TEST_CASE("templates render as the reference renders them, and are refused where it refuses") {
  size_t rendered = 0, refused = 0;
  for (const Json &row : golden("templates")) {
    std::string source = row["template"];
    CAPTURE(source);
    std::vector<Message> messages;
    for (const Json &m : row["messages"]) messages.push_back({m["role"], m["content"]});
    auto text = render(source, messages);
    if (row.contains("text")) {
      REQUIRE_MESSAGE(text, (text ? "" : text.error().message));
      CHECK(*text == row["text"].get<std::string>());
      ++rendered;
    } else {
      REQUIRE_FALSE(text);
      CHECK_FALSE(text.error().message.empty());
      ++refused;
    }
  }
  CHECK(rendered > 30);
  CHECK(refused > 8);
}

TEST_CASE("what is not supported is named, with its line") {
  auto why = [](const std::string &source) {
    auto text = render(source);
    return text ? "rendered: " + *text : text.error().message;
  };
  CHECK(why("{% macro f() %}{% endmacro %}") == "chat template, line 1: the statement 'macro' is not supported");
  CHECK(why("\n\n{{ 'a'|urlize }}") == "chat template, line 3: the filter 'urlize' is not supported");
  CHECK(why("{{ 'a' is divisibleby 2 }}").find("divisibleby") != std::string::npos);
  CHECK(why("{{ messages }}").find("printing a list") != std::string::npos);
  CHECK(why("{{ strftime_now('%Y') }}").find("strftime_now") != std::string::npos);
  CHECK(why("{% if strftime_now is defined %}x{% endif %}").find("strftime_now") != std::string::npos);
  CHECK(why("{{ 'a'.title() }}").find("title") != std::string::npos);
  CHECK(why("{{ [1]|tojson(indent=2) }}").find("tojson") != std::string::npos);
  CHECK(why("{{ messages[0]['items'] }}").find("method 'items'") != std::string::npos);
  CHECK(why("{{ range(3) == [0, 1, 2] }}").find("range") != std::string::npos);
  CHECK(why("{{ range(3)[1:]|join }}").find("slicing a range") != std::string::npos);
  CHECK(why("{% for x in [] %}{% set loop = 1 %}{% endfor %}").find("'loop'") != std::string::npos);
  for (const char *late :
       {"{% for x in 'a' %}{{ m }}{% endfor %}{% set m = 1 %}", "{% set z %}{{ m }}{% endset %}{% set m = 1 %}",
        "{% for y in 'a' %}{% for x in 'a' if m %}{% endfor %}{% set m = 1 %}{% endfor %}"})
    CHECK(why(late).find("setting 'm' after a block") != std::string::npos);
  CHECK(why("{{ m }}{% for x in 'a' %}{{ m }}{% set m = 2 %}{{ m }}{% endfor %}{% set m = 1 %}{{ m }}") ==
        "rendered: 21");
  CHECK(why("{{ loop.cycle }}").find("'loop' is undefined") != std::string::npos);
  CHECK(why("{% for x in [1] %}{{ loop.depth }}{% endfor %}").find("loop.depth") != std::string::npos);
  CHECK(why("{{ raise_exception('only users') }}") == "the chat template refuses the messages: only users");
  CHECK(why("{% break %}").find("break") != std::string::npos);
}

TEST_CASE("what an untaken branch holds does not matter") {
  CHECK(*render("{% if tools %}{{ tools|map('x')|urlize }}{% else %}plain{% endif %}") == "plain");
}

TEST_CASE("variables reach the template by name, and a conversation has at least one message") {
  auto made = ChatTemplate::parse("{{ enable_thinking is defined }}{{ enable_thinking is false }}{{ date_string }}");
  REQUIRE(made);
  CHECK(*made->render({{"user", "a"}}, true) == "FalseFalse");
  CHECK(*made->render({{"user", "a"}}, true, {{"enable_thinking", false}, {"date_string", "1 Jan"}}) ==
        "TrueTrue1 Jan");
  auto none = made->render({}, true);
  REQUIRE_FALSE(none);
  CHECK(none.error().message == "a chat template needs at least one message");
}

TEST_CASE("a template by a stranger can neither run for ever nor nest without end") {
  std::string loops = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
  auto text = render(loops);
  REQUIRE_FALSE(text);
  CHECK(text.error().code == gcop::Code::exhausted);
  CHECK_FALSE(render("{{ range(10**9) }}"));
  CHECK_FALSE(render("{{ range(1000000000)|length }}"));
  CHECK_FALSE(render("{{ " + std::string(100'000, '(') + "1" + std::string(100'000, ')') + " }}"));
  CHECK_FALSE(render("{{ " + std::string(100'000, '-') + "1 }}"));
  std::string ifs, endings;
  for (int i = 0; i < 50'000; ++i) ifs += "{% if 1 %}", endings += "{% endif %}";
  CHECK_FALSE(render(ifs + endings));
  std::string chain = "1";
  for (int i = 0; i < 100'000; ++i) chain += "+1";
  CHECK_FALSE(render("{{ " + chain + " }}"));
  std::string doubling =
      "{% set ns = namespace(x='aaaaaaaaaaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}";
  CHECK_FALSE(render(doubling));
  auto why = [](const std::string &source) {
    auto out = render(source);
    return out ? "rendered" : out.error().message;
  };
  // A list in a list doubles without being long, nests without being large, and is copied whenever it is named.
  std::string lists =
      "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}";
  CHECK(why(lists).find("does not end within") != std::string::npos);
  std::string deep = "{% set ns = namespace(x=[1]) %}{% for i in range(999) %}{% set ns.x = [ns.x] %}{% endfor %}";
  CHECK(why(deep).find("nest deeper than 100") != std::string::npos);
  std::string walks =
      "{% set a = range(99999)|list %}{% for i in a %}{{ (a|list)|length }}{{ a|join|length }}{{ a == a }}{% endfor %}";
  CHECK(why(walks).find("does not end within") != std::string::npos);
  std::string letters = "{% set s = 'abcdefgh'|join('" + std::string(99'999, '-') +
                        "') %}{% for i in range(9999) %}{{ s[5] }}{{ s|length }}{{ s[::-1]|first }}{% endfor %}";
  CHECK(why(letters).find("does not end within") != std::string::npos);
  // Held by itself it would never be freed.
  CHECK(why("{% set a = namespace() %}{% set a.b = a %}").find("a namespace inside a namespace") != std::string::npos);
}

TEST_CASE("a long conversation is no stranger's trick") {
  std::vector<Message> messages;
  for (int i = 0; i < 2000; ++i) messages.push_back({i % 2 ? "assistant" : "user", std::string(2000, 'x')});
  std::string source =
      "{% for m in messages %}{% if messages|length > 1 and messages[loop.index0].role == m['role'] and not messages "
      "is none %}"
      "{{ messages[loop.index0]['content'] }}{% if m is mapping and messages[-1]['role'] != 'tool' %}|{% endif %}{% "
      "endif %}{% endfor %}";
  auto text = render(source, messages);
  REQUIRE_MESSAGE(text, (text ? "" : text.error().message));
  CHECK(text->size() == 2000 * 2001);
}

TEST_CASE("the built-in ChatML template") {
  CHECK(*render(kChatMlTemplate, {{"system", "s"}, {"user", "u"}}) ==
        "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\n");
}
