// The jail service from the outside: streams, limits, cells in pairs, order, cancellation.
#include "jail.hpp"

using jail::run;

TEST_CASE("a box passes streams, files and the exit code") {
  REQUIRE(jail::sandbox().probe());
  auto spec = jail::program({"/usr/bin/python3", "-I", "-S", "-c",
                             "import sys; print(sys.stdin.read() + open('/box/a/b.txt').read()); "
                             "sys.stderr.write('e'); sys.exit(7)"});
  spec.input = "in,";
  spec.files = {{"a/b.txt", "file"}};
  const auto end = run({spec});
  REQUIRE_MESSAGE(end.status == GCOP_OK, end.error);
  CHECK(end.cells[0].out == "in,file\n");
  CHECK(end.cells[0].err == "e");
  CHECK(end.cells[0].exit_code == 7);
  CHECK(end.cells[0].signal == 0);
  CHECK(end.cells[0].limits == 0);
  CHECK(end.cells[0].cpu_ns > 0);
}

TEST_CASE("two cells talk over descriptor 3 and share nothing else") {
  const auto end =
      run({jail::python("import os; os.write(3, b'ping'); print(os.read(3, 9)); print(os.listdir('/tmp'))"),
           jail::python("import os; open('/tmp/mine','w'); d = os.read(3, 9); os.write(3, d + b'pong')")});
  REQUIRE_MESSAGE(end.status == GCOP_OK, end.error);
  CHECK(end.cells[0].out == "b'pingpong'\n[]\n");
}

TEST_CASE("a box has an empty environment, no name, no network and no privileges") {
  setenv("GCOP_TEST_CANARY", "secret", 1);
  const auto end =
      run({jail::python("import os, socket\n"
                        "print(sorted(os.environ), socket.gethostname(), os.getcwd(), os.getpid(), os.getuid() != 0)\n"
                        "print(sorted(os.listdir('/')), os.listdir('/etc'), sorted(os.listdir('/dev')))\n"
                        "fds = []\n"
                        "for fd in range(1024):\n"
                        "    try: os.fstat(fd); fds.append(fd)\n"
                        "    except OSError: pass\n"
                        "print(fds)")});
  REQUIRE_MESSAGE(end.status == GCOP_OK, end.error);
  CHECK(end.cells[0].err == "");
  CHECK(end.cells[0].out.find("canary") == std::string::npos);
  CHECK(end.cells[0].out.find("box /tmp 1 True\n") != std::string::npos);
  CHECK(end.cells[0].out.find("[] ['null', 'urandom']\n[0, 1, 2]\n") != std::string::npos);
  CHECK(end.cells[0].out.find("'home'") == std::string::npos);
}

TEST_CASE("the limit on CPU time ends a burning program, well before the wall limit") {
  auto spec = jail::python("while True: pass");
  spec.cpu_ms = 200;
  const auto end = run({spec});
  REQUIRE_MESSAGE(end.status == GCOP_OK, end.error);
  CHECK(end.cells[0].limits == GCOP_CELL_CPU);
  CHECK(end.cells[0].signal == SIGKILL);
  CHECK(end.cells[0].exit_code == -1);
  CHECK(end.cells[0].cpu_ns >= 150'000'000);
  CHECK(end.cells[0].cpu_ns < 3'000'000'000);
}

TEST_CASE("CPU time of children and of daemons counts") {
  auto spec = jail::python(
      "import os, time\n"
      "for _ in range(2):\n"
      "    if os.fork() == 0:\n"
      "        os.setsid()\n"
      "        if os.fork() == 0:\n"
      "            while True: pass\n"
      "        os._exit(0)\n"
      "time.sleep(100)");
  spec.cpu_ms = 300;
  spec.wall_ms = 60'000;
  const auto end = run({spec});
  REQUIRE_MESSAGE(end.status == GCOP_OK, end.error);
  CHECK(end.cells[0].limits == GCOP_CELL_CPU);
}

TEST_CASE("memory of all processes together is bounded") {
  const auto with = [](int megabytes) {
    auto spec = jail::python(
        "import os, time\n"
        "children = []\n"
        "for _ in range(4):\n"
        "    r, w = os.pipe()\n"
        "    if os.fork() == 0:\n"
        "        held = b'x' * (" +
        std::to_string(megabytes) +
        " << 20)\n"
        "        os.write(w, b'.')\n"
        "        time.sleep(100)\n"
        "    children.append(r)\n"
        "for r in children: os.read(r, 1)\n"
        "time.sleep(0.5)\n"
        "print('held')\n");
    spec.wall_ms = 60'000;
    return run({spec});
  };
  const auto most = with(200);  // each of them may: 256
  REQUIRE_MESSAGE(most.status == GCOP_OK, most.error);
  CHECK(most.cells[0].limits == GCOP_CELL_MEMORY);
  CHECK(most.cells[0].signal == SIGKILL);
  CHECK(most.cells[0].out.empty());
  const auto few = with(30);
  REQUIRE_MESSAGE(few.status == GCOP_OK, few.error);
  CHECK(few.cells[0].limits == 0);
  CHECK(few.cells[0].out == "held\n");
}

TEST_CASE("memory that processes share counts once, and counts") {
  const auto with = [](const char *before, const char *in_each) {
    auto spec = jail::python(
        "import mmap, os, time\n"
        "def take(megabytes):\n"
        "    file = open('/tmp/%d' % os.getpid(), 'w+b')\n"
        "    file.truncate(megabytes << 20)\n"
        "    held = mmap.mmap(file.fileno(), megabytes << 20)\n"
        "    for at in range(0, megabytes << 20, 4096): held[at] = 1\n"
        "    return held\n" +
        std::string(before) +
        "\nends = []\n"
        "for _ in range(4):\n"
        "    r, w = os.pipe()\n"
        "    if os.fork() == 0:\n"
        "        held = " +
        in_each +
        "\n        os.write(w, b'.')\n"
        "        time.sleep(100)\n"
        "    ends.append(r)\n"
        "for r in ends: os.read(r, 1)\n"
        "time.sleep(0.5)\n"
        "print('held')\n");
    spec.wall_ms = 60'000;
    spec.tmp_bytes = uint64_t{1} << 30;
    return run({spec});
  };
  const auto each = with("", "take(150)");  // of 256
  REQUIRE_MESSAGE(each.status == GCOP_OK, each.error);
  CHECK(each.cells[0].limits == GCOP_CELL_MEMORY);
  CHECK(each.cells[0].out.empty());
  const auto together = with("shared = take(150)", "sum(shared[at] for at in range(0, 150 << 20, 4096))");
  REQUIRE_MESSAGE(together.status == GCOP_OK, together.error);
  CHECK(together.cells[0].limits == 0);
  CHECK(together.cells[0].out == "held\n");
}

TEST_CASE("a process that the machine ends is a failure of the machine, not of the program") {
  for (int pair = 0; pair < 2; ++pair) {
    std::vector<jail::Spec> specs{jail::program({"/usr/bin/sleep", "60"})};
    if (pair)  // the first hears of it by its descriptor 3
      specs.insert(specs.begin(), jail::python("import os; os.read(3, 1); print('gone')"));
    jail::Call call(jail::sandbox().service(), std::move(specs));
    long sleeper = 0;
    for (int i = 0; i < 2000 && !sleeper; ++i, usleep(5'000))
      for (const auto &cell : jail::leftovers_now())
        if (cell.ends_with(" sleep")) sleeper = std::strtol(cell.c_str(), nullptr, 10);
    REQUIRE(sleeper);
    kill(static_cast<pid_t>(sleeper), SIGKILL);
    const auto end = call.wait();
    CHECK(end.status == GCOP_UNAVAILABLE);
    CHECK_MESSAGE(end.error.find("ended a process of the jail") != end.error.npos, end.error);
  }
}

TEST_CASE("the wall limit ends a sleeping program") {
  auto spec = jail::python("import time; print('x', flush=True); time.sleep(100)");
  spec.wall_ms = 300;
  const auto end = run({spec});
  REQUIRE_MESSAGE(end.status == GCOP_OK, end.error);
  CHECK(end.cells[0].limits == GCOP_CELL_WALL);
  CHECK(end.cells[0].out == "x\n");
}

TEST_CASE("output beyond the cap is drained and marked") {
  auto spec = jail::python("import os\nfor _ in range(100): os.write(1, b'x' * 65536)\nos.write(2, b'done')");
  spec.output_bytes = 1000;
  const auto end = run({spec});
  REQUIRE_MESSAGE(end.status == GCOP_OK, end.error);
  CHECK(end.cells[0].out == std::string(1000, 'x'));
  CHECK(end.cells[0].err == "done");
  CHECK(end.cells[0].limits == GCOP_CELL_OUTPUT);
  CHECK(end.cells[0].exit_code == 0);
}

TEST_CASE("the end of cell 0 ends the other one") {
  const auto end = run({jail::python("pass"), jail::python("import time; time.sleep(100)")});
  REQUIRE_MESSAGE(end.status == GCOP_OK, end.error);
  CHECK(end.cells[0].exit_code == 0);
  CHECK(end.cells[1].limits == 0);
  CHECK(end.cells[1].signal == SIGKILL);
}

TEST_CASE("an early end of cell 1 is seen by cell 0 as the end of the stream") {
  const auto end = run({jail::python("import os; print(os.read(3, 9))"), jail::python("import os; os._exit(3)")});
  REQUIRE_MESSAGE(end.status == GCOP_OK, end.error);
  CHECK(end.cells[0].out == "b''\n");
  CHECK(end.cells[1].exit_code == 3);
}

TEST_CASE("wrong requests and missing programs are named") {
  jail::Spec none;
  CHECK(run({none}).status == GCOP_INVALID);
  auto outside = jail::python("pass");
  outside.files = {{"../etc/passwd", "x"}};
  CHECK(run({outside}).status == GCOP_INVALID);
  CHECK(run({none, none, none}).status == GCOP_INVALID);
  jail::Spec missing;
  missing.argv = {"/opt/nothing"};
  auto end = run({missing});
  CHECK(end.status == GCOP_INVALID);
  CHECK_MESSAGE(end.error.find("/opt/nothing") != std::string::npos, end.error);
  missing.argv = {"/usr/bin/python3", "-c", "1 / 0"};  // ends before it waits
  end = run({missing});
  CHECK(end.status == GCOP_INVALID);
  CHECK_MESSAGE(end.error.find("ZeroDivisionError") != std::string::npos, end.error);
  CHECK(run({jail::program({"/opt/nothing"})}).cells.at(0).exit_code == 127);
}

TEST_CASE("without bubblewrap a run is refused with the remedy") {
  auto made = gcop::sandbox::Sandbox::make({0, "/nowhere/bwrap"});
  REQUIRE(made);
  const auto probed = (*made)->probe();
  REQUIRE(!probed);
  CHECK(probed.error().code == gcop::Code::unsupported);
  CHECK(probed.error().message.find("install the package bubblewrap") != std::string::npos);
}

TEST_CASE("where bubblewrap fails the run is refused with its words and the remedy") {
  auto made = gcop::sandbox::Sandbox::make({0, "/usr/bin/false"});
  REQUIRE(made);
  const auto probed = (*made)->probe();
  REQUIRE(!probed);
  CHECK(probed.error().code == gcop::Code::unsupported);
  CHECK(probed.error().message.find("user namespaces") != std::string::npos);
}

TEST_CASE("waiting and running runs can be cancelled, a deadline ends a run, closing ends all") {
  auto made = gcop::sandbox::Sandbox::make({1, ""});
  REQUIRE(made);
  const auto *service = (*made)->service();
  jail::Call first(service, {jail::python("import time; time.sleep(100)")});
  jail::Call second(service, {jail::python("import time; time.sleep(100)")});
  service->cancel(service, second.op());
  CHECK(second.wait().status == GCOP_CANCELLED);
  service->cancel(service, first.op());
  CHECK(first.wait().status == GCOP_CANCELLED);
  service->cancel(service, first.op());  // late: ignored
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  const uint64_t soon =
      static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec) + 200'000'000;
  CHECK(jail::Call(service, {jail::python("import time; time.sleep(100)")}, soon).wait().status == GCOP_TIMEOUT);
  {
    jail::Call holds(service, {jail::python("import time; time.sleep(100)")});
    jail::Call waits(service, {jail::python("pass")}, soon);  // soon has passed
    CHECK(waits.wait().status == GCOP_TIMEOUT);
    service->cancel(service, holds.op());
    CHECK(holds.wait().status == GCOP_CANCELLED);
  }
  jail::Call third(service, {jail::python("import time; time.sleep(100)")});
  jail::Call fourth(service, {jail::python("import time; time.sleep(100)")});
  made->reset();
  CHECK(third.wait().status == GCOP_CANCELLED);
  CHECK(fourth.wait().status == GCOP_CANCELLED);
  CHECK(jail::leftover_processes() == std::vector<std::string>{});
}

TEST_CASE("many runs at once all end right, and nothing stays") {
  REQUIRE(jail::sandbox().probe());
  const size_t descriptors = jail::open_descriptors(), mounts = jail::mounts();
  {
    std::vector<std::unique_ptr<jail::Call>> calls;
    for (int i = 0; i < 60; ++i)
      calls.push_back(std::make_unique<jail::Call>(
          jail::sandbox().service(),
          std::vector<jail::Spec>{jail::python("import os; print(os.read(3, 99).decode())"),
                                  jail::python("import os; os.write(3, b'" + std::to_string(i) + "')")}));
    for (int i = 0; i < 60; ++i) {
      const auto end = calls[static_cast<size_t>(i)]->wait();
      REQUIRE_MESSAGE(end.status == GCOP_OK, end.error);
      CHECK(end.cells[0].out == std::to_string(i) + "\n");
    }
  }
  CHECK(jail::open_descriptors() == descriptors);
  CHECK(jail::mounts() == mounts);
  CHECK(jail::leftover_processes() == std::vector<std::string>{});
}
