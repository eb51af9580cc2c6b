// tokenizer.json, both ways: what Hugging Face's tokenizers library writes for a byte-level BPE, read into a
// TokenizerData, and a TokenizerData written so that the library tokenizes the same. Anything this project's tokenizer
// would do differently is refused by name. Failures throw Fault.
#pragma once
#include <string>

#include "json_read.hpp"
#include "tokenizer.hpp"

namespace gcop::guide_torch {

// Ids of special roles (bos, eos, ...) and stop_ids are not in this file; hf_dir.cpp adds them.
TokenizerData read_tokenizer_json(const Json &json, const std::string &path);
Json write_tokenizer_json(const TokenizerData &data);

}  // namespace gcop::guide_torch
