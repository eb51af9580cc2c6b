// One .safetensors file, mapped: its table of tensors, checked against the file's size. F32, F16 and BF16.
// Read by hf_dir.cpp. Failures throw Fault.
#pragma once
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

class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::string &path);
  const std::map<std::string, StoredTensor> &tensors() const { return tensors_; }
  const MappedFile &file() const { return file_; }

 private:
  MappedFile file_;
  std::map<std::string, StoredTensor> tensors_;
};

}  // namespace gcop::guide_torch
