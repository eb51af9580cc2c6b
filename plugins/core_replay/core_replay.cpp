// core_replay: a core that answers from recorded calls (records.hpp has the format). Offers gcop.core/1. Answers inside
// complete(): a look-up in memory never waits.
#include <gcop/plugin.hpp>
#include <nlohmann/json.hpp>

#include "records.hpp"

namespace core_replay {

using namespace gcop::sdk;

namespace {

std::string file_of(std::string_view text) {
  const nlohmann::json config = nlohmann::json::parse(text, nullptr, false);
  if (!config.is_object()) throw Failure(GCOP_INVALID, "core_replay: the configuration must be one JSON object");
  for (const auto &[name, value] : config.items())
    if (name != "file")
      throw Failure(GCOP_INVALID, "core_replay: unknown option '" + name + "'; the one there is is file");
  const auto file = config.find("file");
  if (file == config.end() || !file->is_string() || file->get_ref<const std::string &>().empty())
    throw Failure(GCOP_INVALID, "core_replay: 'file' must name a file of recorded calls");
  return file->get<std::string>();
}

}  // namespace

class CoreReplay : public Core {
 public:
  CoreReplay(Host host, std::string_view config)
      : records_(file_of(config)), identity_("core_replay/1 " + records_.sha256()) {
    host.log(GCOP_LOG_DEBUG, "core_replay: " + std::to_string(records_.size()) + " recorded calls");
  }
  // Whatever a recorded call could ask for, the record answers.
  uint32_t capabilities() const override { return GCOP_CORE_STOP | GCOP_CORE_PREFIX | GCOP_CORE_SEED; }
  std::string_view identity() const override { return identity_; }
  void complete(Request request, Completion<Reply> &&completion) override {
    if (request.n_choices != 1)
      throw Failure(GCOP_UNSUPPORTED, "core_replay: a record holds one choice; ask for samples instead");
    completion.ok(records_.find(request));
  }

 private:
  Records records_;
  std::string identity_;
};

}  // namespace core_replay

GCOP_PLUGIN(core_replay::CoreReplay, "gcop.core_replay", "1.0.0", "a core that answers from recorded calls",
            R"({"type": "object", "required": ["file"], "additionalProperties": false,
                "properties": {"file": {"type": "string", "description": "JSON lines of recorded calls"}}})")
