# Plain values as tagged bytes, between judge and candidate. Both programs start with this text. What is not plain data
# stays where it is and crosses as a handle: a number and a type name, never an object with methods of its own.
import posix
import sys

FRAME_LIMIT = 8 << 20
NODE_LIMIT = 1000000
DEPTH_LIMIT = 200


class Unsendable(Exception):
    pass


def wait_for_cell(modules, rehearse):
    """Runs in the box, before anybody's data is there; returns in a copy of this process for each cell, with the library."""
    import ctypes
    import gc
    for name in modules.split():
        __import__(name)
    for _ in range(40):
        rehearse()
    library = ctypes.PyDLL("./libgcop_cell.so")   # holds the interpreter's lock, so that the copy has it, too
    gc.collect()
    gc.freeze()   # a collection in the copy must not touch, and so copy, every page
    if library.gcop_cell_wait() != 0:
        raise SystemExit("the host is gone")
    if "random" in sys.modules:
        sys.modules["random"].seed()
    return library


def _sized(tag, data):
    return tag + len(data).to_bytes(4, "little") + data


def _module(name):   # a standard module, only if the program itself has loaded it
    return sys.modules.get(name)


def _walk(value, out, handle, depth):
    kind = type(value)
    if len(out) > NODE_LIMIT:
        raise Unsendable("a value of more than %d parts" % NODE_LIMIT)
    if value is None:
        out.append(b"N")
    elif value is True:
        out.append(b"T")
    elif value is False:
        out.append(b"F")
    elif kind is int:
        if value.bit_length() > 8000000:
            raise Unsendable("an integer of %d bits" % value.bit_length())
        out.append(_sized(b"i", value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)))
    elif kind is float:
        out.append(_sized(b"d", value.hex().encode()))
    elif kind is str:
        if len(value) > FRAME_LIMIT:
            raise Unsendable("a string of %d characters" % len(value))
        out.append(_sized(b"s", value.encode("utf-8", "surrogatepass")))
    elif kind is bytes or kind is bytearray:
        if len(value) > FRAME_LIMIT:
            raise Unsendable("%d bytes" % len(value))
        out.append(_sized(b"b" if kind is bytes else b"a", bytes(value)))
    elif depth > DEPTH_LIMIT:
        raise Unsendable("a value that is nested deeper than %d levels, or cyclic" % DEPTH_LIMIT)
    elif kind in _SEQUENCES:
        at = len(out)
        out.append(b"")   # the count is known behind the items
        count = 0
        for item in value:
            _walk(item, out, handle, depth + 1)
            count += 1
        out[at] = _SEQUENCES[kind] + count.to_bytes(4, "little")
    elif kind is dict:
        _pairs(b"D", value, out, handle, depth)
    elif kind is complex:
        out.append(b"x")
        _walk(value.real, out, handle, depth + 1)
        _walk(value.imag, out, handle, depth + 1)
    elif kind is range:
        out.append(b"r")
        for part in (value.start, value.stop, value.step):
            _walk(part, out, handle, depth + 1)
    elif kind is type and value in _TYPES:   # `int` itself, as a test may pass it
        out.append(_sized(b"y", value.__name__.encode()))
    elif value is Ellipsis:
        out.append(b".")
    elif not _from_library(kind, value, out, handle, depth):
        out.append(handle(value))


_SEQUENCES = {list: b"l", tuple: b"t", set: b"S", frozenset: b"f", type({}.keys()): b"K", type({}.values()): b"V",
              type({}.items()): b"M"}


_TYPES = (int, float, str, bool, bytes, bytearray, list, tuple, dict, set, frozenset, complex, range, type(None), object)


def _pairs(tag, value, out, handle, depth):
    out.append(tag + len(value).to_bytes(4, "little"))
    for key, item in value.items():
        _walk(key, out, handle, depth + 1)
        _walk(item, out, handle, depth + 1)


def _from_library(kind, value, out, handle, depth):
    module = _module("collections")
    if module is not None:
        if kind is module.Counter or kind is module.OrderedDict or kind is module.defaultdict:
            _pairs(b"C" if kind is module.Counter else b"O" if kind is module.OrderedDict else b"D", value, out, handle, depth)
            return True
        if kind is module.deque:
            out.append(b"Q")
            _walk(list(value), out, handle, depth + 1)
            return True
    module = _module("decimal")
    if module is not None and kind is module.Decimal:
        out.append(_sized(b"Z", str(value).encode()))
        return True
    module = _module("fractions")
    if module is not None and kind is module.Fraction:
        out.append(b"R")
        _walk(value.numerator, out, handle, depth + 1)
        _walk(value.denominator, out, handle, depth + 1)
        return True
    module = _module("datetime")
    if module is not None and kind in (module.date, module.datetime, module.time, module.timedelta):
        parts = _moment(module, kind, value)
        if parts is not None:
            out.append(_sized(b"w", kind.__name__.encode()))
            _walk(parts, out, handle, depth + 1)
            return True
    if kind.__bases__ == (tuple,) and type(kind.__dict__.get("_fields")) is tuple:   # a named tuple
        own = [name for name in kind.__dict__ if callable(kind.__dict__[name]) and name not in _NAMED_TUPLE]
        if not own:
            out.append(b"u")
            _walk((kind.__name__, kind._fields, tuple(value)), out, handle, depth + 1)
            return True
    if kind.__module__ in ("builtins", "itertools") and hasattr(kind, "__next__"):   # generator, map, zip, ...
        items = []
        for item in value:
            items.append(item)
            if len(items) > NODE_LIMIT // 10:
                raise Unsendable("a %s of more than %d items" % (kind.__name__, NODE_LIMIT // 10))
        out.append(b"I")
        _walk(items, out, handle, depth + 1)
        return True
    return False


_NAMED_TUPLE = ("__new__", "__repr__", "__getnewargs__", "_make", "_replace", "_asdict")


def _moment(module, kind, value):
    if kind is module.timedelta:
        return (value.days, value.seconds, value.microseconds)
    date = () if kind is module.time else (value.year, value.month, value.day)
    if kind is module.date:
        return date
    zone = value.tzinfo
    if zone is not None:
        if type(zone) is not module.timezone:   # its rules cannot cross
            return None
        zone = zone.utcoffset(None)
    return date + (value.hour, value.minute, value.second, value.microsecond, zone, value.fold)


def _to_moment(name, parts):
    import datetime
    kind = {"date": datetime.date, "datetime": datetime.datetime, "time": datetime.time, "timedelta": datetime.timedelta}[name]
    if name in ("date", "timedelta"):
        return kind(*parts)
    *clock, zone, fold = parts
    return kind(*clock, zone if zone is None else datetime.timezone(zone), fold=fold)


def _to_named_tuple(name, fields, items):
    if len(fields) != len(items) or not all(type(f) is str and f.isidentifier() and f[0] != "_" for f in fields):
        raise ValueError("no named tuple")
    parts = {f: property(lambda self, i=i: self[i]) for i, f in enumerate(fields)}
    parts["__slots__"] = ()
    parts["_fields"] = fields
    parts["__repr__"] = lambda self: "%s(%s)" % (name, ", ".join("%s=%r" % pair for pair in zip(fields, self)))
    return type(name, (tuple,), parts)(items)


def encode(value, handle):
    out = []
    _walk(value, out, handle, 0)
    data = b"".join(out)
    if len(data) > FRAME_LIMIT:
        raise Unsendable("a value of %d bytes" % len(data))
    return data


def changeable(values):
    return any(type(v) in (list, dict, set, bytearray) or type(v) is tuple and changeable(v) for v in values)


def changed(old, new):
    """What `old` is once it holds what `new` does: the same object, where it can change. So are its parts in their places."""
    kind = type(old)
    if kind is not type(new):
        return new
    if kind is tuple:
        return tuple(map(changed, old, new)) if len(old) == len(new) else new
    if kind is list:
        old[:] = map(changed, old, new) if len(old) == len(new) else new
    elif kind is dict:
        before = dict(old)
        old.clear()
        for key, item in new.items():
            old[key] = changed(before[key], item) if key in before else item
    elif kind is set:
        old.clear()
        old.update(new)
    elif kind is bytearray:
        old[:] = new
    else:
        return new
    return old


class Reader:
    def __init__(self, data, resolve):
        self.data = data
        self.at = 0
        self.nodes = 0
        self.resolve = resolve

    def number(self):
        self.at += 4
        if self.at > len(self.data):
            raise ValueError("cut")
        return int.from_bytes(self.data[self.at - 4:self.at], "little")

    def chunk(self):
        n = self.number()
        self.at += n
        if self.at > len(self.data):
            raise ValueError("cut")
        return self.data[self.at - n:self.at]

    def items(self, depth):
        return [self.value(depth + 1) for _ in range(self.number())]

    def pairs(self, depth):
        return [(self.value(depth + 1), self.value(depth + 1)) for _ in range(self.number())]

    def value(self, depth=0):
        tag = self.data[self.at:self.at + 1]
        self.at += 1
        self.nodes += 1
        if self.nodes > 2 * NODE_LIMIT or depth > DEPTH_LIMIT + 20:
            raise ValueError("too large")
        if tag == b"N":
            return None
        if tag == b"T":
            return True
        if tag == b"F":
            return False
        if tag == b"i":
            return int.from_bytes(self.chunk(), "little", signed=True)
        if tag == b"d":
            return float.fromhex(self.chunk().decode())
        if tag == b"s":
            return self.chunk().decode("utf-8", "surrogatepass")
        if tag == b"b":
            return bytes(self.chunk())
        if tag == b"a":
            return bytearray(self.chunk())
        if tag == b"l":
            return self.items(depth)
        if tag == b"t":
            return tuple(self.items(depth))
        if tag == b"S":
            return set(self.items(depth))
        if tag == b"f":
            return frozenset(self.items(depth))
        if tag == b"D":
            return dict(self.pairs(depth))
        if tag == b"K":
            return dict.fromkeys(self.items(depth)).keys()
        if tag == b"V":
            return dict(enumerate(self.items(depth))).values()
        if tag == b"M":
            return dict(self.items(depth)).items()
        if tag == b"x":
            return complex(self.value(depth + 1), self.value(depth + 1))
        if tag == b"r":
            return range(self.value(depth + 1), self.value(depth + 1), self.value(depth + 1))
        if tag == b"I":
            return iter(self.value(depth + 1))
        if tag == b".":
            return Ellipsis
        if tag == b"h":
            return self.resolve(self.number(), self.chunk().decode("utf-8", "replace"))
        if tag == b"y":
            return {t.__name__: t for t in _TYPES}[self.chunk().decode()]
        if tag == b"n":
            return self.resolve(self.chunk().decode(), "")
        if tag == b"Q":
            import collections
            return collections.deque(self.value(depth + 1))
        if tag == b"O":
            import collections
            return collections.OrderedDict(self.pairs(depth))
        if tag == b"C":
            import collections
            return collections.Counter(dict(self.pairs(depth)))
        if tag == b"Z":
            import decimal
            return decimal.Decimal(self.chunk().decode())
        if tag == b"w":
            return _to_moment(self.chunk().decode(), self.value(depth + 1))
        if tag == b"u":
            return _to_named_tuple(*self.value(depth + 1))
        if tag == b"R":
            import fractions
            return fractions.Fraction(self.value(depth + 1), self.value(depth + 1))
        raise ValueError("unknown tag")


def read_all(fd):
    data = bytearray()
    while True:
        part = posix.read(fd, 1 << 20)
        if not part:
            return bytes(data)
        data += part


def read_exactly(fd, n):
    parts = []
    while n > 0:
        part = posix.read(fd, min(n, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        n -= len(part)
    return b"".join(parts)


def read_frame(fd):
    n = int.from_bytes(read_exactly(fd, 4), "little")
    if n > FRAME_LIMIT + 1024:
        raise ValueError("too large")
    return read_exactly(fd, n)


def write_frame(fd, data):
    data = memoryview(len(data).to_bytes(4, "little") + data)
    while data:
        data = data[posix.write(fd, data):]


def handle_bytes(number, name):
    if type(number) is str:   # a name of the answer's own
        return _sized(b"n", number.encode())
    return b"h" + number.to_bytes(4, "little") + _sized(b"", name.encode("utf-8", "replace")[:100])
