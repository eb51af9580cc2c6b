// Which part of a model's answer is the program.
#include <doctest/doctest.h>

#include "extract.hpp"

using gcop::validator_python::extract_code;
using gcop::validator_python::guess_entry;

TEST_CASE("the last fenced block that defines the entry point is the program") {
  CHECK(extract_code("<think>\n```python\ndef f(): return 0\n```\n</think>\n```python\ndef f(): return 1\n```\n"
                     "Use:\n```python\nprint(f())\n```",
                     "f") == "def f(): return 1\n");
  CHECK(extract_code("```\ndef f(): pass\n```\nBetter:\n```\ndef f(): return 1\n```\n```\ndef g(): pass\n```", "f") ==
        "def f(): return 1\n");
  CHECK(extract_code(
            "Use:\n```\nf(1)\n```\nCode:\n```python\ndef f(x):\n    return x\n```\nTest:\n```python\nprint(f(1))\n```",
            "f") == "def f(x):\n    return x\n");
  CHECK(extract_code("```py\ndef g(): pass\n```\n~~~Python3\nasync def f(): pass\n~~~", "f") ==
        "async def f(): pass\n");
  CHECK(extract_code("```python\nf = lambda x: x\n```", "f") == "f = lambda x: x\n");
  CHECK(extract_code("```python\ndef ff(): pass\n```\n```python\ndef f(): pass\n```", "f") == "def f(): pass\n");
}

TEST_CASE("without such a block the last Python block counts, without a fence the whole text") {
  CHECK(extract_code("```python\ndef h(): pass\n```\n```python\ndef g(): pass\n```\n```\ng()\n```", "f") ==
        "def g(): pass\n");
  CHECK(extract_code("```\nx = 1\n```\n```\nx = 2\n```\n```bash\nls\n```", "f") == "x = 2\n");
  CHECK(extract_code("```bash\nls\n```\n```python\ndef g(): pass\n```", "f") == "def g(): pass\n");
  CHECK(extract_code("```\nx = 1\n```", "f") == "x = 1\n");
  CHECK(extract_code("def f():\r\n    return 1\r\n", "f") == "def f():\n    return 1\n\n");
  CHECK(extract_code("", "f") == "\n");
}

TEST_CASE("an open fence runs to the end, the fence's indentation goes, longer fences hold shorter ones") {
  CHECK(extract_code("```python\ndef f():\n    return 1", "f") == "def f():\n    return 1\n");
  CHECK(extract_code("1. So:\n   ```python\n   def f():\n       return 1\n   ```", "f") == "def f():\n    return 1\n");
  CHECK(extract_code("````python\ndef f():\n    '''\n```\n'''\n````", "f") == "def f():\n    '''\n```\n'''\n");
}

TEST_CASE("the entry point is guessed from asserts") {
  CHECK(guess_entry({"assert set(similar((3, 4), (5,))) == set((4,))"}) == "similar");
  CHECK(guess_entry({"assert sum(10, 15) == 6"}) == "sum");
  CHECK(guess_entry({"assert (height(root)) == 3"}) == "height");
  CHECK(guess_entry({"assert math.isclose(area(1), 2)"}) == "area");
  CHECK(guess_entry({"assert x"}) == "");
}
