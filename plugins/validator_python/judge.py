# The cell that holds the tests. It asks the candidate's cell for results over descriptor 3, compares plain values and
# writes the verdict to its own standard output, behind a nonce that only the host and this process know.
# Where the tests can leave nothing behind, this process judges the next check, too.
# Standard input: one tagged tuple (nonce, form, entry point or "", set-up code, list of tests); form is "asserts" or, for
# one test that is a file, "file".
import _ast
import builtins

SHOWN = 300


class Lost(BaseException):   # the candidate's process is gone or talks nonsense
    pass


class Left(BaseException):   # the candidate raised something that is no Exception, such as SystemExit
    pass


class Odd(BaseException):    # a value that is no plain data was used as if it were
    pass


class Broken(BaseException):   # the task is at fault, not the answer
    pass


def spoil(error):   # a test's own `except:` may swallow it, the verdict does not forget it
    spoiled.append(error)
    return error


def show(value, limit=SHOWN):
    more = ""
    if type(value) in (list, tuple, str, bytes) and len(value) > 2 * limit:
        more = " ... (%d in all)" % len(value)
        value = value[:limit]
    before = len(spoiled)
    try:
        text = repr(value)
    except ValueError:
        text = "a number with too many digits to show"
    except RecursionError:
        text = "a deeply nested value"
    except BaseException:   # such as a Counter that sorts handles
        text = "a %s that cannot be shown" % type(value).__name__
    del spoiled[before:]
    text = text.encode("utf-8", "backslashreplace").decode()
    return (text if len(text) <= limit else text[:limit - 60] + " ... " + text[-50:]) + more


def refuse(value):
    raise Broken("a test passes a %s to the answer, but only plain data can cross" % type(value).__name__)


def lookup(number, name):
    if type(number) is not int:
        raise ValueError("no handle")
    return Remote(number, "a value of type " + name)


def ask(*request):
    return talk(request)[1]


def talk(request):
    def handle(value):
        if type(value) is Remote:
            return handle_bytes(object.__getattribute__(value, "_target"), "")
        refuse(value)
    try:
        data = encode(request, handle)
    except Unsendable as error:
        raise Broken("a test passes a value that cannot cross: %s" % error)
    try:
        answer = exchange(data)
    except (EOFError, OSError):
        raise spoil(Lost("\x01"))
    except ValueError:
        raise spoil(Lost("sent an answer that is too large"))
    heard.append(1)
    try:
        reply = Reader(answer, lookup).value()
        kind = reply[0]
        if kind == "ok" and len(reply) in (2, 4):
            return reply
        if kind == "large":
            error = spoil(Odd("returned " + str(reply[1])[:200]))
        elif kind == "load":
            error = spoil(Lost("loading the code raised %s%s" % (reply[1], " (line %d)" % reply[2] if reply[2] else "")))
        elif kind == "raise":
            error = rebuild(reply[1], reply[2], reply[3])
        else:
            raise ValueError("no reply")
    except MemoryError:
        error = spoil(Odd("returned a value too large to compare"))
    except Exception:
        raise spoil(Lost("sent an answer that is no plain data"))
    raise error


def inquire(*request):   # before any test runs: nothing that the candidate raises is a test's business
    try:
        return ask(*request)
    except (Exception, Left, Odd) as error:
        raise Lost("asking for its names " + ("" if isinstance(error, Odd) else "raised ") + describe(error))


def rebuild(names, text, args):
    """The candidate's exception as one of ours: its nearest standard base, so that `except ValueError` works."""
    if type(text) is not str:
        raise ValueError("no exception")
    name = str(names[0])[:80]
    if "Exception" not in names:
        return Left("%s: %s" % (name, text))
    base = Exception
    for known in names:
        found = getattr(builtins, known, None)
        if isinstance(found, type) and issubclass(found, Exception):
            base = found
            break
    if base.__name__ != name:
        base = type(name, (base,), {})
    try:
        error = base(*args)
        str(error)
    except Exception:
        error = type(name, (Exception,), {})(text)
    error.answer_names = tuple(str(n) for n in names)
    return error


def _no_plain(self, *_):
    raise spoil(Odd("returned " + object.__getattribute__(self, "_label")))


class Call:
    """One call that a test made; put into words only if the test fails."""

    def __init__(self, label, args, kwargs):
        self.label, self.args, self.kwargs, self.error, self.returned, self.words = label, args, kwargs, None, None, ""

    def text(self):
        if self.words:
            return self.words
        parts = [show(a, 100) for a in self.args] + ["%s=%s" % (k, show(v, 100)) for k, v in self.kwargs.items()]
        return "%s(%s)" % (self.label, ", ".join(parts))

    def end(self):
        if self.returned:
            value = self.returned[0]
            return "returned " + (object.__getattribute__(value, "_label") if type(value) is Remote else show(value))
        return "raised " + describe(self.error) if isinstance(self.error, (Left, Exception)) else str(self.error)


class Remote:
    """Something of the candidate's: a function, a class, an object. It can be called and asked for attributes; every
    attempt to compare, count or test it fails, because the answer would be the candidate's own."""
    __slots__ = ("_target", "_label")

    def __init__(self, target, label):
        object.__setattr__(self, "_target", target)
        object.__setattr__(self, "_label", label)

    def __call__(self, *args, **kwargs):
        call = Call(object.__getattribute__(self, "_label"), args, kwargs)
        calls.append(call)
        asked.append(1)
        try:
            reply = talk(("call", self, args, kwargs))
            value = reply[1]
            if value is None and len(reply) == 4:   # nothing is returned: the test may look at what it passed
                call.words = call.text()
                changed(args, reply[2])
                changed(kwargs, reply[3])
        except (Lost, Left, Odd, Exception) as error:
            call.error = error
            raise
        call.returned = (value,)
        return value

    def __getattr__(self, name):
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return ask("get", self, name)

    def __setattr__(self, name, value):
        ask("set", self, name, value)

    def __repr__(self):
        return "<%s>" % object.__getattribute__(self, "_label")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __hash__ = __bool__ = __len__ = __iter__ = _no_plain
    __contains__ = __getitem__ = __int__ = __float__ = __index__ = __add__ = __radd__ = __sub__ = __rsub__ = _no_plain


def describe(error):
    before = len(spoiled)
    try:
        text = str(error)
    except BaseException:   # its arguments are the candidate's
        text = ""
    del spoiled[before:]
    if isinstance(error, (Left, Odd, Missing)):
        return text
    return "%s: %s" % (type(error).__name__, text[:400]) if text else type(error).__name__


COMPARE = {
    _ast.Eq: (lambda a, b: a == b, "=="), _ast.NotEq: (lambda a, b: a != b, "!="), _ast.Lt: (lambda a, b: a < b, "<"),
    _ast.LtE: (lambda a, b: a <= b, "<="), _ast.Gt: (lambda a, b: a > b, ">"), _ast.GtE: (lambda a, b: a >= b, ">="),
    _ast.Is: (lambda a, b: a is b, "is"), _ast.IsNot: (lambda a, b: a is not b, "is not"),
    _ast.In: (lambda a, b: a in b, "in"), _ast.NotIn: (lambda a, b: a not in b, "not in")}


NOT_UNITS = (_ast.Import, _ast.ImportFrom, _ast.FunctionDef, _ast.ClassDef, _ast.Assign, _ast.AnnAssign, _ast.AugAssign, _ast.Pass)


def scan(root, used, own, called):
    """The names that a tree loads, binds and calls, in the order of the text."""
    stack = [root]
    while stack:
        node = stack.pop()
        kind = type(node)
        if kind is _ast.Constant:
            continue
        if kind is _ast.Name:
            (used if type(node.ctx) is _ast.Load else own).append(node.id)
            continue
        if kind is _ast.Call:
            called.append(node.func.id if type(node.func) is _ast.Name else "")
        elif kind is _ast.FunctionDef or kind is _ast.ClassDef or kind is _ast.AsyncFunctionDef:
            own.append(node.name)
        elif kind is _ast.arg:
            own.append(node.arg)
        elif kind is _ast.alias:
            own.append((node.asname or node.name).split(".")[0])
        elif kind is _ast.ExceptHandler and node.name:
            own.append(node.name)
        for field in reversed(node._fields):
            value = getattr(node, field, None)
            if type(value) is list:
                for item in reversed(value):
                    if isinstance(item, _ast.AST):
                        stack.append(item)
            elif isinstance(value, _ast.AST):
                stack.append(value)


# What tests may be made of if this process is to judge another check after theirs: a list of what is allowed, through
# which no test can reach or change anything that outlives it. Statements bind names in `space` only, attributes are
# methods of plain values, functions are those that only compute.
PURE_NODES = frozenset(getattr(_ast, name) for name in (
    "Module Expression Assert Expr Pass Assign AugAssign AnnAssign If For While Break Continue Return FunctionDef arguments arg keyword "
    "Try ExceptHandler Raise Name Load Store Attribute Subscript Slice Starred Call Lambda IfExp NamedExpr Constant JoinedStr "
    "FormattedValue Tuple List Set Dict ListComp SetComp DictComp GeneratorExp comprehension Compare Eq NotEq Lt LtE Gt GtE Is IsNot In "
    "NotIn BoolOp And Or UnaryOp Not USub UAdd Invert BinOp Add Sub Mult Div FloorDiv Mod Pow LShift RShift BitOr BitXor BitAnd "
    "Import ImportFrom alias").split())
PURE_MODULES = {name: __import__(name) for name in ("math", "cmath")}
PURE_BUILTINS = frozenset(
    "abs all any ascii bin bool bytearray bytes callable chr complex dict divmod enumerate filter float format frozenset hash hex int "
    "isinstance issubclass iter len list map max min next object oct ord pow range repr reversed round set slice sorted str sum tuple "
    "zip".split()) | {n for n, v in vars(builtins).items() if isinstance(v, type) and issubclass(v, Exception)}
PURE_ATTRIBUTES = frozenset(
    name for kind in (str, bytes, bytearray, list, tuple, dict, set, frozenset, int, float, complex, range, *PURE_MODULES.values())
    for name in dir(kind) if not name.startswith("_"))


def is_type_call(node):   # type(x); with three arguments it makes a class, which can have a finaliser
    return (type(node) is _ast.Call and type(node.func) is _ast.Name and node.func.id == "type" and len(node.args) == 1
            and type(node.args[0]) is not _ast.Starred and not node.keywords)


def leaves_nothing(root):
    stack = [root]
    while stack:
        node = stack.pop()
        kind = type(node)
        if kind not in PURE_NODES:
            return False
        if kind is _ast.Constant:
            continue
        if kind is _ast.Compare:   # type(x) may be compared and nothing else: `type(type(x))` could be called
            both = [node.left, *node.comparators]
            stack.extend(side.args[0] if is_type_call(side) else side for side in both)
            continue
        # Names that are bound without being Name nodes.
        bound = node.name if kind in (_ast.FunctionDef, _ast.ExceptHandler) else node.arg if kind in (_ast.arg, _ast.keyword) else ""
        if bound and bound.startswith("__"):
            return False
        if kind is _ast.alias and ((node.asname or "").startswith("_") or node.name.startswith("_")):
            return False
        if kind is _ast.Name:
            if node.id.startswith("__") or (hasattr(builtins, node.id) and node.id not in PURE_BUILTINS):
                return False
            continue
        if kind is _ast.Attribute and (type(node.ctx) is not _ast.Load or node.attr not in PURE_ATTRIBUTES):
            return False
        if kind is _ast.Import and not all(alias.name in PURE_MODULES for alias in node.names):
            return False
        if kind is _ast.ImportFrom and (node.level or node.module not in PURE_MODULES):
            return False   # of names in these modules only those with an underscore do more than compute
        for field in node._fields:
            value = getattr(node, field, None)
            if type(value) is list:
                stack.extend(item for item in value if isinstance(item, _ast.AST))
            elif isinstance(value, _ast.AST):
                stack.append(value)
    return True


def segment(text, node):
    lines = text.encode("utf-8", "replace").splitlines(True)[node.lineno - 1:node.end_lineno]
    lines[-1] = lines[-1][:node.end_col_offset]
    lines[0] = lines[0][node.col_offset:]
    out = " ".join(b"".join(lines).decode("utf-8", "replace").split())
    return out if len(out) <= SHOWN else out[:SHOWN - 60] + " ... " + out[-50:]


def mentions_answer(node):
    used = []
    scan(node, used, [], [])
    return not remote_names.isdisjoint(used)


def evaluate(node, name):
    return eval(compile(_ast.Expression(body=node), name, "eval"), space)


def with_calls(text):
    made = [c.text() + " " + c.end() for c in calls[-3:]]
    return text + (" (" + "; ".join(made) + ")" if made else "")


def run_assert(statement, text, name):
    """None if it holds, else what is wrong."""
    test = statement.test
    if isinstance(test, _ast.Compare) and len(test.ops) == 1:
        both = _ast.Tuple([test.left, test.comparators[0]], _ast.Load(), lineno=test.lineno, col_offset=test.col_offset,
                          end_lineno=test.end_lineno, end_col_offset=test.end_col_offset)
        left, right = evaluate(both, name)
        compare, sign = COMPARE[type(test.ops[0])]
        if compare(left, right):
            return None
        if sign in ("==", "is"):
            if mentions_answer(test.comparators[0]) and not mentions_answer(test.left):
                return "%s: expected %s, got %s" % (segment(text, test.comparators[0]), show(left), show(right))
            return "%s: expected %s, got %s" % (segment(text, test.left), show(right), show(left))
        return "%s is false: left is %s, right is %s" % (segment(text, test), show(left), show(right))
    if evaluate(test, name):
        return None
    message = ""
    if statement.msg is not None:
        message = ": " + str(evaluate(statement.msg, name))[:200]
    return with_calls("%s is false%s" % (segment(text, test), message))


def run_unit(statement, text, name):
    del calls[:]
    try:
        if isinstance(statement, _ast.Assert):
            wrong = run_assert(statement, text, name)
        else:
            wrong = exec(compile(_ast.Module(body=[statement], type_ignores=[]), name, "exec"), space)
        if spoiled:
            raise spoiled.pop()
        return wrong
    except (Lost, Broken):
        raise
    except BaseException as error:
        del spoiled[:]
        return explain(error, statement, text, name)


def explain(error, statement, text, name):
    if calls and (calls[-1].error is error or isinstance(error, Odd)):
        return "%s: %s" % (calls[-1].text(), calls[-1].end() if calls[-1].error is error else error)
    if isinstance(error, AssertionError):   # an assert inside a function or a block of the test
        line, trace = 0, error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == name:
                line = trace.tb_lineno
            trace = trace.tb_next
        source = text.splitlines()[line - 1].strip()[:SHOWN] if 0 < line <= len(text.splitlines()) else ""
        if not source.startswith("assert"):   # raised by what this line calls
            return with_calls("%s: %s" % (source.rstrip(":"), str(error)[:200]))
        source = source.removeprefix("assert ")
        if source.startswith("False"):   # a line that must not be reached
            return with_calls(str(error)[:200] or "the test reached `assert False`")
        return with_calls(source + " is false")
    return with_calls("%s: %s" % (segment(text, statement), describe(error)) if statement else describe(error))


def is_unit(statement):
    if isinstance(statement, _ast.Expr):
        called = []
        scan(statement, [], [], called)
        return bool(called)
    return not isinstance(statement, NOT_UNITS)


def derive_entry(called):
    """The function under test: the first called name that is no builtin, else the first called name."""
    for name in called:
        if name and not hasattr(builtins, name):
            return name
    return next((name for name in called if name), "")


def parse(text, name):
    try:
        return compile(text, name, "exec", 0x400, dont_inherit=True)   # PyCF_ONLY_AST
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Broken("%s is no Python: %s" % (name, error))


def imported(tree):   # the first name that a test file takes from the answer
    for statement in tree.body:
        if isinstance(statement, _ast.ImportFrom) and statement.module == "solution":
            return statement.names[0].name if statement.names[0].name != "*" else ""
    return ""


def judge(form, entry, setup, tests):
    trees = [parse(text, FILE if form == "file" else "test %d" % (i + 1)) for i, text in enumerate(tests)]
    setup_tree = parse(setup, "test_setup_code")
    if form == "file" and any(isinstance(s, _ast.FunctionDef) and s.name == "check" for s in trees[0].body):
        if not entry:
            raise Broken("a test that defines check(candidate) needs an 'entry_point'")
        form = "asserts"
        tests = [tests[0] + "\ncheck(%s)\n" % entry]
        trees = [parse(tests[0], "test 1")]
    if form == "asserts" and all(leaves_nothing(tree) for tree in (*trees, setup_tree)):
        pure.append(True)
    used, own, called = [], [], []
    for tree in trees:
        scan(tree, used, own, called)
    total = 1 if form == "file" else sum(is_unit(s) for tree in trees for s in tree.body)
    if total == 0:
        raise Broken("the tests assert nothing")
    if not entry:
        entry = imported(trees[0]) if form == "file" else derive_entry(called)
    scan(setup_tree, used, own, called)
    own = set(own)
    # A name of the judge's own never comes from the candidate, or it could redefine `abs` for the tests.
    wanted = [n for n in dict.fromkeys([entry] + used) if n and (n == entry or not (n in own or hasattr(builtins, n)))]
    passed, failures = 0, []
    try:
        names = inquire("names", wanted)
        if type(names) is not tuple or len(names) != 2 or type(names[0]) is not dict or type(names[1]) is not list:
            raise Lost("sent an answer that is no plain data")
        found, defined = names
        for name in wanted:
            if found.get(name) is True:
                space[name] = Remote(name, name)
                remote_names.add(name)
            elif name in found:
                space[name] = inquire("value", name)
                remote_names.add(name)
        if entry and found.get(entry) is not True and not (form == "file" and entry in found):
            failures.append("the answer defines no function %s; it defines %s" % (
                entry, ", ".join(d for d in defined[:10] if type(d) is str) or "none"))
            return "ok", 0, total, failures
        if setup.strip():
            try:
                exec(compile(setup_tree, "test_setup_code", "exec"), space)
            except (Exception, Left, Odd) as error:
                if not mentions_answer(setup_tree) and not isinstance(error, NameError):
                    raise Broken("test_setup_code failed: " + describe(error))
                failures.append("the tests' set-up: " + describe(error))
                return "ok", 0, total, failures
        if form == "file":
            passed, total, failures = judge_file(tests[0], trees[0])
        else:
            for i, tree in enumerate(trees):
                for statement in tree.body:
                    name = "test %d" % (i + 1)
                    if not is_unit(statement):
                        try:
                            exec(compile(_ast.Module(body=[statement], type_ignores=[]), name, "exec"), space)
                        except (Exception, Left, Odd) as error:
                            failures.append(with_calls("%s: %s" % (segment(tests[i], statement), describe(error))))
                        continue
                    wrong = run_unit(statement, tests[i], name)
                    if wrong is None:
                        passed += 1
                    else:
                        failures.append(wrong)
    except Lost as error:
        call = calls[-1].text() + ": " if calls else ""
        failures.append(call + str(error))
        return "lost", passed, total, failures
    if not asked and not failures:   # any answer would pass
        raise Broken("the tests never call " + (entry or "anything of the answer's"))
    return "ok", passed, total, failures


def main():
    """One check. True if nothing of it is left."""
    nonce, form, entry, setup, tests = Reader(read_all(0), None).value()
    if not tests:   # the host asks who we are
        write_all(b"gcop-python %s %d.%d.%d\n" % ((nonce.encode(),) + sys.version_info[:3]))
        posix._exit(0)
    sys.stdout = None   # tests may print; the verdict is written to the descriptor
    try:
        kind, passed, total, failures = judge(form, entry, setup, tests)
        if failures and passed == total:   # a statement between the asserts failed
            passed = total - 1
        feedback = ""
        for failure in failures[:5]:
            line = failure.replace("\n", " ")
            feedback += line[:700] + "\n"
    except Broken as error:
        kind, passed, total, feedback = "broken", 0, 0, str(error)
    except BaseException:
        if not heard:
            raise
        # Only what the candidate sent can have led here. It is the answer's fault, and not the machine's.
        kind, passed, total, feedback = "lost", 0, len(tests), "the answer sent values that could not be judged"
    verdict = "gcop-verdict %s %s %d %d %d\n%s" % (nonce, kind, len(tests), passed, total, feedback)
    write_all(verdict.encode("utf-8", "backslashreplace"))
    if kind != "ok" or not pure:
        return False
    forget()
    return True


def write_all(data):
    while data:
        data = data[posix.write(1, data):]


def exchange(data):   # with the candidate
    write_frame(3, data)
    return read_frame(3)


def forget():
    global space
    space = {"__builtins__": builtins, "__name__": "tests"}   # a new one: what is left of a test sees the old one
    for trace in (calls, asked, heard, spoiled, pure):
        del trace[:]
    remote_names.clear()


def rehearse():
    """What a check will do, so that its code and memory are there to be shared."""
    global exchange
    through, replies = exchange, iter([({"f": True}, ["f"]), [3, (1.5, "x")], {1: None}, 4])
    exchange = lambda data: encode(("ok", next(replies)), refuse)
    judge("asserts", "f", "import math", ["assert f([1, 2.5], b='x') == [3, (1.5, 'x')]", "assert set(f(1)) == {2}, 'no'",
                               "def g(x):\n    return x\nfor i in range(1):\n    assert g(f(-i)) < 3"])
    exchange = through
    forget()


calls, spoiled, remote_names = [], [], set()
heard = []   # not empty once the candidate has answered
asked = []   # one for each call of the candidate's code, in all tests
pure = []    # not empty if the tests leave nothing behind
forget()
library = wait_for_cell("collections math", rehearse)
while main() and library.gcop_cell_again() == 0:
    pass
posix._exit(0)
