#include <cstdlib>

#include "jinja.hpp"
#include "jinja_tokens.hpp"

namespace gcop::guide_torch::jinja {
namespace {

// Templates are untrusted: bounds on nested expressions and blocks, and on the parts of one expression, since a chain
// a+a+a+... is as deep a tree as it is long.
constexpr int kMaxDepth = 100, kMaxParts = 1000;

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  Body run() {
    Body body = nodes({});
    if (token().kind != Token::Kind::end) fail_at(token().line, "'" + token().text + "' closes nothing", Code::invalid);
    return body;
  }

 private:
  using Kind = Expr::Kind;

  const Token &token() const { return tokens_[at_]; }
  bool is_op(const char *text) const { return token().kind == Token::Kind::op && token().text == text; }
  bool is_word(const char *text) const { return token().kind == Token::Kind::name && token().text == text; }
  bool take_op(const char *text) { return is_op(text) && ++at_; }
  bool take_word(const char *text) { return is_word(text) && ++at_; }
  [[noreturn]] void unexpected(const std::string &wanted) {
    const Token &t = token();
    std::string found = t.kind == Token::Kind::close ? "the tag's end"
                        : t.kind == Token::Kind::end ? "the end"
                                                     : "'" + t.text + "'";
    fail_at(t.line, found + " stands where " + wanted + " should be", Code::invalid);
  }
  void expect_op(const char *text) {
    if (!take_op(text)) unexpected("'" + std::string(text) + "'");
  }
  void expect_close() {
    parts_ = 0;
    if (token().kind != Token::Kind::close) unexpected("the tag's end");
    ++at_;
  }
  std::string expect_name() {
    if (token().kind != Token::Kind::name) unexpected("a name");
    return tokens_[at_++].text;
  }
  struct Deeper {
    explicit Deeper(Parser &p) : depth(p.depth_) {
      if (++depth > kMaxDepth) fail_at(p.token().line, "nested too deeply");
    }
    ~Deeper() { --depth; }
    int &depth;
  };

  // Nodes up to a block that begins with one of `ends`; the parser then stands at that word.
  Body nodes(const std::vector<std::string> &ends) {
    Deeper deeper(*this);
    Body body;
    while (token().kind != Token::Kind::end) {
      Node node;
      node.line = token().line;
      if (token().kind == Token::Kind::text) {
        node.text = token().text;
        ++at_;
      } else if (token().kind == Token::Kind::open_output) {
        ++at_;
        node.kind = Node::Kind::output;
        node.value = expression();
        expect_close();
      } else {
        ++at_;
        if (token().kind != Token::Kind::name) unexpected("a statement");
        for (const std::string &end : ends)
          if (token().text == end) return body;
        statement(node);
      }
      body.push_back(std::move(node));
    }
    if (!ends.empty()) fail_at(token().line, "'" + ends.back() + "' is missing", Code::invalid);
    return body;
  }

  void statement(Node &node) {
    std::string word = expect_name();
    if (word == "if") {
      node.kind = Node::Kind::branch;
      ExprPtr condition = disjunction();  // not a choice: Jinja has none here
      while (true) {
        expect_close();
        bool last = condition == nullptr;
        Body body = nodes(last ? std::vector<std::string>{"endif"} : std::vector<std::string>{"elif", "else", "endif"});
        node.branches.emplace_back(std::move(condition), std::move(body));
        std::string next = expect_name();
        if (next == "endif") break;
        condition = next == "elif" ? disjunction() : nullptr;
      }
      expect_close();
    } else if (word == "for") {
      node.kind = Node::Kind::loop;
      do node.names.push_back(expect_name());
      while (take_op(","));
      if (!take_word("in")) unexpected("'in'");
      node.value = disjunction();  // not a choice: an `if` here filters
      if (take_word("if")) node.condition = expression();
      if (is_word("recursive")) fail_at(token().line, "'recursive' loops are not supported");
      expect_close();
      node.body = nodes({"else", "endfor"});
      if (expect_name() == "else") {
        expect_close();
        node.otherwise = nodes({"endfor"});
        expect_name();
      }
      expect_close();
    } else if (word == "set") {
      node.text = expect_name();
      if (take_op(".")) node.member = expect_name();
      if (is_op(",")) fail_at(node.line, "'set' of several names is not supported");
      if (node.text == "loop") fail_at(node.line, "'set' of 'loop' is not supported");
      if (take_op("=")) {
        node.kind = Node::Kind::set;
        node.value = expression();
      } else {
        node.kind = Node::Kind::set_block;
        if (is_op("|")) fail_at(node.line, "'set' with a filter is not supported");
        expect_close();
        node.body = nodes({"endset"});
        expect_name();
      }
      expect_close();
    } else if (word == "break" || word == "continue") {
      node.kind = word == "break" ? Node::Kind::leave : Node::Kind::next;
      expect_close();
    } else {
      fail_at(node.line, "the statement '" + word + "' is not supported");
    }
  }

  ExprPtr make(Kind kind, std::string text = {}, ExprPtr a = nullptr, ExprPtr b = nullptr) {
    if (++parts_ > kMaxParts) fail_at(token().line, "the expression is too long");
    auto expr = std::make_unique<Expr>();
    expr->kind = kind;
    expr->line = token().line;
    expr->text = std::move(text);
    if (a) expr->parts.push_back(std::move(a));
    if (b) expr->parts.push_back(std::move(b));
    return expr;
  }

  ExprPtr expression() {
    Deeper deeper(*this);
    ExprPtr value = disjunction();
    while (take_word("if")) {
      ExprPtr choice = make(Kind::choice);
      choice->parts.push_back(disjunction());
      choice->parts.push_back(std::move(value));
      choice->parts.push_back(take_word("else") ? expression() : nullptr);
      value = std::move(choice);
    }
    return value;
  }

  ExprPtr disjunction() {
    ExprPtr left = conjunction();
    while (take_word("or")) left = make(Kind::binary, "or", std::move(left), conjunction());
    return left;
  }

  ExprPtr conjunction() {
    ExprPtr left = negation();
    while (take_word("and")) left = make(Kind::binary, "and", std::move(left), negation());
    return left;
  }

  ExprPtr negation() {
    Deeper deeper(*this);
    return take_word("not") ? make(Kind::unary, "not", negation()) : comparison();
  }

  ExprPtr comparison() {
    ExprPtr first = sum();
    ExprPtr chain;
    while (true) {
      std::string op;
      for (const char *candidate : {"==", "!=", "<", "<=", ">", ">="})
        if (is_op(candidate)) op = candidate;
      if (is_word("in")) op = "in";
      if (is_word("not") && tokens_[at_ + 1].kind == Token::Kind::name && tokens_[at_ + 1].text == "in") {
        op = "not in";
        ++at_;
      }
      if (op.empty()) break;
      ++at_;
      if (!chain) chain = make(Kind::compare, {}, std::move(first));
      chain->ops.push_back(op);
      chain->parts.push_back(sum());
    }
    return chain ? std::move(chain) : std::move(first);
  }

  // Jinja's levels: + and - bind weaker than ~, which binds weaker than * / // %.
  ExprPtr sum() { return chain_of({"+", "-"}, &Parser::joined); }
  ExprPtr joined() { return chain_of({"~"}, &Parser::product); }
  ExprPtr product() { return chain_of({"*", "/", "//", "%"}, &Parser::power); }
  ExprPtr power() { return chain_of({"**"}, &Parser::unary_value); }

  ExprPtr chain_of(const std::vector<const char *> &ops, ExprPtr (Parser::*part)()) {
    ExprPtr left = (this->*part)();
    for (bool again = true; again;) {
      again = false;
      for (const char *op : ops)
        if (take_op(op)) {
          left = make(Kind::binary, op, std::move(left), (this->*part)());
          again = true;
          break;
        }
    }
    return left;
  }

  ExprPtr unary_value() { return signed_value(true); }

  // A sign binds tighter than a filter: -x|abs is (-x)|abs.
  ExprPtr signed_value(bool with_filter) {
    Deeper deeper(*this);
    ExprPtr value;
    if (is_op("-") || is_op("+")) {
      std::string op = tokens_[at_++].text;
      value = make(Kind::unary, op, signed_value(false));
    } else {
      value = postfix(primary());
    }
    return with_filter ? filters(std::move(value)) : std::move(value);
  }

  ExprPtr primary();
  ExprPtr postfix(ExprPtr value);
  ExprPtr filters(ExprPtr value);
  void arguments(Expr &call);

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0, parts_ = 0;
};

ExprPtr Parser::primary() {
  Deeper deeper(*this);
  const Token t = token();
  ExprPtr expr = make(Kind::literal);
  if (t.kind == Token::Kind::name) {
    ++at_;
    if (t.text == "true" || t.text == "True" || t.text == "false" || t.text == "False") {
      expr->literal = Value::of(t.text[0] == 't' || t.text[0] == 'T');
    } else if (t.text == "none" || t.text == "None") {
      expr->literal = Value::of(nullptr);
    } else {
      expr->kind = Kind::name;
      expr->text = t.text;
    }
  } else if (t.kind == Token::Kind::string) {
    std::string text;
    while (token().kind == Token::Kind::string) text += tokens_[at_++].text;  // neighbours are one string
    expr->literal = Value::of(text);
  } else if (t.kind == Token::Kind::integer || t.kind == Token::Kind::real) {
    ++at_;
    if (t.kind == Token::Kind::integer)
      expr->literal = Value::of(static_cast<int64_t>(std::strtoll(t.text.c_str(), nullptr, 10)));
    else
      expr->literal = Value::of(std::strtod(t.text.c_str(), nullptr));
  } else if (take_op("(")) {
    bool tuple = is_op(")");
    if (!tuple) expr = expression();
    if (is_op(",") || tuple) {
      ExprPtr list = make(Kind::list);
      if (!tuple) list->parts.push_back(std::move(expr));
      while (take_op(","))
        if (!is_op(")")) list->parts.push_back(expression());
      expr = std::move(list);
    }
    expect_op(")");
  } else if (take_op("[")) {
    expr->kind = Kind::list;
    while (!is_op("]")) {
      expr->parts.push_back(expression());
      if (!take_op(",") && !is_op("]")) unexpected("']'");
    }
    expect_op("]");
  } else if (take_op("{")) {
    expr->kind = Kind::dict;
    while (!is_op("}")) {
      expr->parts.push_back(expression());
      expect_op(":");
      expr->parts.push_back(expression());
      if (!take_op(",") && !is_op("}")) unexpected("'}'");
    }
    expect_op("}");
  } else {
    unexpected("a value");
  }
  return expr;
}

ExprPtr Parser::postfix(ExprPtr value) {
  while (true) {
    if (take_op(".")) {
      value = make(Kind::attribute, expect_name(), std::move(value));
    } else if (take_op("[")) {
      ExprPtr parts[3];
      int n = 0;
      bool is_slice = false;
      while (!is_op("]")) {
        if (take_op(":")) {
          is_slice = true;
          if (++n > 2) unexpected("']'");
        } else {
          if (parts[n]) unexpected("']'");
          parts[n] = expression();
        }
      }
      expect_op("]");
      if (!is_slice && !parts[0]) unexpected("an index before ']'");
      value = make(is_slice ? Kind::slice : Kind::index, {}, std::move(value));
      for (int i = 0; i < (is_slice ? 3 : 1); ++i) value->parts.push_back(std::move(parts[i]));
    } else if (is_op("(")) {
      value = make(Kind::call, {}, std::move(value));
      arguments(*value);
    } else {
      return value;
    }
  }
}

ExprPtr Parser::filters(ExprPtr value) {
  while (true) {
    if (take_op("|")) {
      value = make(Kind::filter, expect_name(), std::move(value));
      if (is_op("(")) arguments(*value);
    } else if (take_word("is")) {
      bool negated = take_word("not");
      value = make(Kind::test, expect_name(), std::move(value));
      value->negated = negated;
      auto kind = token().kind;
      // Jinja takes any other word as the test's argument, and then refuses what follows.
      for (const char *other : {"is", "if", "in", "not"})
        if (is_word(other)) unexpected("a test's end; put the test into parentheses:");
      bool word = kind == Token::Kind::name && !is_word("else") && !is_word("or") && !is_word("and");
      if (is_op("("))
        arguments(*value);
      else if (word || kind == Token::Kind::string || kind == Token::Kind::integer || is_op("[") || is_op("{"))
        value->parts.push_back(postfix(primary()));  // x is equalto "y"
    } else {
      return value;
    }
  }
}

void Parser::arguments(Expr &call) {
  expect_op("(");
  while (!is_op(")")) {
    bool named =
        token().kind == Token::Kind::name && tokens_[at_ + 1].kind == Token::Kind::op && tokens_[at_ + 1].text == "=";
    if (named) {
      std::string name = expect_name();
      ++at_;
      call.named.emplace_back(name, expression());
    } else {
      call.parts.push_back(expression());
    }
    if (!take_op(",") && !is_op(")")) unexpected("')'");
  }
  expect_op(")");
}

}  // namespace

Body parse_template(const std::string &source) { return Parser(lex_template(source)).run(); }

}  // namespace gcop::guide_torch::jinja
