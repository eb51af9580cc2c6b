#include "chat_template.hpp"

#include <algorithm>
#include <utility>

#include "jinja.hpp"

namespace gcop::guide_torch {

const char *const kChatMlTemplate =
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + "
    "'\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

namespace {

using namespace jinja;

// A step is one node or expression, half an item of the data it copies or walks over, or 32 bytes of text: so a
// template is bound in time and, a few hundred MB at worst, in memory.
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
constexpr int64_t kMaxSteps = 20'000;
#else
constexpr int64_t kMaxSteps = 5'000'000;
#endif
constexpr int kMaxNesting = 100;  // of data; a copy goes one call deeper for each

class Renderer {
 public:
  explicit Renderer(std::map<std::string, Value> globals) { scopes_.push_back(std::move(globals)); }

  std::string run(const Body &body) {
    std::string out;
    if (walk(body, out) != Flow::on) fail("chat template: 'break' or 'continue' outside a loop");
    return out;
  }

 private:
  enum class Flow { on, leave, next };
  using Kind = Expr::Kind;

  void step(int line, int64_t n = 1) {
    if ((steps_ += n) > kMaxSteps)
      fail_at(line, "the template does not end within " + std::to_string(kMaxSteps) + " steps", Code::exhausted);
  }

  // What it takes to copy or to walk over this.
  void pay(const Json &json, int line, int depth = 0) {
    if (depth > kMaxNesting)
      fail_at(line, "lists and dicts nest deeper than " + std::to_string(kMaxNesting), Code::exhausted);
    step(line, json.is_string() ? 1 + static_cast<int64_t>(json.get_ref<const std::string &>().size() / 32) : 2);
    if (json.is_array())
      for (const Json &item : json) pay(item, line, depth + 1);
    if (json.is_object())
      for (auto &[key, item] : json.items()) {
        step(line, static_cast<int64_t>(key.size() / 32));
        pay(item, line, depth + 1);
      }
  }
  void pay(const Value &value, int line) {
    if (value.kind == Value::Kind::data) pay(value.data, line);
  }
  // A key is looked for among all keys; an item of a text is found by walking over it.
  void pay_keys(const Value &value, int line) {
    if (value.is_text()) pay_items(value, line);
    if (value.kind == Value::Kind::data && value.data.is_object()) step(line, static_cast<int64_t>(value.data.size()));
  }
  // Walking over a text makes an item of each character.
  void pay_items(const Value &value, int line) {
    if (value.is_text())
      step(line, static_cast<int64_t>(value.text().size()));
    else
      pay(value, line);
  }

  Flow walk(const Body &body, std::string &out) {
    for (const Node &node : body) {
      step(node.line);
      Flow flow = one(node, out);
      if (out.size() > kMaxText) fail_at(node.line, "the rendered text is longer than 64 MiB", Code::exhausted);
      if (flow != Flow::on) return flow;
    }
    return Flow::on;
  }

  Flow one(const Node &node, std::string &out) {
    switch (node.kind) {
      case Node::Kind::text: out += node.text; return Flow::on;
      case Node::Kind::output: out += text_of(eval(*node.value), node.line); return Flow::on;
      case Node::Kind::branch:
        for (const auto &[condition, body] : node.branches)
          if (!condition || truth(eval(*condition))) return walk(body, out);
        return Flow::on;
      case Node::Kind::loop: return loop(node, out);
      case Node::Kind::set: assign(node, eval(*node.value)); return Flow::on;
      case Node::Kind::set_block: {
        std::string text;
        scopes_.emplace_back();
        Flow flow = walk(node.body, text);
        scopes_.pop_back();
        assign(node, Value::of(text));
        return flow;
      }
      case Node::Kind::leave: return Flow::leave;
      case Node::Kind::next: return Flow::next;
    }
    return Flow::on;
  }

  void assign(const Node &node, Value value) {
    if (node.member.empty()) {
      scopes_.back()[node.text] = std::move(value);
      return;
    }
    const Value *target = find(node.text);
    if (!target || target->kind != Value::Kind::space || target->name == "loop")
      fail_at(node.line, "'" + node.text + "." + node.member + "' can be set only on a namespace", Code::invalid);
    // A namespace that held itself would never be freed.
    if (value.kind == Value::Kind::space) fail_at(node.line, "a namespace inside a namespace is not supported");
    (*target->space)[node.member] = std::move(value);
  }

  Flow loop(const Node &node, std::string &out) {
    Value walked_over;
    const Value &over = look(*node.value, walked_over);
    pay_items(over, node.line);
    std::vector<Json> items = items_of(over, node.line);
    auto bind = [&](const Json &item) {
      if (node.names.size() == 1) {
        scopes_.back()[node.names[0]] = Value::of(item);
        return;
      }
      if (!item.is_array() || item.size() != node.names.size())
        fail_at(node.line, "an item does not split into " + std::to_string(node.names.size()) + " names",
                Code::invalid);
      for (size_t i = 0; i < node.names.size(); ++i) scopes_.back()[node.names[i]] = Value::of(item[i]);
    };
    if (node.condition) {
      std::vector<Json> kept;
      for (const Json &item : items) {
        step(node.line);
        pay(item, node.line);
        scopes_.emplace_back();
        bind(item);
        if (truth(eval(*node.condition))) kept.push_back(item);
        scopes_.pop_back();
      }
      items = std::move(kept);
    }
    if (items.empty()) return walk(node.otherwise, out);
    auto n = static_cast<int64_t>(items.size());
    for (int64_t i = 0; i < n; ++i) {
      step(node.line);
      for (int64_t copied = std::max<int64_t>(0, i - 1); copied <= std::min(i + 1, n - 1); ++copied)
        pay(items[static_cast<size_t>(copied)], node.line);
      scopes_.emplace_back();
      bind(items[static_cast<size_t>(i)]);
      Value info{Value::Kind::space, {}, std::make_shared<std::map<std::string, Value>>(), "loop"};
      auto &fields = *info.space;
      fields["index"] = Value::of(i + 1);
      fields["index0"] = Value::of(i);
      fields["revindex"] = Value::of(n - i);
      fields["revindex0"] = Value::of(n - i - 1);
      fields["first"] = Value::of(i == 0);
      fields["last"] = Value::of(i + 1 == n);
      fields["length"] = Value::of(n);
      fields["previtem"] = i > 0 ? Value::of(items[static_cast<size_t>(i - 1)]) : Value::missing("loop.previtem");
      fields["nextitem"] = i + 1 < n ? Value::of(items[static_cast<size_t>(i + 1)]) : Value::missing("loop.nextitem");
      scopes_.back()["loop"] = std::move(info);
      Flow flow = walk(node.body, out);
      scopes_.pop_back();
      if (flow == Flow::leave) break;
    }
    return Flow::on;
  }

  const Value *find(const std::string &name) const {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope)
      if (auto found = scope->find(name); found != scope->end()) return &found->second;
    return nullptr;
  }

  // The value where it lies, if it lies somewhere, else made in `made`: reading a part of it needs no copy.
  const Value &look(const Expr &e, Value &made) {
    if (e.kind == Kind::literal) return e.literal;
    if (e.kind == Kind::name)
      if (const Value *found = find(e.text)) {
        step(e.line);
        return *found;
      }
    return made = eval(e);
  }

  Value eval(const Expr &e) {
    step(e.line);
    Value value = evaluate(e);
    pay(value, e.line);
    return value;
  }

  Value evaluate(const Expr &e) {
    Value made;
    switch (e.kind) {
      case Kind::literal: return e.literal;
      case Kind::name: {
        if (const Value *found = find(e.text)) {
          pay(*found, e.line);
          return *found;
        }
        Value value = Value::missing(e.text);
        // Names that Jinja or transformers define and this interpreter knows only in calls, or not at all: here
        // "undefined" would be another answer than theirs.
        for (const char *known :
             {"raise_exception", "namespace", "range", "dict", "strftime_now", "lipsum", "cycler", "joiner"})
          if (e.text == known) fail_at(e.line, "'" + e.text + "' is not supported here");
        return value;
      }
      case Kind::list: {
        Json list = Json::array();
        for (const ExprPtr &part : e.parts) list.push_back(data_of(*part));
        return Value::of(std::move(list));
      }
      case Kind::dict: {
        Json dict = Json::object();
        for (size_t i = 0; i + 1 < e.parts.size(); i += 2) {
          Value key = eval(*e.parts[i]);
          if (!key.is_text()) fail_at(e.line, "dict keys other than strings are not supported");
          dict[key.text()] = data_of(*e.parts[i + 1]);
        }
        return Value::of(std::move(dict));
      }
      case Kind::attribute: {
        const Value &object = look(*e.parts[0], made);
        pay_keys(object, e.line);
        return attribute(object, e.text, e.line);
      }
      case Kind::index: {
        const Value &object = look(*e.parts[0], made);
        pay_keys(object, e.line);
        return index(object, eval(*e.parts[1]), e.line);
      }
      case Kind::slice: {
        Value bounds[3];
        for (int i = 0; i < 3; ++i)
          if (e.parts[i + 1]) bounds[i] = eval(*e.parts[i + 1]);
        auto given = [&](int i) { return e.parts[i + 1] ? &bounds[i] : nullptr; };
        const Value &object = look(*e.parts[0], made);
        pay_items(object, e.line);
        return slice(object, given(0), given(1), given(2), e.line);
      }
      case Kind::call: return call(e);
      case Kind::filter: {
        const Value &value = look(*e.parts[0], made);
        if (value.is_text() || (e.text != "length" && e.text != "count" && e.text != "first" && e.text != "last"))
          pay_items(value, e.line);
        return apply_filter(e.text, value, arguments(e), e.line);
      }
      case Kind::test: {
        const Value &value = look(*e.parts[0], made);
        const Arguments args = arguments(e);
        if (!args.values.empty()) pay(value, e.line);
        return Value::of(apply_test(e.text, value, args, e.line) != e.negated);
      }
      case Kind::unary: {
        Value value = eval(*e.parts[0]);
        if (e.text == "not") return Value::of(!truth(value));
        return jinja::binary(e.text, Value::of(0), value, e.line);
      }
      case Kind::binary: {
        Value left = eval(*e.parts[0]);
        if (e.text == "and") return truth(left) ? eval(*e.parts[1]) : left;
        if (e.text == "or") return truth(left) ? left : eval(*e.parts[1]);
        return jinja::binary(e.text, left, eval(*e.parts[1]), e.line);
      }
      case Kind::compare: {
        Value kept[2];  // neighbours in a chain a < b < c
        const Value *left = &look(*e.parts[0], kept[0]);
        for (size_t i = 0; i < e.ops.size(); ++i) {
          const Value *right = &look(*e.parts[i + 1], kept[(i + 1) % 2]);
          pay(*left, e.line);
          pay(*right, e.line);
          if (!jinja::compare(e.ops[i], *left, *right, e.line)) return Value::of(false);
          left = right;
        }
        return Value::of(true);
      }
      case Kind::choice:
        if (truth(eval(*e.parts[0]))) return eval(*e.parts[1]);
        return e.parts[2] ? eval(*e.parts[2]) : Value::missing("the value of an 'if' without 'else'");
    }
    return {};
  }

  Json data_of(const Expr &e) {
    Value value = eval(e);
    if (value.kind != Value::Kind::data || value.is_range())
      fail_at(e.line, "a " + kind_name(value) + " inside a list or dict is not supported");
    return std::move(value.data);
  }

  // A call's, filter's or test's arguments: everything after parts[0].
  Arguments arguments(const Expr &e) {
    Arguments args;
    for (size_t i = 1; i < e.parts.size(); ++i) args.values.push_back(eval(*e.parts[i]));
    for (const auto &[name, value] : e.named) args.named[name] = eval(*value);
    return args;
  }

  Value call(const Expr &e) {
    const Expr &callee = *e.parts[0];
    if (callee.kind == Kind::attribute) {
      Value made;
      const Value &object = look(*callee.parts[0], made);
      pay(object, e.line);
      return call_method(object, callee.text, arguments(e), e.line);
    }
    if (callee.kind != Kind::name) fail_at(e.line, "calling the value of an expression is not supported");
    Arguments args = arguments(e);
    const std::string &name = callee.text;
    if (name == "raise_exception")
      fail("the chat template refuses the messages: " +
           (args.values.empty() ? std::string() : text_of(args.values[0], e.line)));
    if (name == "namespace" && args.values.empty())
      return {
          Value::Kind::space, {}, std::make_shared<std::map<std::string, Value>>(std::move(args.named)), "namespace"};
    if (name == "range" && args.named.empty() && !args.values.empty() && args.values.size() <= 3) {
      int64_t bounds[3] = {0, 0, 1};
      for (size_t i = 0; i < args.values.size(); ++i) {
        const Value &v = args.values[i];
        if (v.kind != Value::Kind::data || !v.data.is_number_integer())
          fail_at(e.line, "range() needs integers", Code::invalid);
        bounds[i] = std::clamp<int64_t>(v.data.get<int64_t>(), INT32_MIN, INT32_MAX);
      }
      if (args.values.size() == 1) std::swap(bounds[0], bounds[1]);
      if (bounds[2] == 0) fail_at(e.line, "range() with step 0", Code::invalid);
      Json list = Json::array();
      for (int64_t i = bounds[0]; bounds[2] > 0 ? i < bounds[1] : i > bounds[1]; i += bounds[2]) {
        if (list.size() >= kMaxItems) fail_at(e.line, "range() is longer than 100000", Code::exhausted);
        list.push_back(i);
      }
      return {Value::Kind::data, std::move(list), nullptr, "range"};
    }
    fail_at(e.line, "the call of '" + name + "' is not supported in this form");
  }

  std::vector<std::map<std::string, Value>> scopes_;
  int64_t steps_ = 0;
};

}  // namespace

struct ChatTemplate::Parsed {
  Body body;
  std::map<std::string, Value> globals;
};

Result<ChatTemplate> ChatTemplate::parse(const std::string &source, const std::string &bos_token,
                                         const std::string &eos_token) {
  return guarded("chat template", [&] {
    auto parsed = std::make_shared<Parsed>();
    parsed->body = parse_template(source);
    check_scopes(parsed->body);
    // transformers always passes tools and documents; a token the tokenizer does not have stays undefined.
    parsed->globals["tools"] = Value::of(nullptr);
    parsed->globals["documents"] = Value::of(nullptr);
    if (!bos_token.empty()) parsed->globals["bos_token"] = Value::of(bos_token);
    if (!eos_token.empty()) parsed->globals["eos_token"] = Value::of(eos_token);
    ChatTemplate made;
    made.parsed_ = std::move(parsed);
    return made;
  });
}

Result<std::string> ChatTemplate::render(const std::vector<Message> &messages, bool add_generation_prompt,
                                         const TemplateVariables &variables) const {
  return guarded("chat template", [&] {
    if (messages.empty()) fail("a chat template needs at least one message");
    auto globals = parsed_->globals;
    for (const auto &[name, value] : variables)
      globals[name] = std::visit([](const auto &v) { return Value::of(v); }, value);
    jinja::Json list = jinja::Json::array();
    for (const Message &message : messages) list.push_back({{"role", message.role}, {"content", message.content}});
    globals["messages"] = Value::of(std::move(list));
    globals["add_generation_prompt"] = Value::of(add_generation_prompt);
    return Renderer(std::move(globals)).run(parsed_->body);
  });
}

}  // namespace gcop::guide_torch
