// A model's matrices in fewer bits than fp32, for cores that only answer. bf16 rounds each weight (half the memory, and
// half of what a single sequence has to read for a token); int8 stores 7 bits with one scale for each 32 inputs (a
// third of the memory, and twice the arithmetic of fp32 on CPUs without matrix units). Activations stay fp32 with bf16,
// and are 7 bits too with int8. Values; read by any thread once made.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "kernels.hpp"

namespace gcop::guide_torch {

class Arena;
class Crew;
struct Config;
struct Layout;
struct ModelView;
struct Parameter;

class CompactWeights {
 public:
  enum class Form { bf16, int8 };
  // int8 needs matrices with inputs in multiples of 32.
  static bool fits(Form form, const Config &config);
  // Whether a matrix of this name becomes compact: all but the embedding, whose rows are looked up in fp32.
  static bool takes(const Parameter &parameter);

  // `read` fills fp32 values of a matrix, [out][in]; they are held for one matrix at a time. `embedding` in fp32 makes
  // the head of a model whose head is tied.
  using Read = std::function<Result<>(const Parameter &, float *out)>;
  static Result<std::shared_ptr<const CompactWeights>> make(Form form, const Config &config, const Layout &layout,
                                                            const float *embedding, const Read &read, Crew &crew);
  // The view computes with these from now on.
  void show(ModelView &view) const;
  static size_t bytes(Form form, size_t weights);  // that so many weights take

 private:
  struct Rows {
    std::string name;
    std::unique_ptr<Arena> values, scales, offsets;  // the last two of int8
    Int8Rows int8{};
  };
  void add(Form form, const std::string &name, const float *from, size_t outputs, size_t inputs, Crew &crew);
  Matrix matrix(const std::string &name) const;

  std::vector<std::unique_ptr<Rows>> rows_;
};

}  // namespace gcop::guide_torch
