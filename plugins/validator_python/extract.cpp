#include "extract.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstddef>

namespace gcop::validator_python {
namespace {

struct Block {
  std::string label, text;
};

bool name_char(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines(1);
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n') continue;
    if (text[i] == '\n')
      lines.emplace_back();
    else
      lines.back() += text[i];
  }
  return lines;
}

size_t indent_of(const std::string &line) { return std::min(line.find_first_not_of(" \t"), line.size()); }

// Length of a run of fence characters at the start of the trimmed line, 0 if it is no fence.
size_t fence_length(const std::string &line, char mark) {
  const size_t from = indent_of(line);
  size_t n = 0;
  while (from + n < line.size() && line[from + n] == mark) ++n;
  return n >= 3 ? n : 0;
}

std::vector<Block> fenced_blocks(const std::vector<std::string> &lines) {
  std::vector<Block> blocks;
  for (size_t i = 0; i < lines.size(); ++i) {
    const char mark = fence_length(lines[i], '`') ? '`' : '~';
    const size_t length = fence_length(lines[i], mark), indent = indent_of(lines[i]);
    if (length == 0) continue;
    Block block;
    for (char c : lines[i].substr(indent + length))
      if (name_char(c)) block.label += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    for (++i; i < lines.size(); ++i) {
      const size_t closing = fence_length(lines[i], mark);
      if (closing >= length && lines[i].find_first_not_of(" \t", indent_of(lines[i]) + closing) == std::string::npos)
        break;
      block.text += lines[i].substr(std::min(indent, indent_of(lines[i]))) + "\n";
    }
    blocks.push_back(std::move(block));
  }
  return blocks;
}

// A line that starts, at any indentation, with "def NAME", "class NAME" or "NAME =". An empty name matches any def.
bool defines(const std::string &text, std::string_view name) {
  for (const std::string &line : lines_of(text)) {
    std::string_view rest = std::string_view(line).substr(indent_of(line));
    bool keyword = false;
    for (std::string_view word : {"async def ", "def ", "class "})
      if (rest.starts_with(word)) {
        rest.remove_prefix(word.size());
        keyword = true;
        break;
      }
    while (!rest.empty() && rest.front() == ' ') rest.remove_prefix(1);
    if (name.empty()) {
      if (keyword) return true;
      continue;
    }
    if (!rest.starts_with(name)) continue;
    rest.remove_prefix(name.size());
    if (!rest.empty() && name_char(rest.front())) continue;
    if (keyword) return true;
    while (!rest.empty() && rest.front() == ' ') rest.remove_prefix(1);
    if (rest.starts_with("=") && !rest.starts_with("==")) return true;
  }
  return false;
}

bool is_python(const Block &block) {
  return block.label.empty() || block.label.starts_with("py") || block.label == "python3";
}

constexpr std::array<std::string_view, 41> kBuiltins = {
    "abs",     "all",    "any",    "bin",        "bool",   "bytes", "bytearray", "callable",  "chr",
    "complex", "dict",   "divmod", "enumerate",  "filter", "float", "format",    "frozenset", "hasattr",
    "hash",    "hex",    "int",    "isinstance", "iter",   "len",   "list",      "map",       "max",
    "min",     "next",   "oct",    "ord",        "pow",    "range", "repr",      "reversed",  "round",
    "set",     "sorted", "str",    "sum",        "tuple"};

}  // namespace

std::string extract_code(std::string_view answer, std::string_view entry) {
  const std::vector<std::string> lines = lines_of(answer);
  const std::vector<Block> blocks = fenced_blocks(lines);
  const auto last = [&](auto &&fits) -> const Block * {
    const auto at = std::find_if(blocks.rbegin(), blocks.rend(), fits);
    return at == blocks.rend() ? nullptr : &*at;
  };
  const Block *block = nullptr;
  if (!entry.empty()) block = last([&](const Block &b) { return defines(b.text, entry); });
  if (!block) block = last([](const Block &b) { return is_python(b) && defines(b.text, ""); });
  if (!block) block = last(is_python);
  if (block) return block->text;
  std::string whole;
  for (const std::string &line : lines) whole += line + "\n";
  return whole;
}

std::string guess_entry(const std::vector<std::string> &tests) {
  std::string fallback;
  for (const std::string &test : tests)
    for (size_t i = 0; i < test.size(); ++i) {
      if (!name_char(test[i]) || (i > 0 && (name_char(test[i - 1]) || test[i - 1] == '.'))) continue;
      size_t end = i;
      while (end < test.size() && name_char(test[end])) ++end;
      size_t next = end;
      while (next < test.size() && test[next] == ' ') ++next;
      const std::string name = test.substr(i, end - i);
      if (next >= test.size() || test[next] != '(' || std::isdigit(static_cast<unsigned char>(name[0])) ||
          name == "assert" || name == "not" || name == "in" || name == "and" || name == "or" || name == "is")
        continue;
      if (std::find(kBuiltins.begin(), kBuiltins.end(), name) == kBuiltins.end()) return name;
      if (fallback.empty()) fallback = name;
    }
  return fallback;
}

}  // namespace gcop::validator_python
