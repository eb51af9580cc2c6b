"""Deterministic texts and digests, made identically by tests/guide_formats/fuzz_texts.hpp: change both or neither.
Writes no golden file; reads golden/fuzz_pieces.json, which was written by hand."""
import json
import pathlib

MASK = (1 << 64) - 1
GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "guide_formats" / "golden"
PIECES = json.loads((GOLDEN / "fuzz_pieces.json").read_text())


def mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


class Draws:
    """splitmix64, one stream for each seed."""

    def __init__(self, seed):
        self.state = mix(seed + 1)

    def below(self, n):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        return mix(self.state) % n

    def one(self, table):
        return table[self.below(len(table))]


class Digest:
    def __init__(self):
        self.value = 0

    def add(self, v):
        self.value = ((self.value ^ v) * 0x9E3779B97F4A7C15) & MASK
        self.value ^= self.value >> 29

    def add_ids(self, ids):
        self.add(len(ids))
        for i in ids:
            self.add(i)

    def add_text(self, text):
        data = text.encode()
        self.add(len(data))
        for at in range(0, len(data), 8):
            self.add(int.from_bytes(data[at:at + 8], "little"))

    def hex(self):
        return f"{self.value:016x}"


def code_point(draws, ranges):
    low, high = draws.one(ranges)
    return chr(low + draws.below(high - low + 1))


def piece(draws):
    kind = draws.below(11)
    if kind <= 2:
        return (" " if draws.below(2) else "") + draws.one(PIECES["words"])
    if kind == 3:  # neighbours from one script
        low, high = draws.one(PIECES["ranges"])
        return "".join(chr(low + draws.below(high - low + 1)) for _ in range(1 + draws.below(6)))
    if kind == 4:
        return "".join(code_point(draws, PIECES["ranges"]) for _ in range(1 + draws.below(6)))
    if kind == 5:
        blank = draws.one(PIECES["blanks"])
        return blank * (1 + draws.below(100 if draws.below(16) == 0 else 5))
    if kind == 6:
        return "".join(chr(48 + draws.below(10)) for _ in range(1 + draws.below(12)))
    if kind == 7:
        return draws.one(PIECES["specials"])
    if kind == 8:
        base = code_point(draws, PIECES["ranges"])
        return base + "".join(code_point(draws, PIECES["marks"]) for _ in range(1 + draws.below(4)))
    if kind == 9:
        word = draws.one(PIECES["words"])
        return word * (1 + draws.below(40 if draws.below(8) == 0 else 4))
    return "".join(draws.one(PIECES["blanks"]) for _ in range(1 + draws.below(8)))


def fuzz_text(number):
    draws = Draws(number)
    most = 30 if draws.below(8) == 0 else 6
    return "".join(piece(draws) for _ in range(1 + draws.below(most)))


def fuzz_ids(number, vocab):
    """Any ids; half of them from the vocabulary's start, where the single bytes are."""
    draws = Draws(number)
    ids = []
    for _ in range(1 + draws.below(16)):
        few = draws.below(2)
        ids.append(draws.below(min(vocab, 320) if few else vocab))
    return ids


def code_point_text(first, count):
    """Every code point where its class, its composing and its combining class show."""
    out = ""
    for c in range(first, first + count):
        if not 0xD800 <= c < 0xE000:
            c = chr(c)
            out += f"a\u0315{c}\u0334 1{c}{c}'{c} {c}\u0301\n {c}"
    return out
