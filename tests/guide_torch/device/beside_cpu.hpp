// What tests need that hold the device's path beside the CPU engine's.
#pragma once
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "plugged.hpp"
#include "safetensors.hpp"
#include "tiny_model.hpp"

namespace beside {

using namespace plugged;

inline constexpr double kExact = 1e-4;   // fp32
inline constexpr double kRounded = 0.1;  // bf16: of log-probabilities of models whose logits reach 10
inline constexpr double kRoundedMean = 0.03;

inline nlohmann::json architectures() {
  std::ifstream file(GCOP_SOURCE_DIR "/tests/guide_torch/golden/tiny_models.json");
  return nlohmann::json::parse(file);
}

inline std::string config_of(const tiny::Directory &directory) {
  return R"({"model":")" + directory.path() + R"(","threads":2})";
}

// Where it does not, it says what is missing, and the test is skipped.
inline bool cuda_opens(const std::string &config) {
  try {
    const Model there(config);
    return true;
  } catch (const std::runtime_error &e) {
    const std::string why = e.what();
    CHECK_MESSAGE(why.find("device \"cuda\": ") != std::string::npos, why);
    MESSAGE("skipped: " << why);
    return false;
  }
}

inline std::vector<float> scored(const Model &m, const std::vector<std::vector<int32_t>> &sequences) {
  std::vector<float> out;
  const Plain p = m.score(sequences, &out);
  REQUIRE_MESSAGE(p.status == GCOP_OK, p.error);
  return out;
}

struct Difference {
  double worst = 0, mean = 0;
};
inline Difference difference(const std::vector<float> &a, const std::vector<float> &b) {
  REQUIRE(a.size() == b.size());
  Difference d;
  for (size_t i = 0; i < a.size(); ++i) {
    const double each = std::abs(static_cast<double>(a[i]) - b[i]);
    d.worst = std::max(d.worst, each);
    d.mean += each / static_cast<double>(a.size());
  }
  return d;
}

inline Batch training_batch(const Model &m) {
  Batch b;
  const std::vector<int32_t> shared = m.encode("a prompt of more than sixteen tokens, shared: ");
  for (int i = 0; i < 4; ++i) b.add(shared, m.encode("answer " + std::to_string(i * 7)));
  b.add(m.encode("another prompt "), m.encode(std::string(90, 'x') + " long"));
  b.add(m.encode("q"), m.encode("a"));
  b.advantages = {0.5f, -1, 0.25f, 0.25f, 1, -0.75f};
  return b;
}

using Tensors = std::map<std::string, std::vector<float>>;
inline Tensors tensors_of(const std::string &path) {
  Tensors out;
  const gcop::guide_torch::SafetensorsFile file(path);
  for (const auto &[name, tensor] : file.tensors()) {
    size_t n = 1;
    for (int64_t size : tensor.shape) n *= static_cast<size_t>(size);
    out[name].resize(n);
    std::memcpy(out[name].data(), tensor.data, n * 4);
  }
  return out;
}

inline Tensors saved(const Model &m) {
  const TempDir dir;
  const Plain p = m.save("current", dir.path + "/model");
  REQUIRE_MESSAGE(p.status == GCOP_OK, p.error);
  return tensors_of(dir.path + "/model/model.safetensors");
}

inline std::string bytes_of(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE(file.good());
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace beside
