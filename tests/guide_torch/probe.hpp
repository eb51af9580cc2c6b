// The engine's forward pass without the plugin around it: for tests that look at logits.
#pragma once
#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "crew.hpp"
#include "forward.hpp"

namespace tiny {

using namespace gcop::guide_torch;

// A model in the engine's own parts, one sequence at a time.
struct Probe {
  explicit Probe(const std::string &path)
      : file(open(path)),
        layout(file->config()),
        arena(read(*file, layout, crew)),
        view(file->config(), layout, arena->data()),
        pool(file->config(), size_t{64} << 20),
        forward(file->config(), file->config().context, crew, *pick_kernels()) {}

  static std::unique_ptr<ModelFile> open(const std::string &path) {
    auto file = ModelFile::open(path);
    REQUIRE_MESSAGE(file, (file ? "" : file.error().message));
    return std::move(*file);
  }
  static std::shared_ptr<Arena> read(const ModelFile &file, const Layout &layout, Crew &crew) {
    auto arena = read_weights(file, layout, crew);
    REQUIRE(arena);
    return *arena;
  }

  // Logits at these positions, [position][vocab].
  std::vector<std::vector<float>> logits(const std::vector<int32_t> &tokens, const std::vector<int> &positions) {
    std::vector<int32_t> blocks;
    for (int32_t i = 0; i < blocks_for(static_cast<int64_t>(tokens.size())); ++i) blocks.push_back(pool.take());
    std::vector<std::vector<float>> out(positions.size());
    for (size_t from = 0; from < tokens.size(); from += Forward::kMaxRows) {
      std::vector<Row> rows;
      for (size_t i = from; i < std::min<size_t>(tokens.size(), from + Forward::kMaxRows); ++i)
        rows.push_back({tokens[i], static_cast<int32_t>(i), blocks.data()});
      forward.run(view, pool, rows);
      for (size_t k = 0; k < positions.size(); ++k) {
        const int at = positions[k] - static_cast<int>(from);
        if (at < 0 || at >= static_cast<int>(rows.size())) continue;
        const HeadRow row{at, 1};
        forward.head(view, {&row, 1});
        const LogitColumn column = forward.column(0);
        for (int v = 0; v < column.vocab; ++v) out[k].push_back(column.at(v));
      }
    }
    for (int32_t block : blocks) pool.release(block);
    return out;
  }
  std::vector<std::vector<float>> logits(const std::vector<int32_t> &tokens) {
    std::vector<int> all(tokens.size());
    std::iota(all.begin(), all.end(), 0);
    return logits(tokens, all);
  }

  Crew crew{2};
  std::unique_ptr<ModelFile> file;
  Layout layout;
  std::shared_ptr<Arena> arena;
  ModelView view;
  KvPool pool;
  Forward forward;
};

}  // namespace tiny
