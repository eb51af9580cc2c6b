#include <set>

#include "jinja.hpp"

namespace gcop::guide_torch::jinja {
namespace {

// A name that a loop or a set block reads and that is set only after it, around it, is undefined inside to Jinja,
// whatever it was before. This interpreter looks names up as they stand, so such a template is refused.
class Scope {
 public:
  void walk(const Body &body, bool in_branch) {
    for (const Node &node : body) {
      if (node.kind == Node::Kind::loop) {
        load(*node.value);
        Scope inner;
        inner.known_.insert(node.names.begin(), node.names.end());
        inner.known_.insert("loop");
        if (node.condition) inner.load(*node.condition);
        inner.walk(node.body, false);
        take(inner);
        Scope otherwise;
        otherwise.walk(node.otherwise, false);
        take(otherwise);
        continue;
      }
      if (node.value) load(*node.value);
      for (const auto &[condition, inner] : node.branches) {
        if (condition) load(*condition);
        walk(inner, true);
      }
      if (node.kind == Node::Kind::set_block) {
        Scope inner;
        inner.walk(node.body, false);
        take(inner);
      }
      bool sets = node.kind == Node::Kind::set || node.kind == Node::Kind::set_block;
      if (sets && !node.member.empty()) read(node.text);
      if (sets && node.member.empty()) {
        if (!in_branch && !known_.count(node.text) && read_inside_.count(node.text))
          fail_at(node.line, "setting '" + node.text + "' after a block inside has read it is not supported");
        known_.insert(node.text);
      }
    }
  }

 private:
  void read(const std::string &name) {
    if (known_.insert(name).second) free_.insert(name);
  }
  void load(const Expr &expr) {
    if (expr.kind == Expr::Kind::name) read(expr.text);
    for (const ExprPtr &part : expr.parts)
      if (part) load(*part);
    for (const auto &[name, value] : expr.named) load(*value);
  }
  void take(const Scope &inner) {
    for (const std::string &name : inner.free_)
      if (!known_.count(name)) {
        read_inside_.insert(name);
        free_.insert(name);
      }
  }

  std::set<std::string> known_, read_inside_, free_;  // free_: what comes from around
};

}  // namespace

void check_scopes(const Body &body) { Scope().walk(body, false); }

}  // namespace gcop::guide_torch::jinja
