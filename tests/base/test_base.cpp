#include <doctest/doctest.h>

#include <cstdlib>
#include <set>
#include <type_traits>

#include <spdlog/fmt/fmt.h>

#include "base/hash.hpp"
#include "base/log.hpp"
#include "base/random.hpp"
#include "base/secret.hpp"

using namespace gcop;

namespace {
template <class T>
concept Printable = requires(std::ostream &out, const T &value) {
  out << value;
};
}  // namespace

TEST_CASE("sha256 gives the vectors of FIPS 180-4") {
  CHECK(sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  Sha256 pieces;
  pieces.update("a", 1);
  pieces.update("bc", 2);
  CHECK(pieces.hex() == sha256("abc"));
}

TEST_CASE("Philox gives the known answers of its authors' test file") {
  using Words = std::array<uint32_t, 4>;
  CHECK(philox4x32({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("draws are a function of seed, label and indices") {
  CHECK(draw(7, "split", {1, 2}) == draw(7, "split", {1, 2}));
  const std::set<uint64_t> different = {draw(7, "split", {1, 2}), draw(8, "split", {1, 2}), draw(7, "spliu", {1, 2}),
                                        draw(7, "split", {2, 1}), draw(7, "split", {1}),    draw(7, "split", {})};
  CHECK(different.size() == 6);
  // Frozen: a change here changes every run's results.
  CHECK(draw(7, "split", {1, 2}) == 0xe279e37dbfcde2bdu);
  double sum = 0;
  for (uint64_t i = 0; i < 10'000; ++i) {
    const double x = draw_unit(3, "mean", {i});
    REQUIRE((x >= 0 && x < 1));
    sum += x;
    REQUIRE(draw_below(6, 3, "die", {i}) < 6);
  }
  CHECK(sum / 10'000 == doctest::Approx(0.5).epsilon(0.03));  // 0.5 +- 5 standard errors of 0.0029
}

TEST_CASE("a secret comes from the environment and is blackened in log lines") {
  unsetenv("GCOP_TEST_KEY");
  const auto missing = Secret::from_env("GCOP_TEST_KEY");
  REQUIRE_FALSE(missing);
  CHECK(missing.error().code == Code::denied);
  CHECK(missing.error().message.find("GCOP_TEST_KEY") != std::string::npos);
  setenv("GCOP_TEST_KEY", "sk-secret-abcdef", 1);
  const auto key = Secret::from_env("GCOP_TEST_KEY");
  REQUIRE(key);
  CHECK(key->reveal() == "sk-secret-abcdef");
  std::string line;
  set_log_sink([&](Level, const std::string &l) { line = l; });
  log_warn("sent sk-secret-abcdef and sk-secret-abcdef");
  set_log_sink({});
  CHECK(line == "sent *** and ***");
  CHECK(redact(Error{Code::denied, "key sk-secret-abcdef", {}}).message == "key ***");
}

TEST_CASE("a secret inside a longer secret leaves no rest") {
  register_secret("inner-1");
  register_secret("outer-inner-1-end");
  CHECK(redact(std::string("x outer-inner-1-end inner-1 y")) == "x *** *** y");
  register_secret("short");  // too short to be a key
  CHECK(redact(std::string("a short word")) == "a short word");
}

TEST_CASE("a secret cannot be printed, formatted or copied") {
  CHECK_FALSE(std::is_copy_constructible_v<Secret>);
  CHECK(Printable<std::string>);
  CHECK_FALSE(Printable<Secret>);
  CHECK_FALSE(fmt::is_formattable<Secret>::value);
}

TEST_CASE("levels below the set one are not logged") {
  int lines = 0;
  set_log_sink([&](Level, const std::string &) { ++lines; });
  log_debug("no");
  set_log_level(Level::debug);
  log_debug("yes");
  set_log_level(Level::info);
  set_log_sink({});
  CHECK(lines == 1);
}
