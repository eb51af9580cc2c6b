// The header of a GGUF file (versions 2 and 3): typed metadata and the table of tensors, as views into the mapped
// file. Read by gguf.cpp alone. Every count, length and offset is checked against the file before it is used, and
// nothing is allocated that the file's own size does not pay for. Failures throw Fault.
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quants.hpp"

namespace gcop::guide_torch {

struct GgufValue {
  uint32_t type = 0;  // GGUF's value type; for arrays that of the elements
  bool array = false;
  uint64_t count = 1;    // elements of an array
  std::string_view raw;  // the bytes of the value(s)
};

struct GgufTensor {
  std::string name;
  std::vector<int64_t> shape;  // row-major: slowest dimension first (the file stores it the other way round)
  const Encoding *encoding = nullptr;
  const uint8_t *data = nullptr;
};

class GgufHeader {
 public:
  GgufHeader(std::span<const uint8_t> file, const std::string &path);

  const std::vector<GgufTensor> &tensors() const { return tensors_; }
  bool has(const std::string &key) const { return values_.count(key) > 0; }
  // A key of another type than asked for is a Fault; so is a missing one where there is no fallback.
  std::string text(const std::string &key) const;
  std::string text(const std::string &key, const std::string &fallback) const;
  int64_t integer(const std::string &key) const;
  int64_t integer(const std::string &key, int64_t fallback) const;
  double real(const std::string &key) const;
  bool flag(const std::string &key, bool fallback) const;
  std::vector<std::string> texts(const std::string &key) const;
  std::vector<int64_t> integers(const std::string &key) const;

 private:
  const GgufValue &value(const std::string &key, bool array) const;
  int64_t as_integer(const std::string &key, const GgufValue &value, std::string_view raw) const;

  std::string path_;
  std::map<std::string, GgufValue> values_;
  std::vector<GgufTensor> tensors_;
};

}  // namespace gcop::guide_torch
