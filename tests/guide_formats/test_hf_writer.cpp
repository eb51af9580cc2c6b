#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>
#include <functional>

#include "files.hpp"

using namespace gcop::guide_torch;

namespace {

gcop::Result<> save(const std::string &dir, float norm = 1, const std::vector<FileOut> &more = {}) {
  Config config = tiny_config("llama");
  auto weights = tiny_weights(config);
  weights["model.norm.weight"][0] = norm;
  return write_hf_dir(dir, config, make_byte_tokenizer(), "", as_tensors(config, weights), StoredAs::f32, more);
}

size_t entries(const std::string &folder) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

// Runs the checks in a child, whose limits and mounts end with it; they report through its exit code.
int in_child(const std::function<int()> &body) {
  pid_t pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) ::_exit(body());
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

}  // namespace

TEST_CASE("a model replaces the one before it, whole") {
  TempFolder folder;
  REQUIRE(save(folder / "deep/er/m", 1));
  REQUIRE(save(folder / "deep/er/m/", 2));
  auto file = ModelFile::open(folder / "deep/er/m");
  REQUIRE(file);
  CHECK(read_tensor(**file, "model.norm.weight")[0] == 2);
  CHECK(entries(folder / "deep/er") == 1);
  auto broken = save(folder / "deep/er/m", 3,
                     {{"state.bin", [](const std::string &) { return gcop::Result<>(gcop::invalid("no state")); }}});
  REQUIRE_FALSE(broken);
  CHECK(broken.error().message == "no state");
  CHECK(read_tensor(**ModelFile::open(folder / "deep/er/m"), "model.norm.weight")[0] == 2);
  CHECK(entries(folder / "deep/er") == 1);
}

TEST_CASE("files of the caller's own become part of the directory") {
  TempFolder folder;
  FileOut state{"state.bin", [](const std::string &path) {
                  write_file(path, "bytes");
                  return gcop::Result<>(gcop::Unit{});
                }};
  REQUIRE(save(folder / "m", 1, {state}));
  CHECK(read_file(folder / "m/state.bin") == "bytes");
  CHECK(why_not(folder / "m") == "");
}

TEST_CASE("a folder that is no model is not replaced") {
  TempFolder folder;
  fs::create_directory(folder / "home");
  write_file(folder / "home/thesis.txt", "years of work");
  auto refused = save(folder / "home");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message.find("holds 'thesis.txt', which is no part of a saved model") != std::string::npos);
  CHECK(read_file(folder / "home/thesis.txt") == "years of work");
  write_file(folder / "file", "x");
  CHECK_FALSE(save(folder / "file"));
  CHECK_FALSE(save(folder / "file/below"));
  REQUIRE(save(folder / "mine"));
  write_file(folder / "mine/thesis.txt", "years of work");
  CHECK_FALSE(save(folder / "mine"));
  REQUIRE(save(folder / "a/b"));
  CHECK_FALSE(save(folder / "a"));
  CHECK(read_file(folder / "mine/thesis.txt") == "years of work");
  CHECK(fs::exists(folder / "a/b/model.safetensors"));
  CHECK(entries(folder / "") == 4);
}

TEST_CASE("tensors that do not make up the model are refused") {
  TempFolder folder;
  Config config = tiny_config("llama");
  auto weights = tiny_weights(config);
  auto tensors = as_tensors(config, weights);
  auto write = [&] { return write_hf_dir(folder / "m", config, make_byte_tokenizer(), "", tensors, StoredAs::f32); };
  tensors.pop_back();
  CHECK(write().error().message == "tensor 'model.norm.weight' is missing");
  tensors.push_back(tensors[0]);
  CHECK(write().error().message.find("model.embed_tokens.weight") != std::string::npos);
  CHECK_FALSE(fs::exists(folder / "m"));
}

TEST_CASE("a write that fails halfway leaves nothing behind") {
  TempFolder folder;
  CHECK(in_child([&] {
          std::signal(SIGXFSZ, SIG_IGN);
          rlimit limit{9000, 9000};  // below model.safetensors, above config.json
          if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
          auto failed = save(folder / "m");
          if (failed) return 2;
          return failed.error().message.find("cannot write '") != std::string::npos ? 0 : 3;
        }) == 0);
  CHECK(entries(folder / "") == 0);
}

TEST_CASE("a full disk is named and leaves nothing behind") {
  TempFolder folder;
  std::string mount = folder / "small";
  fs::create_directory(mount);
  if (::mount("tmpfs", mount.c_str(), "tmpfs", 0, "size=24m") != 0) {
    MESSAGE("skipped: a small file system cannot be mounted here");
    return;
  }
  REQUIRE(save(mount + "/m"));
  std::string filler(22u << 20, 'x');
  write_file(mount + "/filler", filler);
  auto failed = save(mount + "/m2");
  bool named = !failed && failed.error().code == gcop::Code::exhausted &&
               failed.error().message.find("disk is full") != std::string::npos;
  size_t left = entries(mount);
  bool old_is_whole = why_not(mount + "/m").empty();
  ::umount2(mount.c_str(), MNT_DETACH);
  CHECK(named);
  CHECK(left == 2);
  CHECK(old_is_whole);
}
