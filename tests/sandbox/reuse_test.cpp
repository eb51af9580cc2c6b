// A process that serves one cell after another, because its host allows it and its program asks for more.
#include "jail.hpp"

namespace {

std::unique_ptr<gcop::sandbox::Sandbox> sandbox;  // of the test case

const gcop_host_sandbox *service() { return sandbox->service(); }

jail::End run(std::vector<jail::Spec> specs) { return jail::Call(service(), std::move(specs)).wait(); }

// Runs what comes on its standard input behind "<how many it has served> ", then asks for another. `sum` is there for
// all; exit code 7: there is no other.
jail::Spec server(std::string code, bool reusable = true) {
  static const char *program =
      "import ctypes, os\n"
      "library = ctypes.PyDLL('./libgcop_cell.so')\n"
      "assert library.gcop_cell_wait() == 0\n"
      "served, kept = 0, []\n"
      "while True:\n"
      "    code = b''\n"
      "    while part := os.read(0, 1 << 16): code += part\n"
      "    served += 1\n"
      "    os.write(1, b'%d ' % served)\n"
      "    exec(code)\n"
      "    if library.gcop_cell_again() != 0: os._exit(7)\n";
  jail::Spec spec{{"/usr/bin/python3", "-I", "-S", "-c", program}, {}, std::move(code)};
  spec.reusable = reusable;
  return spec;
}

jail::CellEnd serve(jail::Spec spec) {
  const auto end = run({std::move(spec)});
  REQUIRE_MESSAGE(end.status == GCOP_OK, end.error);
  if (end.cells[0].limits == 0) CHECK(end.cells[0].signal != SIGKILL);  // nobody but a limit kills
  return end.cells[0];
}

// The next cells are served by new processes.
void renew() {
  auto made = gcop::sandbox::Sandbox::make();
  REQUIRE(made);
  sandbox = std::move(*made);
}

struct End {  // nothing of it rests while other files' tests look for what cells have left
  ~End() { sandbox.reset(); }
};

constexpr char kBurn[] =
    "import time\n"
    "t = time.process_time()\n"
    "while time.process_time() - t < 0.25: pass\n";

}  // namespace

TEST_CASE("a process that asks for more serves the next cell, with what it holds") {
  const End end_of_test;
  renew();
  auto end = serve(server("kept.append(5); os.write(2, b'words'); open('x', 'w').write('y')"));
  CHECK(end.out == "1 ");
  CHECK(end.err == "words");
  CHECK(end.exit_code == 0);
  CHECK(end.signal == 0);
  CHECK(end.limits == 0);
  end = serve(server("os.write(1, b'%d %d %s' % (sum(kept), os.getpid(), repr(os.listdir('.')).encode()))"));
  CHECK(end.out == "2 5 1 ['x']");
  CHECK(end.err.empty());
  CHECK(end.exit_code == 0);
}

TEST_CASE("a cell that is not reusable ends with its program, whatever that asks for") {
  const End end_of_test;
  renew();
  for (const char *served : {"1 ", "1 "}) {
    const auto end = serve(server("", false));
    CHECK(end.out == served);
    CHECK(end.exit_code == 7);
  }
  renew();
  CHECK(serve(server("")).out == "1 ");
  CHECK(serve(server("", false)).out == "1 ");
  CHECK(serve(server("")).out == "2 ");
}

TEST_CASE("without a jail no process serves twice") {
  const End end_of_test;
  renew();
  for (int i = 0; i < 2; ++i) {
    jail::Spec spec = server("");
    spec.isolation = GCOP_ISOLATION_PROCESS;
    const auto end = serve(std::move(spec));
    CHECK(end.out == "1 ");
    CHECK(end.exit_code == 7);
  }
}

TEST_CASE("a used process holds the descriptors of its cell and its line, and nothing else") {
  const End end_of_test;
  renew();
  const std::string look =
      "def there(fd):\n"
      "    try: return os.fstat(fd) is not None\n"
      "    except OSError: return False\n"
      "os.write(1, repr([fd for fd in range(256) if there(fd)]).encode())";
  renew();
  CHECK(serve(server(look)).out == "1 [0, 1, 2, 4]");
  CHECK(serve(server(look)).out == "2 [0, 1, 2, 4]");
  const size_t before = jail::open_descriptors();
  for (int i = 3; i < 20; ++i) CHECK(serve(server(look)).out == std::to_string(i) + " [0, 1, 2, 4]");
  CHECK(jail::open_descriptors() == before);
  renew();
  for (int i = 1; i < 3; ++i) {  // of a pair
    const auto end = run({server(look + "; os.write(3, b'ping'); os.write(1, os.read(3, 9))"),
                          jail::python("import os; assert os.read(3, 9) == b'ping'; os.write(3, b'pong')")});
    REQUIRE(end.status == GCOP_OK);
    CHECK(end.cells[0].out == std::to_string(i) + " [0, 1, 2, 3, 4]pong");
  }
}

TEST_CASE("each cell of a process has the CPU time of a cell") {
  const End end_of_test;
  renew();
  for (int i = 1; i < 5; ++i) {
    jail::Spec spec = server(kBurn);
    spec.cpu_ms = 600;
    const auto end = serve(std::move(spec));
    CHECK(end.out == std::to_string(i) + " ");
    CHECK(end.limits == 0);
    CHECK(end.cpu_ns >= 240'000'000);
    CHECK(end.cpu_ns < 600'000'000);
  }
  jail::Spec spec = server("while True: pass");
  spec.cpu_ms = 200;
  auto end = serve(spec);
  CHECK(end.out == "5 ");
  CHECK((end.limits & GCOP_CELL_CPU) != 0);
  CHECK(end.signal == SIGKILL);
  end = serve(server(""));
  CHECK(end.out == "1 ");
  spec = server("import time; time.sleep(60)");
  spec.wall_ms = 200;
  end = serve(spec);
  CHECK(end.out == "2 ");
  CHECK((end.limits & GCOP_CELL_WALL) != 0);
}

TEST_CASE("CPU time of an earlier cell's children is not the next one's") {
  const End end_of_test;
  renew();
  const std::string child =
      "import time\n"
      "pid = os.fork()\n"
      "if pid == 0:\n"
      "    while time.process_time() < 0.25: pass\n"
      "    os._exit(0)\n"
      "os.waitpid(pid, 0)\n";
  for (int i = 1; i < 5; ++i) {
    jail::Spec spec = server(child + kBurn);
    spec.cpu_ms = 900;
    const auto end = serve(std::move(spec));
    CHECK(end.out == std::to_string(i) + " ");
    CHECK(end.limits == 0);
    CHECK(end.cpu_ns >= 400'000'000);
    CHECK(end.cpu_ns < 900'000'000);
  }
}

TEST_CASE("a process with a child, alive or dead, is let go") {
  const End end_of_test;
  renew();
  for (const char *rest : {"os._exit(0)", "import time; time.sleep(60)"}) {
    CAPTURE(std::string(rest));
    CHECK(serve(server("")).out == "1 ");
    const auto end = serve(server(std::string("if os.fork() == 0: ") + rest));
    CHECK(end.out == "2 ");
    CHECK(end.exit_code == 7);
  }
  CHECK(serve(server("")).out == "1 ");
}

TEST_CASE("the kernel's own limit on CPU time, behind ours, leaves room for all cells of a process") {
  const End end_of_test;
  renew();
  for (int i = 1; i < 12; ++i) {  // 2.75 seconds in all; of one cell the kernel would allow 2
    jail::Spec spec = server(kBurn);
    spec.cpu_ms = 600;
    CHECK(serve(std::move(spec)).out == std::to_string(i) + " ");
  }
}

TEST_CASE("a process serves cells with its own limits only") {
  const End end_of_test;
  renew();
  jail::Spec spec = server("");
  spec.mem_bytes = 200u << 20;
  CHECK(serve(spec).out == "1 ");
  CHECK(serve(server("")).out == "1 ");
  CHECK(serve(spec).out == "2 ");
  CHECK(serve(server("")).out == "2 ");
  spec.processes = 3;
  CHECK(serve(spec).out == "1 ");
  spec.tmp_bytes = 1u << 20;
  CHECK(serve(spec).out == "1 ");
}

TEST_CASE("few processes rest, the last used ones") {
  const End end_of_test;
  renew();
  const size_t before = jail::open_descriptors();
  const auto with = [](int pages) {
    jail::Spec spec = server("");
    spec.mem_bytes = (200u << 20) + static_cast<uint64_t>(pages) * 4096;
    return spec;
  };
  for (int i = 0; i < 150; ++i) REQUIRE(serve(with(i)).out == "1 ");
  CHECK(serve(with(149)).out == "2 ");
  CHECK(serve(with(0)).out == "1 ");
  CHECK(jail::open_descriptors() <= before + 2 * 64 + 8);
  size_t alive = 0;  // the box itself is one of them
  for (int i = 0; i < 200 && (alive = jail::leftovers_now().size()) > 64 + 4; ++i) usleep(5'000);
  CHECK(alive <= 64 + 4);
}

TEST_CASE("a process that is old or has grown is let go") {
  const End end_of_test;
  renew();
  for (int i = 1; i < 256; ++i) REQUIRE(serve(server("")).out == std::to_string(i) + " ");
  auto end = serve(server(""));
  CHECK(end.out == "256 ");
  CHECK(end.exit_code == 7);
  CHECK(serve(server("")).out == "1 ");
  end = serve(server("kept.append(b'x' * (40 << 20))"));
  CHECK(end.out == "2 ");
  CHECK(end.exit_code == 7);
  CHECK(serve(server("")).out == "1 ");
}

TEST_CASE("a process that ends while it rests or serves harms no other cell") {
  const End end_of_test;
  renew();
  CHECK(serve(server("")).out == "1 ");
  const auto resting = [] {
    std::vector<long> out;
    for (const std::string &left : jail::leftovers_now()) out.push_back(std::strtol(left.c_str(), nullptr, 10));
    return out;
  };
  const auto pids = resting();
  REQUIRE(pids.size() >= 1);
  for (long pid : pids) kill(static_cast<pid_t>(pid), SIGKILL);
  for (int i = 0; i < 200 && !resting().empty(); ++i) usleep(5'000);
  CHECK(serve(server("")).out == "1 ");
  CHECK(serve(server("")).out == "2 ");
  auto end = serve(server("os.abort()"));
  CHECK(end.out == "3 ");
  CHECK(end.signal != 0);
  CHECK(serve(server("")).out == "1 ");
  {
    jail::Call call(service(), {server("import time; time.sleep(60)")});
    usleep(300'000);
    service()->cancel(service(), call.op());
    CHECK(call.wait().status == GCOP_CANCELLED);
  }
  CHECK(serve(server("")).out == "1 ");
}

TEST_CASE("many cells at once, each served by one process at a time") {
  const End end_of_test;
  renew();
  std::vector<std::unique_ptr<jail::Call>> calls;
  for (int i = 0; i < 300; ++i)
    calls.push_back(std::make_unique<jail::Call>(
        service(), std::vector<jail::Spec>{server("kept.append(1); os.write(1, b'%d' % (sum(kept) - served))")}));
  for (auto &call : calls) {
    const auto end = call->wait();
    REQUIRE_MESSAGE(end.status == GCOP_OK, end.error);
    CHECK(end.cells[0].out.ends_with(" 0"));
  }
}
