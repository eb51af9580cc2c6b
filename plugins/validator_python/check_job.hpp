// What goes into the two cells of one check, and what their end means. No threads, no I/O.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <gcop/plugin.hpp>

namespace gcop::validator_python {

struct Limits {
  uint32_t cpu_ms = 2000;
  uint32_t wall_ms = 10'000;
  uint64_t mem_bytes = 256u << 20;
};

// The part of a task row that a check needs.
struct Tests {
  std::string id, entry, setup;
  std::vector<std::string> asserts;
};

// Rows with "tests", MBPP's "test_list" and "test_setup_code", or HumanEval's "test" (defines check(candidate)).
// Throws sdk::Failure(GCOP_INVALID) that names the row and the field.
Tests read_tests(std::string_view task_json);

// The judge's standard input: the tagged tuple (nonce, entry, setup, tests) of wire.py.
std::string judge_input(const std::string &nonce, const Tests &tests);

std::string make_nonce();  // 128 bits of the kernel's randomness, in hexadecimal

// What the cells' end means. Exit codes never decide: a score exists only if the judge wrote a verdict behind the
// nonce that counts exactly the tests of the row.
struct Outcome {
  gcop_status status = GCOP_OK;
  std::string error;
  sdk::Verdict verdict;
  bool out_of_wall = false;  // the candidate met the wall limit, which a loaded machine may have caused
};
Outcome read_outcome(const gcop_cell_result &judge, const gcop_cell_result &candidate, const std::string &nonce,
                     const Tests &tests, const Limits &limits);

}  // namespace gcop::validator_python
