#include "safetensors.hpp"

#include <algorithm>
#include <cstring>

#include "durable_file.hpp"
#include "json_read.hpp"

namespace gcop::guide_torch {

SafetensorsFile::SafetensorsFile(MappedFile file) : file_(std::move(file)) {
  const std::string &path = file_.path();
  auto bytes = file_.bytes();
  uint64_t header_size = 0;
  if (bytes.size() < 8)
    fail("safetensors '" + path + "' is truncated: it has " + std::to_string(bytes.size()) + " bytes");
  std::memcpy(&header_size, bytes.data(), 8);
  if (header_size > bytes.size() - 8)
    fail("safetensors '" + path + "' is truncated or corrupt: its header claims " + std::to_string(header_size) +
         " bytes, the file has " + std::to_string(bytes.size()));
  Json header = parse_json({reinterpret_cast<const char *>(bytes.data()) + 8, header_size}, path);
  if (!header.is_object()) fail("safetensors '" + path + "': its header is no JSON object");
  const uint8_t *data = bytes.data() + 8 + header_size;
  uint64_t room = bytes.size() - 8 - header_size, sum = 0;

  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  for (auto &[name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    std::string who = "safetensors '" + path + "': tensor '" + name + "' ";
    StoredTensor tensor;
    std::string type = text_field(entry, "dtype", path);
    tensor.encoding = type == "F32"    ? &f32_encoding()
                      : type == "F16"  ? &f16_encoding()
                      : type == "BF16" ? &bf16_encoding()
                                       : nullptr;
    if (!tensor.encoding) fail(who + "has type " + type + "; F32, F16 and BF16 can be read", Code::unsupported);
    const Json &shape = field(entry, "shape", path), &offsets = field(entry, "data_offsets", path);
    if (!shape.is_array() || shape.size() > 8) fail(who + "has no usable shape");
    uint64_t count = 1;
    for (const Json &size : shape) {
      uint64_t n = size.is_number_unsigned() ? size.get<uint64_t>() : 0;
      if (n == 0 || n > (uint64_t{1} << 40) / count) fail(who + "has an impossible shape");
      count *= n;
      tensor.shape.push_back(static_cast<int64_t>(n));
    }
    if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
        !offsets[1].is_number_unsigned())
      fail(who + "has no usable data_offsets");
    uint64_t begin = offsets[0].get<uint64_t>(), end = offsets[1].get<uint64_t>();
    if (begin > end || end > room)
      fail("safetensors '" + path + "' is truncated: tensor '" + name + "' ends at byte " + std::to_string(end) +
           " of a data part of " + std::to_string(room) + "; copy or download it again");
    if (end - begin != count * tensor.encoding->bytes)
      fail(who + "has " + std::to_string(end - begin) + " bytes, its shape and type need " +
           std::to_string(count * tensor.encoding->bytes));
    sum += end - begin;  // each at most `room`, and there are fewer than the header has bytes: no overflow
    ranges.emplace_back(begin, end);
    tensor.data = data + begin;
    tensor.values = count;
    tensors_.emplace(name, std::move(tensor));
  }
  std::sort(ranges.begin(), ranges.end());
  for (size_t i = 1; i < ranges.size(); ++i)
    if (ranges[i].first < ranges[i - 1].second)
      fail("safetensors '" + path + "' is corrupt: two of its tensors share byte " + std::to_string(ranges[i].first));
  if (sum != room)
    fail("safetensors '" + path + "' is corrupt: its tensors need " + std::to_string(sum) +
         " bytes, its data part has " + std::to_string(room) + "; copy or download it again");
}

bool decode_finite(const StoredTensor &tensor, float *out) {
  constexpr size_t kPart = 4096;  // that is looked at while the cache still has it
  bool finite = true;
  for (size_t at = 0; at < tensor.values; at += kPart) {
    const size_t n = std::min(kPart, tensor.values - at);
    tensor.encoding->decode(tensor.data + at * tensor.encoding->bytes, out + at, n);
    finite = finite && all_finite(out + at, n);
  }
  return finite;
}

size_t value_count(const std::vector<int64_t> &shape) {
  size_t n = 1;
  for (int64_t size : shape) n *= static_cast<size_t>(size);
  return n;
}

void write_safetensors(const std::string &path, const std::vector<TensorOut> &tensors, StoredAs stored_as,
                       const std::map<std::string, std::string> &metadata) {
  const Encoding &encoding = stored_as == StoredAs::f32 ? f32_encoding() : bf16_encoding();
  Json header = {{"__metadata__", metadata}};
  size_t at = 0;
  for (const TensorOut &tensor : tensors) {
    size_t end = at + value_count(tensor.shape) * encoding.bytes;
    header[tensor.name] = {{"dtype", encoding.name}, {"shape", tensor.shape}, {"data_offsets", {at, end}}};
    at = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // readers map the data; keep it aligned
  uint64_t size = text.size();
  DurableFile file(path);
  file.write(&size, sizeof size);
  file.write(text.data(), text.size());
  std::vector<uint16_t> chunk(size_t{1} << 16);
  for (const TensorOut &tensor : tensors) {
    const float *values = tensor.values();
    size_t n = value_count(tensor.shape);
    if (!values) fail("tensor '" + tensor.name + "' has no values to write", Code::internal);
    if (stored_as == StoredAs::f32) {
      file.write(values, n * sizeof(float));
      continue;
    }
    for (size_t done = 0; done < n;) {
      size_t part = std::min(chunk.size(), n - done);
      for (size_t i = 0; i < part; ++i) chunk[i] = float_to_bf16(values[done + i]);
      file.write(chunk.data(), part * sizeof(uint16_t));
      done += part;
    }
  }
  file.finish();
}

}  // namespace gcop::guide_torch
