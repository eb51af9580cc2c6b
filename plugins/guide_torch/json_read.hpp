// Typed reading of untrusted JSON: a missing field or one of another type is a Fault that names file and field.
// Used by the Hugging Face readers in this folder.
#pragma once
#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "fault.hpp"
#include "mapped_file.hpp"

namespace gcop::guide_torch {

using Json = nlohmann::json;

// How many brackets are open at most. What reads, copies and prints JSON goes one call deeper for each.
inline int json_depth(std::string_view text) {
  int depth = 0, most = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') in_string = !in_string;
    if (in_string) {
      if (c == '\\') ++i;
    } else if (c == '{' || c == '[') {
      most = std::max(most, ++depth);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return most;
}

inline Json parse_json(std::string_view text, const std::string &path) {
  constexpr int kMaxDepth = 100;
  if (json_depth(text) > kMaxDepth)
    fail("'" + path + "' nests its JSON deeper than " + std::to_string(kMaxDepth) + "; no model's file does");
  Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded()) fail("'" + path + "' is not valid JSON; is the file cut short?");
  return json;
}

inline Json load_json(const std::string &path, size_t max_bytes) {
  return parse_json(text_of(MappedFile(path), max_bytes), path);
}

// The field, or null if the object has none. Null values count as absent, as they do in Python readers.
inline const Json &field(const Json &object, const char *name, const std::string &path) {
  static const Json none;
  if (!object.is_object()) fail("'" + path + "': '" + name + "' is looked for in something that is no object");
  auto found = object.find(name);
  return found == object.end() ? none : *found;
}

inline std::string text_field(const Json &object, const char *name, const std::string &path) {
  const Json &value = field(object, name, path);
  if (!value.is_string()) fail("'" + path + "': '" + name + "' should be a string");
  return value.get<std::string>();
}

inline int64_t integer_field(const Json &object, const char *name, const std::string &path) {
  const Json &value = field(object, name, path);
  bool fits = value.is_number_integer() && !(value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX);
  if (!fits) fail("'" + path + "': '" + name + "' should be an integer");
  return value.get<int64_t>();
}

inline int64_t integer_field(const Json &object, const char *name, const std::string &path, int64_t fallback) {
  return field(object, name, path).is_null() ? fallback : integer_field(object, name, path);
}

inline double real_field(const Json &object, const char *name, const std::string &path, double fallback) {
  const Json &value = field(object, name, path);
  if (value.is_null()) return fallback;
  if (!value.is_number()) fail("'" + path + "': '" + name + "' should be a number");
  return value.get<double>();
}

inline bool flag_field(const Json &object, const char *name, const std::string &path, bool fallback) {
  const Json &value = field(object, name, path);
  if (value.is_null()) return fallback;
  if (!value.is_boolean()) fail("'" + path + "': '" + name + "' should be true or false");
  return value.get<bool>();
}

}  // namespace gcop::guide_torch
