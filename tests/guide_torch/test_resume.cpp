// Training that goes on from a saved directory gives what it would have given without the break: weights, optimizer,
// samples, losses and statistics, byte for byte; also where SIGKILL made the break, anywhere.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <thread>

#include "plugged.hpp"

using namespace plugged;
namespace fs = std::filesystem;

namespace {

const std::vector<std::string> kObjectives = {"nll", "policy", "policy, lora"};

std::string bytes_of(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE_MESSAGE(file.good(), path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// All files below a directory, by their names in it.
std::map<std::string, std::string> contents(const std::string &dir) {
  std::map<std::string, std::string> out;
  for (const auto &entry : fs::recursive_directory_iterator(dir))
    if (entry.is_regular_file()) out[fs::relative(entry.path(), dir).string()] = bytes_of(entry.path().string());
  return out;
}

// The names of the files that are not the same in both, with their sizes.
std::string differences(const std::map<std::string, std::string> &a, const std::map<std::string, std::string> &b) {
  std::string out;
  const auto size = [](const std::map<std::string, std::string> &in, const std::string &name) {
    return in.count(name) ? std::to_string(in.at(name).size()) : "absent";
  };
  std::map<std::string, std::string> all = a;
  all.insert(b.begin(), b.end());
  for (const auto &[name, bytes] : all)
    if (!a.count(name) || !b.count(name) || a.at(name) != b.at(name))
      out += name + " (" + size(a, name) + ", " + size(b, name) + ") ";
  return out;
}

std::string exact(double value) {
  char out[40];
  std::snprintf(out, sizeof out, " %a", value);
  return out;
}

// A training whose step i depends on the weights and on i alone, as a stage of a recipe does.
class Course {
 public:
  explicit Course(const std::string &objective)
      : policy_(objective != "nll"),
        model_(kTiny.substr(0, kTiny.size() - 1) +
               (objective.ends_with("lora") ? R"(,"lora":{"rank":2,"targets":["q_proj","down_proj"]}})" : "}")) {
    REQUIRE(model_.copy("current", "start").status == GCOP_OK);
  }
  const Model &model() const { return model_; }

  // One optimizer step; what there is to know about it, in one line.
  std::string step(int i) const {
    std::string line = std::to_string(i);
    const Batch batch = policy_ ? drawn(i, line) : lessons(i);
    gcop_loss_options loss = policy_ ? Model::policy() : Model::nll();
    if (policy_) loss.kl_beta = 0.05f;
    gcop_optimizer_options adamw = Model::adamw(2e-3f / static_cast<float>(1 + i));
    adamw.weight_decay = 0.01f;
    const Trained t = model_.train(batch, loss, adamw);
    REQUIRE_MESSAGE(t.status == GCOP_OK, t.error);
    const gcop_train_result &r = t.result;
    for (double v : {r.loss, r.kl, r.entropy, r.clip_frac, r.ratio_max, r.grad_norm}) line += exact(v);
    return line + " " + std::to_string(r.n_tokens) + "\n";
  }

 private:
  Batch lessons(int i) const {
    Batch b;
    for (int k = 0; k < 3; ++k)
      b.add(model_.encode("lesson " + std::to_string(i % 3)),
            model_.encode(std::string(5, static_cast<char>('a' + k))));
    return b;
  }
  // Groups of four; the reward is the share of even ids.
  Batch drawn(int i, std::string &line) const {
    std::vector<std::unique_ptr<Rollout>> all;
    Ask ask;
    ask.temperature = 1;
    ask.max_tokens = 12;
    for (uint64_t k = 0; k < 8; ++k) {
      ask.seed = static_cast<uint64_t>(i) * 100 + k;
      all.push_back(model_.start(model_.encode("question " + std::to_string(k / 4)), ask));
    }
    Batch b;
    std::vector<std::vector<int32_t>> whole;
    for (auto &r : all) {
      r->wait();
      REQUIRE_MESSAGE(r->status == GCOP_OK, r->error);
      b.add(r->prompt, r->tokens);
      b.old_logprobs.resize(b.old_logprobs.size() + r->prompt.size());
      b.old_logprobs.insert(b.old_logprobs.end(), r->logprobs.begin(), r->logprobs.end());
      float even = 0;
      for (size_t t = 0; t < r->tokens.size(); ++t) {
        even += r->tokens[t] % 2 == 0 ? 1.0f : 0.0f;
        line += " " + std::to_string(r->tokens[t]) + exact(static_cast<double>(r->logprobs[t]));
      }
      b.advantages.push_back(even / static_cast<float>(r->tokens.size()) - 0.5f);
      whole.emplace_back(r->prompt);
      whole.back().insert(whole.back().end(), r->tokens.begin(), r->tokens.end());
    }
    REQUIRE(model_.score(whole, &b.ref_logprobs, "start").status == GCOP_OK);
    return b;
  }

  bool policy_;
  Model model_;
};

void save(const Model &m, const std::string &dir) {
  const Plain p = m.save("current", dir, GCOP_SAVE_OPTIMIZER);
  REQUIRE_MESSAGE(p.status == GCOP_OK, p.error);
}

// --- The program that is killed. In its folder: `log`, a line for each step; `step-N`, the weights after N steps;
// `latest`, the same, saved over what is there. It goes on from what it finds.

constexpr int kSteps = 8;

std::string step_dir(const std::string &folder, int n) { return folder + "/step-" + std::to_string(n); }

void put(const std::string &path, const std::string &text, int flags) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0644);
  REQUIRE(fd >= 0);
  REQUIRE(::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  REQUIRE(::fsync(fd) == 0);
  ::close(fd);
}

void work(const std::string &folder, const std::string &objective, int tell) {
  const auto phase = [tell](char c) { REQUIRE(::write(tell, &c, 1) == 1); };
  const Course course(objective);
  int done = kSteps;
  while (done > 0 && !fs::exists(step_dir(folder, done))) --done;
  std::string log;
  if (done > 0) {
    const Plain p = course.model().load("current", step_dir(folder, done));
    REQUIRE_MESSAGE(p.status == GCOP_OK, p.error);
    std::ifstream file(folder + "/log");
    std::string line;
    for (int i = 0; i < done && std::getline(file, line); ++i) log += line + "\n";
  }
  for (int i = 0; i < done; ++i) fs::remove_all(step_dir(folder, i));
  put(folder + "/log", log, O_TRUNC);  // a line may be there for a step whose weights are not
  for (int i = done; i < kSteps; ++i) {
    phase('t');
    put(folder + "/log", course.step(i), O_APPEND);
    phase('s');
    save(course.model(), folder + "/latest");
    save(course.model(), step_dir(folder, i + 1));  // last: with it the step is done
    phase('b');
    fs::remove_all(step_dir(folder, i));
  }
}

// Starts work() in a process of its own. `tell`: where its phases can be read.
pid_t launch(const std::string &folder, const std::string &objective, int *tell) {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  REQUIRE(::fcntl(ends[1], F_SETFD, 0) == 0);
  ::setenv("GCOP_RESUME_FOLDER", folder.c_str(), 1);
  ::setenv("GCOP_RESUME_OBJECTIVE", objective.c_str(), 1);
  ::setenv("GCOP_RESUME_TELL", std::to_string(ends[1]).c_str(), 1);
  const pid_t pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    ::execl("/proc/self/exe", "test_guide_torch", "--no-skip", "--minimal", "-tc=the program that is killed", nullptr);
    ::_exit(127);
  }
  ::close(ends[1]);
  *tell = ends[0];
  return pid;
}

int ended(pid_t pid) {
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  return status;
}

// Lets it come to the n-th of this phase, waits, kills. False: it had ended before.
bool kill_in(pid_t pid, int tell, char phase, int n, std::chrono::microseconds later) {
  char c = 0;
  while (::read(tell, &c, 1) == 1)
    if (c == phase && --n == 0) {
      std::this_thread::sleep_for(later);
      ::kill(pid, SIGKILL);
      return true;
    }
  return false;
}

}  // namespace

TEST_CASE("k + k steps are 2k steps: weights, optimizer, samples and losses, byte for byte") {
  for (const std::string &objective : kObjectives) {
    CAPTURE(objective);
    const TempDir temp;
    std::string straight, broken;
    {
      const Course course(objective);
      for (int i = 0; i < 6; ++i) straight += course.step(i);
      save(course.model(), temp.path + "/straight");
    }
    {
      const Course course(objective);
      for (int i = 0; i < 3; ++i) broken += course.step(i);
      save(course.model(), temp.path + "/half");
    }
    const Course course(objective);
    REQUIRE(course.model().load("current", temp.path + "/half").status == GCOP_OK);
    for (int i = 3; i < 6; ++i) broken += course.step(i);
    save(course.model(), temp.path + "/broken");
    CHECK(straight == broken);
    const auto want = contents(temp.path + "/straight"), got = contents(temp.path + "/broken");
    CHECK(want.count("model.safetensors") == 1);
    CHECK(want.count("optimizer.safetensors") == 1);
    CHECK(want.count("adapter/adapter_model.safetensors") == (objective.ends_with("lora") ? 1 : 0));
    CHECK(differences(want, got) == "");
    CHECK(differences(want, contents(temp.path + "/half")) != "");
  }
}

TEST_CASE("the program that is killed" * doctest::skip()) {
  const char *folder = std::getenv("GCOP_RESUME_FOLDER"), *objective = std::getenv("GCOP_RESUME_OBJECTIVE"),
             *tell = std::getenv("GCOP_RESUME_TELL");
  REQUIRE_MESSAGE((folder && objective && tell), "the test below starts it");
  work(folder, objective, std::stoi(tell));
}

TEST_CASE("SIGKILL at any moment, inside a step, inside a save or between them, changes nothing that comes out") {
  const char *given = std::getenv("GCOP_KILL_SEED");
  const uint64_t seed = given ? std::stoull(given) : std::random_device()();
  std::mt19937_64 random(seed);
  CAPTURE(seed);
  const int wanted = std::getenv("GCOP_FULL") ? 102 : 12;
  std::map<char, int> kills;
  int all = 0, runs = 0;
  for (const std::string &objective : kObjectives) {
    CAPTURE(objective);
    const TempDir temp;
    // Without a kill; how long its phases take.
    std::map<char, std::chrono::microseconds> longest;
    const std::string whole = temp.path + "/whole";
    fs::create_directory(whole);
    {
      int tell = -1;
      const pid_t pid = launch(whole, objective, &tell);
      char phase = 0, c = 0;
      auto since = std::chrono::steady_clock::now();
      while (::read(tell, &c, 1) == 1) {
        const auto now = std::chrono::steady_clock::now();
        if (phase)
          longest[phase] = std::max(longest[phase], std::chrono::duration_cast<std::chrono::microseconds>(now - since));
        phase = c, since = now;
      }
      ::close(tell);
      REQUIRE(ended(pid) == 0);
    }
    const auto want = contents(whole);
    REQUIRE(want.count("log") == 1);
    REQUIRE(want.count("step-8/optimizer.safetensors") == 1);
    CHECK(std::count(want.at("log").begin(), want.at("log").end(), '\n') == kSteps);

    for (int here = 0; here < wanted / 3; ++runs) {
      const std::string folder = temp.path + "/" + std::to_string(runs);
      fs::create_directory(folder);
      for (bool over = false; !over;) {
        int tell = -1;
        const pid_t pid = launch(folder, objective, &tell);
        const char phase = "tsb"[all % 3];
        const auto later = std::chrono::microseconds(random() % static_cast<uint64_t>(longest[phase].count() + 1));
        const int n = 1 + static_cast<int>(random() % 3);
        if (here < wanted / 3 && kill_in(pid, tell, phase, n, later)) {
          const int status = ended(pid);
          over = WIFEXITED(status);  // it was faster
          REQUIRE((over ? WEXITSTATUS(status) == 0 : WTERMSIG(status) == SIGKILL));
          if (!over) ++kills[phase], ++all, ++here;
        } else {
          char rest[64];
          while (::read(tell, rest, sizeof rest) > 0) continue;
          REQUIRE(ended(pid) == 0);
          over = true;
        }
        ::close(tell);
        // Whatever is there under its own name is whole.
        if (fs::exists(folder + "/latest")) {
          const Model saved(R"({"model":")" + folder + R"(/latest","threads":1})");
          CHECK(fs::exists(folder + "/latest/optimizer.safetensors"));
        }
      }
      CHECK(differences(contents(folder), want) == "");  // nothing half-written is left either
    }
  }
  MESSAGE("seed " << seed << ": " << all << " kills (" << kills['t'] << " from a step's start, " << kills['s']
                  << " from a save's, " << kills['b'] << " between) in " << runs << " runs");
}
