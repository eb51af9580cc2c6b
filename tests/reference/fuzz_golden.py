#!/usr/bin/env python3
"""Writes tests/guide_formats/golden/fuzz.json: digests of the ids and texts that the tokenizers library gives.

  fuzz_golden.py write OUT.json DATA_DIR MODEL.gguf ...        DATA_DIR has mbpp.jsonl, gsm8k_train.jsonl, gsm8k_test500.jsonl
  fuzz_golden.py show NAME PART BLOCK [DATA_DIR MODEL.gguf ...]  the texts and ids of one block, as JSON lines

One digest covers a block: 1,000 fuzzed texts, 100 rows of a data set, or 4,096 code points. NAME is that of a small
tokenizer (small_tokenizers.json) or a model file's stem. The tokenizers are those of tokenizer_golden.py.
"""
import json
import pathlib
import sys

from tokenizers import Tokenizer

from fuzz_texts import GOLDEN, Digest, code_point_text, fuzz_ids, fuzz_text
from tokenizer_golden import gguf_tokenizer

BLOCK, BLOCKS, FEWER = 1000, 100, 10
PLANES = [(plane << 12, 4096) for plane in (*range(0x40), 0xE0)]
DATA = {"mbpp": lambda r: "\n".join([r["text"], r["test_setup_code"], r["code"], *r["test_list"]]),
        "gsm8k_train": lambda r: r["question"] + "\n" + r["answer"],
        "gsm8k_test500": lambda r: r["question"] + "\n" + r["answer"]}


def fuzz_block(block):
    return [fuzz_text(i) for i in range(block * BLOCK, (block + 1) * BLOCK)]


def data_blocks(folder, name):
    rows = [DATA[name](json.loads(line)) for line in (folder / f"{name}.jsonl").read_text().splitlines()]
    return [rows[at:at + 100] for at in range(0, len(rows), 100)]


def parts(folder):
    """Name of a part -> how many blocks, what a block's texts are, whether special tokens in them are plain text."""
    data = {name: data_blocks(folder, name) for name in DATA} if folder else {}
    return {"texts": (BLOCKS, fuzz_block, False), "plain": (FEWER, fuzz_block, True),
            "code_points": (len(PLANES), lambda b: [code_point_text(PLANES[b][0] + k, 64) for k in range(0, 4096, 64)], False),
            **{name: (len(blocks), blocks.__getitem__, False) for name, blocks in data.items()}}


def ids_of(tokenizer, texts, plain):
    tokenizer.encode_special_tokens = plain
    return [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]


def digests(tokenizer, vocab, folder):
    out = {}
    for name, (blocks, texts_of, plain) in parts(folder).items():
        out[name], decoded = [], []
        for block in range(blocks):
            ids, text = Digest(), Digest()
            for row in ids_of(tokenizer, texts_of(block), plain):
                ids.add_ids(row)
                text.add_text(tokenizer.decode(row, skip_special_tokens=True))
            out[name].append(ids.hex())
            decoded.append(text.hex())
        if name == "texts":
            out["decoded"] = decoded
    out["any_ids"] = []
    for block in range(FEWER):
        text = Digest()
        for i in range(block * BLOCK, (block + 1) * BLOCK):
            text.add_text(tokenizer.decode(fuzz_ids(i, vocab), skip_special_tokens=True))
        out["any_ids"].append(text.hex())
    return out


def small_tokenizers():
    for row in json.loads((GOLDEN / "small_tokenizers.json").read_text()):
        yield row["name"], Tokenizer.from_str(json.dumps(row["tokenizer"]))


def write(out_path, folder, models):
    texts = []
    for block in range(BLOCKS):
        digest = Digest()
        for text in fuzz_block(block):
            digest.add_text(text)
        texts.append(digest.hex())
    out = {"inputs": texts, "tokenizers": {}}
    for name, tokenizer in small_tokenizers():
        vocab = tokenizer.get_vocab_size()
        out["tokenizers"][name] = {"vocab": vocab, **digests(tokenizer, vocab, None)}
    for path in models:
        tokenizer = gguf_tokenizer(path)[1]
        vocab = next((i for i in range(tokenizer.get_vocab_size()) if tokenizer.id_to_token(i) == f"[PAD{i}]"),
                     tokenizer.get_vocab_size())
        out["tokenizers"][path.stem] = {"bytes": path.stat().st_size, "vocab": vocab, **digests(tokenizer, vocab, folder)}
        print(path.stem, vocab, flush=True)
    out_path.write_text(json.dumps(out, indent=0) + "\n")


def show(name, part, block, folder, models):
    every = dict(small_tokenizers()) | {path.stem: path for path in models}
    tokenizer = every[name] if isinstance(every[name], Tokenizer) else gguf_tokenizer(every[name])[1]
    _, texts_of, plain = parts(folder)[part]
    texts = texts_of(block)
    for text, ids in zip(texts, ids_of(tokenizer, texts, plain)):
        print(json.dumps({"text": text, "ids": ids, "decoded": tokenizer.decode(ids)}))


if __name__ == "__main__":
    args = sys.argv[3:] if sys.argv[1] == "write" else sys.argv[5:]
    where = pathlib.Path(args[0]) if args else None
    paths = [pathlib.Path(p) for p in args[1:]]
    write(pathlib.Path(sys.argv[2]), where, paths) if sys.argv[1] == "write" else show(sys.argv[2], sys.argv[3], int(sys.argv[4]), where, paths)
