// What a program in a box must not be able to do. Each case runs one attempt and looks at the outside.
#include "jail.hpp"

using jail::run;

namespace {

std::string output_of(const std::string &code) {
  const auto end = run({jail::python(code)});
  REQUIRE_MESSAGE(end.status == GCOP_OK, end.error);
  CHECK(end.cells[0].err == "");
  return end.cells[0].out;
}

// Prints the errno name of each expression that raises OSError, "went through" for one that does not.
std::string attempts(const std::string &imports, const std::vector<std::string> &expressions) {
  std::string code = "import errno\n" + imports +
                     "\ndef t(f):\n    try: f(); print('went through')\n"
                     "    except OSError as e: print(errno.errorcode[e.errno])\n";
  for (const auto &e : expressions) code += "t(lambda: " + e + ")\n";
  return output_of(code);
}

// A raw system call by ctypes, errno name or "ok".
std::string raw(const std::vector<std::string> &calls) {
  std::string code =
      "import ctypes, errno, _ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
      "def t(*a):\n    r = libc.syscall(*a)\n    print('ok' if r >= 0 else errno.errorcode[ctypes.get_errno()])\n";
  for (const auto &c : calls) code += "t(" + c + ")\n";
  return output_of(code);
}

}  // namespace

TEST_CASE("system calls that change the machine's view are refused") {
  // unshare(NEWUSER), mount, setns, ptrace, bpf, io_uring_setup, keyctl, perf_event_open, userfaultfd, personality,
  // process_vm_writev, memfd_create, shmget, clone(NEWUSER), chroot
  CHECK(raw({"272, 0x10000000", "165, b'none', b'/tmp', b'tmpfs', 0, 0", "308, 0, 0", "101, 0, 0, 0, 0", "321, 0, 0, 0",
             "425, 1, 0", "250, 0, 0", "298, 0, 0, -1, -1, 0", "323, 0", "135, 0x0040000", "311, 1, 0, 0, 0, 0, 0",
             "319, b'x', 0", "29, 0, 4096, 0o1600", "56, 0x10000000, 0, 0, 0, 0", "161, b'/tmp'"}) ==
        "EPERM\nEPERM\nEPERM\nEPERM\nEPERM\nEPERM\nEPERM\nEPERM\nEPERM\nEPERM\nEPERM\nEPERM\nEPERM\nEPERM\nEPERM\n");
  CHECK(raw({"435, 0, 0"}) == "ENOSYS\n");            // clone3
  CHECK(raw({"253", "294, 0"}) == "EPERM\nEPERM\n");  // inotify_init: who opens what of /usr is nobody's business
}

TEST_CASE("there is no network, and no sockets but pairs") {
  CHECK(
      attempts("import socket", {"socket.socket(socket.AF_INET)", "socket.socket(socket.AF_INET6)", "socket.socket(40)",
                                 "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)", "socket.socket(socket.AF_UNIX)",
                                 "socket.create_connection(('127.0.0.1', 80))", "socket.socketpair()"}) ==
      "EPERM\nEPERM\nEPERM\nEPERM\nEPERM\nEPERM\nwent through\n");
}

TEST_CASE("nothing but /tmp can be written, and files of the host are not there") {
  CHECK(attempts("import os", {"open('/x', 'w')", "open('/usr/x', 'w')", "open('/etc/x', 'w')", "open('/dev/x', 'w')",
                               "os.mkdir('/boxes')", "open('/etc/passwd')", "open('/proc/self/mem')",
                               "os.listdir('/root')", "os.listdir('/home')", "open('/dev/shm/x', 'w')",
                               "os.remove('/usr/bin/python3')", "open('/tmp/x', 'w').close()"}) ==
        "EROFS\nEROFS\nEROFS\nEROFS\nEROFS\nENOENT\nENOENT\nENOENT\nENOENT\nENOENT\nEROFS\nwent through\n");
  auto spec = jail::python(
      "import os\ntry: open('/box/f', 'w')\nexcept OSError as e: print(e.errno)\n"
      "try: os.remove('/box/f')\nexcept OSError as e: print(e.errno)");
  spec.files = {{"f", "text"}};
  CHECK(run({spec}).cells.at(0).out == "30\n30\n");
}

TEST_CASE("/tmp is bounded in bytes, sparse files by the file size limit") {
  auto spec = jail::python(
      "import errno\n"
      "def fill():\n"
      "    for i in range(100): open(f'/tmp/{i}', 'wb').write(b'x' * 1000000)\n"
      "def sparse(): open('/tmp/s', 'wb').truncate(1 << 40)\n"
      "for f in (sparse, fill):\n"
      "    try: f(); print('went through')\n"
      "    except OSError as e: print(errno.errorcode[e.errno])");
  spec.tmp_bytes = 8 << 20;
  CHECK(run({spec}).cells.at(0).out == "EFBIG\nENOSPC\n");
}

TEST_CASE("memory and the number of processes are bounded") {
  CHECK(output_of("try: bytearray(1 << 40)\nexcept MemoryError: print('MemoryError')") == "MemoryError\n");
  CHECK(output_of("l = []\ntry:\n    while True: l.append(bytearray(1 << 20))\nexcept MemoryError:\n    n = len(l); l "
                  "= 0; print(n < 256)") == "True\n");
  auto spec = jail::python(
      "import os, time\nn = 0\ntry:\n    while True:\n        if os.fork() == 0: time.sleep(100)\n        n += 1\n"
      "except OSError as e: print(n, e.errno)");
  spec.processes = 5;
  CHECK(run({spec}).cells.at(0).out == "4 11\n");  // EAGAIN
}

TEST_CASE("a daemon that left its session and holds the pipes dies with the box") {
  const auto end =
      run({jail::python("import os, time, signal\n"
                        "if os.fork() == 0:\n"
                        "    os.setsid()\n"
                        "    if os.fork() == 0:\n"
                        "        for s in range(1, 30):\n"
                        "            try: signal.signal(s, signal.SIG_IGN)\n"
                        "            except (OSError, ValueError): pass\n"
                        "        time.sleep(1000)\n"
                        "    os._exit(0)\n"
                        "time.sleep(0.2)")});
  REQUIRE_MESSAGE(end.status == GCOP_OK, end.error);
  CHECK(end.cells[0].exit_code == 0);
  CHECK(jail::leftover_processes() == std::vector<std::string>{});
}

TEST_CASE("kill reaches nobody outside") {
  const auto end = run({jail::python("import os; os.write(3, b'x'); print(os.read(3, 1))"),
                        jail::python("import os, signal\n"
                                     "os.read(3, 1)\n"
                                     "for p in (-1, os.getppid(), 2, 3, 4, 5):\n"
                                     "    try: os.kill(p, signal.SIGKILL)\n"
                                     "    except OSError: pass\n"
                                     "os.write(3, b'y')\n")});
  REQUIRE_MESSAGE(end.status == GCOP_OK, end.error);
  CHECK(end.cells[0].exit_code == 0);
}

TEST_CASE("crashes are told from limits, and no core file is written") {
  const auto end = run({jail::python("import ctypes; ctypes.string_at(0)")});
  REQUIRE_MESSAGE(end.status == GCOP_OK, end.error);
  CHECK(end.cells[0].signal == SIGSEGV);
  CHECK(end.cells[0].limits == 0);
}

TEST_CASE("memory without a file cannot be shared, SIGCHLD stays as it is, and nobody watches folders") {
  const auto end = run({jail::python(
      "import ctypes, fcntl, mmap, os, signal\n"
      "def refused(what):\n"
      "    try: what()\n"
      "    except OSError as error: return error.errno == 1\n"
      "    return False\n"
      "libc = ctypes.CDLL(None, use_errno=True)\n"
      "libc.mmap.restype = ctypes.c_void_p\n"
      "libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]\n"
      "at = libc.mmap(None, 4096, 3, mmap.MAP_SHARED | 2 | mmap.MAP_ANONYMOUS, -1, 0)\n"  // SHARED_VALIDATE
      "print(refused(lambda: mmap.mmap(-1, 4096)), at in (None, 2 ** 64 - 1), os.path.exists('/dev/zero'),\n"
      "      mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) is not None)\n"
      "print(refused(lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN)), signal.getsignal(signal.SIGCHLD) == "
      "signal.SIG_DFL,\n"
      "      signal.signal(signal.SIGUSR1, signal.SIG_IGN) is not None)\n"
      "usr = os.open('/usr', os.O_RDONLY)\n"
      "print(refused(lambda: fcntl.fcntl(usr, fcntl.F_NOTIFY, fcntl.DN_ACCESS)), fcntl.fcntl(usr, fcntl.F_GETFD) >= "
      "0)\n")});
  REQUIRE_MESSAGE(end.status == GCOP_OK, end.error);
  CHECK_MESSAGE(end.cells[0].out == "True True False True\nTrue True True\nTrue True\n",
                (end.cells[0].out + end.cells[0].err));
}
