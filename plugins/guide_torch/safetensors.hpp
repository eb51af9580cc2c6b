// One .safetensors file: read (mapped, its table of tensors checked against the file's size; F32, F16 and BF16) and
// written. Used by the readers and writers of this folder. Failures throw Fault.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "mapped_file.hpp"
#include "quants.hpp"

namespace gcop::guide_torch {

struct StoredTensor {
  std::vector<int64_t> shape;
  const Encoding *encoding = nullptr;
  const uint8_t *data = nullptr;
  size_t values = 0;
};

// All values as fp32; false: one of them is a NaN or infinite.
bool decode_finite(const StoredTensor &tensor, float *out);

class SafetensorsFile {
 public:
  explicit SafetensorsFile(MappedFile file);
  explicit SafetensorsFile(const std::string &path) : SafetensorsFile(MappedFile(path)) {}
  const std::map<std::string, StoredTensor> &tensors() const { return tensors_; }
  const MappedFile &file() const { return file_; }

 private:
  MappedFile file_;
  std::map<std::string, StoredTensor> tensors_;
};

enum class StoredAs { f32, bf16 };  // bf16 rounds to nearest even

struct TensorOut {
  std::string name;            // canonical Hugging Face name
  std::vector<int64_t> shape;  // row-major
  // Called once, in the order of the list; the floats stay valid until the next tensor's call or the return.
  std::function<const float *()> values;
};

size_t value_count(const std::vector<int64_t> &shape);
// Flushed to disk. `metadata` is the file's "__metadata__".
void write_safetensors(const std::string &path, const std::vector<TensorOut> &tensors, StoredAs stored_as,
                       const std::map<std::string, std::string> &metadata = {{"format", "pt"}});

}  // namespace gcop::guide_torch
