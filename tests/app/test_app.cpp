// The real gcop-run, as a person starts it: what it says and its exit codes.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <sqlite3.h>

namespace {

namespace fs = std::filesystem;

bool holds(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }

struct Ended {
  int code = -1;
  std::string text;  // stdout and stderr
};

// A folder with recipes, in which commands run. Leaves nothing behind.
class Folder {
 public:
  Folder() {
    std::string pattern = (fs::temp_directory_path() / "gcop-app-XXXXXX").string();
    REQUIRE(mkdtemp(pattern.data()));
    path_ = pattern;
  }
  ~Folder() {
    std::error_code ec;
    fs::remove_all(path_, ec);
  }
  void write(const std::string &name, const std::string &text) const { std::ofstream(path_ / name) << text; }
  const fs::path &path() const { return path_; }

  // `seen` gets the output so far and the process id after every piece.
  Ended run(std::vector<std::string> args, const std::function<void(const std::string &, pid_t)> &seen = {}) const {
    args.insert(args.begin(), GCOP_BIN_DIR "/gcop-run");
    int pipe_ends[2];
    REQUIRE(pipe(pipe_ends) == 0);
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      dup2(pipe_ends[1], 1);
      dup2(pipe_ends[1], 2);
      close(pipe_ends[0]);
      close(pipe_ends[1]);
      if (chdir(path_.c_str()) != 0) _exit(99);
      setenv("GCOP_ROOT", path_.c_str(), 1);
      std::vector<char *> argv;
      for (auto &a : args) argv.push_back(a.data());
      argv.push_back(nullptr);
      execv(argv[0], argv.data());
      _exit(98);
    }
    close(pipe_ends[1]);
    Ended out;
    char buffer[4096];
    while (true) {
      pollfd wait{pipe_ends[0], POLLIN, 0};
      if (poll(&wait, 1, 120'000) <= 0) {
        kill(pid, SIGKILL);
        FAIL("gcop-run is silent for two minutes; it said: " << out.text);
      }
      ssize_t n = read(pipe_ends[0], buffer, sizeof buffer);
      if (n <= 0) break;
      out.text.append(buffer, static_cast<size_t>(n));
      if (seen) seen(out.text, pid);
    }
    close(pipe_ends[0]);
    int status = 0;
    waitpid(pid, &status, 0);
    out.code = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
    return out;
  }

  std::string only_run() const {
    std::vector<std::string> runs;
    for (const auto &entry : fs::directory_iterator(path_ / "runs"))
      runs.push_back("runs/" + entry.path().filename().string());
    REQUIRE(runs.size() == 1);
    return runs[0];
  }

 private:
  fs::path path_;
};

}  // namespace

TEST_CASE("--help teaches") {
  Folder folder;
  auto ended = folder.run({"--help"});
  CHECK(ended.code == 0);
  for (const char *part : {"Examples:", "Exit codes:", "--resume", "--set", "doctor", "130  interrupted"})
    CHECK(holds(ended.text, part));
}

TEST_CASE("mistakes of the command line and of recipes end with code 2") {
  Folder folder;
  folder.write("syntax.lua", "local x = 1\nlocal y = = 2\n");
  folder.write("fine.lua", "gcop.option('m', 4, 'executions')\ngcop.sleep(0)\n");
  folder.write("typo.lua", "\ngcop.sleeep(1)\n");

  auto ended = folder.run({"syntax.lua"});
  CHECK(ended.code == 2);
  CHECK(holds(ended.text, "syntax.lua:2: unexpected symbol near '='"));
  CHECK_FALSE(fs::exists(folder.path() / "runs"));

  ended = folder.run({"fine.lua", "--set", "mm=5"});
  CHECK(ended.code == 2);
  CHECK(holds(ended.text, "'mm', which this recipe does not declare"));
  CHECK(holds(ended.text, "m = 4  executions"));

  ended = folder.run({"absent.lua"});
  CHECK(ended.code == 2);
  CHECK(holds(ended.text, "cannot read 'absent.lua': No such file"));

  ended = folder.run({"typo.lua", "--check"});
  CHECK(ended.code == 2);
  CHECK(holds(ended.text, "typo.lua:2: attempt to call a nil value (field 'sleeep')"));

  CHECK(folder.run({}).code == 2);
  CHECK(folder.run({"fine.lua", "--nonsense"}).code == 2);
  CHECK(folder.run({"fine.lua", "--profile", "huge"}).code == 2);
  CHECK(holds(folder.run({"fine.lua", "--set", "m"}).text, "write it as --set name=value"));
  CHECK(holds(folder.run({"--resume", "nowhere"}).text, "there is no run in it"));
  CHECK(holds(folder.run({"fine.lua", "--resume", "x"}).text, "--resume takes the recipe from the run's folder"));
}

TEST_CASE("--check writes nothing") {
  Folder folder;
  folder.write("r.lua", "local c = gcop.core { script = function() return 'x' end }\nc:complete { prompt = 'x' }\n");
  auto ended = folder.run({"r.lua", "--check"});
  CHECK(ended.code == 0);
  CHECK(holds(ended.text, "check: ok"));
  CHECK_FALSE(fs::exists(folder.path() / "runs"));
}

TEST_CASE("--plan prints what the recipe expects, and calls nothing") {
  Folder folder;
  folder.write("r.lua", R"(
    gcop.plan { stage = "accept", role = "core", calls = 40, tokens_in = 8000, tokens_out = 4000, usd = 0.25, seconds = 120 }
    gcop.plan { stage = "evaluate", role = "core", calls = 60 }
    gcop.core { script = function() error("called") end }:complete { prompt = "x" })");
  auto ended = folder.run({"r.lua", "--plan"});
  CHECK(ended.code == 0);
  CHECK(holds(ended.text, "accept               core             40         8000         4000     0.2500       2.0"));
  CHECK(holds(ended.text, "all                                  100"));
  CHECK_FALSE(fs::exists(folder.path() / "runs"));
}

TEST_CASE("a recipe that fails while it runs ends with code 1 and can be resumed") {
  Folder folder;
  folder.write("r.lua", R"(
    local calls, o = 0, gcop.option("o", 1)
    local core = gcop.core { script = function(request) calls = calls + 1 return "answer " .. request.sample end }
    for i = 1, 3 do core:complete { prompt = "x", sample = i } end
    print("calls: " .. calls .. " seed " .. gcop.seed .. " " .. gcop.args[1] .. " " .. o)
    if not gcop.files.read("go") then error("no permission to go") end
    print("done"))");
  auto ended = folder.run({"r.lua", "word", "--seed", "5", "--set", "o=3"});
  CHECK(ended.code == 1);
  CHECK(holds(ended.text, "calls: 3 seed 5 word 3"));
  CHECK(holds(ended.text, "r.lua:6: no permission to go"));
  auto run = folder.only_run();
  CHECK(holds(ended.text, "resume with: gcop-run --resume " + run));

  folder.write(run + "/go", "");
  ended = folder.run({"--resume", run});
  CHECK_MESSAGE(ended.code == 0, ended.text);
  CHECK(holds(ended.text, "calls: 0 seed 5 word 3"));
  CHECK(holds(ended.text, "done"));

  folder.write("r.lua", "gcop.option('o', 1) print('another recipe')");
  ended = folder.run({"--resume", run});
  CHECK(ended.code == 2);
  CHECK(holds(ended.text, "has changed"));
  CHECK(holds(ended.text, "--accept-changes"));
  ended = folder.run({"--resume", run, "--accept-changes"});
  CHECK(ended.code == 0);
  CHECK(holds(ended.text, "another recipe"));
}

TEST_CASE("Ctrl-C saves and says how to go on") {
  Folder folder;
  folder.write("r.lua", "gcop.store.put('a', 'b', 1)\nprint('ready')\nwhile true do gcop.sleep(0.01) end");
  bool sent = false;
  auto ended = folder.run({"r.lua"}, [&](const std::string &text, pid_t pid) {
    if (!sent && holds(text, "ready")) kill(pid, SIGINT), sent = true;
  });
  CHECK(ended.code == 130);
  CHECK(holds(ended.text, "interrupted"));
  CHECK(holds(ended.text, "resume with: gcop-run --resume " + folder.only_run()));

  folder.write("busy.lua", "print('ready')\ngcop.sleep(0)\nwhile true do pcall(function() while true do end end) end");
  sent = false;
  ended = folder.run({"busy.lua"}, [&](const std::string &text, pid_t pid) {
    if (!sent && holds(text, "ready")) kill(pid, SIGTERM), sent = true;
  });
  CHECK(ended.code == 130);
}

TEST_CASE("control characters of a model's text do not reach the terminal in a log line") {
  Folder folder;
  folder.write("r.lua", "gcop.log('\\27[31mred\\u{9b}2J') gcop.progress('\\27]0;x', 1):done() gcop.warn('a\\rb\\tc')");
  auto ended = folder.run({"r.lua"});
  CHECK_MESSAGE(ended.code == 0, ended.text);
  CHECK(holds(ended.text, "\\x1b[31mred\\x9b2J"));
  CHECK(holds(ended.text, "\\x1b]0;x"));
  CHECK(holds(ended.text, "warning: a\\x0db\tc"));
  CHECK(ended.text.find('\x1b') == std::string::npos);
}

TEST_CASE("an ended budget names the option that raises it only if the recipe has it") {
  Folder folder;
  folder.write("r.lua", R"(
    gcop.store.set_budget(0)
    local core = gcop.core { price = { input = 1, output = 1 }, script = function() return "x" end }
    local reply, err = core:complete { prompt = "x" }
    if not reply then error(err) end)");
  auto ended = folder.run({"r.lua"});
  CHECK(ended.code == 3);
  CHECK(holds(ended.text, "resume with: gcop-run --resume " + folder.only_run()));
  CHECK_FALSE(holds(ended.text, "--set"));
}

TEST_CASE("budget 0 ends with code 3; a larger one goes on") {
  Folder folder;
  folder.write("r.lua", R"(
    gcop.store.set_budget(gcop.option("budget_usd", 0, "cap"))
    local core = gcop.core { price = { input = 1, output = 1 }, script = function() return "x" end }
    local reply, err = core:complete { prompt = "x" }
    if not reply then error(err) end
    print("paid"))");
  auto ended = folder.run({"r.lua"});
  CHECK(ended.code == 3);
  CHECK(holds(ended.text, "budget"));
  CHECK(holds(ended.text, "resume with: gcop-run --resume " + folder.only_run() + " --set budget_usd=MORE"));
  ended = folder.run({"--resume", folder.only_run(), "--set", "budget_usd=1"});
  CHECK_MESSAGE(ended.code == 0, ended.text);
  CHECK(holds(ended.text, "paid"));
}

TEST_CASE("an ended budget says what works where its option is not called budget_...") {
  Folder folder;
  const std::string rest = R"(
    local core = gcop.core { price = { input = 1, output = 1 }, script = function() return "x" end }
    local reply, err = core:complete { prompt = "x" }
    if not reply then error(err) end
    print("paid"))";
  folder.write("r.lua", "gcop.store.set_budget(gcop.option('cap', 0.0, 'cap'))" + rest);
  auto ended = folder.run({"r.lua", "--out", "a"});
  CHECK(ended.code == 3);
  CHECK(holds(ended.text, "resume with: gcop-run --resume a --set NAME=MORE --accept-changes"));
  ended = folder.run({"--resume", "a", "--set", "cap=1", "--accept-changes"});
  CHECK_MESSAGE(ended.code == 0, ended.text);
  CHECK(holds(ended.text, "paid"));

  folder.write("r.lua", "gcop.store.set_budget(0)" + rest);
  ended = folder.run({"r.lua", "--out", "b"});
  CHECK(ended.code == 3);
  CHECK(holds(ended.text, "resume with: gcop-run --resume b --accept-changes"));
  CHECK_FALSE(holds(ended.text, "--set"));
  folder.write("r.lua", "gcop.store.set_budget(1)" + rest);
  CHECK(folder.run({"--resume", "b", "--accept-changes"}).code == 0);

  folder.write("r.lua", "gcop.option('n', 1) gcop.store.set_budget(gcop.option('budget_teacher', 0.0))" + rest);
  ended = folder.run({"r.lua", "--out", "c"});
  CHECK(ended.code == 3);
  CHECK(holds(ended.text, "resume with: gcop-run --resume c --set budget_teacher=MORE"));
  CHECK_FALSE(holds(ended.text, "--accept-changes"));
  CHECK(folder.run({"--resume", "c", "--set", "budget_teacher=1"}).code == 0);
}

TEST_CASE("a recipe that goes on after a refused call ends with code 3, unless it says that it is done") {
  Folder folder;
  const std::string refused = R"(
    gcop.store.set_budget(0)
    local core = gcop.core { price = { input = 1, output = 1 }, script = function() return "x" end }
    local reply, err = core:complete { prompt = "x" }
    print("refused: " .. err.code)
  )";
  folder.write("r.lua", refused);
  auto ended = folder.run({"r.lua"});
  CHECK(ended.code == 3);
  CHECK(holds(ended.text, "refused: exhausted"));
  folder.write("r.lua", refused + "gcop.finish()");
  ended = folder.run({"r.lua"});
  CHECK(ended.code == 0);
  CHECK(holds(ended.text, "refused: exhausted"));
}

TEST_CASE("a run.db whose notes on the run were changed is named, with the note and the remedy") {
  Folder folder;
  folder.write("r.lua",
               "gcop.sleep(0)\nif not gcop.files.read('go') then error('stop') end\nprint('seed ' .. gcop.seed)");
  CHECK(folder.run({"r.lua", "--out", "run", "--seed", "5"}).code == 1);
  folder.write("run/go", "");
  const auto resumed_with = [&](const std::string &key, const std::string &value) {
    sqlite3 *db = nullptr;
    REQUIRE(sqlite3_open((folder.path() / "run/run.db").c_str(), &db) == SQLITE_OK);
    const std::string statement = "UPDATE meta SET value = '" + value + "' WHERE key = '" + key + "'";
    CHECK(sqlite3_exec(db, statement.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK);
    sqlite3_close(db);
    return folder.run({"--resume", "run"});
  };
  for (const char *seed : {"five", "6"}) {
    const auto ended = resumed_with("seed", seed);
    CHECK(ended.code == 2);
    CHECK_MESSAGE(holds(ended.text, "run/run.db: setting seed is not as it was written"), ended.text);
    CHECK(holds(ended.text, "start a new run"));
  }
  CHECK(holds(resumed_with("seed", "5").text, "seed 5"));
}

TEST_CASE("the report of a resumed run says how often, and what the store answered; report.json does not") {
  Folder folder;
  folder.write("r.lua", R"(
    local core = gcop.core { script = function(request) return "answer" end }
    for i = 1, 3 do core:complete { prompt = "x", sample = i } end
    gcop.report.write { stages = {} }
    if not gcop.files.read("go") then error("stop") end)");
  const auto text = [&](const char *name) {
    std::ifstream file(folder.path() / "run" / name);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  CHECK(folder.run({"r.lua", "--out", "run"}).code == 1);
  CHECK_FALSE(holds(text("report.html"), "\"resumed\":{"));
  const std::string before = text("report.json");
  CHECK(folder.run({"--resume", "run", "--set", "no=1"}).code == 2);  // a mistake is no process of the run
  CHECK(folder.run({"--resume", "run"}).code == 1);
  CHECK(holds(text("report.html"), R"("resumed":{"answered":3,"times":1})"));
  folder.write("run/go", "");
  CHECK(folder.run({"--resume", "run"}).code == 0);
  CHECK(holds(text("report.html"), R"("resumed":{"answered":3,"times":2})"));
  CHECK(text("report.json") == before);
}

TEST_CASE("a full disk ends the run with code 1 and its own words, not the budget's") {
  Folder folder;
  folder.write("r.lua", R"(
    local core = gcop.core { script = function(request) return ("x"):rep(2000) .. request.sample end }
    local samples = {}
    for i = 1, 5000 do samples[i] = i end
    gcop.map(samples, { limit = 32 }, function(i)
      local reply, err = core:complete { prompt = "x", sample = i }
      if not reply then error(err) end
    end))");
  const std::string
      dir = folder.path().string(),
      command = "cd '" + dir +
                "' && mkdir small && exec unshare --mount sh -c 'mount -t tmpfs -o size=600k none small || exit 77; "
                "GCOP_ROOT=. " GCOP_BIN_DIR "/gcop-run r.lua --out small/run' > said 2>&1";
  const int code = WEXITSTATUS(std::system(command.c_str()));
  std::ifstream file(folder.path() / "said");
  const std::string said{std::istreambuf_iterator<char>(file), {}};
  if (code == 77 || holds(said, "unshare failed")) {
    MESSAGE("skipped: this user may not mount a small disk");
    return;
  }
  CHECK_MESSAGE(code == 1, said);
  CHECK(holds(said, "the disk is full; free some space and resume the run"));
  CHECK(holds(said, "resume with: gcop-run --resume small/run\n"));
  CHECK_FALSE(holds(said, "budget"));
  CHECK_FALSE(holds(said, "traceback"));
}

TEST_CASE("an output folder that cannot be written is said before anything is spent") {
  Folder folder;
  folder.write("r.lua", "print('ran')");
  folder.write("file", "");
  auto ended = folder.run({"r.lua", "--out", "file/below"});
  CHECK(ended.code == 2);
  CHECK(holds(ended.text, "cannot make the output folder 'file/below'"));
  CHECK_FALSE(holds(ended.text, "ran"));
  ended = folder.run({"r.lua", "--out", "/proc/self/run"});  // read-only for root as well
  CHECK(ended.code == 2);
  CHECK(holds(ended.text, "cannot make the output folder '/proc/self/run'"));
  CHECK(folder.run({"r.lua", "--out", "mine"}).code == 0);
  ended = folder.run({"r.lua", "--out", "mine"});
  CHECK(ended.code == 2);
  CHECK(holds(ended.text, "there is a run in it already"));
}

TEST_CASE("a mistake takes back what gcop wrote, and nothing else") {
  Folder folder;
  folder.write("r.lua", "gcop.core { script = function() return 'x' end }\nerror('early mistake')");
  fs::create_directory(folder.path() / "mine");
  folder.write("mine/run.sh", "precious");
  folder.write("mine/run.log", "precious too");
  CHECK(folder.run({"r.lua", "--out", "mine"}).code == 2);
  CHECK(fs::exists(folder.path() / "mine/run.sh"));
  CHECK(fs::exists(folder.path() / "mine/run.log"));
  CHECK_FALSE(fs::exists(folder.path() / "mine/run.db"));
  fs::create_directory(folder.path() / "empty");
  CHECK(folder.run({"r.lua", "--out", "empty"}).code == 2);
  CHECK(fs::exists(folder.path() / "empty"));
  CHECK(folder.run({"r.lua", "--out", "new"}).code == 2);
  CHECK_FALSE(fs::exists(folder.path() / "new"));
}

TEST_CASE("a run whose plugin was named by its path is resumed, unless the plugin changed") {
  Folder folder;
  const std::string plugin = (folder.path() / "mine.gcop.so").string();
  fs::copy_file(GCOP_BIN_DIR "/plugins/validator_python.gcop.so", plugin);
  folder.write("r.lua", "gcop.validator { '" + plugin +
                            "' }\ngcop.sleep(0)\n"
                            "if not gcop.files.read('go') then error('stop') end\nprint('went on')");
  auto ended = folder.run({"r.lua"});
  REQUIRE_MESSAGE(ended.code == 1, ended.text);
  const auto run = folder.only_run();
  folder.write(run + "/go", "");
  ended = folder.run({"--resume", run});
  CHECK_MESSAGE(ended.code == 0, ended.text);
  CHECK(holds(ended.text, "went on"));
  std::ofstream(plugin, std::ios::app) << "changed";
  ended = folder.run({"--resume", run});
  CHECK(ended.code == 2);
  CHECK(holds(ended.text, "plugin " + plugin + " has changed"));
}

TEST_CASE("what a run read and how it was set must be the same when it is resumed") {
  Folder folder;
  const std::string row =
      R"({"id":"a","family":"f","split":"test","slice":"plain","prompt":"p","entry_point":"f","tests":["assert f() == 1"]})";
  folder.write("rows.jsonl", row + "\n");
  folder.write("r.lua", R"(
    local tasks = gcop.tasks { "rows.jsonl" }
    local o = gcop.option("o", 1)
    if o == 7 then gcop.core { model = "nope:x" } end
    local core = gcop.core { script = function() return "x" end, price = { input = 1000, output = 1000 } }
    local reply = core:complete { prompt = "four words for it" }
    print(("o %d cost %s price %s"):format(o, reply.cost_usd > 0, reply.price_usd > 0))
    if not gcop.files.read("go") then error("stop") end)");
  auto ended = folder.run({"r.lua", "--set", "o=3"});
  REQUIRE_MESSAGE(ended.code == 1, ended.text);
  CHECK(holds(ended.text, "o 3 cost true price true"));
  const auto run = folder.only_run();
  folder.write(run + "/go", "");

  ended = folder.run({"--resume", run, "--set", "o=7"});
  CHECK(ended.code == 2);
  CHECK(holds(ended.text, "option o was 3 and is now 7"));
  ended = folder.run({"--resume", run, "--set", "o=7", "--accept-changes"});
  CHECK(ended.code == 2);
  CHECK(holds(ended.text, "'nope:x' is not understood"));
  ended = folder.run({"--resume", run});  // what failed has not stayed
  CHECK_MESSAGE(ended.code == 0, ended.text);
  CHECK(holds(ended.text, "o 3 cost false price true"));     // paid once; a call's price is the same
  for (const char *written : {"o=3.0", "o=3", "o=0.3e1"}) {  // the same value, written otherwise
    ended = folder.run({"--resume", run, "--set", written});
    CHECK_MESSAGE(ended.code == 0, ended.text);
  }
  ended = folder.run({"--resume", run, "--set", "o=3.5"});
  CHECK(ended.code == 2);
  CHECK(holds(ended.text, "option o was 0.3e1 and is now 3.5"));

  folder.write("rows.jsonl", row + "\n" + "\n");
  ended = folder.run({"--resume", run});
  CHECK(ended.code == 2);
  CHECK(holds(ended.text, "rows.jsonl has changed"));
  CHECK(folder.run({"--resume", run, "--accept-changes"}).code == 0);
}

TEST_CASE("a key that the plugin's configuration names is as secret as one that the option names") {
  Folder folder;
  setenv("GCOP_TEST_KEY", "sk-0123456789-very-secret", 1);
  for (const char *where : {"key_env = 'GCOP_TEST_KEY'", "config = { key_env = 'GCOP_TEST_KEY' }"}) {
    folder.write("r.lua", std::string("gcop.core { model = 'http://127.0.0.1:9/v1#m', ") + where +
                              " }\nprint('said: sk-0123456789-very-secret')");
    auto ended = folder.run({"r.lua"});
    CHECK_MESSAGE(ended.code == 0, ended.text);
    CHECK(holds(ended.text, "said: ***"));
    CHECK_FALSE(holds(ended.text, "very-secret"));
  }
}

TEST_CASE("help and messages name the command as its user calls it") {
  Folder folder;
  setenv("GCOP_COMMAND", "./dev run", 1);
  folder.write("r.lua", "gcop.sleep(0)\nerror('stop')");
  CHECK(holds(folder.run({"--help"}).text, "  ./dev run recipes/exectune_code.lua --plan"));
  CHECK(holds(folder.run({"r.lua"}).text, "resume with: ./dev run --resume runs/"));
  unsetenv("GCOP_COMMAND");
}

TEST_CASE("--json is one object a line, --quiet only results") {
  Folder folder;
  folder.write("r.lua",
               "gcop.log('a \"word\"')\nlocal bar = gcop.progress('step', 2)\nbar:add(2)\nbar:done()\nprint('result')");
  auto ended = folder.run({"r.lua", "--json"});
  CHECK(ended.code == 0);
  for (const char *part : {R"({"event":"log","level":"info","text":"a \"word\""})",
                           R"({"event":"print","text":"result"})", R"("event":"progress")", R"("exit":0)"})
    CHECK(holds(ended.text, part));
  for (size_t start = 0; start < ended.text.size();) {
    auto end = ended.text.find('\n', start);
    CHECK(ended.text[start] == '{');
    CHECK(ended.text[end - 1] == '}');
    start = end + 1;
  }
  CHECK(folder.run({"r.lua", "--quiet"}).text == "result\n");
}

TEST_CASE("doctor names each part") {
  Folder folder;
  auto ended = folder.run({"doctor"});
  CHECK((ended.code == 0 || ended.code == 1));
  CHECK(holds(ended.text,
              ended.code == 0 ? "everything that recipes need is here" : "something that recipes need is missing"));
  for (const char *part : {"processor", "memory", "disk", "python3", "sandbox", "plugin core_http",
                           "plugin validator_math", "key OPENAI_API_KEY"})
    CHECK(holds(ended.text, part));
}
