#include "tokenizer.hpp"

#include <algorithm>
#include <array>
#include <queue>
#include <stdexcept>
#include <unordered_map>

#include "fault.hpp"
#include "nfc.hpp"
#include "utf8.hpp"
#include "word_splitter.hpp"

namespace gcop::guide_torch {

const char *const kGpt2Pattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
const char *const kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const char *const kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

TokenizerData make_byte_tokenizer() {
  TokenizerData data;
  for (int b = 0; b < 256; ++b) data.tokens.push_back(spell_bytes(std::string(1, static_cast<char>(b))));
  for (const char *text : {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}) {
    data.added.push_back({static_cast<int32_t>(data.tokens.size()), text, true, false});
    data.tokens.push_back(text);
  }
  data.splits = {{SplitStep::Kind::regex, kGpt2Pattern, true}};
  data.pad = 256;
  data.eos = 258;
  data.stop_ids = {258, 256};
  return data;
}

namespace {

struct Merge {
  uint32_t rank;
  int32_t into;
};

uint64_t pair_key(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

// The added tokens that are looked for together; the longest one that starts first wins.
class AddedFinder {
 public:
  void add(const AddedToken *token) { by_first_[static_cast<uint8_t>(token->text[0])].push_back(token); }
  void sort() {
    for (auto &list : by_first_)
      std::stable_sort(list.begin(), list.end(), [](auto *a, auto *b) { return a->text.size() > b->text.size(); });
  }
  // Calls between(text) and found(token) in the text's order.
  template <class Between, class Found>
  void walk(std::string_view text, bool with_special, Between between, Found found) const {
    size_t done = 0;
    for (size_t at = 0; at < text.size();) {
      const AddedToken *hit = nullptr;
      for (const AddedToken *token : by_first_[static_cast<uint8_t>(text[at])])
        if ((with_special || !token->special) && text.substr(at, token->text.size()) == token->text) {
          hit = token;
          break;
        }
      if (!hit) {
        ++at;
        continue;
      }
      if (at > done) between(text.substr(done, at - done));
      found(*hit);
      done = at += hit->text.size();
    }
    if (done < text.size()) between(text.substr(done));
  }

 private:
  std::array<std::vector<const AddedToken *>, 256> by_first_;
};

}  // namespace

struct Tokenizer::Parts {
  explicit Parts(TokenizerData d);
  void encode_plain(std::string_view text, std::vector<int32_t> &out) const;
  void encode_word(std::string_view word, std::vector<int32_t> &out) const;
  std::string bytes_of(std::span<const int32_t> ids, bool skip_special) const;

  TokenizerData data;
  WordSplitter splitter;
  std::unordered_map<std::string, int32_t> by_spelling;
  std::unordered_map<uint64_t, Merge> merges;
  std::array<int32_t, 256> byte_ids;
  std::vector<std::string> bytes;  // id -> what decode() prints
  std::vector<bool> special;
  AddedFinder before_nfc, after_nfc;
};

Tokenizer::Parts::Parts(TokenizerData d) : data(std::move(d)), splitter(data.splits) {
  auto size = static_cast<int64_t>(data.tokens.size());
  if (size == 0 || size > (1 << 22)) fail("a vocabulary of " + std::to_string(size) + " tokens cannot be used");
  for (int64_t id = 0; id < size; ++id) {
    const std::string &token = data.tokens[static_cast<size_t>(id)];
    if (valid_utf8(token, false) != token) fail("the text of token " + std::to_string(id) + " is not UTF-8");
    if (!token.empty()) by_spelling[token] = static_cast<int32_t>(id);
    bytes.push_back(unspell_bytes(token).value_or(token));
  }
  special.resize(static_cast<size_t>(size));
  for (const AddedToken &token : data.added) {
    if (token.id < 0 || token.id >= size || token.text.empty())
      fail("the added token '" + token.text + "' has the id " + std::to_string(token.id) + ", outside the vocabulary");
    if (token.special) special[static_cast<size_t>(token.id)] = true;
    (token.normalized ? after_nfc : before_nfc).add(&token);
  }
  before_nfc.sort();
  after_nfc.sort();
  for (int b = 0; b < 256; ++b) {
    auto found = by_spelling.find(spell_bytes(std::string(1, static_cast<char>(b))));
    byte_ids[static_cast<size_t>(b)] = found == by_spelling.end() ? -1 : found->second;
  }
  uint32_t rank = 0;
  merges.reserve(data.merges.size());
  for (const auto &[left, right] : data.merges) {
    auto a = by_spelling.find(left), b = by_spelling.find(right), both = by_spelling.find(left + right);
    if (a == by_spelling.end() || b == by_spelling.end() || both == by_spelling.end())
      fail("the merge '" + left + " " + right + "' uses a token that is not in the vocabulary");
    merges[pair_key(a->second, b->second)] = {rank++, both->second};
  }
  for (int32_t id : {data.bos, data.eos, data.pad, data.unk, data.byte_unk})
    if (id < -1 || id >= size) fail("a special token id is " + std::to_string(id) + ", outside the vocabulary");
}

// Byte-pair merges in order of rank, leftmost first, over a linked list of symbols; stale heap entries are skipped.
void Tokenizer::Parts::encode_word(std::string_view word, std::vector<int32_t> &out) const {
  if (data.ignore_merges)
    if (auto whole = by_spelling.find(spell_bytes(word)); whole != by_spelling.end())
      return out.push_back(whole->second);
  struct Symbol {
    int32_t id;
    int prev, next;
    bool alive;
  };
  std::vector<Symbol> symbols;
  symbols.reserve(word.size());
  bool run_of_unknown = false;
  for (char c : word) {
    int32_t id = byte_ids[static_cast<uint8_t>(c)];
    bool unknown = id < 0;
    if (unknown) id = run_of_unknown ? -1 : data.byte_unk;
    run_of_unknown = unknown;
    if (id < 0) continue;
    int at = static_cast<int>(symbols.size());
    symbols.push_back({id, at - 1, at + 1, true});
  }
  if (symbols.empty()) return;
  symbols.back().next = -1;
  struct Candidate {
    uint32_t rank;
    int at;
    int32_t into;
    bool operator<(const Candidate &o) const { return rank != o.rank ? rank > o.rank : at > o.at; }
  };
  std::priority_queue<Candidate> queue;
  auto find_merge = [&](int at) -> const Merge * {
    if (at < 0 || symbols[at].next < 0) return nullptr;
    auto found = merges.find(pair_key(symbols[at].id, symbols[symbols[at].next].id));
    return found == merges.end() ? nullptr : &found->second;
  };
  auto offer = [&](int at) {
    if (const Merge *merge = find_merge(at)) queue.push({merge->rank, at, merge->into});
  };
  for (int i = 0; i < static_cast<int>(symbols.size()); ++i) offer(i);
  while (!queue.empty()) {
    Candidate best = queue.top();
    queue.pop();
    if (!symbols[best.at].alive) continue;
    const Merge *merge = find_merge(best.at);
    if (!merge || merge->into != best.into) continue;
    Symbol &left = symbols[best.at], &right = symbols[left.next];
    right.alive = false;
    left.id = best.into;
    left.next = right.next;
    if (left.next >= 0) symbols[left.next].prev = best.at;
    offer(left.prev);
    offer(best.at);
  }
  for (int at = 0; at >= 0; at = symbols[at].next) out.push_back(symbols[at].id);
}

void Tokenizer::Parts::encode_plain(std::string_view text, std::vector<int32_t> &out) const {
  for (std::string_view word : splitter.split(text)) encode_word(word, out);
}

Tokenizer::Tokenizer(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Tokenizer::~Tokenizer() = default;

Result<std::unique_ptr<Tokenizer>> Tokenizer::make(TokenizerData data) {
  return guarded("tokenizer",
                 [&] { return std::unique_ptr<Tokenizer>(new Tokenizer(std::make_unique<Parts>(std::move(data)))); });
}

std::vector<int32_t> Tokenizer::encode(std::string_view raw, bool parse_special) const {
  std::vector<int32_t> ids;
  std::string text = valid_utf8(raw, false);
  parts_->before_nfc.walk(
      text, parse_special,
      [&](std::string_view between) {
        std::string normal = parts_->data.nfc ? nfc(between) : std::string(between);
        parts_->after_nfc.walk(
            normal, parse_special, [&](std::string_view plain) { parts_->encode_plain(plain, ids); },
            [&](const AddedToken &token) { ids.push_back(token.id); });
      },
      [&](const AddedToken &token) { ids.push_back(token.id); });
  return ids;
}

std::string Tokenizer::Parts::bytes_of(std::span<const int32_t> ids, bool skip_special) const {
  std::string out;
  for (int32_t id : ids) {
    if (id < 0 || static_cast<size_t>(id) >= bytes.size()) continue;
    auto at = static_cast<size_t>(id);
    if (!(skip_special && special[at])) out += bytes[at];
  }
  return out;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  return valid_utf8(parts_->bytes_of(ids, skip_special), false);
}

std::string Tokenizer::decode_so_far(std::span<const int32_t> ids) const {
  return valid_utf8(parts_->bytes_of(ids, true), true);
}

int64_t Tokenizer::vocab() const { return static_cast<int64_t>(parts_->data.tokens.size()); }

bool Tokenizer::is_stop(int32_t id) const {
  const auto &stops = parts_->data.stop_ids;
  return std::find(stops.begin(), stops.end(), id) != stops.end();
}

bool Tokenizer::is_special(int32_t id) const {
  return id >= 0 && id < vocab() && parts_->special[static_cast<size_t>(id)];
}

int32_t Tokenizer::find(std::string_view token) const {
  auto found = parts_->by_spelling.find(std::string(token));
  return found == parts_->by_spelling.end() ? -1 : found->second;
}

const TokenizerData &Tokenizer::data() const { return parts_->data; }

}  // namespace gcop::guide_torch
