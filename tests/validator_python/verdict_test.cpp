// What honest answers get: scores, counts and feedback that names the failed assert.
#include "checker.hpp"

using checker::check;
using checker::task;

TEST_CASE("a right answer scores 1 and gets no feedback") {
  const auto v = check(task({"assert f(2) == 3", "assert f(-1) == 0"}),
                       "Here it is:\n```python\ndef f(x):\n    return x + 1\n```\nDone.");
  REQUIRE_MESSAGE(v.status == GCOP_OK, v.error);
  CHECK(v.score == 1);
  CHECK(v.passed == 2);
  CHECK(v.total == 2);
  CHECK(v.feedback == "");
  CHECK(nlohmann::json::parse(v.detail).contains("cpu_ms"));
}

TEST_CASE("a failed assert is named with expected and got value") {
  const auto v = check(task({"assert f(2) == 3", "assert f(5) == 7", "assert 9 == f(6)"}), "def f(x): return x + 1");
  REQUIRE_MESSAGE(v.status == GCOP_OK, v.error);
  CHECK(v.score == 0);
  CHECK(v.passed == 1);
  CHECK(v.total == 3);
  CHECK(v.feedback == "f(5): expected 7, got 6\nf(6): expected 9, got 7");
}

TEST_CASE("other forms of tests say what was false and what the function returned") {
  const auto v = check(task({"import math\nassert math.isclose(f(1.0), 2.5)", "assert f(2) > 3",
                             "assert not f(3), 'never'", "assert f(1) == 2 and f(2) == 4", "assert f('a') == 2"}),
                       "def f(x): return x + 1");
  REQUIRE_MESSAGE(v.status == GCOP_OK, v.error);
  CHECK(v.total == 5);
  CHECK(v.feedback ==
        "math.isclose(f(1.0), 2.5) is false (f(1.0) returned 2.0)\n"
        "f(2) > 3 is false: left is 3, right is 3\n"
        "not f(3) is false: never (f(3) returned 4)\n"
        "f(1) == 2 and f(2) == 4 is false (f(1) returned 2; f(2) returned 3)\n"
        "f('a'): raised TypeError: can only concatenate str (not \"int\") to str");
}

TEST_CASE("tests that expect exceptions work, and only with the right exception") {
  const auto row =
      task({"try:\n    f(-1)\n    assert False, 'no error'\nexcept ValueError as e:\n    assert 'neg' in str(e)",
            "assert f(4) == 2"});
  CHECK(check(row, "class Neg(ValueError): pass\ndef f(x):\n    if x < 0: raise Neg('negative')\n    return x // 2")
            .score == 1);
  const auto none = check(row, "def f(x): return x // 2");
  CHECK(none.score == 0);
  CHECK(none.feedback == "no error (f(-1) returned -1)");
  CHECK(check(row, "def f(x): raise KeyError(x)").feedback == "f(-1): raised KeyError: -1\nf(4): raised KeyError: 4");
}

TEST_CASE("values of many kinds cross unchanged") {
  const auto row = task(
      {"assert f([1, (2.5, None), {'a': {1, 2}}, b'x', True, 1j]) == [1, (2.5, None), {'a': {1, 2}}, b'x', True, 1j]",
       "assert f(10 ** 3000) == 10 ** 3000", "assert f(float('inf')) == float('inf')",
       "assert f(float('nan')) != f(float('nan'))", "assert f('\\udc80\\u20ac') == '\\udc80\\u20ac'",
       "assert type(f(True)) is bool and type(f((1,))) is tuple", "assert f(frozenset([1])) == frozenset([1])",
       "assert f(range(3)) == range(3)", "assert f({1: 2}.keys()) == {1}", "assert f(...) is ...",
       "assert f(-0.0).hex() == '-0x0.0p+0'", "assert f(bytearray(b'a')) == bytearray(b'a')"});
  const auto v = check(row, "def f(x): return x");
  REQUIRE_MESSAGE(v.status == GCOP_OK, v.error);
  CHECK(v.feedback == "");
  CHECK(v.score == 1);
}

TEST_CASE("generators and types of the standard collections cross as their contents") {
  const auto row = task({"assert list(f(3)) == [0, 1, 2]", "assert g('aab') == {'a': 2, 'b': 1}",
                         "assert g('aab').most_common(1) == [('a', 2)]", "assert d() == {1: [2]}",
                         "from collections import deque\nassert q() == deque([1])",
                         "from fractions import Fraction\nassert r() == Fraction(1, 3)"});
  const auto v = check(row,
                       "from collections import *\nfrom fractions import Fraction\ndef f(n): return (i for i in "
                       "range(n))\ndef g(s): return Counter(s)\n"
                       "def d():\n    x = defaultdict(list)\n    x[1].append(2)\n    return x\ndef q(): return "
                       "deque([1])\ndef r(): return Fraction(1, 3)");
  REQUIRE_MESSAGE(v.status == GCOP_OK, v.error);
  CHECK(v.feedback == "");
  CHECK(v.score == 1);
}

TEST_CASE("dates, times, decimals and named tuples cross as what they are") {
  const auto row =
      task({"from datetime import date, datetime, time, timedelta, timezone\nassert day(3) == date(2024, 2, 3)",
            "assert day(3) - day(1) == timedelta(days=2)",
            "assert echo(datetime(2024, 2, 3, 4, 5, 6, 7)) == datetime(2024, 2, 3, 4, 5, 6, 7)",
            "assert echo(datetime(2024, 2, 3, tzinfo=timezone.utc)).tzinfo == timezone.utc",
            "assert noon() == datetime(2024, 2, 3, 12, fold=1, tzinfo=timezone(timedelta(hours=2)))",
            "assert noon().fold == 1 and noon().utcoffset() == timedelta(hours=2)",
            "assert echo(time(1, 2, 3, 4)) == time(1, 2, 3, 4)",
            "from decimal import Decimal\nassert tenth() == Decimal('0.1')",
            "p = point()\nassert p == (1, 'b') and p.x == 1 and p.y == 'b' and p[1] == 'b' and isinstance(p, tuple)",
            "assert repr(point()) == \"P(x=1, y='b')\"", "assert echo([point()]) == [(1, 'b')]"},
           "day");
  const auto v =
      check(row,
            "from collections import namedtuple\nfrom decimal import Decimal\nimport datetime as d\n"
            "P = namedtuple('P', 'x y')\ndef day(n): return d.date(2024, 2, n)\ndef echo(x): return x\n"
            "def noon(): return d.datetime(2024, 2, 3, 12, fold=1, tzinfo=d.timezone(d.timedelta(hours=2)))\n"
            "def tenth(): return Decimal(1) / 10\ndef point(): return P(1, 'b')");
  REQUIRE_MESSAGE(v.status == GCOP_OK, v.error);
  CHECK(v.feedback == "");
  CHECK(v.score == 1);
  // A class with methods of its own is no plain data, whatever it is derived from.
  const char *forged =
      "import datetime\nfrom collections import namedtuple\nclass P(namedtuple('P', 'x y')):\n"
      "    def __eq__(self, other): return True\nclass D(datetime.date):\n    def __eq__(self, other): return True\n"
      "def day(n): return D(1, 1, 1)\ndef point(): return P(0, 0)";
  CHECK(check(task({"assert point() == (1, 'b')"}), forged).score == 0);
  CHECK(check(task({"import datetime\nassert day(3) == datetime.date(2024, 2, 3)"}), forged).score == 0);
}

TEST_CASE("what a function that returns nothing does to its arguments is seen by the test") {
  const auto row =
      task({"a = [3, 1, 2]\nf(a)\nassert a == [1, 2, 3]", "a = [3, 1]\nb = a\nassert f(a) is None\nassert b == [1, 3]",
            "d = {'x': [2, 1], 'y': 3}\ninner = d['x']\ng(d)\nassert d == {'x': [1, 2]}\nassert inner is d['x']",
            "rows = [[1, 2], [3, 4]]\nturn(m=rows)\nassert rows == [[3, 1], [4, 2]]",
            "s, w, q = {1}, bytearray(b'a'), ([1], 5)\nmany(s, w, q)\nassert (s, w, q) == ({1, 9}, bytearray(b'az'), "
            "([1, 9], 5))"},
           "f");
  const auto v = check(row,
                       "def f(a): a.sort()\ndef g(d):\n    d['x'].sort()\n    del d['y']\n"
                       "def turn(m): m[:] = [list(r) for r in zip(*m[::-1])]\n"
                       "def many(s, w, q):\n    s.add(9)\n    w.extend(b'z')\n    q[0].append(9)");
  REQUIRE_MESSAGE(v.status == GCOP_OK, v.error);
  CHECK(v.feedback == "");
  CHECK(v.score == 1);
  CHECK(check(task({"a = [3, 1, 2]\nf(a)\nassert a == [1, 2, 3]"}), "def f(a): a.sort(reverse=True)").feedback ==
        "a: expected [1, 2, 3], got [3, 2, 1]");
  CHECK(check(task({"a = [1]\nassert f(a)"}), "def f(a): a.append(2)").feedback ==
        "f(a) is false (f([1]) returned None)");
  CHECK(check(task({"a = [1]\nf(a)\nassert g() == 7"}, "f"), "def f(a): a.append(a)\ndef g(): return 7").score == 1);
  // One that returns something is judged by that: otherwise it could clear what the right value is computed from.
  CHECK(check(task({"a = [3, 1, 2]\nassert f(a) == sorted(a)"}), "def f(a):\n    a.clear()\n    return []").score == 0);
}

TEST_CASE("classes of the answer can be used by tests through handles") {
  const auto row = task({"assert total(root) == 6", "assert Node(4).value == 4", "assert Node(5).double() == 10"},
                        "total", "root = Node(1)\nroot.left = Node(2)\nroot.left.left = Node(3)");
  const auto v = check(row,
                       "class Node:\n    def __init__(self, v): self.value = v; self.left = None\n    def "
                       "double(self): return 2 * self.value\n"
                       "def total(n): return n.value + total(n.left) if n else 0");
  REQUIRE_MESSAGE(v.status == GCOP_OK, v.error);
  CHECK(v.feedback == "");
  CHECK(v.score == 1);
}

TEST_CASE("rows of MBPP and HumanEval are read as they are") {
  CHECK(check({{"task_id", 7}, {"test_list", {"assert sum(10, 15) == 6"}}, {"test_setup_code", ""}},
              "def sum(a, b): return 6")
            .score == 1);
  const nlohmann::json human = {
      {"task_id", "HE/0"},
      {"entry_point", "inc"},
      {"test", "def check(candidate):\n    assert candidate(1) == 2\n    assert candidate(2) == 4\n"}};
  CHECK(check(human, "def inc(x): return 2 * x").score == 1);
  CHECK(check(human, "def inc(x): return x + 1").feedback ==
        "candidate(2) == 4 is false (inc(1) returned 2; inc(2) returned 3)");
}

TEST_CASE("answers that do not load, define something else or end themselves are honest failures") {
  const auto row = task({"assert f(1) == 2", "assert f(2) == 3"});
  const auto syntax = check(row, "def f(x:\n    return 1");
  CHECK(syntax.score == 0);
  CHECK(syntax.total == 2);
  CHECK(syntax.feedback == "loading the code raised SyntaxError: '(' was never closed (line 1)");
  CHECK(check(row, "def g(x): return 1\ndef h(): pass").feedback ==
        "the answer defines no function f; it defines g, h");
  CHECK(check(row, "").feedback == "the answer defines no function f; it defines none");
  CHECK(check(row, "import nothing_like_this").feedback ==
        "loading the code raised ModuleNotFoundError: No module named 'nothing_like_this' (line 1)");
  const auto burning = check(row, "def f(x):\n    while True: pass", {200, 0, 0});
  CHECK(burning.status == GCOP_OK);
  CHECK(burning.feedback == "f(1): the program used more than 200 ms of CPU time and was stopped");
  const auto sleeping = check(row, "import time\ndef f(x): time.sleep(100)", {0, 300, 0});
  CHECK(sleeping.feedback == "f(1): the program took longer than 300 ms and was stopped");
  CHECK(check(row, "import os\ndef f(x): os._exit(0)").feedback ==
        "f(1): the program ended itself with exit code 0 before it answered");
  CHECK(check(row, "def f(x): return bytearray(1 << 40)").feedback ==
        "f(1): raised MemoryError\nf(2): raised MemoryError");
}

TEST_CASE("feedback is bounded and is valid text") {
  const auto v = check(task(std::vector<std::string>(30, "assert f(1) == '\\u20ac' * 5000")),
                       "def f(x): return ['\\u20ac' * 5000] * 100");
  CHECK(v.score == 0);
  CHECK(v.feedback.size() <= 2000);
  CHECK(v.feedback.find("expected '\u20ac\u20ac") != std::string::npos);
  CHECK_NOTHROW(nlohmann::json(v.feedback).dump());
}

TEST_CASE("a broken task is an error that names it, never a score") {
  const auto none = check({{"id", "x1"}}, "def f(x): return 1");
  CHECK(none.status == GCOP_INVALID);
  CHECK(none.error.find("'x1'") != std::string::npos);
  const auto syntax = check(task({"assert f(1) == ="}), "def f(x): return 1");
  CHECK(syntax.status == GCOP_INVALID);
  CHECK_MESSAGE(syntax.error.find("task 't': test 1 is no Python") != std::string::npos, syntax.error);
  CHECK(check(task({"assert f(1) == 1"}, "f", "1 / 0"), "def f(x): return 1").status == GCOP_INVALID);
  CHECK(check(task({"assert f(lambda: 1) == 1"}), "def f(x): return 1").status == GCOP_INVALID);
  CHECK(check(task({"x = 1"}), "def f(x): return 1").status == GCOP_INVALID);
  CHECK(check(task({}), "def f(x): return 1").status == GCOP_INVALID);
  for (const char *idle : {"print(1)", "assert True", "assert [f]"}) {  // any answer would pass
    const auto v = check(task({idle}), "def f(x): return 1");
    CHECK(v.status == GCOP_INVALID);
    CHECK_MESSAGE(v.error.find("task 't': the tests never call f") != std::string::npos, v.error);
  }
}

TEST_CASE("configuration mistakes and missing jails fail create with the reason") {
  CHECK(checker::Instance("{\"cpu\": 1}").failure.find("unknown setting 'cpu'") != std::string::npos);
  CHECK(checker::Instance("{\"cpu_ms\": -1}").failure.find("'cpu_ms' is -1") != std::string::npos);
  CHECK(checker::Instance("{\"python\": \"/opt/python3\"}").code == GCOP_INVALID);
  CHECK(checker::Instance("{\"python\": \"/usr/bin/python9\"}").failure.find("python9") != std::string::npos);
  CHECK(checker::Instance("[]").code == GCOP_INVALID);
  const checker::Instance no_service("{}", nullptr);
  CHECK(no_service.code == GCOP_UNSUPPORTED);
  auto made = gcop::sandbox::Sandbox::make({0, "/nowhere/bwrap"});
  const checker::Instance no_jail("{}", (*made)->service());
  CHECK(no_jail.code == GCOP_UNSUPPORTED);
  CHECK(no_jail.failure.find("install the package bubblewrap") != std::string::npos);
}

TEST_CASE("the identity tells limits apart") {
  CHECK(checker::instance().identity() == checker::Instance("{}").identity());
  CHECK(checker::instance().identity() != checker::Instance("{\"cpu_ms\": 100}").identity());
}

TEST_CASE("hundreds of checks in flight get their own verdicts, and cancelled ones end") {
  std::deque<checker::Call> calls;
  for (int i = 0; i < 120; ++i)
    calls.emplace_back(checker::instance(), task({"assert f(1) == " + std::to_string(i)}),
                       "def f(x): return " + std::to_string(i % 3 ? i : i + 1));
  checker::Call slow(checker::instance(), task({"assert f(1)"}), "import time\ndef f(x): time.sleep(100)");
  slow.cancel();
  CHECK(slow.wait().status == GCOP_CANCELLED);
  for (int i = 0; i < 120; ++i) {
    const auto &v = calls[static_cast<size_t>(i)].wait();
    REQUIRE_MESSAGE(v.status == GCOP_OK, v.error);
    CHECK(v.score == (i % 3 ? 1 : 0));
  }
}
