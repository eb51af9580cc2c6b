#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

#include "jinja.hpp"
#include "utf8.hpp"

namespace gcop::guide_torch::jinja {
namespace {

std::vector<std::string> characters(const std::string &raw) {
  std::string text = valid_utf8(raw, false);
  std::vector<std::string> out;
  for (size_t at = 0; at < text.size();) {
    size_t size = code_point_at(text, at).size;
    out.push_back(text.substr(at, size));
    at += size;
  }
  return out;
}

// Python counts True as 1 in arithmetic and comparisons.
Json number_of(const Json &json) { return json.is_boolean() ? Json(json.get<bool>() ? 1 : 0) : json; }

[[noreturn]] void undefined_use(const Value &value, int line) {
  fail_at(line, "'" + value.name + "' is undefined", Code::invalid);
}

// As Python's repr: the shortest digits that give the number back, with an exponent below 1e-4 and from 1e16.
std::string text_of_real(double value) {
  if (!std::isfinite(value)) fail("chat template: a number is infinite or none, which is not supported");
  char buffer[40];
  double size = std::abs(value);
  bool fixed = size == 0 || (size >= 1e-4 && size < 1e16);
  auto format = fixed ? std::chars_format::fixed : std::chars_format::scientific;
  std::string text(buffer, std::to_chars(buffer, buffer + sizeof buffer, value, format).ptr);
  return fixed && text.find('.') == std::string::npos ? text + ".0" : text;
}

void write_json(const Json &json, std::string &out) {
  if (json.is_array()) {
    out += '[';
    for (size_t i = 0; i < json.size(); ++i) {
      if (i) out += ", ";
      write_json(json[i], out);
    }
    out += ']';
  } else if (json.is_object()) {
    out += '{';
    bool first = true;
    for (auto &[key, item] : json.items()) {
      if (!first) out += ", ";
      first = false;
      write_json(Json(key), out);
      out += ": ";
      write_json(item, out);
    }
    out += '}';
  } else if (json.is_number_float()) {
    out += text_of_real(json.get<double>());
  } else {
    out += json.dump(-1, ' ', false, Json::error_handler_t::replace);
  }
}

}  // namespace

std::string checked(std::string text, int line) {
  if (text.size() > kMaxText) fail_at(line, "a text is longer than 64 MiB", Code::exhausted);
  return text;
}

size_t find_in(const std::string &text, const std::string &part, size_t from) {
  const void *at = ::memmem(text.data() + from, text.size() - from, part.data(), part.size());
  return at ? static_cast<size_t>(static_cast<const char *>(at) - text.data()) : std::string::npos;
}

std::string kind_name(const Value &value) {
  if (value.kind == Value::Kind::undefined) return "undefined";
  if (value.kind == Value::Kind::space || value.is_range()) return value.name;
  if (value.data.is_null()) return "none";
  if (value.data.is_object()) return "dict";
  if (value.data.is_array()) return "list";
  return value.data.type_name();
}

std::string json_of(const Json &json) {
  std::string out;
  write_json(json, out);
  return out;
}

std::string text_of(const Value &value, int line) {
  if (!value.defined()) return {};
  if (value.is_text()) return value.text();
  if (value.kind == Value::Kind::data) {
    if (value.data.is_null()) return "None";
    if (value.data.is_boolean()) return value.data.get<bool>() ? "True" : "False";
    if (value.data.is_number_float()) return text_of_real(value.data.get<double>());
    if (value.data.is_number()) return value.data.dump();
  }
  fail_at(line, "printing a " + kind_name(value) + " is not supported; the template should use tojson");
}

bool truth(const Value &value) {
  if (value.kind != Value::Kind::data) return value.defined();
  const Json &d = value.data;
  if (d.is_string()) return !value.text().empty();
  if (d.is_boolean()) return d.get<bool>();
  if (d.is_number()) return d.get<double>() != 0;
  return !d.is_null() && !d.empty();
}

bool equal(const Value &a, const Value &b) {
  if (a.kind != b.kind) return false;
  if (a.kind == Value::Kind::undefined) return true;
  if (a.kind == Value::Kind::space) return a.space == b.space;
  return number_of(a.data) == number_of(b.data);
}

bool compare(const std::string &op, const Value &a, const Value &b, int line) {
  if (a.is_range() || (b.is_range() && op != "in" && op != "not in"))
    fail_at(line, "comparing a range is not supported");
  if (op == "==") return equal(a, b);
  if (op == "!=") return !equal(a, b);
  if (op == "in") return contains(b, a, line);
  if (op == "not in") return !contains(b, a, line);
  if (!a.defined()) undefined_use(a, line);
  if (!b.defined()) undefined_use(b, line);
  Json x = number_of(a.data), y = number_of(b.data);
  if (!(x.is_number() && y.is_number()) && !(x.is_string() && y.is_string()))
    fail_at(line, "a " + kind_name(a) + " and a " + kind_name(b) + " cannot be ordered", Code::invalid);
  if (op == "<") return x < y;
  if (op == "<=") return x <= y;
  return op == ">" ? y < x : y <= x;
}

bool contains(const Value &container, const Value &item, int line) {
  if (!container.defined()) return false;
  if (container.is_text()) {
    if (!item.is_text()) fail_at(line, "a " + kind_name(item) + " is looked for in a string", Code::invalid);
    return find_in(container.text(), item.text(), 0) != std::string::npos;
  }
  if (container.kind == Value::Kind::data && container.data.is_object())
    return item.is_text() && container.data.contains(item.text());
  if (container.kind == Value::Kind::data && container.data.is_array())
    return std::any_of(container.data.begin(), container.data.end(),
                       [&](const Json &j) { return equal(Value::of(j), item); });
  fail_at(line, "'in' does not work on a " + kind_name(container), Code::invalid);
}

Value binary(const std::string &op, const Value &a, const Value &b, int line) {
  if (op == "~") return Value::of(checked(text_of(a, line) + text_of(b, line), line));
  if (!a.defined()) undefined_use(a, line);
  if (!b.defined()) undefined_use(b, line);
  if (op == "+" && a.is_text() && b.is_text()) return Value::of(checked(a.text() + b.text(), line));
  if (op == "+" && a.data.is_array() && b.data.is_array() && !a.is_range() && !b.is_range()) {
    if (a.data.size() + b.data.size() > kMaxItems) fail_at(line, "a list is longer than 100000", Code::exhausted);
    Json sum = a.data;
    for (const Json &item : b.data) sum.push_back(item);
    return Value::of(std::move(sum));
  }
  Json x = number_of(a.data), y = number_of(b.data);
  if (a.kind != Value::Kind::data || b.kind != Value::Kind::data || !x.is_number() || !y.is_number())
    fail_at(line, "'" + op + "' between a " + kind_name(a) + " and a " + kind_name(b) + " is not supported");
  if ((op == "/" || op == "//" || op == "%") && y.get<double>() == 0) fail_at(line, "division by zero", Code::invalid);
  if (x.is_number_integer() && y.is_number_integer() && op != "/") {
    int64_t p = x.get<int64_t>(), q = y.get<int64_t>(), r = 0;
    bool overflow = false;
    if (op == "+") overflow = __builtin_add_overflow(p, q, &r);
    if (op == "-") overflow = __builtin_sub_overflow(p, q, &r);
    if (op == "*") overflow = __builtin_mul_overflow(p, q, &r);
    if (op == "//" || op == "%") {  // Python rounds down
      overflow = p == INT64_MIN && q == -1;
      if (!overflow) {
        int64_t rest = p % q;
        bool down = rest != 0 && (rest < 0) != (q < 0);
        r = op == "%" ? rest + (down ? q : 0) : p / q - down;
      }
    }
    if (op == "**" || overflow) fail_at(line, "'" + op + "' of such numbers is not supported");
    return Value::of(r);
  }
  double p = x.get<double>(), q = y.get<double>();
  if (op == "+") return Value::of(p + q);
  if (op == "-") return Value::of(p - q);
  if (op == "*") return Value::of(p * q);
  if (op == "/") return Value::of(p / q);
  fail_at(line, "'" + op + "' of such numbers is not supported");
}

namespace {

// A dict's methods, which Jinja finds where the dict has no such key, by '.' even where it has.
bool is_dict_method(const std::string &name) {
  for (const char *method :
       {"items", "keys", "values", "get", "pop", "update", "copy", "setdefault", "popitem", "clear", "fromkeys"})
    if (name == method) return true;
  return false;
}

}  // namespace

Value attribute(const Value &object, const std::string &name, int line) {
  if (!object.defined()) undefined_use(object, line);
  if (object.kind == Value::Kind::space) {
    auto found = object.space->find(name);
    if (found != object.space->end()) return found->second;
    if (object.name == "loop") fail_at(line, "'loop." + name + "' is not supported");
    return Value::missing(name);
  }
  if (!object.data.is_object()) fail_at(line, "'." + name + "' of a " + kind_name(object) + " is not supported");
  if (is_dict_method(name)) fail_at(line, "the method '" + name + "' of a dict without a call is not supported");
  auto found = object.data.find(name);
  return found == object.data.end() ? Value::missing(name) : Value::of(*found);
}

Value index(const Value &object, const Value &at, int line) {
  if (!object.defined()) undefined_use(object, line);
  if (object.kind == Value::Kind::space && at.is_text()) return attribute(object, at.text(), line);
  if (object.data.is_object()) {
    if (!at.is_text()) return Value::missing(kind_name(at));
    auto found = object.data.find(at.text());
    if (found != object.data.end()) return Value::of(*found);
    if (is_dict_method(at.text()))
      fail_at(line, "the method '" + at.text() + "' of a dict without a call is not supported");
    return Value::missing(at.text());
  }
  if ((object.data.is_array() || object.is_text()) && at.kind == Value::Kind::data && at.data.is_number_integer()) {
    const std::vector<Json> letters = object.is_text() ? items_of(object, line) : std::vector<Json>();
    int64_t i = at.data.get<int64_t>(),
            n = static_cast<int64_t>(object.is_text() ? letters.size() : object.data.size());
    if (i < 0) i += n;
    if (i < 0 || i >= n) return Value::missing("item " + at.data.dump());
    return Value::of(object.is_text() ? letters[static_cast<size_t>(i)] : object.data[static_cast<size_t>(i)]);
  }
  fail_at(line, "indexing a " + kind_name(object) + " with a " + kind_name(at) + " is not supported");
}

Value slice(const Value &object, const Value *from, const Value *to, const Value *step, int line) {
  if (!object.defined()) undefined_use(object, line);
  auto number = [&](const Value *value, int64_t fallback) {
    if (!value || (value->kind == Value::Kind::data && value->data.is_null())) return fallback;
    if (value->kind != Value::Kind::data || !value->data.is_number_integer())
      fail_at(line, "slicing with a " + kind_name(*value) + " is not supported");
    return std::clamp<int64_t>(value->data.get<int64_t>(), -(int64_t{1} << 40), int64_t{1} << 40);
  };
  if (!object.is_text() && !(object.kind == Value::Kind::data && object.data.is_array() && !object.is_range()))
    fail_at(line, "slicing a " + kind_name(object) + " is not supported");
  std::vector<Json> items = items_of(object, line);
  auto n = static_cast<int64_t>(items.size());
  int64_t by = number(step, 1);
  if (by == 0) fail_at(line, "a slice step is 0", Code::invalid);
  int64_t low = by > 0 ? 0 : -1, high = by > 0 ? n : n - 1;
  auto bound = [&](const Value *value, int64_t fallback) {
    int64_t i = number(value, INT64_MIN);
    if (i == INT64_MIN) return fallback;
    return std::clamp(i < 0 ? i + n : i, low, high);
  };
  int64_t i = bound(from, by > 0 ? 0 : n - 1), end = bound(to, by > 0 ? n : -1);
  Json list = Json::array();
  std::string text;
  for (; by > 0 ? i < end : i > end; i += by) {
    const Json &item = items[static_cast<size_t>(i)];
    if (object.is_text())
      text += item.get_ref<const std::string &>();
    else
      list.push_back(item);
  }
  return object.is_text() ? Value::of(text) : Value::of(std::move(list));
}

std::vector<Json> items_of(const Value &value, int line) {
  std::vector<Json> out;
  if (!value.defined()) return out;
  if (value.is_text()) {
    for (std::string &c : characters(value.text())) out.emplace_back(std::move(c));
  } else if (value.kind == Value::Kind::data && value.data.is_array()) {
    out.assign(value.data.begin(), value.data.end());
  } else if (value.kind == Value::Kind::data && value.data.is_object()) {
    for (auto &[key, item] : value.data.items()) out.emplace_back(key);
  } else {
    fail_at(line, "a " + kind_name(value) + " cannot be walked over", Code::invalid);
  }
  return out;
}

}  // namespace gcop::guide_torch::jinja
