#include "tokenizer_json.hpp"

#include <algorithm>
#include <unordered_set>

#include "utf8.hpp"

namespace gcop::guide_torch {
namespace {

[[noreturn]] void refuse(const std::string &path, const std::string &what) {
  fail("'" + path + "': " + what + " is not supported; gcop reads byte-level BPE tokenizers", Code::unsupported);
}

void read_normalizer(const Json &json, const std::string &path, TokenizerData &data) {
  if (json.is_null()) return;
  std::string type = text_field(json, "type", path);
  if (type == "NFC") {
    data.nfc = true;
  } else if (type == "Sequence") {
    for (const Json &part : field(json, "normalizers", path)) read_normalizer(part, path, data);
  } else {
    refuse(path, "the normalizer '" + type + "'");
  }
}

// True when ByteLevel was met: bytes must be spelled, or the vocabulary means something else.
bool read_splits(const Json &json, const std::string &path, TokenizerData &data) {
  if (json.is_null()) return false;
  std::string type = text_field(json, "type", path);
  if (type == "Sequence") {
    bool byte_level = false;
    for (const Json &part : field(json, "pretokenizers", path)) {
      if (byte_level) refuse(path, "a step after ByteLevel");
      byte_level = read_splits(part, path, data);
    }
    return byte_level;
  }
  if (type == "Digits") {
    data.splits.push_back({SplitStep::Kind::digits, "", flag_field(json, "individual_digits", path, false)});
    return false;
  }
  if (type == "Split") {
    std::string behavior = text_field(json, "behavior", path);
    if (behavior != "Isolated" || flag_field(json, "invert", path, false))
      refuse(path, "the split behaviour '" + behavior + "'");
    const Json &pattern = field(json, "pattern", path);
    data.splits.push_back({SplitStep::Kind::regex, text_field(pattern, "Regex", path), true});
    return false;
  }
  if (type == "ByteLevel") {
    if (flag_field(json, "add_prefix_space", path, true)) refuse(path, "add_prefix_space");
    if (flag_field(json, "use_regex", path, true)) data.splits.push_back({SplitStep::Kind::regex, kGpt2Pattern, true});
    return true;
  }
  refuse(path, "the pre-tokenizer '" + type + "'");
}

// Ids may leave holes, but not more than a file of so many tokens accounts for.
int64_t most_ids(size_t tokens) { return std::min<int64_t>(1 << 22, 1024 + 2 * static_cast<int64_t>(tokens)); }

void put_token(TokenizerData &data, int64_t id, const std::string &text, int64_t most, const std::string &path) {
  if (id < 0 || id >= most)
    fail("'" + path + "': token '" + text + "' has the id " + std::to_string(id) + "; with so many tokens 0 to " +
         std::to_string(most - 1) + " is possible");
  if (static_cast<size_t>(id) >= data.tokens.size()) data.tokens.resize(static_cast<size_t>(id) + 1);
  std::string &slot = data.tokens[static_cast<size_t>(id)];
  if (!slot.empty() && slot != text)
    fail("'" + path + "' gives the id " + std::to_string(id) + " to '" + slot + "' and to '" + text + "'");
  slot = text;
}

void read_bpe(const Json &model, const std::string &path, TokenizerData &data) {
  std::string type = text_field(model, "type", path);
  if (type != "BPE") refuse(path, "the model '" + type + "'");
  for (const char *name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const Json &value = field(model, name, path);
    if (!value.is_null() && value != "") refuse(path, name);
  }
  if (!field(model, "dropout", path).is_null()) refuse(path, "dropout");
  data.ignore_merges = flag_field(model, "ignore_merges", path, false);

  const Json &vocab = field(model, "vocab", path);
  if (!vocab.is_object() || vocab.empty()) fail("'" + path + "' has no model.vocab");
  for (auto &[text, id] : vocab.items()) {
    if (!id.is_number_integer()) fail("'" + path + "': token '" + text + "' has no integer id");
    put_token(data, id.get<int64_t>(), text, most_ids(vocab.size()), path);
  }
  const Json &merges = field(model, "merges", path);
  if (!merges.is_array()) fail("'" + path + "' has no model.merges");
  for (const Json &merge : merges) {
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      data.merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
    } else if (size_t space;
               merge.is_string() && (space = merge.get_ref<const std::string &>().find(' ')) != std::string::npos) {
      const std::string &text = merge.get_ref<const std::string &>();
      data.merges.emplace_back(text.substr(0, space), text.substr(space + 1));
    } else {
      fail("'" + path + "': a merge is no pair");
    }
  }

  // What happens to bytes without a token matters only where there are such bytes.
  bool missing = false;
  for (int b = 0; b < 256; ++b) missing |= !vocab.contains(spell_bytes(std::string(1, static_cast<char>(b))));
  const Json &unk = field(model, "unk_token", path);
  if (!missing || unk.is_null()) return;
  if (!flag_field(model, "fuse_unk", path, false)) refuse(path, "unk_token without fuse_unk");
  if (flag_field(model, "byte_fallback", path, false) && vocab.contains("<0x00>")) refuse(path, "byte_fallback");
  auto id = unk.is_string() ? vocab.find(unk.get<std::string>()) : vocab.end();
  if (id == vocab.end()) fail("'" + path + "': unk_token is not in the vocabulary");
  data.byte_unk = id->get<int32_t>();
}

}  // namespace

TokenizerData read_tokenizer_json(const Json &json, const std::string &path) {
  TokenizerData data;
  read_normalizer(field(json, "normalizer", path), path, data);
  if (!read_splits(field(json, "pre_tokenizer", path), path, data)) refuse(path, "a pre-tokenizer without ByteLevel");
  read_bpe(field(json, "model", path), path, data);
  const Json &added = field(json, "added_tokens", path);
  if (!added.is_null() && !added.is_array()) fail("'" + path + "': added_tokens should be a list");
  for (const Json &token : added) {
    AddedToken out;
    out.text = text_field(token, "content", path);
    int64_t id = integer_field(token, "id", path);
    put_token(data, id, out.text, most_ids(data.tokens.size() + added.size()), path);
    out.id = static_cast<int32_t>(id);
    out.special = flag_field(token, "special", path, false);
    out.normalized = flag_field(token, "normalized", path, false);
    for (const char *name : {"single_word", "lstrip", "rstrip"})
      if (flag_field(token, name, path, false))
        refuse(path, std::string(name) + " of the added token '" + out.text + "'");
    data.added.push_back(std::move(out));
  }
  // TemplateProcessing that begins with a special token is how these files say "a prompt starts with bos".
  const Json &post = field(json, "post_processor", path);
  auto starts_with_special = [&](const Json &processor) {
    const Json &single = field(processor, "single", path);
    return single.is_array() && !single.empty() && single[0].is_object() && single[0].contains("SpecialToken");
  };
  if (post.is_object()) {
    data.add_bos = starts_with_special(post);
    const Json &processors = field(post, "processors", path);
    if (processors.is_array())
      for (const Json &part : processors) data.add_bos = data.add_bos || starts_with_special(part);
  }
  return data;
}

Json write_tokenizer_json(const TokenizerData &data) {
  Json added = Json::array();
  std::vector<const AddedToken *> in_order;
  std::unordered_set<int32_t> added_ids;
  for (const AddedToken &token : data.added) {
    in_order.push_back(&token);
    added_ids.insert(token.id);
  }
  std::sort(in_order.begin(), in_order.end(), [](auto *a, auto *b) { return a->id < b->id; });
  for (const AddedToken *token : in_order)
    added.push_back({{"id", token->id},
                     {"content", token->text},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", token->normalized},
                     {"special", token->special}});

  Json steps = Json::array();
  for (const SplitStep &step : data.splits) {
    if (step.kind == SplitStep::Kind::digits)
      steps.push_back({{"type", "Digits"}, {"individual_digits", step.individual}});
    else
      steps.push_back(
          {{"type", "Split"}, {"pattern", {{"Regex", step.pattern}}}, {"behavior", "Isolated"}, {"invert", false}});
  }
  steps.push_back({{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}});

  Json vocab = Json::object();
  for (size_t id = 0; id < data.tokens.size(); ++id)
    if (!data.tokens[id].empty()) vocab[data.tokens[id]] = id;
  Json merges = Json::array();
  for (const auto &[left, right] : data.merges) merges.push_back({left, right});

  Json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}};
  Json post = byte_level;
  if (data.add_bos && data.bos >= 0) {
    const std::string &bos = data.tokens[static_cast<size_t>(data.bos)];
    Json first = {{"SpecialToken", {{"id", bos}, {"type_id", 0}}}};
    Json body = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
    Json second = {{"SpecialToken", {{"id", bos}, {"type_id", 1}}}};
    Json other = {{"Sequence", {{"id", "B"}, {"type_id", 1}}}};
    post = {
        {"type", "TemplateProcessing"},
        {"single", Json::array({first, body})},
        {"pair", Json::array({first, body, second, other})},
        {"special_tokens", {{bos, {{"id", bos}, {"ids", Json::array({data.bos})}, {"tokens", Json::array({bos})}}}}}};
  }
  Json unk = data.byte_unk >= 0 ? Json(data.tokens[static_cast<size_t>(data.byte_unk)]) : Json(nullptr);
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", std::move(added)},
          {"normalizer", data.nfc ? Json{{"type", "NFC"}} : Json(nullptr)},
          {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", std::move(steps)}}},
          {"post_processor", std::move(post)},
          {"decoder", std::move(byte_level)},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", std::move(unk)},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", data.byte_unk >= 0},
            {"byte_fallback", false},
            {"ignore_merges", data.ignore_merges},
            {"vocab", std::move(vocab)},
            {"merges", std::move(merges)}}}};
}

}  // namespace gcop::guide_torch
