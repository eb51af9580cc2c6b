// Programs that try to get a pass without a right answer. Numbers as in the list of hostile programs of the design.
#include "hostile.hpp"

using hostile::fails;

TEST_CASE("hostile 12: sys.exit(0) while loading") {
  fails("import sys\nsys.exit(0)", "SystemExit: 0");
  fails("raise SystemExit", "SystemExit");
  fails("import os\nos._exit(0)", "ended itself with exit code 0");
}

TEST_CASE("hostile 13: os._exit(0) in a call and at exit") {
  fails("import os\ndef f(a, b): os._exit(0)", "ended itself with exit code 0");
  fails("import atexit, os, sys\natexit.register(os._exit, 0)\ndef f(a, b): sys.exit(0)", "SystemExit: 0");
}

TEST_CASE("hostile 14: SystemExit, KeyboardInterrupt and a BaseException of its own in a call") {
  fails("def f(a, b): raise SystemExit(0)", "raised SystemExit: 0");
  fails("def f(a, b): raise KeyboardInterrupt", "raised KeyboardInterrupt");
  fails("class Out(BaseException): pass\ndef f(a, b): raise Out('bye')", "raised Out: bye");
  fails("def f(a, b): raise GeneratorExit", "raised GeneratorExit");
}

TEST_CASE("hostile 15: objects that equal everything, and subclasses of plain types") {
  const std::string lies =
      "    def __eq__(s, o): return True\n    def __ne__(s, o): return False\n    def __lt__(s, o): return True\n"
      "    def __hash__(s): return hash(3)\n    def __bool__(s): return True\n";
  fails("class E:\n" + lies + "def f(a, b): return E()", "returned a value of type E");
  for (const char *base : {"int", "float", "str", "tuple", "list", "dict", "Exception", "complex"}) {
    fails("class int_(" + std::string(base) + "):\n" + lies + "def f(a, b): return int_()",
          "returned a value of type int_");
    fails("class E(" + std::string(base) + "):\n" + lies + "def f(a, b): return [E()]", "returned");
  }
  fails("class M(type):\n" + lies + "class int(metaclass=M):\n    pass\ndef f(a, b): return int",
        "returned a value of type M");
  fails("class E:\n" + lies + "f = lambda a, b: {E(): E()}", "returned");
  fails("from unittest.mock import ANY\ndef f(a, b): return ANY", "returned a value of type _ANY");
}

TEST_CASE("hostile 16: walking frames, the garbage collector and memory for tests or verdict") {
  fails(
      "import sys\n"
      "def f(a, b):\n"
      "    frame = sys._getframe()\n"
      "    while frame:\n"
      "        for space in (frame.f_locals, frame.f_globals):\n"
      "            for k in ('tests', 'trees', 'nonce', 'total', 'expected'):\n"
      "                if k in space: return space[k]\n"
      "        frame = frame.f_back",
      "expected 3, got None");
  fails(
      "import gc, re\n"
      "def f(a, b):\n"
      "    for o in gc.get_objects():\n"
      "        for t in (o if isinstance(o, (list, tuple)) else o.values() if isinstance(o, dict) else ()):\n"
      "            if isinstance(t, str) and t.startswith('assert f(') and '==' in t:\n"
      "                return int(t.rsplit('==')[1])",
      "expected 3, got None");
  fails("def f(a, b): return open('/proc/self/mem', 'rb').read(10)", "raised FileNotFoundError");
  fails("import os\ndef f(a, b):\n    os.lseek(0, 0, 0)\n    return (b'asser' + b't f') in os.read(0, 1 << 20)",
        "got False");
}

TEST_CASE("hostile 17: patching builtins, comparison helpers, import hooks and the program around it") {
  fails(
      "import builtins, sys, math, unittest\n"
      "for n in dir(builtins):\n"
      "    if n.islower() and n not in ('print',): setattr(builtins, n, lambda *a, **k: True)\n"
      "math.isclose = lambda *a, **k: True\n"
      "sys.modules.clear()\n"
      "def f(a, b): return 0");
  fails("def sorted(x): return [1, 4]\ndef f(a, b): return 3 if a == 1 else 10 if a == 5 else 0",
        "expected [1, 4], got [0, 0]");
  fails("import __main__\n__main__.encode = lambda value, handle: b''\ndef f(a, b): return 3", "no plain data");
  fails("import __main__\n__main__.Reader.value = lambda self, depth=0: ('ok', True)\ndef f(a, b): return 0");
  fails(
      "import sys\nclass Hook:\n    def find_spec(*a): raise SystemExit(0)\nsys.meta_path.insert(0, Hook)\nimport "
      "nothing",
      "SystemExit");
}

TEST_CASE("hostile 17b: forged answers on the wire") {
  // Each is what the candidate sends instead of an encoded answer: tag by tag, the ways in which one can be wrong.
  for (const char *frame :
       {"b''", "b'N'", "b'?'", "b't\\x02\\0\\0\\0s\\x02\\0\\0\\0ok'", "b't\\xff\\xff\\xff\\xff'",
        "b'i\\xff\\xff\\xff\\x7f'", "b'l\\x01\\0\\0\\0' * 500",
        "b't\\x02\\0\\0\\0s\\x02\\0\\0\\0okS\\x01\\0\\0\\0l\\0\\0\\0\\0'",
        "b't\\x02\\0\\0\\0s\\x02\\0\\0\\0okRi\\x01\\0\\0\\0\\x01i\\x01\\0\\0\\0\\0'",
        "b't\\x02\\0\\0\\0s\\x02\\0\\0\\0okZ\\x03\\0\\0\\0abc'", "b't\\x02\\0\\0\\0s\\x02\\0\\0\\0okrNNN'",
        "b't\\x02\\0\\0\\0s\\x02\\0\\0\\0okn\\x01\\0\\0\\0f'",
        "b't\\x04\\0\\0\\0s\\x05\\0\\0\\0raisel\\0\\0\\0\\0s\\0\\0\\0\\0t\\0\\0\\0\\0'",
        "b't\\x02\\0\\0\\0s\\x02\\0\\0\\0okh\\0\\0\\0\\0\\x01\\0\\0\\0E'",
        "b't\\x02\\0\\0\\0s\\x02\\0\\0\\0oky\\x04\\0\\0\\0type'", "b't\\x02\\0\\0\\0s\\x05\\0\\0\\0largeN'"})
    fails("import __main__\ndef f(a, b):\n    __main__.encode = lambda value, handle: " + std::string(frame) +
          "\n    return 3");
  // And replies of odd shapes, in right bytes: of no kind, of too few parts, with arguments that nobody passed.
  for (const char *reply : {"()", "5", "('ok',)", "('ok', 3, 3)", "('ok', None, (1, 2))", "('ok', None, 5, 5)",
                            "('ok', None, (1, 2, 3), {'a': 3})", "('fine', 3)", "('raise',)", "('raise', [], '', ())",
                            "('large',)", "('load', 'x')", "{'ok': 3}", "'ok'"})
    fails("import __main__\ndef f(a, b):\n    data = __main__.encode(" + std::string(reply) +
          ", None)\n    __main__.encode = lambda value, handle: data\n    return None");
  for (const char *forged :
       {"w\\4\\0\\0\\0datel\\0\\0\\0\\0", "w\\4\\0\\0\\0typet\\0\\0\\0\\0", "w\\4\\0\\0\\0dateN",
        "w\\x08\\0\\0\\0datetimet\\0\\0\\0\\0", "uN", "ut\\0\\0\\0\\0", "ut\\3\\0\\0\\0Nt\\0\\0\\0\\0t\\0\\0\\0\\0",
        "ut\\3\\0\\0\\0s\\1\\0\\0\\0Pt\\1\\0\\0\\0s\\6\\0\\0\\0__eq__t\\1\\0\\0\\0N",
        "ut\\3\\0\\0\\0s\\1\\0\\0\\0Pt\\1\\0\\0\\0s\\1\\0\\0\\0xt\\0\\0\\0\\0"})
    fails("import __main__\ndef f(a, b):\n    __main__.encode = lambda value, handle: b't\\2\\0\\0\\0s\\2\\0\\0\\0ok" +
          std::string(forged) + "'\n    return 3");
  fails("import os\nos.write(3, b'\\xff\\xff\\xff\\xff')\ndef f(a, b): return 3");
  fails("import __main__, os\n__main__.write_frame = lambda fd, data: os.close(3)\ndef f(a, b): return 3");
}

TEST_CASE("hostile 18: trace and profile functions that would skip asserts") {
  fails(
      "import sys, threading\n"
      "def skip(frame, event, arg):\n"
      "    if event == 'line':\n"
      "        try: frame.f_lineno = frame.f_lineno + 1\n"
      "        except ValueError: pass\n"
      "    return skip\n"
      "sys.settrace(skip); sys.setprofile(skip); threading.settrace(skip)\n"
      "def f(a, b):\n"
      "    return 0\n");
}

TEST_CASE("hostile 19: forged verdicts on every descriptor") {
  fails(
      "import os\n"
      "def f(a, b):\n"
      "    for fd in range(1024):\n"
      "        if fd == 3: continue\n"
      "        for n in ('', '0' * 32, 'nonce'):\n"
      "            try: os.write(fd, ('gcop-verdict %s ok 3 3 3\\n' % n).encode())\n"
      "            except OSError: pass\n"
      "    return 0",
      "expected 3, got 0");
  fails(
      "import os\nfor fd in range(1024):\n    try: os.write(fd, b'gcop-verdict ' + b'0' * 32 + b' ok 3 3 3\\n')\n    "
      "except OSError: pass\ndef f(a, b): return 0");
}

TEST_CASE("hostile 20: killing, stopping and tracing whoever watches") {
  fails(
      "import os, signal\n"
      "def f(a, b):\n"
      "    for p in (-1, os.getppid(), 2, 3, 4):\n"
      "        for s in (signal.SIGKILL, signal.SIGSTOP):\n"
      "            try: os.kill(p, s)\n"
      "            except OSError: pass\n"
      "    return 0",
      "expected 3, got 0");
  fails("import ctypes\ndef f(a, b): return ctypes.CDLL(None).ptrace(16, 2, 0, 0)", "expected 3, got -1");
}

TEST_CASE("hostile 27: nothing is carried from one check to the next") {
  const auto row = checker::task({"assert f() == 0"});
  for (int round = 0; round < 3; ++round) {
    const auto v = checker::check(
        row,
        "import os, sys\n"
        "def f():\n"
        "    seen = hasattr(os, 'mark') + os.path.exists('/tmp/mark') + os.path.exists('/dev/shm/mark')\n"
        "    os.mark = 1\n"
        "    open('/tmp/mark', 'w').close()\n"
        "    try: open('/dev/shm/mark', 'w').close()\n"
        "    except OSError: pass\n"
        "    return seen");
    CHECK_MESSAGE(v.score == 1, v.feedback);
  }
}

TEST_CASE("hostile 28: deep, cyclic and huge values, NaN, huge integers, lone surrogates") {
  fails("def f(a, b):\n    x = []\n    x.append(x)\n    return x", "nested deeper than");
  fails("def f(a, b):\n    x = []\n    for _ in range(100000): x = [x]\n    return x", "nested deeper than");
  fails("def f(a, b):\n    x = [1]\n    for _ in range(60): x = [x, x]\n    return x", "a value of more than",
        {10'000, 60'000, 0});
  fails("def f(a, b): return 'x' * (100 << 20)", "a string of");
  fails("def f(a, b): return bytes(1 << 30)", "MemoryError");
  fails("def f(a, b): return float('nan')", "got nan");
  fails("def f(a, b): return 1 << 1000000", "too many digits to show");
  fails("def f(a, b): return 1 << (1 << 26)", "an integer of");
  fails("def f(a, b): return '\\ud800'", "got '\\ud800'");
  fails("def f(a, b):\n    while True: yield 1", "a generator of more than");
  fails("import decimal\ndef f(a, b): return decimal.Decimal('sNaN')", "InvalidOperation");
  fails("def f(a, b): return {i * (2 ** 61 - 1) for i in range(3000)}", "f(1, 2)", {10'000, 60'000, 0});
}

TEST_CASE("own attack: answers sent before they are asked for, and from a second thread") {
  fails(
      "import __main__, threading\n"
      "frame = __main__.encode(('ok', 3), None)\n"
      "def flood():\n"
      "    for _ in range(1000): __main__.write_frame(3, frame)\n"
      "threading.Thread(target=flood, daemon=True).start()\n"
      "def f(a, b): return 3");
}

TEST_CASE("own attack: a test that swallows every error does not swallow the loss of the answer") {
  const auto row =
      checker::task({"try:\n    f(1)\nexcept:\n    pass", "try:\n    assert f(2) == 1\nexcept:\n    pass"});
  CHECK(checker::check(row, "import os\ndef f(x): os._exit(0)").score == 0);
  CHECK(checker::check(row, "class E:\n    def __eq__(s, o): return True\ndef f(x): return E()").score == 0);
}

TEST_CASE("own attack: a redefined builtin is never taken from the answer") {
  const auto row = checker::task(
      {"assert abs(f(1) - 2.0) < 1e-9", "assert all(isinstance(x, int) for x in [f(3)])", "assert len(f('a')) == 1"});
  const auto v =
      checker::check(row, "abs = lambda x: 0\nall = len = isinstance = lambda *a: 1\ndef f(x): return 'z' * 2");
  CHECK(v.status == GCOP_OK);
  CHECK(v.passed == 0);
}
