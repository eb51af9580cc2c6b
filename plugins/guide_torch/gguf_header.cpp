#include "gguf_header.hpp"

#include <cstring>
#include <set>

#include "fault.hpp"

namespace gcop::guide_torch {
namespace {

// Value types of the format.
enum : uint32_t { kU8, kI8, kU16, kI16, kU32, kI32, kF32, kBool, kString, kArray, kU64, kI64, kF64 };

// Bytes of one scalar; 0 = not a scalar.
size_t scalar_size(uint32_t type) {
  switch (type) {
    case kU8:
    case kI8:
    case kBool: return 1;
    case kU16:
    case kI16: return 2;
    case kU32:
    case kI32:
    case kF32: return 4;
    case kU64:
    case kI64:
    case kF64: return 8;
    default: return 0;
  }
}

template <class T>
T load(std::string_view raw) {
  T value;
  std::memcpy(&value, raw.data(), sizeof value);
  return value;
}

// Walks the file; a read past its end is a Fault that says what was being read.
class Cursor {
 public:
  Cursor(std::string_view file, const std::string &path) : file_(file), path_(path) {}

  std::string_view take(uint64_t n, const char *what) {
    if (n > file_.size() - at_)
      fail("GGUF '" + path_ + "' is truncated or corrupt: " + what + " at byte " + std::to_string(at_) + " needs " +
           std::to_string(n) + " bytes, the file has " + std::to_string(file_.size() - at_) + " left");
    auto part = file_.substr(at_, n);
    at_ += n;
    return part;
  }
  uint32_t u32(const char *what) { return load<uint32_t>(take(4, what)); }
  uint64_t u64(const char *what) { return load<uint64_t>(take(8, what)); }
  std::string_view text(const char *what) { return take(u64(what), what); }
  size_t at() const { return at_; }
  size_t left() const { return file_.size() - at_; }

 private:
  std::string_view file_;
  const std::string &path_;
  size_t at_ = 0;
};

GgufValue read_value(Cursor &cursor, const std::string &key, const std::string &path) {
  GgufValue value;
  value.type = cursor.u32("a metadata type");
  if (value.type == kArray) {
    value.array = true;
    value.type = cursor.u32("an array type");
    value.count = cursor.u64("an array length");
  }
  if (size_t size = scalar_size(value.type)) {
    if (value.count > cursor.left() / size)
      fail("GGUF '" + path + "' is truncated or corrupt: metadata '" + key + "' claims " + std::to_string(value.count) +
           " elements");
    value.raw = cursor.take(value.count * size, "a metadata value");
  } else if (value.type == kString) {
    std::string_view first = cursor.take(0, "a string");
    size_t start = cursor.at();
    for (uint64_t i = 0; i < value.count; ++i) cursor.text("a metadata string");
    value.raw = {first.data(), cursor.at() - start};
  } else {
    fail("GGUF '" + path + "': metadata '" + key + "' has the unknown type " + std::to_string(value.type));
  }
  return value;
}

}  // namespace

GgufHeader::GgufHeader(std::span<const uint8_t> bytes, const std::string &path) : path_(path) {
  std::string_view file(reinterpret_cast<const char *>(bytes.data()), bytes.size());
  if (file.substr(0, 4) != "GGUF") fail("'" + path + "' is no GGUF file: it does not start with \"GGUF\"");
  Cursor cursor(file, path_);
  cursor.take(4, "the magic");
  uint32_t version = cursor.u32("the version");
  if (version != 2 && version != 3)
    fail("GGUF '" + path + "' has format version " + std::to_string(version) + "; versions 2 and 3 can be read",
         Code::unsupported);
  uint64_t tensor_count = cursor.u64("the tensor count"), value_count = cursor.u64("the metadata count");

  for (uint64_t i = 0; i < value_count; ++i) {
    std::string key(cursor.text("a metadata key"));
    GgufValue value = read_value(cursor, key, path_);
    if (!values_.emplace(key, value).second) fail("GGUF '" + path + "' gives metadata '" + key + "' twice");
  }

  std::vector<uint64_t> offsets;
  std::set<std::string> seen;
  for (uint64_t i = 0; i < tensor_count; ++i) {
    GgufTensor tensor;
    tensor.name = cursor.text("a tensor name");
    std::string who = "GGUF '" + path + "': tensor '" + tensor.name + "' ";
    if (!seen.insert(tensor.name).second) fail(who + "is there twice");
    uint32_t rank = cursor.u32("a tensor rank");
    if (rank < 1 || rank > 4) fail(who + "has rank " + std::to_string(rank) + "; 1 to 4 is possible");
    uint64_t count = 1;
    for (uint32_t d = 0; d < rank; ++d) {
      uint64_t size = cursor.u64("a tensor shape");
      if (size == 0 || size > (uint64_t{1} << 40) / count) fail(who + "has an impossible shape");
      count *= size;
      tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(size));
    }
    uint32_t type = cursor.u32("a tensor type");
    tensor.encoding = find_encoding(type);
    if (!tensor.encoding)
      fail(who + "has ggml type " + std::to_string(type) + "; these can be read: " + encoding_names(),
           Code::unsupported);
    if (static_cast<uint64_t>(tensor.shape.back()) % tensor.encoding->values != 0)
      fail(who + "has rows of " + std::to_string(tensor.shape.back()) + " values, not a multiple of " +
           tensor.encoding->name + "'s " + std::to_string(tensor.encoding->values));
    offsets.push_back(cursor.u64("a tensor offset"));
    tensors_.push_back(std::move(tensor));
  }

  int64_t alignment = integer("general.alignment", 32);
  if (alignment < 1 || alignment > (1 << 20) || (alignment & (alignment - 1)))
    fail("GGUF '" + path + "': general.alignment is " + std::to_string(alignment) + ", not a power of two");
  size_t start = (cursor.at() + alignment - 1) / alignment * alignment;
  size_t room = start <= file.size() ? file.size() - start : 0;
  uint64_t sum = 0;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    GgufTensor &tensor = tensors_[i];
    uint64_t count = 1;
    for (int64_t size : tensor.shape) count *= static_cast<uint64_t>(size);
    uint64_t need = count / tensor.encoding->values * tensor.encoding->bytes;
    if (offsets[i] > room || need > room - offsets[i])
      fail("GGUF '" + path + "' is truncated: tensor '" + tensor.name + "' needs " + std::to_string(need) +
           " bytes at offset " + std::to_string(offsets[i]) + " of a data part of " + std::to_string(room) +
           "; download it again");
    tensor.data = bytes.data() + start + offsets[i];
    sum += need;
  }
  // Else a small file could make many large weights of the same bytes.
  if (sum > room)
    fail("GGUF '" + path + "' is corrupt: its tensors need " + std::to_string(sum) + " bytes, its data part has " +
         std::to_string(room) + "; some overlap");
}

const GgufValue &GgufHeader::value(const std::string &key, bool array) const {
  auto found = values_.find(key);
  if (found == values_.end()) fail("GGUF '" + path_ + "' has no metadata '" + key + "'");
  if (found->second.array != array)
    fail("GGUF '" + path_ + "': metadata '" + key + "' should " + (array ? "" : "not ") + "be an array");
  return found->second;
}

std::string GgufHeader::text(const std::string &key) const {
  const GgufValue &v = value(key, false);
  if (v.type != kString) fail("GGUF '" + path_ + "': metadata '" + key + "' should be a string");
  return std::string(v.raw.substr(8));
}

int64_t GgufHeader::as_integer(const std::string &key, const GgufValue &v, std::string_view raw) const {
  switch (v.type) {
    case kU8: return load<uint8_t>(raw);
    case kI8: return load<int8_t>(raw);
    case kU16: return load<uint16_t>(raw);
    case kI16: return load<int16_t>(raw);
    case kU32: return load<uint32_t>(raw);
    case kI32: return load<int32_t>(raw);
    case kI64: return load<int64_t>(raw);
    case kU64:
      if (load<uint64_t>(raw) <= INT64_MAX) return static_cast<int64_t>(load<uint64_t>(raw));
      [[fallthrough]];
    default: fail("GGUF '" + path_ + "': metadata '" + key + "' should be an integer");
  }
}

int64_t GgufHeader::integer(const std::string &key) const {
  const GgufValue &v = value(key, false);
  return as_integer(key, v, v.raw);
}

double GgufHeader::real(const std::string &key) const {
  const GgufValue &v = value(key, false);
  if (v.type == kF32) return static_cast<double>(load<float>(v.raw));
  if (v.type == kF64) return load<double>(v.raw);
  fail("GGUF '" + path_ + "': metadata '" + key + "' should be a floating-point number");
}

bool GgufHeader::flag(const std::string &key, bool fallback) const {
  if (!has(key)) return fallback;
  const GgufValue &v = value(key, false);
  if (v.type != kBool) fail("GGUF '" + path_ + "': metadata '" + key + "' should be a boolean");
  return v.raw[0] != 0;
}

std::string GgufHeader::text(const std::string &key, const std::string &fallback) const {
  return has(key) ? text(key) : fallback;
}

int64_t GgufHeader::integer(const std::string &key, int64_t fallback) const {
  return has(key) ? integer(key) : fallback;
}

std::vector<std::string> GgufHeader::texts(const std::string &key) const {
  const GgufValue &v = value(key, true);
  if (v.type != kString) fail("GGUF '" + path_ + "': metadata '" + key + "' should be an array of strings");
  std::vector<std::string> out;
  std::string_view rest = v.raw;  // lengths were checked when the header was read
  while (!rest.empty()) {
    uint64_t size = load<uint64_t>(rest);
    out.emplace_back(rest.substr(8, size));
    rest.remove_prefix(8 + size);
  }
  return out;
}

std::vector<int64_t> GgufHeader::integers(const std::string &key) const {
  const GgufValue &v = value(key, true);
  size_t size = scalar_size(v.type);
  if (size == 0) fail("GGUF '" + path_ + "': metadata '" + key + "' should be an array of integers");
  std::vector<int64_t> out;
  for (std::string_view rest = v.raw; !rest.empty(); rest.remove_prefix(size)) out.push_back(as_integer(key, v, rest));
  return out;
}

}  // namespace gcop::guide_torch
