#include <algorithm>

#include "jinja.hpp"
#include "utf8.hpp"

namespace gcop::guide_torch::jinja {
namespace {

const std::string kSpaces = " \t\n\r\f\v\x1c\x1d\x1e\x1f";

// Python's str.strip family: `chars` is a set of characters; white space where none is given.
std::string strip(const std::string &text, const std::string &chars, bool left, bool right, int line) {
  for (char c : chars)
    if (static_cast<unsigned char>(c) >= 0x80) fail_at(line, "stripping other than ASCII characters is not supported");
  bool drop[128] = {};
  for (char c : chars) drop[static_cast<unsigned char>(c)] = true;
  auto dropped = [&](char c) { return static_cast<unsigned char>(c) < 0x80 && drop[static_cast<unsigned char>(c)]; };
  size_t begin = 0, end = text.size();
  // Beyond ASCII these are Python's other white-space characters.
  static const char *const kWide[] = {"\xc2\x85",     "\xc2\xa0",     "\xe1\x9a\x80", "\xe2\x80\x80", "\xe2\x80\x81",
                                      "\xe2\x80\x82", "\xe2\x80\x83", "\xe2\x80\x84", "\xe2\x80\x85", "\xe2\x80\x86",
                                      "\xe2\x80\x87", "\xe2\x80\x88", "\xe2\x80\x89", "\xe2\x80\x8a", "\xe2\x80\xa8",
                                      "\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80"};
  auto wide = [&](bool at_end) -> size_t {
    if (&chars != &kSpaces) return 0;
    for (const char *space : kWide) {
      std::string_view s(space), rest(text.data() + begin, end - begin);
      if (at_end ? rest.ends_with(s) : rest.starts_with(s)) return s.size();
    }
    return 0;
  };
  while (left && begin < end) {
    size_t n = dropped(text[begin]) ? 1 : wide(false);
    if (n == 0) break;
    begin += n;
  }
  while (right && begin < end) {
    size_t n = dropped(text[end - 1]) ? 1 : wide(true);
    if (n == 0) break;
    end -= n;
  }
  return text.substr(begin, end - begin);
}

std::string replace(const std::string &text, const std::string &from, const std::string &to, int line) {
  if (from.empty()) fail_at(line, "replacing the empty string is not supported");
  std::string out;
  size_t at = 0;
  for (size_t hit; (hit = find_in(text, from, at)) != std::string::npos; at = hit + from.size())
    out = checked(std::move(out) + text.substr(at, hit - at) + to, line);
  return out + text.substr(at);
}

std::string change_case(const std::string &text, bool upper, int line) {
  std::string out = text;
  for (char &c : out) {
    if (static_cast<unsigned char>(c) >= 0x80) fail_at(line, "upper and lower case beyond ASCII is not supported");
    if (upper ? c >= 'a' && c <= 'z' : c >= 'A' && c <= 'Z') c = static_cast<char>(c ^ 0x20);
  }
  return out;
}

// Reads a call's arguments one by one and refuses what is left over.
class Reader {
 public:
  Reader(std::string who, const Arguments &args, int line) : who_(std::move(who)), args_(args), line_(line) {}
  const Value *next(const char *name) {
    if (at_ < args_.values.size()) return &args_.values[at_++];
    auto found = args_.named.find(name);
    if (found == args_.named.end()) return nullptr;
    ++named_;
    return &found->second;
  }
  std::string text(const char *name, const char *fallback = nullptr) {
    const Value *value = next(name);
    if (!value && fallback) return fallback;
    if (!value || !value->is_text()) fail_at(line_, who_ + " needs a string as '" + name + "'", Code::invalid);
    return value->text();
  }
  void done() const {
    if (at_ < args_.values.size() || named_ < args_.named.size())
      fail_at(line_, "these arguments of " + who_ + " are not supported");
  }

 private:
  std::string who_;
  const Arguments &args_;
  int line_;
  size_t at_ = 0, named_ = 0;
};

Json pairs_of(const Json &object) {
  Json pairs = Json::array();
  for (auto &[key, item] : object.items()) pairs.push_back(Json::array({key, item}));
  return pairs;
}

}  // namespace

Value apply_filter(const std::string &name, const Value &value, const Arguments &args, int line) {
  std::string who = "the filter '" + name + "'";
  Reader reader(who, args, line);
  auto text = [&] { return text_of(value, line); };
  if (name == "default" || name == "d") {
    const Value *fallback = reader.next("default_value"), *falsy = reader.next("boolean");
    reader.done();
    bool use = !value.defined() || (falsy && truth(*falsy) && !truth(value));
    return use ? (fallback ? *fallback : Value::of("")) : value;
  }
  if (name == "trim") {
    const Value *chars = reader.next("chars");
    reader.done();
    if (chars && !chars->is_text()) fail_at(line, who + " needs a string as 'chars'", Code::invalid);
    return Value::of(strip(text(), chars ? chars->text() : kSpaces, true, true, line));
  }
  if (name == "replace") {
    std::string from = reader.text("old"), to = reader.text("new");
    reader.done();
    return Value::of(replace(text(), from, to, line));
  }
  if (name == "join") {
    std::string out, between = reader.text("d", "");
    reader.done();
    bool first = true;
    for (const Json &item : items_of(value, line)) {
      if (!first) out += between;
      first = false;
      out = checked(std::move(out) + text_of(Value::of(item), line), line);
    }
    return Value::of(out);
  }
  reader.done();
  if (name == "tojson") {
    if (value.kind != Value::Kind::data || value.is_range())
      fail_at(line, "tojson of something " + kind_name(value), Code::invalid);
    return Value::of(json_of(value.data));
  }
  if (name == "safe") return value;
  if (name == "string") return Value::of(text());
  if (name == "upper" || name == "lower") return Value::of(change_case(text(), name == "upper", line));
  const bool is_list = value.kind == Value::Kind::data && value.data.is_array();
  if (name == "length" || name == "count")
    return Value::of(static_cast<int64_t>(is_list ? value.data.size() : items_of(value, line).size()));
  if (name == "list") return Value::of(Json(items_of(value, line)));
  if (name == "first" || name == "last") {
    if (is_list && !value.data.empty()) return Value::of(name == "first" ? value.data.front() : value.data.back());
    std::vector<Json> items = items_of(value, line);
    if (items.empty()) return Value::missing(name + " of nothing");
    return Value::of(name == "first" ? items.front() : items.back());
  }
  if (name == "items") {
    if (!value.defined()) return Value::of(Json::array());
    if (value.kind != Value::Kind::data || !value.data.is_object())
      fail_at(line, "items of a " + kind_name(value), Code::invalid);
    return Value::of(pairs_of(value.data));
  }
  fail_at(line, who + " is not supported");
}

bool apply_test(const std::string &name, const Value &value, const Arguments &args, int line) {
  bool data = value.kind == Value::Kind::data;
  const Json &d = value.data;
  if (args.values.empty() && args.named.empty()) {
    if (name == "defined") return value.defined();
    if (name == "undefined") return !value.defined();
    if (name == "none") return data && d.is_null();
    if (name == "string") return value.is_text();
    if (name == "number") return data && (d.is_number() || d.is_boolean());
    if (name == "integer") return data && d.is_number_integer();
    if (name == "float") return data && d.is_number_float();
    if (name == "boolean") return data && d.is_boolean();
    if (name == "true" || name == "false") return data && d.is_boolean() && d.get<bool>() == (name == "true");
    if (name == "mapping") return data && d.is_object();
    if (name == "iterable" || name == "sequence")
      return !value.defined() || (data && (d.is_string() || d.is_structured()));
  }
  if (args.values.size() == 1 && args.named.empty()) {
    const Value &other = args.values[0];
    if (value.is_range() || other.is_range()) fail_at(line, "comparing a range is not supported");
    if (name == "equalto" || name == "eq" || name == "sameas") {
      if (name == "sameas" && !(other.kind == Value::Kind::data && (other.data.is_null() || other.data.is_boolean())))
        fail_at(line, "the test 'sameas' with other than true, false and none is not supported");
      return name == "sameas" ? data && d == other.data : equal(value, other);
    }
    if (name == "ne") return !equal(value, other);
    if (name == "in") return contains(other, value, line);
  }
  fail_at(line, "the test '" + name + "' is not supported in this form");
}

Value call_method(const Value &object, const std::string &name, const Arguments &args, int line) {
  if (!object.defined()) fail_at(line, "'" + object.name + "' is undefined", Code::invalid);
  std::string who = "the method '" + name + "' of a " + kind_name(object);
  Reader reader(who, args, line);
  if (object.is_text()) {
    const std::string &text = object.text();
    if (name == "strip" || name == "lstrip" || name == "rstrip") {
      const Value *chars = reader.next("chars");
      reader.done();
      if (chars && !chars->is_text()) fail_at(line, who + " needs a string", Code::invalid);
      return Value::of(strip(text, chars ? chars->text() : kSpaces, name != "rstrip", name != "lstrip", line));
    }
    if (name == "startswith" || name == "endswith") {
      std::string part = reader.text("prefix");
      reader.done();
      return Value::of(name == "startswith" ? text.starts_with(part) : text.ends_with(part));
    }
    if (name == "replace") {
      std::string from = reader.text("old"), to = reader.text("new");
      reader.done();
      return Value::of(replace(text, from, to, line));
    }
    if (name == "split") {
      std::string by = reader.text("sep");
      reader.done();
      if (by.empty()) fail_at(line, "splitting at the empty string", Code::invalid);
      Json parts = Json::array();
      size_t at = 0;
      for (size_t hit; (hit = find_in(text, by, at)) != std::string::npos; at = hit + by.size())
        parts.push_back(text.substr(at, hit - at));
      parts.push_back(text.substr(at));
      return Value::of(std::move(parts));
    }
    if (name == "upper" || name == "lower") {
      reader.done();
      return Value::of(change_case(text, name == "upper", line));
    }
  } else if (object.kind == Value::Kind::data && object.data.is_object()) {
    if (name == "get") {
      std::string key = reader.text("key");
      const Value *fallback = reader.next("default");
      reader.done();
      auto found = object.data.find(key);
      return found != object.data.end() ? Value::of(*found) : fallback ? *fallback : Value::of(nullptr);
    }
    if (name == "items" || name == "keys" || name == "values") {
      reader.done();
      if (name == "items") return Value::of(pairs_of(object.data));
      Json list = Json::array();
      for (auto &[key, item] : object.data.items()) list.push_back(name == "keys" ? Json(key) : item);
      return Value::of(std::move(list));
    }
  }
  fail_at(line, who + " is not supported");
}

}  // namespace gcop::guide_torch::jinja
