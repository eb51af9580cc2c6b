// The SDK as an outsider meets it: installed to a prefix of its own, found by find_package, a template built with it,
// the plugin loaded. And once more from the source tree, without installing.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>

#include <doctest/doctest.h>

#include "driver.hpp"

namespace {

// A folder that goes away with the test.
struct Folder {
  Folder() {
    char name[] = "/tmp/gcop-sdk-XXXXXX";
    REQUIRE(mkdtemp(name));
    path = name;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string path;
};

void run(const Folder &folder, const std::string &command) {
  const std::string log = folder.path + "/log";
  const int code = std::system((command + " >" + log + " 2>&1").c_str());
  std::ifstream in(log);
  REQUIRE_MESSAGE(code == 0, command << "\n" << std::string(std::istreambuf_iterator<char>(in), {}));
}

std::string build(const Folder &folder, const std::string &source, const std::string &name, const std::string &sdk) {
  const std::string out = folder.path + "/" + name;
  run(folder, "cmake -G Ninja -S " + source + " -B " + out + " " + sdk);
  run(folder, "cmake --build " + out);
  return out + "/bin/plugins/" + name + ".gcop.so";
}

}  // namespace

TEST_CASE("the core template builds against an installed SDK and answers") {
  Folder folder;
  run(folder, "cmake --install " GCOP_BINARY_DIR " --component sdk --prefix " + folder.path + "/prefix");
  const std::string installed = folder.path + "/prefix/share/gcop/template/core_cpp";
  driver::Core core(driver::load(build(folder, installed, "my_core", "-DCMAKE_PREFIX_PATH=" + folder.path + "/prefix")),
                    "{}");
  REQUIRE_MESSAGE(core, core.why);
  CHECK(core.identity() == "my_core/1");
  driver::Request request;
  request.messages = R"([{"role":"user","content":"abc"}])";
  CHECK(core.ask(request).texts == std::vector<std::string>{"cba"});
  request.messages = "[]";
  CHECK(core.ask(request).status == GCOP_INVALID);
  driver::Core bad(driver::load(folder.path + "/my_core/bin/plugins/my_core.gcop.so"), "7");
  CHECK_FALSE(bad);
  CHECK(bad.why == "my_core: the configuration must be a JSON object");
}

TEST_CASE("the validator template builds against the source tree and judges") {
  Folder folder;
  const gcop_plugin *plugin = driver::load(build(folder, GCOP_SOURCE_DIR "/sdk/template/validator_cpp", "my_validator",
                                                 "-Dgcop_DIR=" GCOP_SOURCE_DIR "/sdk/cmake"));
  driver::Host host;
  gcop_error error{};
  error.struct_size = sizeof error;
  gcop_instance *instance = plugin->create(host.raw(), driver::view(R"({"ignore_case": true})"), &error);
  REQUIRE_MESSAGE(instance, error.message);
  CHECK(plugin->query(instance, GCOP_CORE) == nullptr);
  const auto *validator = static_cast<const gcop_validator *>(plugin->query(instance, GCOP_VALIDATOR));
  REQUIRE(validator);

  const std::string task = R"({"must_say": ["sorry", "refund"]})", candidate = "So Sorry!";
  gcop_check check{};
  check.struct_size = sizeof check;
  check.task_json = driver::view(task);
  check.candidate = driver::view(candidate);
  static std::promise<gcop_verdict> verdict;
  static std::string feedback;
  gcop_op op{};
  op.struct_size = sizeof op;
  op.id = 1;
  validator->check(instance, &check, &op, [](const gcop_op *, const gcop_verdict *got) {
    feedback = driver::text(got->feedback);
    verdict.set_value(*got);
  });
  const gcop_verdict got = verdict.get_future().get();
  plugin->destroy(instance);
  CHECK(got.status == GCOP_OK);
  CHECK(got.passed == 1);
  CHECK(got.total == 2);
  CHECK(got.score == 0.5);
  CHECK(feedback == "does not say: refund");
}
