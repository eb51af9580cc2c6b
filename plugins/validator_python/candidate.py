# The cell that runs the model's code. Its standard input is that code; over descriptor 3 the judge asks for names, calls
# and attributes, one at a time. Nothing here is trusted by the judge: this program can only answer with values.
def _serve():
    source = bytearray()
    while True:
        part = posix.read(0, 1 << 20)
        if not part:
            break
        source += part
    module = type(sys)("answer")
    sys.modules["answer"] = module
    space = module.__dict__
    space["__builtins__"] = __builtins__
    handles = []

    def handle(value):
        handles.append(value)
        return handle_bytes(len(handles) - 1, type(value).__name__)

    def raised(error):
        names = [kind.__name__ for kind in type(error).__mro__ if kind is not object]
        try:
            text = str(error)[:2000]
        except BaseException:
            text = ""
        try:
            return encode(("raise", names, text, tuple(error.args)), _refuse)
        except BaseException:
            return encode(("raise", names, text, (text,)), _refuse)

    failure = None
    try:
        exec(compile(bytes(source), "answer.py", "exec", dont_inherit=True), space)
    except BaseException as error:
        text = "%s: %s" % (type(error).__name__, error.msg if type(error) is SyntaxError else error)
        line = getattr(error, "lineno", None)
        trace = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == "answer.py":
                line = trace.tb_lineno
            trace = trace.tb_next
        failure = encode(("load", text[:2000], line if type(line) is int else 0), _refuse)

    def resolve(number, _):
        return space[number] if type(number) is str else handles[number]

    def answer(request):
        what = request[0]
        if what == "names":
            found = {}
            for name in request[1]:
                if name in space:
                    found[name] = callable(space[name])
            defined = [n for n, v in space.items() if callable(v) and not n.startswith("_")]
            return ("ok", (found, [str(n)[:60] for n in defined[:20]]))
        if what == "value":
            return ("ok", space[request[1]])
        if what == "set":
            setattr(request[1], request[2], request[3])
            return ("ok", None)
        if what == "get":
            return ("ok", getattr(request[1], request[2]))
        return ("ok", request[1](*request[2], **request[3]))

    while True:
        data = read_frame(3)
        if failure is not None:
            write_frame(3, failure)
            continue
        try:
            reply = encode(answer(Reader(data, resolve).value()), handle)
        except Unsendable as error:
            reply = encode(("large", str(error)), _refuse)
        except BaseException as error:
            reply = raised(error)
        write_frame(3, reply)


def _refuse(value):
    raise Unsendable(type(value).__name__)


try:
    _serve()
except EOFError:
    pass
