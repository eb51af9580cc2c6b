#include <cmath>
#include <cstring>

#include "files.hpp"
#include "quants.hpp"

using namespace gcop::guide_torch;

TEST_CASE("every tensor encoding decodes to the reference's bits") {
  for (const Json &row : golden("quants")) {
    CAPTURE(row["name"].get<std::string>());
    const Encoding *encoding = find_encoding(row["type"].get<uint32_t>());
    REQUIRE(encoding != nullptr);
    CHECK(encoding->name == row["name"]);
    std::string hex = row["bytes"];
    std::vector<uint8_t> bytes;
    for (size_t i = 0; i < hex.size(); i += 2)
      bytes.push_back(static_cast<uint8_t>(std::stoi(hex.substr(i, 2), nullptr, 16)));
    std::vector<uint32_t> want = row["float_bits"], got(want.size());
    REQUIRE(bytes.size() == want.size() / encoding->values * encoding->bytes);
    std::vector<float> values(want.size());
    encoding->decode(bytes.data(), values.data(), values.size());
    std::memcpy(got.data(), values.data(), got.size() * 4);
    CHECK(got == want);
  }
}

TEST_CASE("Q4_0 by hand") {
  std::vector<uint8_t> block(18, 0);
  block[1] = 0x40;  // 2.0 as fp16
  block[2] = 0xf0;  // value 0 is (0 - 8) * 2, value 16 is (15 - 8) * 2
  std::vector<float> out(32);
  find_encoding(2)->decode(block.data(), out.data(), 32);
  CHECK(out[0] == -16);
  CHECK(out[16] == 14);
  CHECK(out[1] == -16);
}

TEST_CASE("every half precision number has its value") {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    int exponent = static_cast<int>(bits >> 10 & 31);
    double fraction = (bits & 1023) / 1024.0, sign = bits & 0x8000 ? -1 : 1;
    float got = half_to_float(static_cast<uint16_t>(bits));
    if (exponent == 31) {
      CHECK((fraction == 0 ? std::isinf(got) : std::isnan(got)));
    } else {
      double want = sign * (exponent == 0 ? std::ldexp(fraction, -14) : std::ldexp(1 + fraction, exponent - 15));
      if (got != want) FAIL("bits " << bits << " gave " << got);
    }
  }
}

TEST_CASE("bf16 rounds to nearest, ties to even") {
  CHECK(float_to_bf16(1.0f) == 0x3f80);
  CHECK(float_to_bf16(1.00390625f) == 0x3f80);          // halfway, down to even
  CHECK(float_to_bf16(1.01171875f) == 0x3f82);          // halfway, up to even
  CHECK(float_to_bf16(1.0039063692092896f) == 0x3f81);  // just above halfway
  CHECK(float_to_bf16(-0.0f) == 0x8000);
  CHECK(float_to_bf16(INFINITY) == 0x7f80);
  CHECK((float_to_bf16(NAN) & 0x7fff) > 0x7f80);
}
