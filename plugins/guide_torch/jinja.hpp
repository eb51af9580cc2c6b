// The Jinja subset of chat templates, inside: syntax tree, values and the operations on them. Used by
// chat_template.cpp alone. Semantics are Jinja2's with trim_blocks and lstrip_blocks, as transformers renders.
// Whatever cannot be done as Jinja2 does it is a Fault with line and name.
#pragma once
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "fault.hpp"

namespace gcop::guide_torch::jinja {

using Json = nlohmann::ordered_json;  // dicts keep their order, as in Python

// A Python value. Undefined carries the name that was looked for; a space is a namespace() or the `loop` variable,
// the only things a template changes or that are no plain data. A range() is data with the name "range": it is walked
// and counted like a list, but equals none and is no JSON.
struct Value {
  enum class Kind { undefined, data, space } kind = Kind::undefined;
  Json data;
  std::shared_ptr<std::map<std::string, Value>> space;
  std::string name;

  static Value of(Json json) { return {Kind::data, std::move(json), nullptr, {}}; }
  static Value missing(std::string name) { return {Kind::undefined, {}, nullptr, std::move(name)}; }
  bool defined() const { return kind != Kind::undefined; }
  bool is_range() const { return kind == Kind::data && name == "range"; }
  bool is_text() const { return kind == Kind::data && data.is_string(); }
  const std::string &text() const { return data.get_ref<const std::string &>(); }
};

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

struct Expr {
  enum class Kind {
    literal,
    name,
    list,
    dict,  // dict: parts are key, value, key, value, ...
    attribute,
    index,
    slice,  // parts[0] is the object; slice has three more, null where left out
    call,   // parts[0] is the callee
    filter,
    test,  // parts[0] is the value, text the filter's or test's name
    unary,
    binary,
    compare,  // compare: parts a, b, c and ops "<", "in" between them
    choice,   // parts: condition, then, else (null where left out)
  } kind = Kind::literal;
  int line = 0;
  std::string text;  // name, attribute, operator, filter, test
  Value literal;
  std::vector<ExprPtr> parts;
  std::vector<std::string> ops;
  std::vector<std::pair<std::string, ExprPtr>> named;  // keyword arguments
  bool negated = false;                                // "is not"
};

struct Node;
using Body = std::vector<Node>;

struct Node {
  enum class Kind { text, output, branch, loop, set, set_block, leave, next } kind = Kind::text;
  int line = 0;
  std::string text;                                // text; name that set assigns
  std::string member;                              // set ns.member
  std::vector<std::string> names;                  // loop variables
  ExprPtr value, condition;                        // output's, set's, loop's value; loop's filter
  std::vector<std::pair<ExprPtr, Body>> branches;  // branch: condition (null = else) and body
  Body body, otherwise;                            // loop's body and else
};

Body parse_template(const std::string &source);
void check_scopes(const Body &body);  // Fault where Jinja's rules of names would give another text

[[noreturn]] inline void fail_at(int line, const std::string &what, Code code = Code::unsupported) {
  fail("chat template, line " + std::to_string(line) + ": " + what, code);
}

// No text or list a template builds may be larger: it is a program by a stranger.
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION  // reached within a fuzz target's time
constexpr size_t kMaxText = size_t{64} << 10, kMaxItems = 1'000;
#else
constexpr size_t kMaxText = size_t{64} << 20, kMaxItems = 100'000;
#endif
std::string checked(std::string text, int line);
size_t find_in(const std::string &text, const std::string &part, size_t from);  // as std::string::find, in linear time

// Operations on values; `line` goes into the Fault.
std::string kind_name(const Value &value);
std::string text_of(const Value &value, int line);  // as {{ value }} prints it
std::string json_of(const Json &json);              // as Python's json.dumps(ensure_ascii=False) prints it
bool truth(const Value &value);
bool equal(const Value &a, const Value &b);
bool compare(const std::string &op, const Value &a, const Value &b, int line);
bool contains(const Value &container, const Value &item, int line);
Value binary(const std::string &op, const Value &a, const Value &b, int line);
Value attribute(const Value &object, const std::string &name, int line);
Value index(const Value &object, const Value &at, int line);
Value slice(const Value &object, const Value *from, const Value *to, const Value *step, int line);
std::vector<Json> items_of(const Value &value, int line);  // what `for` walks over

struct Arguments {
  std::vector<Value> values;
  std::map<std::string, Value> named;
};
Value apply_filter(const std::string &name, const Value &value, const Arguments &args, int line);
bool apply_test(const std::string &name, const Value &value, const Arguments &args, int line);
Value call_method(const Value &object, const std::string &name, const Arguments &args, int line);

}  // namespace gcop::guide_torch::jinja
