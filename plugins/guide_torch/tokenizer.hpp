// Text to token ids and back: byte-level BPE that gives the same ids as Hugging Face's tokenizers library.
// Made once per model from a TokenizerData (GGUF metadata or tokenizer.json); then any thread, concurrently.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.hpp"

namespace gcop::guide_torch {

// A token that is found in the text before anything else is split.
struct AddedToken {
  int32_t id = -1;
  std::string text;         // plain text, not byte-level spelling
  bool special = false;     // control token: left out by decode(skip_special)
  bool normalized = false;  // looked for after normalisation
};

// One step that cuts text into words before BPE.
struct SplitStep {
  enum class Kind { regex, digits } kind = Kind::regex;
  std::string pattern;     // regex: matches and what lies between them are words ("Isolated")
  bool individual = true;  // digits: each digit is a word of its own
};

// What a model's files say about its tokenizer; plain data, also what hf_writer writes back.
struct TokenizerData {
  std::vector<std::string> tokens;                          // id -> byte-level spelling; "" = a hole
  std::vector<std::pair<std::string, std::string>> merges;  // in order of rank
  std::vector<AddedToken> added;
  std::vector<SplitStep> splits;
  bool nfc = false;                                // Unicode NFC before splitting
  bool ignore_merges = false;                      // a word that is a token is taken whole
  bool add_bos = false;                            // encode() of a whole prompt starts with bos; the caller's business
  int32_t bos = -1, eos = -1, pad = -1, unk = -1;  // -1 = none
  int32_t byte_unk = -1;  // what BPE puts for bytes that have no token, one for a run of them; -1 = leaves them out
  std::vector<int32_t> stop_ids;  // ids that end a completion: eos, end of turn, generation_config's list
};

// The split patterns of the models that a GGUF file names by a word; tokenizer.json brings its own.
extern const char *const kGpt2Pattern;
extern const char *const kQwen2Pattern;
extern const char *const kLlama3Pattern;

// 256 bytes, <|endoftext|>, <|im_start|>, <|im_end|>: for randomly initialised models. vocab = 259.
TokenizerData make_byte_tokenizer();

class Tokenizer {
 public:
  static Result<std::unique_ptr<Tokenizer>> make(TokenizerData data);
  ~Tokenizer();

  // parse_special = false treats "<|im_end|>" in the text as plain text: for what a user or a model wrote. Bytes that
  // are no UTF-8 count as U+FFFD. Throws std::runtime_error if a split pattern of the model's own exhausts PCRE2.
  std::vector<int32_t> encode(std::string_view text, bool parse_special = true) const;
  // Always valid UTF-8: bytes that are none become U+FFFD, as Hugging Face decodes.
  std::string decode(std::span<const int32_t> ids, bool skip_special = true) const;
  // decode() without a last character whose bytes are right so far but not all there: what a stream may hand out.
  // The answer for more ids begins with it.
  std::string decode_so_far(std::span<const int32_t> ids) const;

  int64_t vocab() const;           // ids are in [0, vocab())
  bool is_stop(int32_t id) const;  // ends a completion
  bool is_special(int32_t id) const;
  int32_t find(std::string_view token) const;  // id of an added token or of a byte-level spelling; -1 = none
  const TokenizerData &data() const;

 private:
  struct Parts;
  explicit Tokenizer(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace gcop::guide_torch
