# The cell that runs the model's code. Its standard input is that code; over descriptor 3 the judge asks for names, calls
# and attributes, one at a time. Nothing here is trusted by the judge: this program can only answer with values.
class Answer:
    """The program under test."""

    def __init__(self, source):
        self.handles = []
        self.failure = None
        module = type(sys)("answer")
        sys.modules["answer"] = module
        self.space = module.__dict__
        self.space["__builtins__"] = __builtins__
        try:
            exec(compile(source, "answer.py", "exec", dont_inherit=True), self.space)
        except BaseException as error:
            text = "%s: %s" % (type(error).__name__, error.msg if type(error) is SyntaxError else error)
            line = getattr(error, "lineno", None)
            trace = error.__traceback__
            while trace is not None:
                if trace.tb_frame.f_code.co_filename == "answer.py":
                    line = trace.tb_lineno
                trace = trace.tb_next
            self.failure = encode(("load", text[:2000], line if type(line) is int else 0), _refuse)

    def handle(self, value):
        self.handles.append(value)
        return handle_bytes(len(self.handles) - 1, type(value).__name__)

    def resolve(self, number, _):
        return self.space[number] if type(number) is str else self.handles[number]

    def reply(self, data):
        if self.failure is not None:
            return self.failure
        try:
            answer = self.answer(Reader(data, self.resolve).value())
            try:
                return encode(answer, self.handle)
            except Unsendable:
                if len(answer) == 2:
                    raise
            return encode(answer[:2], self.handle)   # the arguments are no plain data any more, the result is
        except Unsendable as error:
            return encode(("large", str(error)), _refuse)
        except BaseException as error:
            return _raised(error)

    def answer(self, request):
        what = request[0]
        if what == "names":
            found = {}
            for name in request[1]:
                if name in self.space:
                    found[name] = callable(self.space[name])
            defined = [n for n, v in self.space.items() if callable(v) and not n.startswith("_")]
            return ("ok", (found, [str(n)[:60] for n in defined[:20]]))
        if what == "value":
            return ("ok", self.space[request[1]])
        if what == "set":
            setattr(request[1], request[2], request[3])
            return ("ok", None)
        if what == "get":
            return ("ok", getattr(request[1], request[2]))
        _, function, args, kwargs = request
        result = function(*args, **kwargs)
        if result is None and (changeable(args) or changeable(kwargs.values())):   # it may have worked on its arguments
            return ("ok", None, args, kwargs)
        return ("ok", result)


def _raised(error):
    names = [kind.__name__ for kind in type(error).__mro__ if kind is not object]
    try:
        text = str(error)[:2000]
    except BaseException:
        text = ""
    try:
        return encode(("raise", names, text, tuple(error.args)), _refuse)
    except BaseException:
        return encode(("raise", names, text, (text,)), _refuse)


def _refuse(value):
    raise Unsendable(type(value).__name__)


def _rehearse():
    """What a check will do, so that its code and memory are there to be shared."""
    program = Answer(b"import collections, math, re\n"
                     b"class Pair:\n    def __init__(self, a):\n        self.a = a\n\n"
                     b"def f(a, b=2, *rest, **named):\n    total = [i * 2 for i in range(b) if i % 2]\n"
                     b"    for i, x in enumerate(a):\n        if x in total:\n            total.append(x)\n"
                     b"        elif not isinstance(x, int):\n            raise ValueError('%s' % x)\n"
                     b"    try:\n        return sorted(set(total), key=lambda t: -t), {str(k): v / 1.5 for k, v in zip('ab', total)}\n"
                     b"    finally:\n        re.sub('a', 'b', 'text'.upper()).split()\n")
    for request in (("names", ["f", "Pair", "math"]), ("value", "f"), ("call", program.space["f"], ([1, 2, 3],), {"b": 4}),
                    ("call", program.space["f"], (["x"],), {}), ("call", program.space["Pair"], ((1.5, None, "x", b"y", {1}),), {})):
        program.reply(encode(request, lambda value: handle_bytes(value.__name__, "")))
    Answer(b"def f(:")
    del sys.modules["answer"]


def _serve():
    program = Answer(read_all(0))
    while True:
        write_frame(3, program.reply(read_frame(3)))


# What programs often import; every module that waits here makes each copy a little slower.
wait_for_cell("array bisect cmath collections copy functools heapq itertools math operator random re string typing", _rehearse)
try:
    _serve()
except EOFError:
    pass
posix._exit(0)   # taking an interpreter apart costs as much as a check
