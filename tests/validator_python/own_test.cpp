// Hostile programs of our own finding, most of them against the box that checks are copied from: what a copy inherits,
// whom it can signal, what the next copy sees. In every case the other check in flight must pass as well.
#include "hostile.hpp"

namespace {

constexpr checker::Call::Limits kShort{300, 20'000, 0};

void fails(const std::string &code, const std::string &end = "", checker::Call::Limits limits = {2000, 20'000, 0}) {
  hostile::fails(code, end, limits, true);
}

void is(const std::string &test, const std::string &code) {
  const auto v = checker::check(checker::task({test}), code);
  CHECK_MESSAGE(v.score == 1, v.error << v.feedback);
}

}  // namespace

TEST_CASE("own 1: signals to the process group, which pid namespaces do not bound") {
  fails(
      "import os, signal\n"
      "def f(a, b):\n"
      "    for kill in (lambda s: os.kill(0, s), lambda s: os.killpg(0, s), lambda s: os.killpg(os.getpgrp(), s)):\n"
      "        for s in (signal.SIGSTOP, signal.SIGTERM, signal.SIGKILL, signal.SIGHUP):\n"
      "            try: kill(s)\n"
      "            except OSError: pass\n"
      "    return 0");
}

TEST_CASE("own 2: the box's own library, called again from inside a cell") {
  fails(
      "import ctypes\n"
      "def f(a, b):\n"
      "    return ctypes.PyDLL('/box/libgcop_cell.so').gcop_cell_wait()",
      "expected 3, got -1");
  fails(
      "import ctypes, os\n"
      "os.dup2(os.open('/dev/zero', os.O_RDONLY), 3)\n"
      "ctypes.PyDLL('/box/libgcop_cell.so').gcop_cell_wait()\n"
      "def f(a, b): return 3");
}

TEST_CASE("own 3: descriptors of the box that a copy might have inherited") {
  is("assert f() == [(0, 'file'), (1, 'fifo'), (2, 'fifo'), (3, 'socket', 1)]",
     "import os, socket, stat\n"
     "def f():\n"
     "    found = []\n"
     "    for fd in range(4096):\n"
     "        try: mode = os.fstat(fd).st_mode\n"
     "        except OSError: continue\n"
     "        if stat.S_ISSOCK(mode): found.append((fd, 'socket', int(socket.socket(fileno=os.dup(fd)).type)))\n"
     "        else: found.append((fd, 'fifo' if stat.S_ISFIFO(mode) else 'dir' if stat.S_ISDIR(mode) else 'file'))\n"
     "    return found");
}

TEST_CASE("own 4: forged orders and words of the box on every descriptor") {
  fails(
      "import os, struct\n"
      "def f(a, b):\n"
      "    word = struct.pack('<QQIi16s', 1, 0, 5, 0, b'')\n"
      "    order = struct.pack('<QQQQII40s', 1, 9, 1 << 40, 1 << 40, 9999, 3, b'/')\n"
      "    for fd in range(64):\n"
      "        for data in (word, order):\n"
      "            if fd != 3:\n"
      "                try: os.write(fd, data)\n"
      "                except OSError: pass\n"
      "    return 0",
      "expected 3, got 0");
}

TEST_CASE("own 5: descriptors sent to the judge, and as many in flight as the kernel takes") {
  fails(
      "import array, os, socket\n"
      "def f(a, b):\n"
      "    judge = socket.socket(fileno=3)\n"
      "    fds = array.array('i', [os.open('/dev/null', os.O_RDWR) for _ in range(40)])\n"
      "    one, other = socket.socketpair()\n"
      "    for s in (one, judge):\n"
      "        s.setblocking(False)\n"
      "        try:\n"
      "            for _ in range(1000): s.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])\n"
      "        except OSError: pass\n"
      "    judge.detach()\n"
      "    return 3");
}

TEST_CASE("own 6: an answer that never ends: a byte now and then, half a frame, a frame that is only promised") {
  fails(
      "import os, time\n"
      "def f(a, b):\n"
      "    os.write(3, (1000).to_bytes(4, 'little'))\n"
      "    while True:\n        os.write(3, b't')\n        time.sleep(0.05)",
      "took longer than 700 ms", {2000, 700, 0});
  fails("import os\ndef f(a, b):\n    os.write(3, (8 << 20).to_bytes(4, 'little') + b't\\2')\n    os._exit(0)", "");
  fails("import os\ndef f(a, b):\n    os.write(3, b'\\1')\n    os.closerange(0, 64)\n    while True: pass", "", kShort);
}

TEST_CASE("own 7: handles that were never given, names of the judge's own, handles in place of values") {
  for (const char *value : {"b'h\\xff\\xff\\xff\\x7f\\1\\0\\0\\0f'", "b'n\\4\\0\\0\\0main'", "b'n\\5\\0\\0\\0nonce'",
                            "b'y\\3\\0\\0\\0int'"})
    fails(
        "import __main__\nreal = __main__.encode\ndef f(a, b):\n    __main__.encode = lambda v, h: "
        "b't\\2\\0\\0\\0s\\2\\0\\0\\0ok' + " +
        std::string(value) + "\n    return 0");
  fails(
      "import __main__\n"
      "class E: pass\n"
      "__main__.Answer.resolve = lambda self, number, _: lambda *a, **k: E()\n"
      "def f(a, b): return E()");
}

TEST_CASE("own 8: all processes that a check may have, in several checks at once") {
  const std::string greedy =
      "import os, time\ndef f(a, b):\n    for _ in range(100):\n        try:\n            if os.fork() == 0: "
      "time.sleep(100)\n        except OSError: pass\n    time.sleep(0.3)\n    return 0";
  std::deque<checker::Call> more;
  for (int i = 0; i < 4; ++i) more.emplace_back(checker::instance(), hostile::addition(), greedy);
  for (auto &call : more) CHECK(call.wait().score == 0);
  fails(greedy, "expected 3, got 0");
}

TEST_CASE("own 9: the box's files, opened, mapped or replaced for the next check") {
  fails(
      "import mmap, os\n"
      "def f(a, b):\n"
      "    wrong = 3\n"
      "    for p in ('/box/candidate.py', '/box/libgcop_cell.so', '/usr/bin/python3.11', '/dev/zero'):\n"
      "        for act in (lambda: os.chmod(p, 0o777), lambda: os.rename(p, '/tmp/x'), lambda: os.truncate(p, 0),\n"
      "                    lambda: os.utime(p), lambda: os.setxattr(p, 'user.x', b'1'),\n"
      "                    lambda: os.mknod('/tmp/null', 0o20666, os.makedev(1, 3)),\n"
      "                    lambda: mmap.mmap(os.open(p, os.O_RDWR), 4096)):\n"
      "            try: act()\n"
      "            except (OSError, ValueError): continue\n"
      "            if p != '/dev/zero': wrong = 'went through'\n"
      "    fd = os.open('/box/candidate.py', os.O_RDONLY)\n"
      "    try:\n"
      "        m = mmap.mmap(fd, 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)\n"
      "        m[:4] = b'evil'\n"
      "    except OSError: pass\n"
      "    return -wrong",
      "expected 3, got -3");
}

TEST_CASE("own 10: memory that copies share, written through ctypes") {
  fails(
      "import ctypes\n"
      "def f(a, b):\n"
      "    for n in (5, 10, 9, 256):\n"
      "        ctypes.memmove(id(n) + 24, b'\\7\\0\\0\\0', 4)\n"
      "    ctypes.memset(id(len) + 16, 0, 8)\n"
      "    return 0");
  is("assert f(4) == 9 and f(5) == 10", "def f(x): return x + 5 if x < 6 else len('')");
}

TEST_CASE("own 11: raised limits, given up restrictions, programs with the set-user-ID bit") {
  is("assert f() == ['EPERM', 'EPERM', 'EPERM', 'EPERM', 'EINVAL', 'EPERM', 0, [0, 0, 0, 0, 0, 0], 1, 2]",
     "import ctypes, errno, os, resource, struct, subprocess\n"
     "libc = ctypes.CDLL(None, use_errno=True)\n"
     "def raw(*a): return errno.errorcode[ctypes.get_errno()] if libc.syscall(*a) < 0 else 'ok'\n"
     "def f():\n"
     "    out = []\n"
     "    for what, value in ((resource.RLIMIT_AS, -1), (resource.RLIMIT_NPROC, 4096), (resource.RLIMIT_CPU, 999),\n"
     "                        (resource.RLIMIT_FSIZE, 1 << 40)):\n"
     "        try: resource.setrlimit(what, (value, value)); out.append('ok')\n"
     "        except (ValueError, OSError): out.append('EPERM')\n"
     "    out.append(raw(105, 0))\n"           // setuid
     "    out.append(raw(272, 0x10000000))\n"  // unshare
     "    out.append(subprocess.run(['/usr/bin/env', 'true']).returncode)\n"
     "    head, data = struct.pack('<Ii', 0x20080522, 0), ctypes.create_string_buffer(24)\n"
     "    libc.syscall(125, head, data)\n"  // capget
     "    out.append(list(struct.unpack('<6I', data.raw)))\n"
     "    out.append(libc.prctl(39, 0, 0, 0, 0))\n"  // no_new_privs
     "    out.append(libc.prctl(21, 0, 0, 0, 0))\n"  // seccomp mode
     "    return out");
}

TEST_CASE("own 12: named and abstract sockets between checks, and locks on files that all boxes see") {
  fails("import socket\ndef f(a, b):\n    s = socket.socket(socket.AF_UNIX)\n    s.bind('\\0gcop')\n    return 0",
        "PermissionError");
  fails(
      "import fcntl, os, time\n"
      "for p in ('/box/candidate.py', '/box/libgcop_cell.so', '/usr/bin/python3.11'):\n"
      "    fcntl.flock(os.open(p, os.O_RDONLY), fcntl.LOCK_EX)\n"
      "def f(a, b):\n"
      "    time.sleep(0.1)\n"
      "    return 0",
      "expected 3, got 0");
}

TEST_CASE("own 13: processes that stop themselves, ignore everything, or are made beside their parent") {
  fails(
      "import os, signal\ndef f(a, b):\n    for _ in range(5):\n        if os.fork() == 0:\n            "
      "os.setsid()\n            os.kill(os.getpid(), signal.SIGSTOP)\n    return 0",
      "expected 3, got 0");
  // clone(CLONE_PARENT | SIGCHLD) from a child of process 1
  fails(
      "import ctypes, os, time\ndef f(a, b):\n    if os.fork() == 0:\n        "
      "ctypes.CDLL(None).syscall(56, 0x8000 | 17, 0, 0, 0, 0)\n        time.sleep(100)\n    time.sleep(0.1)\n    "
      "return 0",
      "expected 3, got 0");
}

TEST_CASE("own 14: a family of processes, each of which holds less than one may") {
  fails(
      "import os, time\n"
      "def f(a, b):\n"
      "    for _ in range(6):\n"
      "        if os.fork() == 0: break\n"
      "    held = b'x' * (150 << 20)\n"
      "    time.sleep(100)\n"
      "    return 3",
      "the program used more than 256 MiB of memory and was stopped");
}
