// Which judges judge again, and that nothing of one check is there in the next.
#include <set>

#include "hostile.hpp"

namespace {

bool is_ours(std::string pid) {
  while (pid != "0" && pid != std::to_string(getpid())) {
    std::ifstream status("/proc/" + pid + "/status");
    pid = "0";
    for (std::string line; std::getline(status, line);)
      if (line.rfind("PPid:\t", 0) == 0) pid = line.substr(6);
  }
  return pid != "0";
}

std::set<std::string> resting_judges() {
  std::set<std::string> out;
  for (const std::string &pid : jail::names_in("/proc"))
    if (pid[0] >= '0' && pid[0] <= '9' && jail::rests(pid) && is_ours(pid)) out.insert(pid);
  return out;
}

// The judge that has just been at work is there again.
bool judges_again(const nlohmann::json &task, const std::string &answer, double score) {
  CAPTURE(task.dump());
  REQUIRE(checker::check(hostile::addition(), "def f(a, b): return a + b").score == 1);
  const auto before = resting_judges();
  REQUIRE(!before.empty());
  const auto v = checker::check(task, answer);
  CHECK_MESSAGE(v.status == GCOP_OK, v.error);
  CHECK_MESSAGE(v.score == score, v.feedback);
  const auto after = resting_judges();
  for (const auto &pid : before)
    if (!after.count(pid)) return false;
  return true;
}

bool judges_again(const std::string &test, const std::string &answer = "def f(*a): return a[0] if len(a) == 1 else a") {
  return judges_again(checker::task({test}), answer, 1);
}

void fails_by_cpu(const std::string &code) { hostile::fails(code, "CPU time", {2000, 20'000, 0}, true); }

}  // namespace

TEST_CASE("a judge whose tests only compute judges the next check too") {
  for (const char *test : {
           "assert f(3) == 3",
           "assert f([1, 2, {'a': (1.5, None)}]) == [1, 2, {'a': (1.5, None)}], 'no'",
           "assert not f(0) and f(1) in {1, 2} and -f(2) < 0 < f(2) ** 2",
           "assert sorted(f([3, 1])) == [1, 3] and f('ab').upper().join(['x', 'y']) == 'xABy'",
           "import math\nassert math.isclose(f(0.1) + 0.2, 0.3)",
           "from math import pi\nassert f(pi) > 3",
           "for i in range(3):\n    if i > 1:\n        continue\n    assert f(i) == i",
           "def twice(x, *rest, key=lambda v: v):\n    return 2 * key(x)\nassert twice(f(2)) == 4",
           "want = [x * y for x in range(3) for y in (1, 2) if x]\nwant[0] += 1\nassert f(want)[0] == 2",
           "try:\n    f([]).pop()\nexcept ZeroDivisionError:\n    pass\nexcept IndexError as e:\n    assert 'empty' in "
           "str(e)",
           "assert f'{f(3)!r:>4}' == '   3' and (y := f(4)) == 4 and (1 if f(0) else 2) == 2",
           "assert type(f(1)) is int and isinstance(f(1), (int, float)) and f(2)[1:] == () if f(1) == 2 else True",
       })
    CHECK_MESSAGE(judges_again(test), test);
  // A wrong answer and one that raises are judged by the same process, too.
  CHECK(judges_again(hostile::addition(), "def f(a, b): return a - b", 0));
  CHECK(judges_again(hostile::addition(), "def f(a, b): return {}['x']", 0));
  CHECK(judges_again(hostile::addition(), "class Own(Exception): pass\ndef f(a, b): raise Own(1, 'x')", 0));
  CHECK(judges_again(hostile::addition(), "class Own: pass\ndef f(a, b): return Own()", 0));
  nlohmann::json human_eval = {{"id", "h"}, {"entry_point", "f"}};
  human_eval["test"] =
      "METADATA = {'author': 'x', 'dataset': 'test'}\n\n\ndef check(candidate):\n    assert candidate([1.0, 2.0], 0.3) "
      "== 3\n"
      "    assert abs(candidate([1], 1) - 2) < 1e-6\n";
  CHECK(judges_again(human_eval, "def f(a, b): return 3 if len(a) == 2 else 2", 1));
}

TEST_CASE("a judge whose tests could leave something behind judges no other check") {
  for (const char *test : {
           "import sys\nassert f(1) == 1",
           "import math as m, os\nassert f(1) == 1",
           "from collections import Counter\nassert f(1) == 1",
           "import math\nmath.pi = 3\nassert f(1) == 1",
           "class A:\n    pass\nassert f(1) == 1",
           "assert f(1) == 1 and not print('x')",
           "assert f(1) == 1 and getattr(5, 'real') == 5",
           "assert f(1) == 1 and ().__class__ is tuple",
           "assert f(1) == 1 and (x for x in ()).gi_frame.f_globals",
           "assert f(1) == 1 and {}.__len__() == 0",
           "assert f(1) == 1 and exec('pass') is None",
           "g = f\ndel g\nassert f(1) == 1",
           "def h():\n    global kept\n    kept = 1\nh()\nassert f(1) == 1",
           "def h():\n    yield 1\nassert list(h()) == [f(1)]",
           "try:\n    raise ValueError(1)\nexcept ValueError as e:\n    assert e.args == (f(1),)",
           "with open('/tmp/x', 'w') as file:\n    pass\nassert f(1) == 1",
           "from math import __dict__ as d\nd['isclose'] = lambda *a: True\nassert f(1) == 1",
           "from cmath import __setattr__ as s\nassert f(1) == 1",
           "import math as __builtins__\nassert f(1) == 1",
           "def __getattr__(x):\n    return x\nassert f(1) == 1",
           "def g(__builtins__):\n    return 1\nassert f(1) == g(1)",
           "assert type('X', (), {}) and f(1) == 1",
           "t = type\nassert f(1) == 1",
           "assert list(map(type, [1])) and f(1) == 1",
           "t = type(int)\nassert f(1) == 1",
           "assert (t := type(int)) != f(1)",
           "assert type(int)('X', (), {}) != f(1)",
           "assert type(*[1]) == f(int)",
       })
    CHECK_MESSAGE(!judges_again(test), test);
  nlohmann::json set_up = checker::task({"assert f(1) == 1"}, "f", "import os\nos.environ['x'] = 'y'");
  CHECK_FALSE(judges_again(set_up, "def f(x): return x", 1));
  nlohmann::json file = {{"id", "p"}, {"entry_point", "f"}, {"test", "def test_it():\n    assert f(1) == 1\n"}};
  CHECK_FALSE(judges_again(file, "def f(x): return x", 1));
  // One that lost its candidate has seen what no test expects.
  CHECK_FALSE(judges_again(hostile::addition(), "import os\ndef f(a, b): os._exit(0)", 0));
}

TEST_CASE("what tests, set-up and answers do to their judge does not reach the next check") {
  const auto honest = [](const std::string &test, const std::string &answer = "def f(x): return x") {
    const auto v = checker::check(checker::task({test}), answer);
    CHECK_MESSAGE(v.score == 1, test << v.error << v.feedback);
  };
  const std::vector<std::string> acts = {
      "import builtins\nbuiltins.abs = lambda x: 5\nassert abs(f(1)) == 5",
      "import math\nmath.isclose = lambda *a: True\nassert math.isclose(f(1), 2)",
      "import sys\nsys.setrecursionlimit(60)\nassert f(1) == 1",
      "import sys\nsys.modules['math'] = None\nassert f(1) == 1",
      "import random\nrandom.seed(1)\nassert f(1) == 1",
      "want = 7\nabs = len = sorted = min = lambda *a: 5\nassert abs(f(1)) == 5",
      "def sum(x):\n    return 8\nassert sum(f(1)) == 8",
      "for list in (1, 2):\n    pass\nassert f(1) == 1",
      "from math import floor as round, ceil as max\nassert round(f(1)) == 1",
  };
  for (const std::string &act : acts) {
    honest(act);
    honest("assert abs(f(-2)) == 2 and len(f([1])) == 1 and sorted(f([2, 1])) == [1, 2] and min(f([3, 2])) == 2");
    honest("import math\nassert not math.isclose(f(1), 2) and sum(f([1, 2])) == 3 and list(f((1,))) == [1]");
    honest("assert round(f(1.6)) == 2 and max(f([1, 2])) == 2");
    honest("try:\n    want\nexcept NameError:\n    assert f(1) == 1\nelse:\n    assert False");
    honest("def deep(n):\n    return n and deep(n - 1)\nassert deep(f(200)) == 0");
  }
  // A name of one answer's is not there for the tests of the next.
  honest("assert helper(f(1)) == 2", "def f(x): return x\ndef helper(x): return x + 1");
  const auto v = checker::check(checker::task({"assert helper(f(1)) == 2"}), "def f(x): return x");
  CHECK(v.score == 0);
  CHECK_MESSAGE(v.feedback.find("helper") != std::string::npos, v.feedback);
}

TEST_CASE("own 15: a candidate that asks for the next order") {
  const std::string ask =
      "import ctypes\n"
      "library = ctypes.PyDLL('/box/libgcop_cell.so')\n"
      "def f(a, b):\n"
      "    return library.gcop_cell_again()";
  hostile::fails(ask, "expected 3, got -1", {2000, 20'000, 0}, true);
  // The same with every word of the library's memory set, so that it takes itself for a judge's.
  hostile::fails(
      "import ctypes\n"
      "library = ctypes.PyDLL('/box/libgcop_cell.so')\n"
      "at = ctypes.cast(library.gcop_cell_again, ctypes.c_void_p).value\n"
      "def f(a, b):\n"
      "    import struct\n"
      "    code = ctypes.string_at(at, 200)\n"
      "    for i in range(190):   # `mov uses(%rip), %reg` or `cmp`: every address that the code names\n"
      "        word = at + i + 4 + struct.unpack('<i', code[i:i + 4])[0]\n"
      "        if abs(word - at) < 200000 and word % 4 == 0 and word > at:\n"
      "            try: ctypes.memset(word, 1, 1)\n"
      "            except BaseException: pass\n"
      "    return library.gcop_cell_again()",
      "", {2000, 20'000, 0}, true);
}

TEST_CASE("own 16: a program that has the kernel kill it, to be no failure but the machine's") {
  const std::string loop = "\ndef f(a, b):\n    while True: pass\n";
  fails_by_cpu(
      "import resource\n"
      "for seconds in ((1, 1), (0, 0), (0, 1), (1, resource.RLIM_INFINITY)):\n"
      "    try: resource.setrlimit(resource.RLIMIT_CPU, seconds)\n"
      "    except (ValueError, OSError): pass" +
      loop);
  fails_by_cpu(
      "import ctypes, struct\n"
      "libc = ctypes.CDLL(None)\n"
      "for number in (160, 302):   # setrlimit, prlimit64\n"
      "    one = ctypes.create_string_buffer(struct.pack('QQ', 1, 1))\n"
      "    libc.syscall(160, 0, one)\n"
      "    libc.syscall(302, 0, 0, one, 0)" +
      loop);
  fails_by_cpu(
      "import ctypes, signal\n"
      "libc = ctypes.CDLL(None)\n"
      "libc.prctl(1, signal.SIGKILL)\n"
      "libc.prctl(22, 1)   # strict seccomp\n"
      "try: signal.setitimer(signal.ITIMER_REAL, 0)\n"
      "except OSError: pass\n"
      "libc.kill(1, 9); libc.kill(0, 9); libc.kill(-1, 9); libc.tgkill(1, 1, 9)" +
      loop);
}

TEST_CASE("200 checks in any order, by judges that judge again, get the verdicts of judges that do not") {
  std::deque<checker::Call> calls;
  std::vector<bool> right;
  for (int i = 0; i < 200; ++i) {
    const int kind = i % 5;
    right.push_back(kind != 1 && kind != 3);
    const std::string answer = kind == 0   ? "def f(x): return [x, 'a']"
                               : kind == 1 ? "def f(x): return [x, 'b']"
                               : kind == 2 ? "def f(x): return [x] + ['a']"
                               : kind == 3 ? "import os\ndef f(x): os._exit(0)"
                                           : "def f(x): return list((x, 'a'))";
    const std::string number = std::to_string(i);
    calls.emplace_back(
        checker::instance(),
        checker::task({(kind == 4 ? "import sys\n" : "") + ("assert f(" + number + ") == [" + number + ", 'a']")}),
        answer);
  }
  for (size_t i = 0; i < calls.size(); ++i) {
    const auto &v = calls[i].wait();
    CHECK_MESSAGE(v.status == GCOP_OK, v.error);
    CHECK_MESSAGE((v.score == 1) == right[i], i << v.feedback);
  }
}
